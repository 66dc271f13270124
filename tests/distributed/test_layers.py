"""Layers and models inside ``context_parallel`` compute and learn what one process does."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import sightline as sl
from sightline.models.gpt import GPT, GPTConfig
from sightline.testing.ranks import RankPool

LENGTH, VOCAB = 45, 13
PACKED = sl.causal() & sl.documents(lengths=[[17, 4, 24], [30, 9, 6]])


def tokens_and_labels() -> tuple[torch.Tensor, torch.Tensor]:
    drawn = torch.Generator().manual_seed(7)
    tokens = torch.randint(0, VOCAB, (2, LENGTH), generator=drawn)
    return tokens, sl.distributed.next_token_labels(tokens, mask=PACKED)


def gpt(positions: Any) -> GPT:
    torch.manual_seed(3)
    sizes: dict[str, Any] = {"vocab": VOCAB, "layers": 2, "heads": 4, "kv_heads": 2, "width": 16}
    return GPT(GPTConfig(**sizes, context=LENGTH, positions=positions)).double()


def curve_alone(positions: str) -> tuple[list[float], list[torch.Tensor]]:
    """Train three steps in one process."""
    model, (tokens, labels) = gpt(positions), tokens_and_labels()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    curve = []
    for _ in range(3):
        optimizer.zero_grad()
        logits = model(tokens, mask=PACKED)
        loss = torch.nn.functional.cross_entropy(logits.transpose(1, 2), labels)
        loss.backward()
        optimizer.step()
        curve.append(loss.item())
    return curve, [model(tokens, mask=PACKED).detach(), *map(torch.detach, model.parameters())]


def curve_shared(positions: str) -> tuple[list[float], list[torch.Tensor]]:
    """Train the same steps, each rank with its share."""
    model = gpt(positions)
    spread = sl.distributed.spread(PACKED, LENGTH, block=4)
    tokens, labels = sl.distributed.shard_batch(tokens_and_labels(), spread)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    curve = []
    for _ in range(3):
        optimizer.zero_grad()
        with sl.distributed.context_parallel(spread):
            logits = model(tokens, mask=PACKED)
        loss = sl.distributed.cross_entropy(logits, labels, spread)
        loss.backward()
        sl.distributed.average_gradients(model.parameters(), spread)
        optimizer.step()
        curve.append(sl.distributed.mean_over_ranks(loss, spread).item())
    with sl.distributed.context_parallel(spread):
        logits = sl.distributed.unshard(model(tokens, mask=PACKED).detach(), spread)
    return curve, [logits, *map(torch.detach, model.parameters())]


@pytest.mark.parametrize("positions", ["learned", "rotary"])
def test_a_gpt_learns_as_in_one_process(ranks: RankPool, positions: str) -> None:
    curve, wanted = curve_alone(positions)
    for found_curve, found in ranks.run(curve_shared, positions):
        torch.testing.assert_close(found_curve, curve, rtol=1e-9, atol=0)
        for got, want in zip(found, wanted, strict=True):
            torch.testing.assert_close(got, want, rtol=1e-6, atol=1e-9)


def too_long() -> str:
    model = gpt("learned")
    spread = sl.distributed.spread(sl.causal(), LENGTH + 1, block=4)
    with sl.distributed.context_parallel(spread), pytest.raises(sl.ShapeMismatch) as caught:
        model(torch.zeros(1, spread.length, dtype=torch.int64))
    return str(caught.value)


def test_a_sequence_longer_than_the_context_is_refused_on_every_rank(ranks: RankPool) -> None:
    for told in ranks.run(too_long):
        assert told.startswith(f"got {LENGTH + 1} positions and a model with context={LENGTH}")
