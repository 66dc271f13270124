"""A mask asked at chosen positions: what the tokens that lie on one rank see of those it was sent.

Positions rise, so that what a mask promises of the rectangle around them holds for them too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sightline.errors import ShapeMismatch
from sightline.masks.arrays import Array, Cells, Data
from sightline.masks.bounds import EMPTY, PARTIAL, Rows, every
from sightline.masks.mask import Extent, Mask, Spec
from sightline.masks.nodes import Wrapper

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sightline.masks.bounds import Ints, Run, States, Tiles

__all__ = ["Gathered", "gathered"]


@dataclass(frozen=True, slots=True, repr=False)
class Gathered(Wrapper):
    """The part at ``(queries[b, q], keys[b, k])``; what lies beyond or is -1 sees nothing.

    Both are ``[1|B, n]`` with n >= 1 and rise up to the first -1, after which all are.
    """

    part: Mask
    queries: Data
    keys: Data

    @property
    def batch(self) -> int:
        """The number of batch rows of the part or of the positions, whichever tells them apart."""
        return max(self.part.batch, len(self.queries.array), len(self.keys.array))

    def allowed(self, cells: Cells) -> Array:
        """Return bools for the cells."""
        query, inside = cells.lookup(self.queries.array, cells.query)
        key, also = cells.lookup(self.keys.array, cells.key)
        real = inside & also & (query >= 0) & (key >= 0)
        # What is not real is asked at position 0: the part may be bound to an array.
        return self.part.allowed(cells.at(query=query * real, key=key * real)) & real

    def bounds(self, tiles: Tiles) -> States:
        """Return what the part promises of the rectangles around the tiles' positions."""
        there, seen, cut, _ = self._before(tiles)
        result = every(EMPTY, tiles)
        result[seen] = self.part.bounds(there.at(seen))
        return np.where(cut, np.minimum(result, np.int8(PARTIAL)), result)

    def signature(self, tiles: Tiles) -> list[Ints]:
        """Return the part's, where a tile's positions follow one another; else its own."""
        there, seen, cut, whole = self._before(tiles)
        alike = whole & seen & ~cut
        columns = [np.where(alike, -1, np.arange(len(tiles)))]
        for found in self.part.signature(there.at(alike)):
            columns.append(np.zeros_like(tiles.q_first))
            columns[-1][alike] = found
        return columns

    def _before(self, tiles: Tiles) -> tuple[Tiles, Any, Any, Any]:
        """Return the part's tiles, which have a cell, which are cut off, which have no gap."""
        q_first, q_last, q_seen, q_cut = _ends(
            self.queries.array, tiles.batch, tiles.q_first, tiles.q_last
        )
        k_first, k_last, k_seen, k_cut = _ends(
            self.keys.array, tiles.batch, tiles.k_first, tiles.k_last
        )
        there = tiles.over((q_first, q_last), (k_first, k_last))
        whole = (there.heights == tiles.heights) & (there.widths == tiles.widths)
        return there, q_seen & k_seen, q_cut | k_cut, whole

    def runs(self, rows: Rows) -> list[Run] | None:
        """Return the part's runs, counted in keys that are there."""
        counts = _counts(self.queries.array)
        row = rows.batch if len(counts) > 1 else rows.batch * 0
        last = counts[row] - 1
        # Queries beyond are asked too, as the last one: the others' order must rise.
        asked = self.queries.array[row, np.clip(rows.query, 0, np.maximum(last, 0))]
        found = self.part.runs(Rows(rows.batch, rows.head, np.maximum(asked, 0)))
        if found is None:
            return None
        inside = rows.query <= last
        return [
            (self._before_key(start, rows.batch), self._before_key(stop, rows.batch) * inside)
            for start, stop in found
        ]

    def _before_key(self, position: Ints, batch: Ints) -> Ints:
        """Return how many of the keys stand before each position."""
        table, counts = self.keys.array, _counts(self.keys.array)
        if len(table) == 1:
            return np.searchsorted(table[0, : counts[0]], position)
        position, rows = np.broadcast_arrays(position, batch)
        result = np.empty_like(position)
        for row in np.unique(rows):
            mine = rows == row
            result[mine] = np.searchsorted(table[row, : counts[row]], position[mine])
        return result

    def cuts(self) -> Ints:
        """Return no cuts: what is gathered is no sequence."""
        return np.zeros((1, 0), dtype=np.int64)

    def spec(self) -> Spec:
        """Return a name: no expression of the public masks says this."""
        return "predicate", {"fn": type(self), "batch": self.batch}

    def extent(self) -> Extent:
        """Return how many positions were chosen."""
        return self.queries.array.shape[1], self.keys.array.shape[1]

    def check_reach(self, q_stop: int, k_stop: int) -> None:
        """Refuse what the part refuses, of the chosen positions alone."""
        queries, keys = self.queries.array[:, :q_stop], self.keys.array[:, :k_stop]
        if queries.max(initial=-1) >= 0 and keys.max(initial=-1) >= 0:
            self.part.check_reach(int(queries.max()) + 1, int(keys.max()) + 1)


def _counts(table: NDArray[np.int64]) -> Ints:
    """Return how many positions of each row are real."""
    return np.count_nonzero(table >= 0, axis=1)


def _ends(
    table: NDArray[np.int64], batch: Ints, first: Ints, last: Ints
) -> tuple[Ints, Ints, NDArray[np.bool_], NDArray[np.bool_]]:
    """Return the first and last position of stretches, whether there is one, whether some lack."""
    counts = _counts(table)
    row = batch if len(table) > 1 else batch * 0
    most = counts[row] - 1
    seen = first <= most
    here = np.maximum(most, 0)
    return (
        table[row, np.minimum(first, here)],
        table[row, np.minimum(last, here)],
        seen,
        last > most,
    )


def gathered(part: Mask, queries: NDArray[np.int64], keys: NDArray[np.int64]) -> Mask:
    """Return ``part`` as seen by the queries at some positions of the keys at some.

    Args:
        part: who may see whom, over absolute positions.
        queries: the position of each query, [1|B, q_len], rising; -1 at the end for none.
        keys: the position of each key, [1|B, kv_len], likewise.

    Raises:
        ShapeMismatch: batch rows that do not agree, positions that do not rise.
    """
    rows = {len(queries), len(keys), part.batch} - {1}
    if len(rows) > 1:
        raise ShapeMismatch(
            f"got a mask for {part.batch} batch rows and positions for {len(queries)} and "
            f"{len(keys)}; wanted equal numbers, or 1 for all."
        )
    return Gathered(part, _table("queries", queries), _table("keys", keys))


def _table(name: str, positions: NDArray[np.int64]) -> Data:
    table = np.asarray(positions, dtype=np.int64)
    if not table.shape[1]:
        table = np.full((1, 1), -1, dtype=np.int64)
    falls = (np.diff(table, axis=1) <= 0) & (table[:, 1:] >= 0)
    if falls.any():
        raise ShapeMismatch(f"got {name} whose positions do not rise; sort them first.")
    return Data(table)
