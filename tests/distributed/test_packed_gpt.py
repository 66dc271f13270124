"""A GPT on packed documents learns on several ranks what it learns in one process."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.distributed as dist

from sightline.recipes.packed_gpt import RECIPE
from sightline.recipes.packed_gpt.outcome import what_came_out
from sightline.recipes.packed_gpt.task import PackedTask
from sightline.testing.ranks import RankPool

PLAY = "".join(f"{who}:\n{'well, ' * words}so.\n\n" for words in range(12) for who in "ABC")
SMOKE: Any = RECIPE.presets["smoke"]


def quiet(what: str, done: int, total: int) -> None:
    assert 0 <= done <= total


def task(**changes: Any) -> PackedTask:
    return PackedTask(replace(SMOKE, context=300, **changes), PLAY, seed=1)


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
    "changes",
    [{}, {"batch": 3}, {"batch": 2, "positions": "learned"}, {"batch": 2, "engine": "sdpa"}],
    ids=str,
)
def test_loss_and_gradients_of_a_shared_batch(ranks: RankPool, changes: dict[str, Any]) -> None:
    wanted, gradients = loss_and_gradients(changes, shared=False)
    for loss, found in ranks.run(loss_and_gradients, changes, shared=True):
        assert loss == pytest.approx(wanted, rel=1e-6)
        torch.testing.assert_close(found, gradients)


def evaluated(shared: bool) -> tuple[torch.Tensor, dict[str, float]]:
    """Return each held-out loss, and what the report says about leaks."""
    made = task(batch=2)
    if shared:
        made.share(dist.group.WORLD)
    with torch.no_grad():
        losses = made.held_out_losses(made.model.eval(), quiet)
        outcome = what_came_out(made, made.model, quiet)
    return losses, {each.name: each.value for each in outcome.figures if each.target is not None}


def test_held_out_documents_are_read_by_all_ranks(ranks: RankPool) -> None:
    wanted, _ = evaluated(shared=False)
    for losses, promises in ranks.run(evaluated, shared=True):
        torch.testing.assert_close(losses, wanted)
        assert len(promises) == 3
        assert promises["change of a document's logits when all others are rewritten"] == 0.0
        assert max(promises.values()) < 1e-5
