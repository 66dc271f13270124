"""Masks as relations at a shape, and what they make one after the other.

As runs of keys where every row is one around its own position, which a million positions do not
mind; pair by pair where not. Formulas that need no shape are in reach_forms.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sightline.errors import InvalidArgument
from sightline.masks.evaluate import summarize
from sightline.masks.explicit import dense
from sightline.masks.frame import Frame
from sightline.masks.key_intervals import intervals
from sightline.masks.mask import Mask
from sightline.masks.range_least import RangeLeast

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Ints = NDArray[np.int64]
    Bools = NDArray[np.bool_]

# Positions followed pair by pair: 64 MiB for each batch row and head.
MOST_PAIRWISE = 8192


@dataclass(frozen=True, eq=False)
class Runs:
    """Row q sees the keys ``first`` .. ``last``, q among them, ``[B|1, H|1, N]`` each."""

    first: Ints
    last: Ints

    def mask(self) -> Mask:
        """Return the relation as a mask."""
        return intervals(self.first[..., None], self.last[..., None] + 1)

    def pairs(self) -> Pairs:
        """Return the same relation pair by pair."""
        size = self.first.shape[2]
        _check_pairwise(size)
        key = np.arange(size, dtype=np.int64)
        return Pairs((key >= self.first[..., None]) & (key <= self.last[..., None]))


@dataclass(frozen=True, eq=False)
class Pairs:
    """Row q sees the keys where ``allowed``, ``[B|1, H|1, N, N]``."""

    allowed: Bools

    def mask(self) -> Mask:
        """Return the relation as a mask."""
        return dense(self.allowed, means="attend")

    def pairs(self) -> Pairs:
        """Return itself."""
        return self


Relation = Runs | Pairs


def relation_at(mask: Mask, length: int) -> Relation:
    """Return the mask at ``length`` queries and keys: as runs if each row is one, around itself."""
    rows = summarize(mask, Frame.of(length, length))
    own = np.arange(length, dtype=np.int64)
    whole = rows.last - rows.first + 1 == rows.seen
    if (whole & (rows.first <= own) & (own <= rows.last)).all():
        return Runs(rows.first, rows.last)
    _check_pairwise(length)
    return Pairs(mask.dense(length))


def _check_pairwise(length: int) -> None:
    if length > MOST_PAIRWISE:
        raise InvalidArgument(
            f"reach got q_len={length} for masks whose rows are not each one run of keys around "
            f"its own position; these are followed pair by pair, at most {MOST_PAIRWISE} "
            "positions. Ask at a smaller q_len."
        )


def after(upper: Relation, lower: Relation) -> Relation:
    """Return who sees whom through ``lower`` and then ``upper``.

    Runs stay runs: those of neighbouring positions overlap or touch, since each holds its own
    position; so what a run of positions sees goes without a gap from the least to the greatest.
    """
    if isinstance(upper, Runs) and isinstance(lower, Runs):
        return _runs_after(upper, lower)
    left, right = upper.pairs().allowed, lower.pairs().allowed
    shape = np.broadcast_shapes(left.shape, right.shape)
    left, right = np.broadcast_to(left, shape), np.broadcast_to(right, shape)
    result = np.empty(shape, dtype=np.bool_)
    for at in np.ndindex(shape[:2]):
        result[at] = _joined(left[at], right[at])
    return Pairs(result)


def _joined(left: Bools, right: Bools) -> Bools:
    """Return for ``[N, N]`` bools where ``left[q, m] and right[m, k]`` for some m."""
    rows = np.packbits(right, axis=1)
    found = np.zeros_like(rows)
    for query, seen in enumerate(left):
        np.bitwise_or.reduce(rows[np.flatnonzero(seen)], axis=0, out=found[query])
    return np.unpackbits(found, axis=1, count=len(left)).view(np.bool_)


def _runs_after(upper: Runs, lower: Runs) -> Runs:
    each = np.broadcast_arrays(upper.first, upper.last, lower.first, lower.last)
    first, last = np.empty(each[0].shape, np.int64), np.empty(each[0].shape, np.int64)
    for at in np.ndindex(first.shape[:2]):
        start, stop, least, most = (values[at] for values in each)
        first[at] = _least(least, start, stop)
        last[at] = -_least(-most, start, stop)
    return Runs(first, last)


def _least(values: Ints, first: Ints, last: Ints) -> Ints:
    """Return the least of ``values[first .. last]`` for each pair of ends."""
    if (values[1:] >= values[:-1]).all():
        return values[first]
    if (values[1:] <= values[:-1]).all():
        return values[last]
    # With a table as large as this every stretch is answered exactly.
    table = RangeLeast(values[None], most_entries=values.size * 64)
    return table(np.zeros_like(first), first, last)


def power(relation: Relation, times: int) -> Relation:
    """Return the relation ``times`` >= 1 times in a row, by squaring while that changes it."""
    result: Relation | None = None
    while True:
        if times % 2:
            result = relation if result is None else after(result, relation)
        times //= 2
        if not times and result is not None:
            return result
        square = after(relation, relation)
        if _same(square, relation):
            return relation if result is None else after(result, relation)
        relation = square


def _same(one: Relation, other: Relation) -> bool:
    if isinstance(one, Runs) and isinstance(other, Runs):
        return np.array_equal(one.first, other.first) and np.array_equal(one.last, other.last)
    return np.array_equal(one.pairs().allowed, other.pairs().allowed)
