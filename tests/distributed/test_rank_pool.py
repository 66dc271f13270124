"""The pool of ranks that tests run on: it tells what failed, starts anew, and leaves nothing."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch.distributed as dist

from sightline.testing.ranks import RankFailed, RankPool


def process() -> int:
    return os.getpid()


def folder_of_the_store() -> str:
    store = dist.distributed_c10d._get_default_store()
    while isinstance(store, dist.distributed_c10d.PrefixStore):
        store = store.underlying_store
    return str(Path(str(getattr(store, "path", ""))).parent)


def misbehave(rank: int, how: str) -> Any:
    if dist.get_rank() != rank:
        return dist.get_rank()
    if how == "raise":
        raise KeyError("mine alone")
    if how == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "exit":
        raise SystemExit(3)
    if how == "hang":
        time.sleep(600)
    return lambda: "what cannot be pickled"


def runs(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    return True


def test_the_same_processes_run_one_function_after_another(two_ranks: RankPool) -> None:
    first = two_ranks.run(process)
    assert two_ranks.run(process) == first
    assert len(set(first)) == 2


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("raise", "KeyError: 'mine alone'"),
        ("exit", "SystemExit: 3"),
        ("die", "died, exit code -9"),
        ("hang", "no answer in 2 s"),
        ("give back", "pickle"),
    ],
)
def test_a_rank_that_fails_is_named_and_the_next_run_starts_anew(how: str, words: str) -> None:
    with RankPool(2, timeout=60) as pool:
        before = pool.run(process)
        pool.timeout = 2 if how == "hang" else 60
        with pytest.raises(RankFailed) as caught:
            pool.run(misbehave, 1, how)
        assert list(caught.value.failures) == [1]
        assert words in caught.value.failures[1]
        assert caught.value.answers == {0: 0}
        assert not any(runs(each) for each in before)
        pool.timeout = 60
        after = pool.run(process)
        assert not set(before) & set(after)


def test_nothing_is_left_behind() -> None:
    with RankPool(2) as pool:
        (folder, _), started = pool.run(folder_of_the_store), pool.run(process)
        assert Path(folder).is_dir()
    assert not Path(folder).exists()
    assert not any(runs(each) for each in started)
    pool.close()  # twice is no harm


def test_ranks_whose_keeper_is_killed_end_and_leave_nothing() -> None:
    with RankPool(2) as pool:
        (folder, _), started = pool.run(folder_of_the_store), pool.run(process)
        for pipe in pool._pipes:  # as the system does with those of a process that ends
            pipe.close()
        until = time.monotonic() + 60
        while any(runs(each) for each in started) and time.monotonic() < until:
            time.sleep(0.02)
        assert not any(runs(each) for each in started)
        assert not Path(folder).exists()


def imported(module: str) -> bool:
    return module in sys.modules


def test_modules_are_imported_before_ranks_are_forked() -> None:
    with RankPool(1) as pool:  # conftest.py asks for it
        assert pool.run(imported, "sightline.recipes.training.loop") == [True]


def test_what_cannot_be_sent_does_not_leave_ranks_waiting(two_ranks: RankPool) -> None:
    with pytest.raises(Exception, match="pickle"):
        two_ranks.run(misbehave, lambda: 0, "raise")
    assert len(two_ranks.run(process)) == 2
