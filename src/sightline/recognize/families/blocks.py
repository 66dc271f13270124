"""Blocks of equal size along the positions: chunks, and block_causal, with the earlier ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from sightline.masks.periodic import block_causal, chunks

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sightline.masks.mask import Mask
    from sightline.recognize.region import Region

    Bools = NDArray[np.bool_]
    Ints = NDArray[np.int64]

MOST_SIZE = 1024
# Sizes that are offered of those that do not contain each other.
MOST_OFFERED = 6
# Rows that are asked first: most sizes fall out there.
ROWS_FIRST = 32


def _fitting(region: Region, holds: Callable[[Ints, Ints, Ints], Bools]) -> list[int]:
    """Return the sizes for which ``holds(rows, starts, stops of their blocks)`` in all rows."""
    query = region.canvas.query
    sizes = np.arange(2, min(region.canvas.positions - 1, MOST_SIZE) + 1)
    step = -(-len(query) // ROWS_FIRST)
    for rows in (np.arange(0, len(query), step), np.arange(len(query))):
        start = query[rows] // sizes[:, None] * sizes[:, None]
        sizes = sizes[holds(rows, start, start + sizes[:, None]).all(axis=1)]
    return sizes.tolist()


def _least(sizes: list[int]) -> list[int]:
    """Return the sizes of which no divisor is among them."""
    return [n for n in sizes if not any(n % m == 0 for m in sizes if m < n)]


def _most(sizes: list[int]) -> list[int]:
    """Return the sizes of which no multiple is among them."""
    return [n for n in sizes if not any(m % n == 0 for m in sizes if m > n)]


def _chunks_hold(need: Region) -> list[int]:
    first, last = need.first.min(axis=0), need.last.max(axis=0)
    return _fitting(need, lambda i, start, stop: (first[i] >= start) & (last[i] < stop))


def _chunks_miss(avoid: Region) -> list[int]:
    before, after = avoid.before.max(axis=0), avoid.after.min(axis=0)
    return _fitting(avoid, lambda i, start, stop: (before[i] < start) & (after[i] >= stop))


def _stairs_hold(need: Region) -> list[int]:
    last = need.last.max(axis=0)
    return _fitting(need, lambda i, _, stop: last[i] < stop)


def _stairs_miss(avoid: Region) -> list[int]:
    first = avoid.first.min(axis=0)
    return _fitting(avoid, lambda i, _, stop: first[i] >= stop)


def chunks_above(need: Region) -> list[Mask]:
    """The smallest chunks that hold each row."""
    return [chunks(n) for n in _least(_chunks_hold(need))[:MOST_OFFERED]]


def chunks_below(avoid: Region) -> list[Mask]:
    """The largest chunks in which nothing is to be avoided."""
    return [chunks(n) for n in _most(_chunks_miss(avoid))[:MOST_OFFERED]]


def chunks_between(need: Region, avoid: Region) -> list[Mask]:
    """The smallest chunks that do both."""
    holding = _chunks_hold(need)
    missing = set(_chunks_miss(avoid)) if holding else set()
    return [chunks(n) for n in holding if n in missing][:1]


def stairs_above(need: Region) -> list[Mask]:
    """The smallest blocks up to which each row sees at most."""
    return [block_causal(n) for n in _least(_stairs_hold(need))[:MOST_OFFERED]]


def stairs_below(avoid: Region) -> list[Mask]:
    """The largest blocks up to which nothing is to be avoided."""
    return [block_causal(n) for n in _most(_stairs_miss(avoid))[:MOST_OFFERED]]


def stairs_between(need: Region, avoid: Region) -> list[Mask]:
    """The smallest blocks that do both."""
    holding = _stairs_hold(need)
    missing = set(_stairs_miss(avoid)) if holding else set()
    return [block_causal(n) for n in holding if n in missing][:1]
