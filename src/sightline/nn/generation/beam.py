"""Beam search: several continuations of each prompt side by side, the best sums go on.

Each prompt ends by its own rule, so that its result does not depend on the batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from sightline.nn.generation.options import Options
from sightline.nn.generation.session import Session

# The sum of beams that do not exist yet: all beams of a prompt start from one.
_NOWHERE = -1e9


@dataclass(frozen=True)
class Beam:
    """A continuation: its tokens, their log-probabilities, and its score once it has ended."""

    tokens: tuple[int, ...] = ()
    logprobs: tuple[float, ...] = ()
    score: float = 0.0
    ended_by_eos: bool = False


@dataclass
class Candidate:
    """One step of one beam that is among the best of its prompt."""

    total: float
    logprob: float
    beam: int
    token: int


@dataclass
class Search:
    """One prompt's search: the beams that go on, and the best that have ended."""

    row: int
    options: Options
    running: list[Beam] = field(default_factory=list)
    totals: list[float] = field(default_factory=list)
    sources: list[int] = field(default_factory=list)
    ended: list[Beam] = field(default_factory=list)
    open: bool = True

    def __post_init__(self) -> None:
        beams = self.options.beams
        self.running = [Beam()] * beams
        self.totals = [0.0] + [_NOWHERE] * (beams - 1)

    def advance(self, candidates: Sequence[Candidate]) -> None:
        """Take one step: of ``candidates``, best first, some end and the best others go on."""
        options, before = self.options, self.running
        length = len(before[0].tokens) + 1
        going: list[tuple[Candidate, Beam]] = []
        for rank, each in enumerate(candidates):
            by_eos = each.token in options.eos
            beam = Beam(
                (*before[each.beam].tokens, each.token),
                (*before[each.beam].logprobs, each.logprob),
                each.total / length**options.length_penalty,
                by_eos,
            )
            if not by_eos and length < options.max_new_tokens:
                going.append((each, beam))
            elif rank < options.beams and each.total > _NOWHERE / 2:
                self.ended.append(beam)
        self.ended = sorted(self.ended, key=lambda beam: -beam.score)[: options.beams]
        going = going[: options.beams]
        self.running = [beam for _, beam in going]
        self.totals = [each.total for each, _ in going]
        self.sources = [each.beam for each, _ in going]
        self.open = bool(going) and not self._settled(length)

    def _settled(self, length: int) -> bool:
        """Return whether no running beam can do better than those that have ended."""
        if len(self.ended) < self.options.beams:
            return False
        best = self.totals[0] / length**self.options.length_penalty
        return self.options.early_stopping or best <= self.ended[-1].score


def search(session: Session, prompts: Sequence[Any], options: Options) -> list[list[Beam]]:
    """Return the ended beams of every prompt, best first.

    Args:
        session: the model and a cache of one row per prompt, which is forked and dropped.
        prompts: [batch] rows of tokens.
        options: beams, length_penalty, early_stopping, eos, max_new_tokens.

    Source: Wu et al. 2016, "Google's Neural Machine Translation System", section 7; ended beams
    are ranked by their sum divided by ``length ** length_penalty``, as in transformers.
    """
    searches = [Search(row, options) for row in range(len(prompts))]
    beams = options.beams
    logits = session.prefill(prompts, options.prefill_chunk).repeat_interleave(beams, 0)
    session.keep(np.repeat(np.arange(len(prompts)), beams))
    going = searches
    while True:
        for each, candidates in zip(going, _best(logits, going, options), strict=True):
            each.advance(candidates)
        places = [
            place * beams + source
            for place, each in enumerate(going)
            if each.open
            for source in each.sources
        ]
        going = [each for each in going if each.open]
        if not going:
            return [each.ended for each in searches]
        session.keep(np.array(places))
        newest = np.array([beam.tokens[-1:] for each in going for beam in each.running])
        logits = session.last(newest, np.ones(len(newest), dtype=np.int64))


def _best(logits: torch.Tensor, going: Sequence[Search], options: Options) -> list[list[Candidate]]:
    """Return each prompt's best next steps, best first: enough that ``beams`` can go on."""
    beams, vocab = options.beams, logits.shape[-1]
    logprobs = logits.float().log_softmax(-1).view(len(going), beams, vocab)
    before = torch.tensor([each.totals for each in going], device=logits.device)
    totals = (logprobs + before[:, :, None]).flatten(1)
    wanted = min(max(2, 1 + len(options.eos)) * beams, totals.shape[1])
    found, places = totals.topk(wanted, dim=1)
    own = logprobs.flatten(1).gather(1, places)
    return [
        [
            Candidate(total, logprob, place // vocab, place % vocab)
            for total, logprob, place in zip(*rows, strict=True)
        ]
        for rows in zip(found.tolist(), own.tolist(), places.tolist(), strict=True)
    ]
