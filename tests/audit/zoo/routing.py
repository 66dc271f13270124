"""Routing: which tokens an expert takes, and what that tells of the others."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .fault import BatchInvariant, Claim, Fault
from .gpt import CAUSAL, Attention
from .parts import WIDTH, Decoder, ids, seeded

EXPERTS = 3


class TokenChoice(nn.Module):
    """Each token goes to the expert of its own choice."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Linear(WIDTH, EXPERTS)
        self.experts = nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(EXPERTS))

    def taken(self, scores: Tensor) -> Tensor:
        """Return the weight of each expert for each token, [B, T, E]; 0 where it is not taken."""
        best = scores.argmax(-1, keepdim=True)
        return torch.zeros_like(scores).scatter(-1, best, scores.gather(-1, best))

    def forward(self, x: Tensor) -> Tensor:
        weights = self.taken(self.gate(x).softmax(-1))
        outputs = torch.stack([expert(x) for expert in self.experts], dim=-1)
        return (outputs * weights[:, :, None, :]).sum(-1)


class ExpertChoice(TokenChoice):
    """Each expert takes the tokens it likes best, of all time."""

    def taken(self, scores: Tensor) -> Tensor:
        best = scores.topk(4, dim=1).indices
        return torch.zeros_like(scores).scatter(1, best, scores.gather(1, best))


class FirstComeCapacity(TokenChoice):
    """An expert takes tokens as they come, until it is full."""

    def capacity(self, x: Tensor) -> float:
        """Return four fifths of an even share of a sample's tokens."""
        return 0.8 * x.shape[1] / EXPERTS

    def rank(self, chosen: Tensor, scores: Tensor) -> Tensor:
        return chosen.cumsum(1)

    def taken(self, scores: Tensor) -> Tensor:
        weights = super().taken(scores)
        chosen = (weights > 0).to(scores.dtype)
        return weights * (self.rank(chosen, weights) <= self.capacity(scores))


class BestFirstCapacity(FirstComeCapacity):
    """An expert that is full takes the tokens with the greatest weight."""

    def rank(self, chosen: Tensor, scores: Tensor) -> Tensor:
        return (scores[:, None, :, :] >= scores[:, :, None, :]).sum(2) * chosen


class SharedCapacity(FirstComeCapacity):
    """Capacity is shared by the whole batch, sample after sample."""

    def capacity(self, x: Tensor) -> float:
        return super().capacity(x) * x.shape[0]

    def rank(self, chosen: Tensor, scores: Tensor) -> Tensor:
        return chosen.flatten(0, 1).cumsum(0).unflatten(0, chosen.shape[:2])


class Depth(nn.Module):
    """A token is worked on if its score is above a threshold."""

    def __init__(self) -> None:
        super().__init__()
        self.score = nn.Linear(WIDTH, 1)
        self.work = nn.Linear(WIDTH, WIDTH)

    def chosen(self, scores: Tensor) -> Tensor:
        return scores > 0

    def forward(self, x: Tensor) -> Tensor:
        scores = self.score(x)
        return self.work(x) * scores.sigmoid() * self.chosen(scores)


class BestOfAllTime(Depth):
    """The best half of the whole text is worked on."""

    def chosen(self, scores: Tensor) -> Tensor:
        threshold = scores.median(dim=1, keepdim=True).values
        return scores >= threshold


class Balanced(TokenChoice):
    """Experts that are much asked are held back: by the load of all time."""

    def taken(self, scores: Tensor) -> Tensor:
        return super().taken(scores) / (1 + self.load(scores))

    def load(self, scores: Tensor) -> Tensor:
        steps = torch.arange(1, scores.shape[1] + 1, dtype=scores.dtype)[:, None]
        return scores.cumsum(1) / steps


class BalancedOverAll(Balanced):
    def load(self, scores: Tensor) -> Tensor:
        return scores.mean(1, keepdim=True)


class InBatch(nn.Module):
    """Attention of each token to itself in the other samples, or (rightly) in its own."""

    def __init__(self, over_batch: bool) -> None:
        super().__init__()
        self.over_batch = over_batch
        self.map = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        x = x.transpose(0, 1) if self.over_batch else x
        scores = self.map(x) @ x.mT
        if not self.over_batch:
            later = torch.ones_like(scores, dtype=torch.bool).triu(1)
            scores = scores.masked_fill(later, float("-inf"))
        mixed = scores.softmax(-1) @ x
        return mixed.transpose(0, 1) if self.over_batch else mixed


def _row(
    name: str,
    wrong: type[nn.Module],
    right: type[nn.Module],
    cause: tuple[str, ...],
    claim: Claim = CAUSAL,
) -> Fault:
    """Return the row of a fault in the layer after an attention layer."""
    return Fault(
        name=name,
        family="routing",
        wrong=seeded(lambda: Decoder(Attention(), wrong())),
        right=seeded(lambda: Decoder(Attention(), right())),
        claim=claim,
        inputs=ids,
        module="blocks.1.mix",
        cause=cause,
    )


FAULTS = (
    _row("experts choose over time", ExpertChoice, TokenChoice, ("topk", "top-k", "rout")),
    _row("best tokens of all time", BestOfAllTime, Depth, ("median", "top-k", "rout")),
    _row("capacity by weight", BestFirstCapacity, FirstComeCapacity, ("rout", "capacity")),
    _row(
        "capacity of the whole batch",
        SharedCapacity,
        FirstComeCapacity,
        ("batch",),
        BatchInvariant(),
    ),
    _row("load of all time", BalancedOverAll, Balanced, ("mean", "rout")),
    Fault(
        name="attention over the batch",
        family="routing",
        wrong=seeded(lambda: Decoder(Attention(), InBatch(over_batch=True))),
        right=seeded(lambda: Decoder(Attention(), InBatch(over_batch=False))),
        claim=BatchInvariant(),
        inputs=ids,
        module="blocks.1.mix",
        cause=("batch",),
    ),
)
