"""A query and a key that an atom is asked about, and what is said of any two positions.

The words of each atom are in pair_words.py and grid_words.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sightline.masks.arrays import Cells
from sightline.views.reasons.owners import owner_of

if TYPE_CHECKING:
    from sightline.masks.mask import Mask

__all__ = ["Asked", "Pair", "allows", "both", "gap", "positions"]


@dataclass(frozen=True)
class Pair:
    """One query and one key, of one batch row and head."""

    query: int
    key: int
    batch: int = 0
    head: int = 0


@dataclass(frozen=True)
class Asked:
    """A pair and the atom that is asked about it; its arguments are as they were given."""

    pair: Pair
    mask: Any
    given: dict[str, Any]

    @property
    def row(self) -> int:
        """The batch row in tables that hold one for each, or one for all."""
        return owner_of(self.mask, self.pair.batch, self.pair.head)[0]

    @property
    def of_row(self) -> str:
        """How the row is called: there may be only one."""
        return f"batch row {self.pair.batch}" if self.mask.batch > 1 else "the row"


def allows(mask: Mask, pair: Pair) -> bool:
    """Return whether a mask allows a pair."""
    batch, head, query, key = (
        np.array([at], np.int64)
        for at in (*owner_of(mask, pair.batch, pair.head), pair.query, pair.key)
    )
    return bool(np.all(mask.allowed(Cells(batch, head, query, key))))


def gap(asked: Asked) -> str:
    """Return how far the key is from the query, in words."""
    query, key = asked.pair.query, asked.pair.key
    if key == query:
        return f"key {key} is query {query} itself"
    return f"key {key} is {abs(key - query)} {'after' if key > query else 'before'} query {query}"


def positions(start: int, stop: int) -> str:
    """Return a stretch of positions in words."""
    return f"(position {start})" if stop - start == 1 else f"(positions {start} to {stop - 1})"


def both(asked: Asked, where: Callable[[int], str]) -> str:
    """Return where query and key are, told once if it is the same."""
    query, key = asked.pair.query, asked.pair.key
    first, second = where(query), where(key)
    if first == second:
        return f"query {query} and key {key} are both in {first}"
    return f"query {query} is in {first}, key {key} in {second}"
