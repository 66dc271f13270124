"""A rank that dies, stops, sleeps or does something else is named by the others, soon."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest
import torch
import torch.distributed as dist

import sightline as sl
from sightline.distributed.failures import telling
from sightline.testing.ranks import RankFailed, RankPool

LENGTH, BLOCK = 64, 8
# What a loaded machine may take until all ranks have been told; a hang takes the pool's 60 s.
SOON = 40.0

Report = tuple[str, tuple[int, ...], str, float]


@pytest.fixture(scope="module", params=[2, 4], ids=["two", "four"])
def mortal(request: pytest.FixtureRequest) -> Iterator[RankPool]:
    """Ranks of which some will die, apart from those that the other tests keep."""
    with RankPool(request.param) as pool:
        yield pool


def report(function: Any, *arguments: Any) -> Report:
    """Return the kind of error that a call ends with, whom it names, what it says, and how soon."""
    start = time.monotonic()
    try:
        function(*arguments)
    except sl.RankError as error:
        return type(error).__name__, error.ranks, str(error), time.monotonic() - start
    except Exception as error:
        return type(error).__name__, (), str(error), time.monotonic() - start
    return "", (), "", time.monotonic() - start


def spread_of(mask: sl.Mask, **options: Any) -> Any:
    return sl.distributed.spread(mask, LENGTH, block=BLOCK, **options)


def share(spread: Any, dtype: torch.dtype = torch.float32, heads: int = 2) -> list[torch.Tensor]:
    made = torch.Generator().manual_seed(spread.ranks.rank)
    shape = 1, heads, spread.length, 4
    return [torch.randn(shape, generator=made).to(dtype).requires_grad_() for _ in range(3)]


def attend_once(spread: Any) -> torch.Tensor:
    query, key, value = share(spread)
    return sl.distributed.attend(query, key, value, sl.causal(), spread=spread)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die_in(stage: str, victim: int) -> Report:
    """Attend twice, forward and backward; the victim dies somewhere in the second time."""
    mask = sl.causal()
    spread = spread_of(mask)
    query, key, value = share(spread)
    sl.distributed.attend(query, key, value, mask, spread=spread).sum().backward()
    mine = dist.get_rank() == victim
    real = dist.all_to_all_single

    def deadly(*arguments: Any, **named: Any) -> Any:
        die()
        return real(*arguments, **named)

    def again() -> None:
        if mine and stage == "before":
            die()
        if mine and stage == "forward":
            dist.all_to_all_single = deadly
        output = sl.distributed.attend(query, key, value, mask, spread=spread)
        if mine and stage == "between":
            die()
        if mine and stage == "backward":
            dist.all_to_all_single = deadly
        output.sum().backward()

    told = report(again)
    later = report(again)
    assert later[:3] == told[:3] or stage != "before", later  # no second wait, the same words
    return told[0], told[1], told[2], told[3] + later[3]


@pytest.mark.parametrize("stage", ["before", "forward", "between", "backward"])
def test_a_rank_that_is_killed_is_named(mortal: RankPool, stage: str) -> None:
    victim = mortal.size - 1
    with pytest.raises(RankFailed) as caught:
        mortal.run(die_in, stage, victim)
    assert list(caught.value.failures) == [victim], caught.value
    assert "exit code -9" in caught.value.failures[victim]
    for kind, ranks, text, seconds in caught.value.answers.values():
        assert (kind, ranks) == ("RankLost", (victim,)), text
        assert f"rank {victim} (process" in text
        assert "has died" in text
        assert seconds < SOON


@pytest.mark.parametrize("mortal", [4], ids=["four"], indirect=True)  # two survive
def test_two_ranks_that_are_killed_are_both_named(mortal: RankPool) -> None:
    with pytest.raises(RankFailed) as caught:
        mortal.run(die_together, (0, 2))
    assert sorted(caught.value.failures) == [0, 2], caught.value
    for kind, ranks, text, _ in caught.value.answers.values():
        assert (kind, ranks) == ("RankLost", (0, 2)), text


def die_together(victims: tuple[int, ...]) -> Report:
    spread = spread_of(sl.causal())
    dist.barrier()
    if dist.get_rank() in victims:
        die()
    return report(attend_once, spread)


def sleep_over(victim: int, seconds: float) -> Report:
    spread = spread_of(sl.causal())
    ranks = sl.distributed.Ranks.of(timeout=1.0)
    assert ranks.roll_call is not None
    if spread.ranks.rank == victim:
        time.sleep(seconds)
    return report(attend_once, spread)


def test_a_rank_that_does_not_come_is_named_with_the_line_it_is_at(mortal: RankPool) -> None:
    reports = mortal.run(sleep_over, 1, 4.0)
    for kind, ranks, text, seconds in reports:
        assert (kind, ranks) == ("RankLost", (1,)), text
        assert "rank 1 has not come within 1 s" in text
        assert "in sleep_over" in text
        assert seconds < SOON
    assert len({text for _, _, text, _ in reports}) == 1, "one verdict for all"
    mortal.close()


def raise_in(victim: int) -> Report:
    spread = spread_of(sl.causal())

    def step() -> None:
        query, key, value = share(spread)
        with sl.distributed.context_parallel(spread):
            if spread.ranks.rank == victim:
                raise KeyError("no such document")
            sl.attend(query, key, value, sl.causal())

    told = report(step)
    if spread.ranks.rank == victim:
        time.sleep(3)  # alive: it is not its connection that tells
    return told


def test_the_error_of_one_rank_is_told_to_all(mortal: RankPool) -> None:
    reports = mortal.run(raise_in, 1)
    assert reports[1][0] == "KeyError"
    for rank, (lost, ranks, text, seconds) in enumerate(reports):
        if rank != 1:
            assert (lost, ranks) == ("RankLost", (1,)), text
            assert "rank 1 stopped with KeyError: 'no such document'" in text
            assert seconds < SOON
    mortal.close()


def all_raise_and_go_on() -> float:
    spread = spread_of(sl.causal())
    for _ in range(2):
        with pytest.raises(KeyError), telling(spread.ranks):
            raise KeyError("on every rank")
        if spread.ranks.rank == 0:
            time.sleep(2.5)  # the others wait, and look at what was told
        attend_once(spread)
    return spread.length


def test_an_error_that_all_ranks_catch_is_no_failure(ranks: RankPool) -> None:
    assert sum(ranks.run(all_raise_and_go_on)) == LENGTH
