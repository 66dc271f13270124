"""The nodes that look at their part from elsewhere: swapped axes, moved positions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sightline.masks.arrays import Array, Cells
from sightline.masks.bounds import EMPTY, PARTIAL, Rows, every
from sightline.masks.intervals import ENDLESS
from sightline.masks.mask import Extent, Mask, Spec
from sightline.masks.nodes import Wrapper, covered, side_by_side

if TYPE_CHECKING:
    from sightline.masks.bounds import Ints, Run, States, Tiles


@dataclass(frozen=True, slots=True, repr=False)
class Transposed(Wrapper):
    """The part with the roles of query and key swapped. Made by ``.T``."""

    part: Mask

    def allowed(self, cells: Cells) -> Array:
        return self.part.allowed(cells.at(query=cells.key, key=cells.query))

    def bounds(self, tiles: Tiles) -> States:
        return self.part.bounds(tiles.swapped())

    def signature(self, tiles: Tiles) -> list[Ints]:
        return self.part.signature(tiles.swapped())

    def runs(self, rows: Rows) -> list[Run] | None:
        """Where the part asks the key alone, a row of this one is everything or nothing."""
        if not self.part.asks_key_alone:
            return None
        none = rows.query * 0
        real = self.part.allowed(Cells(rows.batch, rows.head, none, rows.query))
        return [(none, np.where(real, ENDLESS, 0))]

    def spec(self) -> Spec:
        return "transpose", self.part.spec()

    def transposed(self) -> Mask:
        return self.part

    def extent(self) -> Extent:
        queries, keys = self.part.extent()
        return keys, queries

    def check_reach(self, q_stop: int, k_stop: int) -> None:
        self.part.check_reach(k_stop, q_stop)


@dataclass(frozen=True, slots=True, repr=False)
class Shifted(Wrapper):
    """The part moved ``rows`` down and ``columns`` to the right. Made by ``.shift``."""

    part: Mask
    rows_down: int
    columns_right: int

    def allowed(self, cells: Cells) -> Array:
        query = cells.query - self.rows_down
        key = cells.key - self.columns_right
        covered = (query >= 0) & (key >= 0)
        # Uncovered cells are asked at position 0: masks answer for positions >= 0 only.
        there = cells.at(query=query * (query >= 0), key=key * (key >= 0))
        return self.part.allowed(there) & covered

    def bounds(self, tiles: Tiles) -> States:
        there = self._before_the_move(tiles)
        seen = (there.q_last >= 0) & (there.k_last >= 0)
        result = every(EMPTY, tiles)
        result[seen] = self.part.bounds(there.at(seen))
        cut = (tiles.q_first < self.rows_down) | (tiles.k_first < self.columns_right)
        return np.where(cut, np.minimum(result, np.int8(PARTIAL)), result)

    def signature(self, tiles: Tiles) -> list[Ints]:
        there = self._before_the_move(tiles)
        seen = (there.q_last >= 0) & (there.k_last >= 0)
        columns = [tiles.q_first * 0 for _ in range(2)]
        columns[0] = np.minimum(tiles.q_first - self.rows_down, 0)
        columns[1] = np.minimum(tiles.k_first - self.columns_right, 0)
        for found in self.part.signature(there.at(seen)):
            columns.append(np.zeros_like(tiles.q_first))
            columns[-1][seen] = found
        return columns

    def _before_the_move(self, tiles: Tiles) -> Tiles:
        """Return what the tiles show of the part; their last ends are negative if nothing."""
        return tiles.over(
            (np.maximum(tiles.q_first - self.rows_down, 0), tiles.q_last - self.rows_down),
            (np.maximum(tiles.k_first - self.columns_right, 0), tiles.k_last - self.columns_right),
        )

    def runs(self, rows: Rows) -> list[Run] | None:
        query = rows.query - self.rows_down
        found = self.part.runs(Rows(rows.batch, rows.head, np.maximum(query, 0)))
        if found is None:
            return None
        by = self.columns_right
        return [
            (np.maximum(start, 0) + by, np.where(query >= 0, np.maximum(stop, 0) + by, 0))
            for start, stop in found
        ]

    def spec(self) -> Spec:
        amounts = {"query": self.rows_down, "key": self.columns_right}
        return "shift", self.part.spec(), {k: v for k, v in amounts.items() if v}

    def transposed(self) -> Mask:
        return self.part.transposed().moved(self.columns_right, self.rows_down)

    def moved(self, rows: int, columns: int) -> Mask:
        total = (self.rows_down + rows, self.columns_right + columns)
        moved = self.part if total == (0, 0) else self.part.moved(*total)
        # A move back into view does not bring back what a move out of view has lost.
        lost = (self.rows_down < 0 < rows, self.columns_right < 0 < columns)
        return covered(moved, rows if lost[0] else 0, columns if lost[1] else 0)

    def cuts(self) -> Ints:
        cuts = self.part.cuts()
        moved = side_by_side([cuts + self.rows_down, cuts + self.columns_right])
        return np.maximum(moved, 0)

    def extent(self) -> Extent:
        queries, keys = self.part.extent()
        return (
            None if queries is None else max(0, queries + self.rows_down),
            None if keys is None else max(0, keys + self.columns_right),
        )

    def check_reach(self, q_stop: int, k_stop: int) -> None:
        self.part.check_reach(max(0, q_stop - self.rows_down), max(0, k_stop - self.columns_right))
