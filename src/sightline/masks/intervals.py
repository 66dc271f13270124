"""Sets of integers as sorted, disjoint, non-touching intervals: what positions and bands are.

``[n, 2]`` int64 arrays of start and stop (exclusive); ``-ENDLESS`` and ``ENDLESS`` stand for no
end. Every set has exactly one such array, so that sets are equal iff their arrays are.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Intervals = NDArray[np.int64]

# No position comes near; sums and differences with positions stay inside int64.
ENDLESS = 2**60


def union(sets: Iterable[Intervals]) -> Intervals:
    """Return the set of what is in at least one of ``sets``, which need not be canonical."""
    intervals = np.concatenate([np.zeros((0, 2), dtype=np.int64), *sets])
    intervals = intervals[intervals[:, 0] < intervals[:, 1]]
    if not len(intervals):
        return intervals
    intervals = intervals[np.argsort(intervals[:, 0], kind="stable")]
    reach = np.maximum.accumulate(intervals[:, 1])
    first = np.flatnonzero(np.concatenate([[True], intervals[1:, 0] > reach[:-1]]))
    stops = np.maximum.reduceat(intervals[:, 1], first)
    return np.stack([intervals[first, 0], stops], axis=1)


def complement(intervals: Intervals, start: int) -> Intervals:
    """Return the set of the integers from ``start`` on that are not in ``intervals``."""
    ends = np.concatenate([[start], intervals.reshape(-1), [ENDLESS]]).reshape(-1, 2)
    return ends[ends[:, 0] < ends[:, 1]]


def mirrored(intervals: Intervals) -> Intervals:
    """Return the set of -n for every n of the set; stops stay exclusive, ends endless."""
    endless = np.abs(intervals) == ENDLESS
    return np.where(endless, -intervals, 1 - intervals)[::-1, ::-1]


def moved(intervals: Intervals, by: int, start: int) -> Intervals:
    """Return the set moved by ``by``, without what falls below ``start``; ends stay endless."""
    endless = np.abs(intervals) == ENDLESS
    return np.where(endless, intervals, np.maximum(intervals + by, start))
