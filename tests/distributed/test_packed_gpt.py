"""A GPT on packed documents learns on several ranks what it learns in one process."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from word_runs import as_launched, from_first

from sightline.recipes.packed_gpt import RECIPE
from sightline.recipes.packed_gpt.task import PackedTask
from sightline.recipes.training.loop import train
from sightline.recipes.training.run_folder import Run, open_run
from sightline.testing.ranks import RankPool

PLAY = "".join(f"{who}:\n{'well, ' * words}so.\n\n" for words in range(12) for who in "ABC")
SMOKE: Any = RECIPE.presets["smoke"]


def task(**changes: Any) -> PackedTask:
    return PackedTask(replace(SMOKE, context=300, **changes), PLAY, seed=1)


# -- a batch -------------------------------------------------------------------------------------


def loss_and_gradients(changes: dict[str, Any], shared: bool) -> tuple[float, list[torch.Tensor]]:
    """Return those of batch 0; of a rank's part, the mean over all ranks."""
    made = task(**changes)
    if shared:
        made.share(dist.group.WORLD)
    loss, _ = made.loss(made.model, made.batch(0))
    loss.backward()
    found = [loss.detach(), *(weight.grad for weight in made.model.parameters())]
    if shared:
        for each in found:
            dist.all_reduce(each)
            each /= dist.get_world_size()
    return float(found[0]), found[1:]


@pytest.mark.parametrize(
    "changes", [{"batch": 3}, {"batch": 2, "positions": "learned", "engine": "sdpa"}], ids=str
)
def test_loss_and_gradients_of_a_shared_batch(ranks: RankPool, changes: dict[str, Any]) -> None:
    wanted, gradients = loss_and_gradients(changes, shared=False)
    for loss, found in ranks.run(loss_and_gradients, changes, shared=True):
        assert loss == pytest.approx(wanted, rel=1e-6)
        torch.testing.assert_close(found, gradients)


# -- a run ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Learned:
    """What a run brings home."""

    losses: list[float]
    held_out: list[float]
    promises: dict[str, float]


def learn(folder: Path, **changes: Any) -> Learned | None:
    """Train a few steps, alone or as a rank; what came out, in the first."""
    settings = replace(
        SMOKE, context=300, steps=6, evaluate_every=3, checkpoint_every=6, sample=5, **changes
    )
    run = Run(folder, RECIPE.name, "smoke", settings, 1)
    with as_launched() as rank:
        (resume,) = from_first(open_run(run) if rank == 0 else None)
        done = train(PackedTask(settings, PLAY, seed=1), run, resume=resume)
    if rank:
        return None
    return Learned(
        [each["loss"] for each in done.losses],
        [each["loss"] for each in done.evaluations],
        {each.name: each.value for each in done.outcome.figures if each.target is not None},
    )


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Learned:
    """The run in one process."""
    learned = learn(tmp_path_factory.mktemp("alone") / "run")
    assert learned is not None
    return learned


@pytest.mark.parametrize(
    ("pool", "changes"),
    [
        ("two_ranks", {"context_ranks": 2}),
        ("four_ranks", {"context_ranks": 2}),
        ("four_ranks", {"context_ranks": 4, "parallel": "fsdp"}),
    ],
    ids=["2", "2 x 2", "4, weights spread"],
)
def test_the_curve_is_that_of_one_process(
    pool: str,
    changes: dict[str, Any],
    alone: Learned,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    first, *others = request.getfixturevalue(pool).run(learn, tmp_path / "run", **changes)
    assert others == [None] * len(others)
    assert first.losses == pytest.approx(alone.losses, rel=1e-5)
    assert first.held_out == pytest.approx(alone.held_out, rel=1e-5)
    assert first.losses[-1] < 0.95 * first.losses[0]  # it is a curve
    assert first.promises["change of a document's logits when all others are rewritten"] == 0.0
    assert len(first.promises) == 3
    assert max(first.promises.values()) < 1e-5


def read_at_once() -> tuple[list[int], torch.Tensor]:
    """Return how many tokens of a sequence the model is given, and the logits of all."""
    made, widths = task(), []
    made.share(dist.group.WORLD)
    made.model.register_forward_pre_hook(lambda _, given: widths.append(given[0].shape[1]))
    with torch.no_grad():
        return widths, made.logits(made.model, made.batch(0))


def test_no_rank_reads_a_whole_sequence_where_it_is_judged(ranks: RankPool) -> None:
    alone = task()
    with torch.no_grad():
        wanted = alone.logits(alone.model, alone.batch(0))
    told = ranks.run(read_at_once)
    assert sum(width for (width,), _ in told) == 300
    assert max(width for (width,), _ in told) < 300 / ranks.size + 64
    for _, logits in told:
        torch.testing.assert_close(logits, wanted)
