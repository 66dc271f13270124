"""The masks that are measured, by name. A new one is a new row of MASKS."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

import sightline as sl

__all__ = ["MASKS", "QUICK_MASKS", "Case", "case_named", "ragged_cuts"]

# Tokens of a document where they differ, on average.
_RAGGED_MEAN = 512


@dataclass(frozen=True)
class Case:
    """A mask, and what other libraries could be told instead.

    Attributes:
        name: its row of MASKS.
        mask: the mask.
        causal: whether ``is_causal=True`` says it.
        cuts: offsets 0, ..., length of documents that are causal in themselves; () for others.
    """

    name: str
    mask: sl.Mask
    causal: bool = False
    cuts: tuple[int, ...] = ()


def ragged_cuts(length: int, seed: int = 0) -> tuple[int, ...]:
    """Return offsets of documents of random lengths, about 512 tokens on average.

    >>> ragged_cuts(2048)[0], ragged_cuts(2048)[-1], len(ragged_cuts(2048))
    (0, 2048, 5)
    """
    documents = min(length, max(1, length // _RAGGED_MEAN))
    inner = 1 + np.random.default_rng(seed).choice(length - 1, documents - 1, replace=False)
    return (0, *sorted(inner.tolist()), length)


def _even_cuts(size: int) -> Callable[[int], tuple[int, ...]]:
    return lambda length: (*range(0, length, size), length)


def _plain(mask: Callable[[int], sl.Mask], *, causal: bool = False) -> Callable[[int], Case]:
    return lambda length: Case("", mask(length), causal)


def _documents(cuts_of: Callable[[int], tuple[int, ...]]) -> Callable[[int], Case]:
    def make(length: int) -> Case:
        cuts = cuts_of(length)
        return Case("", sl.causal() & sl.documents(cu_seqlens=cuts), cuts=cuts)

    return make


# Name -> the case at so many tokens. A window of 512 is of the token itself and 511 before it.
MASKS: dict[str, Callable[[int], Case]] = {
    "full": _plain(lambda length: sl.everything()),
    "causal": _plain(lambda length: sl.causal(), causal=True),
    "window-512": _plain(lambda length: sl.window(511, 0)),
    "window-256": _plain(lambda length: sl.window(255, 0)),
    "documents-512": _documents(_even_cuts(512)),
    "documents-256": _documents(_even_cuts(256)),
    "ragged": _documents(ragged_cuts),
    "prefix-lm": _plain(lambda length: sl.prefix_lm(max(1, length // 4))),
    "block-causal": _plain(lambda length: sl.block_causal(128)),
}
# One of each kind: dense, half, a band, squares on the diagonal.
QUICK_MASKS = ("full", "causal", "window-256", "documents-256", "ragged")


def case_named(name: str, length: int) -> Case:
    """Return the mask of that name for so many tokens."""
    made = MASKS[name](length)
    return Case(name, made.mask, made.causal, made.cuts)
