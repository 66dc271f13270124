"""Recommenders and knowledge tracing: what a prediction may know of its own answer.

Contracts here speak of single inputs: exercises up to now, answers before now, candidates alone.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

import sightline as sl

from .fault import Claim, Fault, Inputs, PadInvariant, Sees
from .parts import (
    BATCH,
    VOCAB,
    WIDTH,
    Block,
    drawn,
    merge_heads,
    numbers,
    seeded,
    sinusoids,
    split_heads,
    valid,
)

EXERCISES, CANDIDATES = 13, 5
INF = float("-inf")


class Asks(nn.Module):
    """Attention of queries to interactions, up to a diagonal."""

    def __init__(self, diagonal: int = 0) -> None:
        super().__init__()
        self.diagonal = diagonal
        self.query = nn.Linear(WIDTH, WIDTH)
        self.key_value = nn.Linear(WIDTH, 2 * WIDTH)

    def forward(self, asked: Tensor, known: Tensor) -> Tensor:
        query = split_heads(self.query(asked))
        key, value = (split_heads(part) for part in self.key_value(known).chunk(2, dim=-1))
        allowed = torch.ones(asked.shape[1], known.shape[1]).tril(self.diagonal).bool()
        scores = (query @ key.mT / query.shape[-1] ** 0.5).masked_fill(~allowed, INF)
        return merge_heads(scores.softmax(-1) @ value)


class Tracing(nn.Module):
    """Will the student solve the next exercise? Asks with the exercise, looks at what went before.

    A place holds the interaction before it (a first one is learned), so that the triangle with its
    diagonal shows what came before.
    """

    shifted = True
    asks_with_answer = False
    diagonal = 0

    def __init__(self) -> None:
        super().__init__()
        self.exercise = nn.Embedding(EXERCISES, WIDTH)
        self.interaction = nn.Embedding(2 * EXERCISES, WIDTH)
        self.begin = nn.Parameter(torch.randn(1, 1, WIDTH))
        self.attention = Asks(self.diagonal)
        self.head = nn.Linear(2 * WIDTH, 1)

    def forward(self, exercises: Tensor, answers: Tensor) -> Tensor:
        asked = self.exercise(exercises)
        known = self.interaction(exercises + EXERCISES * answers)
        if self.shifted:
            known = torch.cat([self.begin.expand(len(known), 1, -1), known[:, :-1]], dim=1)
        known = known + sinusoids(known.shape[1], WIDTH, known.dtype)
        if self.asks_with_answer:
            asked = asked + self.interaction(exercises + EXERCISES * answers)
        return self.head(torch.cat([asked, self.attention(asked, known)], dim=-1))


class TracingUnshifted(Tracing):
    """The interaction that is to be predicted stands where the triangle's diagonal sees it."""

    shifted = False


class TracingAsksWithAnswer(Tracing):
    """The query is made of the interaction instead of the exercise."""

    asks_with_answer = True


class TracingShiftedTwice(Tracing):
    """Shifted, and still a triangle one diagonal further."""

    diagonal = 1


class NextExercise(Tracing):
    """Reads the following exercise, which the student has not seen yet."""

    def forward(self, exercises: Tensor, answers: Tensor) -> Tensor:
        following = torch.cat([exercises[:, 1:], exercises[:, -1:]], dim=1)
        return super().forward(following, answers)


class Listing(nn.Module):
    """Scores candidates for one user: each alone, against the user's clicks."""

    free = False

    def __init__(self) -> None:
        super().__init__()
        self.items = nn.Embedding(VOCAB, WIDTH)
        self.reader = Candidates(self.free)
        self.head = nn.Linear(WIDTH, 1)

    def forward(self, clicks: Tensor, candidates: Tensor) -> Tensor:
        return self.head(self.reader(self.items(clicks), self.items(candidates)))


class Candidates(nn.Module):
    """Candidates look at clicks and at themselves; not at each other, unless free."""

    def __init__(self, free: bool) -> None:
        super().__init__()
        self.free = free
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH)

    def forward(self, clicks: Tensor, candidates: Tensor) -> Tensor:
        both = torch.cat([clicks, candidates], dim=1)
        query, key, value = (split_heads(part) for part in self.qkv(both).chunk(3, dim=-1))
        place = torch.arange(both.shape[1])
        allowed = (place[None, :] < clicks.shape[1]) | (place[None, :] == place[:, None])
        if self.free:
            allowed = torch.ones_like(allowed)
        scores = (query @ key.mT / query.shape[-1] ** 0.5).masked_fill(~allowed, INF)
        mixed = merge_heads(scores.softmax(-1) @ value)
        return (both + mixed)[:, clicks.shape[1] :]


class FreeListing(Listing):
    free = True


class Session(nn.Module):
    """Items and how long each was looked at; the time is known once the next item is chosen."""

    late = True

    def __init__(self) -> None:
        super().__init__()
        self.items = nn.Embedding(VOCAB, WIDTH)
        self.time = nn.Linear(1, WIDTH)
        self.attention = Asks()
        self.head = nn.Linear(WIDTH, VOCAB)

    def forward(self, items: Tensor, seconds: Tensor) -> Tensor:
        looked = self.time(seconds)
        if self.late:
            looked = torch.cat([torch.zeros_like(looked[:, :1]), looked[:, :-1]], dim=1)
        x = self.items(items) + looked + sinusoids(items.shape[1], WIDTH, looked.dtype)
        return self.head(x + self.attention(x, x))


class SessionKnowsItsTime(Session):
    """The time of an item counts as known while it is looked at."""

    late = False


class History(nn.Module):
    """A user's clicks, padded, as one vector: a weight for each click."""

    def weights(self, scores: Tensor, keep: Tensor) -> Tensor:
        return scores.masked_fill(~keep, INF).softmax(1)

    def __init__(self) -> None:
        super().__init__()
        self.items = nn.Embedding(VOCAB, WIDTH)
        self.score = nn.Linear(WIDTH, 1)
        self.block = Block(nn.Identity())
        self.head = nn.Linear(WIDTH, VOCAB)

    def forward(self, clicks: Tensor, lengths: Tensor) -> Tensor:
        x = self.block(self.items(clicks))
        keep = torch.arange(clicks.shape[1]) < lengths[:, None]
        weights = self.weights(self.score(x)[..., 0], keep)
        return self.head((weights[..., None] * x).sum(1))


class HistoryOfPads(History):
    def weights(self, scores: Tensor, keep: Tensor) -> Tensor:
        return scores.softmax(1)


class HistoryScoresZeroed(History):
    """Scores of pads are set to 0 before the softmax, which makes something of them."""

    def weights(self, scores: Tensor, keep: Tensor) -> Tensor:
        return (scores * keep).softmax(1)


class HistoryOneTooLong(History):
    """ "Not greater" for "less": one pad counts as a click."""

    def forward(self, clicks: Tensor, lengths: Tensor) -> Tensor:
        return super().forward(clicks, lengths + 1)


class Recent(nn.Module):
    """SASRec: causal self-attention over items."""

    masked = True

    def __init__(self) -> None:
        super().__init__()
        self.items = nn.Embedding(VOCAB, WIDTH)
        self.attention = Asks()

    def forward(self, items: Tensor) -> Tensor:
        x = self.items(items) + sinusoids(items.shape[1], WIDTH, self.items.weight.dtype)
        x = x + self.attention(x, x)
        return x @ self.target(items).mT

    def target(self, items: Tensor) -> Tensor:
        return self.items.weight


class RecentScoredBySession(Recent):
    """Scores are centred by those of the items that the session turns out to hold."""

    def forward(self, items: Tensor) -> Tensor:
        scores = super().forward(items)
        held = scores.gather(-1, items[:, None, :].expand(-1, items.shape[1], -1))
        return scores - held.mean(-1, keepdim=True)


def lessons(length: int) -> dict[str, Tensor]:
    """Return exercises and whether each was solved."""
    return {
        "exercises": drawn(BATCH, length, low=0, high=EXERCISES),
        "answers": drawn(BATCH, length, low=0, high=2, seed=5),
    }


def listing(length: int) -> dict[str, Tensor]:
    """Return clicks and candidates."""
    return {"clicks": drawn(BATCH, length), "candidates": drawn(BATCH, CANDIDATES, seed=6)}


def session(length: int) -> dict[str, Tensor]:
    """Return items and seconds."""
    return {"items": drawn(BATCH, length), "seconds": numbers(BATCH, length, 1).abs()}


def history(length: int) -> dict[str, Tensor]:
    """Return padded clicks and how many are real."""
    keep = valid(length)
    return {"clicks": drawn(BATCH, length) * keep, "lengths": keep.sum(1)}


def items(length: int) -> dict[str, Tensor]:
    """Return items."""
    return {"items": drawn(BATCH, length)}


TRACED = Sees({"exercises": sl.causal(), "answers": sl.causal(strict=True)})
ALONE = Sees({"candidates": sl.window(left=0, right=0), "clicks": sl.everything()})
IN_TIME = Sees({"items": sl.causal(), "seconds": sl.causal(strict=True)})


def _row(
    name: str,
    wrong: Callable[[], nn.Module],
    right: Callable[[], nn.Module],
    claim: Claim,
    inputs: Inputs,
    module: str,
    cause: tuple[str, ...],
) -> Fault:
    return Fault(name, "recommenders", seeded(wrong), seeded(right), claim, inputs, module, cause)


FAULTS = (
    _row("answers not shifted", TracingUnshifted, Tracing, TRACED, lessons, "",
         ("shift", "label", "self")),
    _row("asks with its own answer", TracingAsksWithAnswer, Tracing, TRACED, lessons, "",
         ("self", "own")),
    _row("shifted, and a triangle too wide", TracingShiftedTwice, Tracing, TRACED, lessons,
         "attention", ("off by one", "diagonal")),
    _row("reads the next exercise", NextExercise, Tracing, TRACED, lessons, "",
         ("off by one", "shift")),
    _row("candidates see each other", FreeListing, Listing, ALONE, listing, "reader",
         ("candidate", "mask")),
    _row("time known too early", SessionKnowsItsTime, Session, IN_TIME, session, "",
         ("shift", "self", "own")),
    _row("history of pads", HistoryOfPads, History, PadInvariant(), history, "",
         ("softmax", "padding")),
    _row("scores of pads set to zero", HistoryScoresZeroed, History, PadInvariant(), history, "",
         ("softmax", "padding")),
    _row("history one too long", HistoryOneTooLong, History, PadInvariant(), history, "",
         ("off by one", "length")),
    _row("scores centred by the session", RecentScoredBySession, Recent,
         Sees({"items": sl.causal()}), items, "", ("mean", "candidate")),
)  # fmt: skip
