"""What UniLM learns from: a pair of sentences as one sequence, some of its tokens masked.

Numbers only, a function of the random numbers given; which pairs, which modes and how many is
task.py's matter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from sightline.errors import InvalidArgument
from sightline.models.unilm_masks import Mode

__all__ = [
    "CLS",
    "MASK",
    "SEP",
    "SPECIAL",
    "Masking",
    "Pair",
    "Sequenced",
    "cloze",
    "flat_places",
    "lay_out",
]

# Their numbers are 0 to 4.
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
CLS, SEP, MASK = (SPECIAL.index(name) for name in ("[CLS]", "[SEP]", "[MASK]"))

# What becomes of a chosen token: [MASK] below the first number, another token below the second.
_FATES = (0.8, 0.9)


class Pair(NamedTuple):
    """A source and its target, as subwords without special tokens."""

    source: list[int]
    target: list[int]


@dataclass(frozen=True)
class Masking:
    """How tokens are chosen to be told.

    Attributes:
        share: of the tokens that may be chosen.
        spans: how many of the choices are two or three tokens in a row instead of one.
        target_only: only the target's tokens may be chosen, its [SEP] included, as in
            fine-tuning; otherwise all but special tokens.

    Raises:
        InvalidArgument: shares outside 0 to 1.
    """

    share: float = 0.15
    spans: float = 0.2
    target_only: bool = False

    def __post_init__(self) -> None:
        for name in ("share", "spans"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise InvalidArgument(f"got {name}={getattr(self, name)}; wanted 0 to 1.")


def _none() -> np.ndarray:
    return np.empty(0, dtype=np.int64)


@dataclass(frozen=True, eq=False)
class Sequenced:
    """[CLS] source [SEP] target [SEP], read in one mode.

    Attributes:
        tokens: int64 [length].
        mode: in which it is read.
        source: how many tokens [CLS] source [SEP] are.
        follows: whether the target is the source's own; None where nobody asks.
        places: int64 [n], which tokens are to be told, in order.
        answers: int64 [n], what stood there.
    """

    tokens: np.ndarray
    mode: Mode
    source: int
    follows: bool | None = None
    places: np.ndarray = field(default_factory=_none)
    answers: np.ndarray = field(default_factory=_none)


def lay_out(pair: Pair, mode: Mode, *, follows: bool | None = None) -> Sequenced:
    """Return a pair as one sequence, nothing masked.

    >>> lay_out(Pair([7, 8], [9]), "seq2seq").tokens.tolist()
    [2, 7, 8, 3, 9, 3]
    """
    tokens = np.array([CLS, *pair.source, SEP, *pair.target, SEP], dtype=np.int64)
    return Sequenced(tokens, mode, len(pair.source) + 2, follows)


def cloze(sequence: Sequenced, masking: Masking, vocab: int, rng: np.random.Generator) -> Sequenced:
    """Return the sequence with some tokens masked: at least one, if any may be.

    Of the chosen tokens 80 % become [MASK], 10 % any token that is not special, 10 % stay.

    Args:
        sequence: nothing masked in it.
        masking: how tokens are chosen.
        vocab: how many tokens there are.
        rng: what all draws come from.

    Source: Dong et al. 2019, sections 2.3 to 2.5: the cloze task, the shares, spans of two and
    three; and that fine-tuning masks the target and its end.
    """
    tokens = sequence.tokens
    may = (tokens != CLS) & (tokens != SEP)
    if masking.target_only:
        may = np.arange(len(tokens)) >= sequence.source
    places = _choose(may, masking, rng)
    fate = rng.random(len(places))
    others = rng.integers(len(SPECIAL), vocab, size=len(places))
    masked = tokens.copy()
    masked[places] = np.where(
        fate < _FATES[0], MASK, np.where(fate < _FATES[1], others, tokens[places])
    )
    return replace(sequence, tokens=masked, places=places, answers=tokens[places])


def _choose(may: np.ndarray, masking: Masking, rng: np.random.Generator) -> np.ndarray:
    """Return places, in order, until their share is reached; a span ends where none may follow."""
    candidates = np.flatnonzero(may)
    left = min(len(candidates), max(1, round(masking.share * len(candidates))))
    chosen = np.zeros(len(may), dtype=bool)
    for start in rng.permutation(candidates):
        if left <= 0:
            break
        size = int(rng.integers(2, 4)) if rng.random() < masking.spans else 1
        for place in range(start, min(start + min(size, left), len(may))):
            if not may[place]:
                break
            left -= not chosen[place]
            chosen[place] = True
    return np.flatnonzero(chosen)


def flat_places(sequences: Sequence[Sequenced]) -> np.ndarray:
    """Return all places of sequences laid end to end: int64 [n].

    >>> first, second = lay_out(Pair([7], [8]), "seq2seq"), lay_out(Pair([7], [9]), "seq2seq")
    >>> at = np.array([1])
    >>> flat_places([replace(first, places=at), replace(second, places=at)]).tolist()
    [1, 6]
    """
    starts = np.cumsum([0, *(len(each.tokens) for each in sequences[:-1])])
    return np.concatenate(
        [each.places + start for each, start in zip(sequences, starts, strict=True)]
    )
