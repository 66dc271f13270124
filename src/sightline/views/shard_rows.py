"""Shards as rows of a picture or a table: a rank each, or several where there are many.

What a rank holds, computes and receives is the matter of plan/shard.py; here it is only gathered.
Drawn in shard_picture.py and shard_text.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sightline.plan.shard import Shard

    Ints = NDArray[np.int64]

__all__ = ["ShardRows", "largest", "rank_rows", "row_names", "row_starts"]


@dataclass(frozen=True, eq=False)
class ShardRows:
    """Who holds and who receives which stretch of the keys, in the first batch row.

    Attributes:
        names: of the rows: a rank, or the first and last of several.
        held: bool ``[rows, cells]``, whether a rank of the row holds keys of that stretch.
        received: bool ``[rows, cells]``, whether one of them receives some.
        area: float ``[rows]``, the largest area of its ranks ÷ the mean over all.
        keys: int64 ``[rows]``, the most keys that one of its ranks receives.
    """

    names: tuple[str, ...]
    held: NDArray[np.bool_]
    received: NDArray[np.bool_]
    area: NDArray[np.float64]
    keys: Ints


def rank_rows(cut: Shard, most_rows: int, most_cells: int) -> ShardRows:
    """Return shards in at most so many rows, and so many cells to the right.

    >>> import sightline as sl
    >>> rows = rank_rows(sl.shard(sl.plan(sl.window(left=127, right=0), 512), 2), 8, 4)
    >>> rows.names, rows.held.tolist()
    (('0', '1'), [[True, True, False, False], [False, False, True, True]])
    """
    starts = row_starts(cut.ranks, most_rows)
    blocks = cut.plan.kv_blocks
    cells = np.arange(0, blocks, max(1, -(-blocks // most_cells)))
    held, received = np.zeros((2, len(starts), len(cells)), dtype=np.bool_)
    row_of = np.searchsorted(starts, np.arange(cut.ranks), side="right") - 1
    for rank in range(cut.ranks):
        own = cut.keys.owner[0] == rank
        for found, where in ((held, own), (received, cut.needs(rank)[0] & ~own)):
            if blocks:
                found[row_of[rank]] |= np.logical_or.reduceat(where, cells)
    mean = float(cut.area.mean())
    area = cut.area / mean if mean else np.ones(cut.ranks)
    return ShardRows(
        row_names(cut.ranks, starts),
        held,
        received,
        largest(area, starts),
        largest(cut.received, starts),
    )


def row_starts(ranks: int, most: int) -> Ints:
    """Return the first rank of each row: of equally many ranks, but for the last row.

    >>> row_starts(3, 16), row_starts(64, 16)[:4], row_starts(17, 16)
    (array([0, 1, 2]), array([ 0,  4,  8, 12]), array([ 0,  2,  4,  6,  8, 10, 12, 14, 16]))
    """
    return np.arange(0, ranks, -(-ranks // most))


def row_names(ranks: int, starts: Ints) -> tuple[str, ...]:
    """Return the names of rows.

    >>> row_names(5, row_starts(5, 3))
    ('0-1', '2-3', '4')
    """
    ends = [*(starts[1:] - 1).tolist(), ranks - 1]
    pairs = zip(starts.tolist(), ends, strict=True)
    return tuple(str(a) if a == b else f"{a}-{b}" for a, b in pairs)


def largest(values: NDArray, starts: Ints) -> NDArray:
    """Return the largest of each row, of numbers for each rank."""
    return np.maximum.reduceat(values, starts)
