"""The cells of a view while they are being found out: settled ones, open ones, estimates.

A cell is settled by a square that is full, by counting, or because nothing in it is allowed; what
is still open when the time is over is estimated from single pairs at places without a pattern.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from sightline.masks.arrays import Cells
from sightline.masks.bits import distinct, scramble
from sightline.masks.bounds import EMPTY, FULL, PARTIAL, Tiles
from sightline.masks.descent import Blocks, Grid, descend
from sightline.masks.frame import Frame
from sightline.views.atlas.tally import Clock, count, in_batches
from sightline.views.survey import cell_side, per_cell

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sightline.masks.mask import Mask

    Ints = NDArray[np.int64]

__all__ = ["Canvas"]

# Cells smaller than this are read together, in blocks of this side.
_SIDE = 64
# Cells that are filled, or asked for a pair each, at a time.
_MOST_FILLED, _MOST_ASKED = 2**20, 2**13
# The first kinds of cells that are counted together; then eight times as many, and so on.
_FIRST_KINDS, _GROWTH = 64, 8
_MOST_SAMPLES = 256
# Steps of the R2 sequence, which fills a square evenly however many points are drawn: the powers
# of 1 / 1.3247..., the plastic number, as fractions of 2^64.
_STEPS = tuple(int(2**64 / 1.32471795724474602596**i) for i in (1, 2))
# No share of a mixed cell is told as nothing or as all.
_LEAST = 1e-6


class Canvas:
    """The cells of a view, ``[rows, columns]``, some more than are seen where blocks reach over."""

    def __init__(
        self, mask: Mask, owner: tuple[int, int], frame: Frame, cell: tuple[int, int]
    ) -> None:
        self.cell = cell
        self.first = frame.q_offset, frame.kv_offset
        self.pairs = frame.q_len * frame.kv_len
        self._mask, self._owner = mask, owner
        self._seen = -(-frame.q_len // cell[0]), -(-frame.kv_len // cell[1])
        self._block = (_SIDE, _SIDE) if max(cell) < _SIDE else cell
        self._grid = Grid.uniform(frame, *self._block)
        self._each = self._block[0] // cell[0], self._block[1] // cell[1]
        shape = self._grid.rows * self._each[0], self._grid.columns * self._each[1]
        self._extents = (
            _extents(frame.q_len, cell[0], shape[0]),
            _extents(frame.kv_len, cell[1], shape[1]),
        )
        self._areas = np.outer(*self._extents)
        self._counts: Ints = np.zeros(shape, np.int64)
        self._open: NDArray[np.bool_] = np.ones(shape, np.bool_)
        self._shares: NDArray[np.float64] = np.zeros(shape)

    @classmethod
    def over(
        cls,
        mask: Mask,
        owner: tuple[int, int],
        ends: tuple[int, int, int, int],
        fit: tuple[int, int],
    ) -> Canvas:
        """Return the cells over queries and keys ``(start, stop, start, stop)``, nothing known."""
        starts, stops = ends[::2], ends[1::2]
        cell = (
            cell_side(stops[0] - starts[0], fit[0]),
            cell_side(stops[1] - starts[1], fit[1]),
        )
        first = starts[0] // cell[0] * cell[0], starts[1] // cell[1] * cell[1]
        frame = Frame(stops[0] - first[0], stops[1] - first[1], *first)
        frame.check(mask)
        return cls(mask, owner, frame, cell)

    def count(self, clock: Clock) -> None:
        """Settle all cells.

        Raises:
            OutOfTime: some are left open.
        """
        blocks = self._sorted_out(clock)
        tiles = self._grid.tiles(blocks)
        first, group = distinct(self._mask, tiles)
        counts: Ints = np.zeros((len(first), *self._each), np.int64)
        known = 0
        try:
            for here, held in self._counted(tiles.at(first), clock):
                counts[here], known = held, here.stop
        finally:
            mine = np.flatnonzero(group < known)
            rows, columns = self._cells_of(blocks.at(mine))
            self._counts[rows, columns] = counts[group[mine]]
            self._open[rows, columns] = False

    def _sorted_out(self, clock: Clock) -> Blocks:
        """Settle what is full or empty; return the blocks that are mixed."""
        mixed: list[Blocks] = []
        for state, blocks in descend(self._mask, self._grid, self._owner):
            if state == FULL:
                self._fill(blocks)
            else:
                mixed.append(blocks)
            clock.check()
        row, column = (
            np.concatenate([np.zeros(0, np.int64), *(getattr(some, axis) for some in mixed)])
            for axis in ("row", "column")
        )
        blocks = Blocks(row, row, row, column, 1).owned_by(*self._owner)
        self._open[...] = False
        self._open[self._cells_of(blocks)] = True
        return blocks

    def _fill(self, squares: Blocks) -> None:
        """Settle squares of blocks that are full."""
        step = max(1, _MOST_FILLED // (squares.size**2 * self._each[0] * self._each[1]))
        for start in range(0, len(squares), step):
            here = np.arange(start, min(start + step, len(squares)))
            cells = self._cells_of(squares.at(here))
            self._counts[cells] = self._areas[cells]
            self._open[cells] = False

    def _cells_of(self, squares: Blocks) -> tuple[Ints, Ints]:
        """Return the rows and columns of the cells of squares of blocks, as an index."""
        row, column = (
            np.minimum((first * each)[:, None] + np.arange(squares.size * each), most - 1)
            for first, each, most in zip(
                (squares.row, squares.column), self._each, self._counts.shape, strict=True
            )
        )
        return row[:, :, None], column[:, None, :]

    def _counted(self, kinds: Tiles, clock: Clock) -> Iterator[tuple[slice, Ints]]:
        """Yield what is in the cells of some of the blocks, ``[blocks, rows, columns]``."""
        if self._block != self.cell:
            for here, words in in_batches(self._mask, kinds, clock):
                yield here, per_cell(words, self._block, self.cell)
            return
        start, step = 0, _FIRST_KINDS
        while start < len(kinds):
            here = slice(start, start + step)
            held = count(self._mask, kinds.at(here), self.cell, clock)
            yield here, held.pairs[:, None, None]
            start, step = here.stop, step * _GROWTH

    def estimate(self, clock: Clock) -> None:
        """Give the cells that are open a share, from pairs drawn in each, as many as time allows.

        A cell is taken for what its own pairs say and, as one pair more, what those of all say.
        """
        found = np.nonzero(self._open & (self._areas > 0))
        # In no order, so that cells that are never asked lie scattered among others.
        order = np.random.default_rng(0).permutation(len(found[0]))
        cells = found[0][order], found[1][order]
        hits, drawn = np.zeros(len(order)), np.zeros(len(order))
        for turn in range(_MOST_SAMPLES):
            for start in range(0, len(order), _MOST_ASKED):
                if (turn or start) and clock.is_over:
                    break
                here = slice(start, start + _MOST_ASKED)
                hits[here] += self._asked((cells[0][here], cells[1][here]), turn)
                drawn[here] += 1
        everywhere = hits.sum() / max(drawn.sum(), 1)
        self._shares[cells] = (hits + everywhere) / (drawn + 1)

    def _asked(self, cells: tuple[Ints, Ints], turn: int) -> NDArray[np.bool_]:
        """Return whether one pair of each cell is allowed: the pair depends on the cell alone."""
        firsts = [
            start + at * side for start, at, side in zip(self.first, cells, self.cell, strict=True)
        ]
        seed = scramble(scramble(firsts[0].astype(np.uint64)) + firsts[1].astype(np.uint64))
        places: list[Ints] = []
        for axis, (first, at) in enumerate(zip(firsts, cells, strict=True)):
            extent = self._extents[axis][at]
            turned = (seed + np.uint64(turn * _STEPS[axis] % 2**64)) >> np.uint64(11)
            offset = (turned.astype(np.float64) * 2.0**-53 * extent).astype(np.int64)
            places.append(first + np.minimum(offset, extent - 1))
            seed = scramble(seed)
        batch, head = (np.full(len(seed), of) for of in self._owner)
        allowed = self._mask.allowed(Cells(batch, head, places[0], places[1]))
        return np.broadcast_to(allowed, seed.shape)

    def result(self) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.bool_]]:
        """Return state, share and whether it is sure, of the cells that are seen."""
        seen = tuple(slice(most) for most in self._seen)
        counts, areas, is_open = self._counts[seen], self._areas[seen], self._open[seen]
        state = np.where(counts == 0, EMPTY, np.where(counts == areas, FULL, PARTIAL))
        state[is_open] = PARTIAL
        share = np.where(is_open, self._shares[seen], counts / areas).astype(np.float32)
        # What is rounded must not look like nothing or all.
        least = np.where(is_open, _LEAST, np.finfo(np.float32).tiny)
        most = np.where(is_open, 1 - _LEAST, np.nextafter(np.float32(1), np.float32(0)))
        share = np.where(state == PARTIAL, np.clip(share, least, most), share)
        return state.astype(np.uint8), share.astype(np.float32), ~is_open


def _extents(length: int, side: int, cells: int) -> Ints:
    """Return how many positions each cell holds: the last one may be cut off, then there are 0."""
    return np.clip(length - np.arange(cells, dtype=np.int64) * side, 0, side)
