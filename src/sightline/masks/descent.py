"""From large tiles to small ones: where in a grid of blocks a mask is full, and where it is mixed.

Starts with a few tiles for each batch row and head, asks the mask what it says of them, splits
those that are PARTIAL into four and stops at single blocks. The cost follows the mask's boundary,
not its area.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sightline.masks.bounds import FULL, PARTIAL, OnGrid, Tiles
from sightline.masks.frame import Frame

if TYPE_CHECKING:
    from sightline.masks.bounds import Ints
    from sightline.masks.mask import Mask

# The first tiles: about this many, so that the upper levels cost next to nothing.
FIRST_TILES = 64
# More tiles than this are followed down in parts, so that memory stays small.
MOST_AT_ONCE = 2**18


@dataclass(frozen=True, slots=True)
class Blocks:
    """Squares of ``size`` x ``size`` blocks of a grid, ``[T]`` each, by their place in it.

    ``row`` and ``column`` are those of the first block; squares at the border hold fewer blocks.
    """

    batch: Ints
    head: Ints
    row: Ints
    column: Ints
    size: int

    def __len__(self) -> int:
        return len(self.row)

    def at(self, places: Ints) -> Blocks:
        """Return the squares at some places."""
        return Blocks(
            *self._owners(places), self.row.take(places), self.column.take(places), self.size
        )

    def owned_by(self, batch: int, head: int) -> Blocks:
        """Return the same squares of one batch row and head."""
        rows, heads = (np.broadcast_to(np.array([of]), len(self)) for of in (batch, head))
        return Blocks(rows, heads, self.row, self.column, self.size)

    def _owners(self, places: Ints) -> tuple[Ints, Ints]:
        if self.batch.strides == (0,):  # one batch row and head for all, which need no looking up
            count = len(places)
            return np.broadcast_to(self.batch[:1], count), np.broadcast_to(self.head[:1], count)
        return self.batch.take(places), self.head.take(places)

    def split(self, rows: int, columns: int) -> Blocks:
        """Return the four quarters of every square, without those beyond the grid."""
        half = self.size // 2
        row = np.repeat(self.row, 4).reshape(-1, 4)
        row[:, 2:] += half
        column = np.repeat(self.column, 4).reshape(-1, 4)
        column[:, 1::2] += half
        inside = np.flatnonzero((row < rows) & (column < columns))
        if len(inside) == row.size:
            return Blocks(*self._owners(inside // 4), row.reshape(-1), column.reshape(-1), half)
        return Blocks(*self._owners(inside // 4), row.take(inside), column.take(inside), half)


@dataclass(frozen=True, slots=True)
class Grid:
    """Where blocks begin and end: rising absolute positions, ``[1|B, blocks + 1]`` on each axis.

    A batch row of fewer blocks than another ends in blocks without positions.
    """

    q_edges: Ints
    k_edges: Ints

    @classmethod
    def uniform(cls, frame: Frame, block_q: int, block_kv: int) -> Grid:
        """Return blocks of equal size, of which the last ones may be cut off by the frame."""
        return cls(
            _edges(frame.q_offset, frame.q_len, block_q),
            _edges(frame.kv_offset, frame.kv_len, block_kv),
        )

    @classmethod
    def aligned(cls, frame: Frame, block_q: int, block_kv: int, mask: Mask) -> Grid:
        """Return blocks that begin anew wherever the mask says that a sequence begins."""
        cuts = mask.cuts()
        return cls(
            _cut_edges(frame.q_offset, frame.q_len, block_q, cuts),
            _cut_edges(frame.kv_offset, frame.kv_len, block_kv, cuts),
        )

    def largest(self) -> tuple[int, int]:
        """Return the queries and the keys of the largest block."""
        heights, widths = (np.diff(edges, axis=1) for edges in (self.q_edges, self.k_edges))
        return int(heights.max(initial=1)), int(widths.max(initial=1))

    def filled(self, batch: Ints) -> tuple[Ints, Ints]:
        """Return how many query blocks and how many key blocks hold positions in batch rows."""
        if len(self.q_edges) == 1:  # only rows shorter than others have blocks without positions
            return batch * 0 + self.rows, batch * 0 + self.columns
        rows, columns = (
            np.count_nonzero(np.diff(edges, axis=1), axis=1)
            for edges in (self.q_edges, self.k_edges)
        )
        return rows[batch], columns[batch]

    def rows_of(self, blocks: Blocks) -> tuple[Ints, Ints]:
        """Return (the number of a square, a row of blocks in it) for every row of every square."""
        rows, _ = self.filled(blocks.batch)
        count = np.clip(rows - blocks.row, 0, blocks.size)
        square = np.repeat(np.arange(len(blocks)), count)
        before = np.cumsum(count) - count - blocks.row
        return square, np.arange(len(square)) - before[square]

    @property
    def rows(self) -> int:
        """The number of query blocks."""
        return self.q_edges.shape[1] - 1

    @property
    def columns(self) -> int:
        """The number of key blocks."""
        return self.k_edges.shape[1] - 1

    def tiles(self, blocks: Blocks) -> Tiles:
        """Return the cells of the squares."""
        queries = _on_axis(self.q_edges, blocks.row, blocks.size)
        keys = _on_axis(self.k_edges, blocks.column, blocks.size)
        if len(self.q_edges) > 1:
            span = *_span(queries, blocks.batch), *_span(keys, blocks.batch)
            return Tiles(blocks.batch, blocks.head, *span)
        span = *_span(queries, None), *_span(keys, None)
        return Tiles(blocks.batch, blocks.head, *span, (queries, keys))


def _on_axis(edges: Ints, block: Ints, size: int) -> OnGrid:
    return OnGrid(edges, block, np.minimum(block + size, edges.shape[1] - 1))


def _span(place: OnGrid, batch: Ints | None) -> tuple[Ints, Ints]:
    """Return the first and the last position of stretches of blocks."""
    if batch is None:
        return place.edges.take(place.first), place.edges.take(place.stop) - 1
    return place.edges[batch, place.first], place.edges[batch, place.stop] - 1


def _edges(offset: int, length: int, block: int) -> Ints:
    edges = np.arange(offset, offset + length + block, block, dtype=np.int64)
    return np.minimum(edges, offset + length)[None]


def _cut_edges(offset: int, length: int, block: int, cuts: Ints) -> Ints:
    """Return the edges of blocks for each batch row; all rows are made as long as the longest."""
    stop = offset + length
    rows: list[Ints] = []
    for row in cuts:
        begins = np.unique(np.concatenate([[offset], row[(row > offset) & (row < stop)], [stop]]))
        whole = -(-np.diff(begins) // block)
        # The i-th block of a sequence begins i blocks after it.
        first = np.repeat(np.cumsum(whole) - whole, whole)
        edges = np.repeat(begins[:-1], whole) + (np.arange(len(first)) - first) * block
        rows.append(np.append(edges, stop))
    most = max(len(row) for row in rows)
    return np.stack([np.pad(row, (0, most - len(row)), mode="edge") for row in rows])


def descend(
    mask: Mask, grid: Grid, owner: tuple[int, int] | None = None
) -> Iterator[tuple[int, Blocks]]:
    """Yield (FULL, squares) for what is wholly allowed, and (PARTIAL, single blocks).

    Every allowed cell lies in exactly one of them; a PARTIAL block may turn out to be empty or
    full when its cells are read. ``owner`` is the one (batch row, head) to follow; None is all.
    """
    waiting: list[Blocks] = []
    if grid.rows and grid.columns:
        axes = (mask.batch, mask.heads) if owner is None else (1, 1)
        first = _first(*axes, grid)
        waiting = [first if owner is None else first.owned_by(*owner)]
    while waiting:
        full, mixed = _sorted_out(mask, grid, waiting.pop())
        if len(full):
            yield FULL, full
        if not len(mixed):
            continue
        if mixed.size == 1:
            yield PARTIAL, mixed
            continue
        waiting.extend(_in_parts(mixed.split(grid.rows, grid.columns)))


def _sorted_out(mask: Mask, grid: Grid, blocks: Blocks) -> tuple[Blocks, Blocks]:
    """Return the squares that are FULL and those that are PARTIAL."""
    tiles = grid.tiles(blocks)
    if len(grid.q_edges) > 1:
        real = np.flatnonzero((tiles.q_first <= tiles.q_last) & (tiles.k_first <= tiles.k_last))
        blocks, tiles = blocks.at(real), tiles.at(real)
    found = mask.bounds(tiles)
    return blocks.at(np.flatnonzero(found == FULL)), blocks.at(np.flatnonzero(found == PARTIAL))


def _in_parts(blocks: Blocks) -> list[Blocks]:
    """Return the squares in parts of bounded size, the first of them last."""
    if len(blocks) <= MOST_AT_ONCE:
        return [blocks]
    starts = range(0, len(blocks), MOST_AT_ONCE)
    stops = (min(start + MOST_AT_ONCE, len(blocks)) for start in starts)
    parts = [blocks.at(np.arange(a, b)) for a, b in zip(starts, stops, strict=True)]
    return parts[::-1]


def _first(batch: int, heads: int, grid: Grid) -> Blocks:
    size = 1
    while batch * heads * -(-grid.rows // size) * -(-grid.columns // size) > FIRST_TILES:
        if size >= max(grid.rows, grid.columns):
            break
        size *= 2
    axes = (batch, heads, -(-grid.rows // size), -(-grid.columns // size))
    b, h, row, column = (axis.reshape(-1) for axis in np.indices(axes, dtype=np.int64))
    if batch == heads == 1:
        b = h = np.broadcast_to(b[:1], len(row))
    return Blocks(b, h, row * size, column * size, size)
