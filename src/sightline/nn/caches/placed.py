"""A mask as a cache sees it: moved by its own distance in each batch row, cut to what is held.

The one form in which every mask is exact for rows of different lengths, whatever it is made of.
Which distances and limits are right is known to chunk.py and to the caches.
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
from sightline.masks.padding import padding

if TYPE_CHECKING:
    from sightline.masks.bounds import Ints, Run, States, Tiles
    from sightline.nn.caches.chunk import Chunk


@dataclass(frozen=True, slots=True, repr=False)
class Placed(Wrapper):
    """The part at ``(q + rows[b], k + columns[b])``, cut to a rectangle in each batch row.

    ``places`` is ``[B|1, 6]``: rows, columns (both >= 0), first and stop query, first and stop key.
    """

    part: Mask
    places: Data

    @property
    def batch(self) -> int:
        """The number of batch rows of the part or of the places, whichever tells rows apart."""
        return max(self.part.batch, len(self.places.array))

    def allowed(self, cells: Cells) -> Array:
        """Return bools for the cells."""
        rows, columns, top, bottom, left, right = (
            cells.per_row(column) for column in self.places.array.T
        )
        inside = (cells.query >= top) & (cells.query < bottom)
        inside = inside & (cells.key >= left) & (cells.key < right)
        # Cells outside are asked at position 0: the part may be bound to an array.
        query, key = (cells.query + rows) * inside, (cells.key + columns) * inside
        return self.part.allowed(cells.at(query=query, key=key)) & inside

    def bounds(self, tiles: Tiles) -> States:
        """Return what the part says of the rectangle's share of each tile."""
        there, seen, cut = self._before(tiles)
        result = every(EMPTY, tiles)
        result[seen] = self.part.bounds(there.at(seen))
        return np.where(cut, np.minimum(result, np.int8(PARTIAL)), result)

    def signature(self, tiles: Tiles) -> list[Ints]:
        """Return where the rectangle ends in each tile, and what tells the part's cells apart."""
        there, seen, _ = self._before(tiles)
        column = _Columns(self.places.array, tiles.batch)
        columns = [
            np.clip(column[2] - tiles.q_first, 0, tiles.heights),
            np.clip(column[3] - tiles.q_first, 0, tiles.heights),
            np.clip(column[4] - tiles.k_first, 0, tiles.widths),
            np.clip(column[5] - tiles.k_first, 0, tiles.widths),
        ]
        for found in self.part.signature(there.at(seen)):
            columns.append(np.zeros_like(tiles.q_first))
            columns[-1][seen] = found
        return columns

    def _before(self, tiles: Tiles) -> tuple[Tiles, Any, Any]:
        """Return the part's tiles, which of them have a cell, and which are cut off somewhere."""
        column = _Columns(self.places.array, tiles.batch)
        q_first, q_last = (
            np.maximum(tiles.q_first, column[2]),
            np.minimum(tiles.q_last, column[3] - 1),
        )
        k_first, k_last = (
            np.maximum(tiles.k_first, column[4]),
            np.minimum(tiles.k_last, column[5] - 1),
        )
        seen = (q_first <= q_last) & (k_first <= k_last)
        cut = (q_last - q_first < tiles.q_last - tiles.q_first) | (
            k_last - k_first < tiles.k_last - tiles.k_first
        )
        there = tiles.over(
            (q_first + column[0], q_last + column[0]), (k_first + column[1], k_last + column[1])
        )
        return there, seen, cut

    def runs(self, rows: Rows) -> list[Run] | None:
        """Return the part's runs, moved and cut."""
        down, right, top, bottom, first, stop = (rows.per_row(c) for c in self.places.array.T)
        inside = (rows.query >= top) & (rows.query < bottom)
        # Queries outside are asked too, as the nearest one inside: the others' order must rise.
        asked = np.maximum(np.clip(rows.query, top, bottom - 1) + down, 0)
        found = self.part.runs(Rows(rows.batch, rows.head, asked))
        if found is None:
            return None
        return [
            (np.maximum(start - right, first), np.minimum(end - right, stop) * inside)
            for start, end in found
        ]

    def cuts(self) -> Ints:
        """Return no cuts: every row begins at slot 0."""
        return np.zeros((1, 0), dtype=np.int64)

    def spec(self) -> Spec:
        """Return an equal mask's spec where moves of the whole picture say it, else its name."""
        if self.part.batch > 1:
            return "predicate", {"fn": type(self), "batch": self.batch}
        each = [_row_spec(self.part, *row) for row in self.places.array.tolist()]
        return ("per_batch", {"masks": each}) if len(each) > 1 else each[0]

    def extent(self) -> Extent:
        """Return one past the last query and the last key of all rectangles."""
        return int(self.places.array[:, 3].max()), int(self.places.array[:, 5].max())

    def check_reach(self, q_stop: int, k_stop: int) -> None:
        """Refuse what the part refuses, of the rectangles' share alone."""
        rows, columns, top, bottom, left, right = self.places.array.T
        q_last, k_last = np.minimum(bottom, q_stop), np.minimum(right, k_stop)
        asked = (q_last > top) & (k_last > left)
        if asked.any():
            self.part.check_reach(
                int((q_last + rows)[asked].max()), int((k_last + columns)[asked].max())
            )


class _Columns:
    """The places of the tiles' batch rows, by number."""

    def __init__(self, places: Any, batch: Any) -> None:
        self._rows = places[batch] if len(places) > 1 else places

    def __getitem__(self, index: int) -> Any:
        return self._rows[:, index]


def _row_spec(part: Mask, down: int, right: int, *limits: int) -> Spec:
    top, bottom, left, stop = limits
    moved = part.spec()
    if down or right:
        amounts = {"query": -down, "key": -right}
        moved = "shift", moved, {name: by for name, by in amounts.items() if by}
    queries = "queries", {"positions": slice(top, bottom)}
    keys = "keys", {"positions": slice(left, stop)}
    return "and", moved, queries, keys


def placed(part: Mask, places: Any) -> Mask:
    """Return ``part`` as a cache's tokens see it.

    Args:
        part: who may see whom, over absolute positions.
        places: integers [B, 6] or [1, 6]: by how much queries and keys stand before their
            positions, the first query and the one after the last, the same for keys.

    Raises:
        ShapeMismatch: the mask tells another number of batch rows apart.
    """
    rows = np.asarray(places, dtype=np.int64)
    if len(rows) > 1 and part.batch not in (1, len(rows)):
        raise ShapeMismatch(
            f"got a mask for {part.batch} batch rows and a cache of {len(rows)}; wanted equal "
            "numbers, or a mask that is the same for all; check the data that the mask was made "
            "from."
        )
    if (rows == rows[:1]).all():
        rows = rows[:1]
    return Placed(part, Data(rows))


def place_in_slots(chunk: Chunk, mask: Mask) -> Mask:
    """Return a mask over positions as one over a chunk's tokens and slots that are positions.

    It is the mask itself where all rows are alike, else one moved by each row's length.
    """
    if chunk.level and chunk.full:
        return mask
    if chunk.level:
        try:  # where it is defined at the padding too, plain padding says it to every engine
            mask.check_reach(chunk.q_offset + chunk.q_len, chunk.kv_len)
        except ShapeMismatch:
            pass
        else:
            real = padding(lengths=chunk.stops)
            return mask & real & real.T
    zeros = np.zeros_like(chunk.starts)
    down, top, bottom = chunk.query_places
    return placed(mask, np.stack((down, zeros, top, bottom, zeros, chunk.stops), axis=1))
