"""What a mask says of whole rectangles of cells at once: the lattice EMPTY < PARTIAL < FULL.

EMPTY (no cell is allowed) and FULL (every cell is) are promises; PARTIAL is always a true answer.
``&`` takes the smaller state, ``|`` the larger, ``~`` mirrors. descent.py follows the states from
large tiles to small ones; how single cells are then read is in bits.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Bools = NDArray[np.bool_]
    Ints = NDArray[np.int64]
    States = NDArray[np.int8]
    # The keys that a query may see: start and stop (exclusive) of a run, shaped as its row.
    Run = tuple[Ints, Ints]

EMPTY, PARTIAL, FULL = 0, 1, 2

# Rows of more runs than this are read cell by cell.
MOST_RUNS = 8


@dataclass(frozen=True, slots=True)
class Rows:
    """Queries of batch rows and heads: ``[T, 1]`` batch and head, ``[T, n]`` queries that rise."""

    batch: Ints
    head: Ints
    query: Ints

    def per_row(self, column: NDArray[Any]) -> Any:
        """Return ``column[batch row]`` for a ``[B]`` array (B = 1 serves every batch row)."""
        return column[self.batch] if len(column) > 1 else column[0]


@dataclass(frozen=True, slots=True)
class OnGrid:
    """Where on an axis of a grid tiles begin and end: at the edges ``first`` and ``stop``.

    ``edges`` is ``[1, blocks + 1]``, or a row for each batch row. What depends on a position alone
    is worked out once for each edge rather than for each tile.
    """

    edges: Ints
    first: Ints
    stop: Ints


@dataclass(frozen=True, slots=True)
class Tiles:
    """Rectangles of cells, ``[T]`` each: batch row, head, and the ends of queries and keys.

    ``first`` and ``last`` both belong to the tile, so that no tile is without cells. ``on_grid``
    is where the queries and the keys begin and end, if that is known to be on a grid.
    """

    batch: Ints
    head: Ints
    q_first: Ints
    q_last: Ints
    k_first: Ints
    k_last: Ints
    on_grid: tuple[OnGrid, OnGrid] | None = None

    def __len__(self) -> int:
        return len(self.q_first)

    @property
    def heights(self) -> Ints:
        """The number of queries of every tile."""
        return self.q_last - self.q_first + 1

    @property
    def widths(self) -> Ints:
        """The number of keys of every tile."""
        return self.k_last - self.k_first + 1

    def at(self, index: Any) -> Tiles:
        """Return some of the tiles, by indices or by bools."""
        return Tiles(
            self.batch[index],
            self.head[index],
            self.q_first[index],
            self.q_last[index],
            self.k_first[index],
            self.k_last[index],
        )

    def swapped(self) -> Tiles:
        """Return the tiles with the roles of query and key swapped."""
        return Tiles(self.batch, self.head, self.k_first, self.k_last, self.q_first, self.q_last)

    def over(self, queries: Run, keys: Run) -> Tiles:
        """Return tiles of the same batch rows and heads; both ends given belong to them."""
        return Tiles(self.batch, self.head, *queries, *keys)

    @property
    def top(self) -> Rows:
        """The first row of every tile."""
        return Rows(self.batch, self.head, self.q_first)

    @property
    def bottom(self) -> Rows:
        """The last row of every tile."""
        return Rows(self.batch, self.head, self.q_last)


def states(empty: Bools, full: Bools) -> States:
    """Return EMPTY, FULL, or where neither is known PARTIAL; no tile may be both."""
    return (~empty).view(np.int8) + full.view(np.int8)


def every(state: int, tiles: Tiles | Ints) -> States:
    """Return the same state for all tiles."""
    return np.full(len(tiles), state, dtype=np.int8)


def one_by_one(tiles: Tiles) -> list[Ints]:
    """Return the signature of a mask whose tiles are all taken for different."""
    return [tiles.batch, tiles.head, tiles.q_first, tiles.k_first]


def among(ends: Ints, first: Ints, last: Ints) -> States:
    """Return the states of the integers ``first`` .. ``last`` in a set given by its ``ends``.

    ``ends`` are the rising starts and stops of the set's intervals: exact, for no end between.
    """
    before, after = np.searchsorted(ends, first, "right"), np.searchsorted(ends, last, "right")
    crossed = before != after
    inside = (before % 2).astype(np.bool_)
    return states(~crossed & ~inside, ~crossed & inside)


def between(q_first: Ints, q_last: Ints, k_first: Ints, k_last: Ints) -> States:
    """Return the states of "the two numbers are equal" for numbers from two ranges."""
    alone = (q_first == q_last) & (k_first == k_last) & (q_first == k_first)
    return states((q_last < k_first) | (k_last < q_first), alone)


# -- runs of keys ------------------------------------------------------------------------------


def meet_runs(left: list[Run] | None, right: list[Run] | None) -> list[Run] | None:
    """Return the runs that lie in both unions of runs; None where there are too many."""
    if left is None or right is None or len(left) * len(right) > MOST_RUNS:
        return None
    return [(np.maximum(a, c), np.minimum(b, d)) for a, b in left for c, d in right]


def join_runs(left: list[Run] | None, right: list[Run] | None) -> list[Run] | None:
    """Return the runs of both; None where there are too many."""
    if left is None or right is None or len(left) + len(right) > MOST_RUNS:
        return None
    return [*left, *right]


def outside_runs(runs: list[Run] | None, endless: int) -> list[Run] | None:
    """Return the runs of the keys in none of ``runs``; None where there are too many."""
    result: list[Run] | None = None
    for start, stop in runs or ():
        stop = np.maximum(stop, start)
        others = [(start * 0, start), (stop, stop * 0 + endless)]
        result = others if result is None else meet_runs(result, others)
    return result
