"""A run on several processes is the run of one: its curve, its files, and where it goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from word_runs import Learned, learn, refusal, rewrite, weights_of

from sightline.recipes.training.checkpoint import read_counts
from sightline.testing.ranks import RankFailed, RankPool


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> tuple[Learned, Path]:
    """The run in one process."""
    folder = tmp_path_factory.mktemp("alone") / "run"
    learned = learn(folder)
    assert learned is not None
    return learned, folder


def on_ranks(pool: RankPool | None, function: Any, *told: Any, **named: Any) -> list[Any]:
    """Call a function on the ranks of a pool, or in this process."""
    return [function(*told, **named)] if pool is None else pool.run(function, *told, **named)


def together(pool: RankPool | None, folder: Path, **how: Any) -> Learned:
    """Train to the end."""
    first, *others = on_ranks(pool, learn, folder, **how)
    assert first is not None
    assert others == [None] * len(others)
    return first


def assert_same_run(got: Learned, wanted: Learned, folder: Path, whole: Path) -> None:
    assert [each.keys() for each in got.losses] == [each.keys() for each in wanted.losses]
    for one, other in zip(got.losses, wanted.losses, strict=True):
        assert one == pytest.approx(other, rel=1e-5)
    for one, other in zip(got.evaluations, wanted.evaluations, strict=True):
        assert one == pytest.approx(other, rel=1e-5)
    assert got.figure == pytest.approx(wanted.figure, rel=1e-5)
    for name in ("checkpoint", "best"):
        ours, theirs = weights_of(folder, name), weights_of(whole, name)
        assert ours.keys() == theirs.keys()
        for key, tensor in ours.items():
            torch.testing.assert_close(tensor, theirs[key], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_the_curve_is_that_of_one_process(
    ranks: RankPool, parallel: str, alone: tuple[Learned, Path], tmp_path: Path
) -> None:
    wanted, whole = alone
    got = together(ranks, tmp_path / "run", parallel=parallel)
    assert_same_run(got, wanted, tmp_path / "run", whole)
    # Before the first update nothing was added up in another order.
    assert got.losses[0] == wanted.losses[0]


@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_batches_that_do_not_come_out_even_count_alike(
    four_ranks: RankPool, parallel: str, tmp_path: Path
) -> None:
    how = {"micro_batches": 5, "plain": True, "clip": 0.0}
    wanted = together(None, tmp_path / "one", **how)
    got = together(four_ranks, tmp_path / "four", parallel=parallel, **how)
    assert_same_run(got, wanted, tmp_path / "four", tmp_path / "one")


def test_a_weight_that_some_batches_leave_out_is_averaged_over_those_that_do_not(
    ranks: RankPool, tmp_path: Path
) -> None:
    wanted = together(None, tmp_path / "one", sides=True)
    got = together(ranks, tmp_path / "several", sides=True)
    assert_same_run(got, wanted, tmp_path / "several", tmp_path / "one")


@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
@pytest.mark.parametrize("batches", [2, 3])
def test_processes_that_share_a_sequence_are_one_in_the_sharing_of_batches(
    four_ranks: RankPool, batches: int, parallel: str, tmp_path: Path
) -> None:
    how = {"dropout": 0.0, "micro_batches": batches, "shared": True}
    wanted = together(None, tmp_path / "one", **how)
    got = together(four_ranks, tmp_path / "four", context_ranks=2, parallel=parallel, **how)
    assert_same_run(got, wanted, tmp_path / "four", tmp_path / "one")


def test_processes_that_were_told_other_things_are_told_apart(
    two_ranks: RankPool, tmp_path: Path
) -> None:
    for said in two_ranks.run(refusal, tmp_path / "run", steps_of=1, steps=4):
        assert "steps: 4 on rank 0, 5 on rank 1" in said


def test_spread_weights_refuse_a_loss_that_leaves_some_out(
    two_ranks: RankPool, tmp_path: Path
) -> None:
    for said in two_ranks.run(refusal, tmp_path / "run", sides=True, parallel="fsdp"):
        assert "parallel=fsdp" in said
        assert "a loss of 5 of the model's 7 weights" in said


def test_what_cannot_be_shared_out_is_refused_with_what_can(
    four_ranks: RankPool, tmp_path: Path
) -> None:
    def said(**changes: Any) -> str:
        folder = tmp_path / "-".join(changes)
        (told,) = set(four_ranks.run(refusal, folder, **changes))
        return told

    few = said(micro_batches=3)
    assert "4 processes for steps of micro_batches=3" in few
    assert "at most 3" in few
    assert "context_ranks=3 for 4 processes" in said(context_ranks=3)
    assert "context_ranks=2 for the recipe 'words'" in said(context_ranks=2)
    assert "ddp or fsdp" in said(parallel="pipeline")


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (("four", "ddp"), ("one", "ddp")),
        (("four", "fsdp"), ("one", "ddp")),
        (("one", "ddp"), ("four", "fsdp")),
        (("one", "ddp"), ("two", "ddp")),
        (("two", "fsdp"), ("four", "fsdp")),
        (("four", "fsdp"), ("two", "ddp")),
    ],
    ids="-".join,
)
def test_a_run_goes_on_with_other_processes(
    first: tuple[str, str],
    second: tuple[str, str],
    two_ranks: RankPool,
    four_ranks: RankPool,
    alone: tuple[Learned, Path],
    tmp_path: Path,
) -> None:
    pools = {"one": None, "two": two_ranks, "four": four_ranks}
    folder = tmp_path / "run"
    on_ranks(pools[first[0]], learn, folder, stopped=8, parallel=first[1])
    assert read_counts(folder / "checkpoint.safetensors").step == 6
    before = weights_of(folder)
    # Read and written again without a step between: not one bit is lost on the way.
    on_ranks(pools[second[0]], rewrite, folder, second[1])
    after = weights_of(folder)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    got = together(pools[second[0]], folder, parallel=second[1])
    assert got.resumed_at == 6
    assert_same_run(got, alone[0], folder, alone[1])


@pytest.mark.parametrize(("rank", "parallel"), [(0, "ddp"), (1, "fsdp")])
def test_a_run_goes_on_after_a_rank_was_killed(
    rank: int, parallel: str, alone: tuple[Learned, Path], tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    pool = RankPool(2, timeout=30)
    with pytest.raises(RankFailed) as caught:
        pool.run(learn, folder, killed=(rank, 5), parallel=parallel)
    assert "exit code -9" in caught.value.failures[rank]
    assert read_counts(folder / "checkpoint.safetensors").step == 3
    got = together(None, folder)
    assert got.resumed_at == 3
    assert_same_run(got, alone[0], folder, alone[1])
