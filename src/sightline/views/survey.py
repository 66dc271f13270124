"""One pass over a mask at a shape: how much each cell of a picture holds, who sees nothing.

The mask is followed from large squares to small blocks, and only blocks that are mixed are read;
so what it costs follows the mask's boundary, not its area. What the numbers look like is left to
picture.py and the renderers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sightline.errors import InvalidArgument
from sightline.masks.bits import WORD, as_bools, count_bits, read, words_across
from sightline.masks.bounds import FULL, Tiles
from sightline.masks.descent import Grid, descend
from sightline.masks.frame import Frame
from sightline.masks.mask import Mask
from sightline.masks.text import short

if TYPE_CHECKING:
    from sightline.masks.bits import Words

__all__ = ["Survey", "TooMixed", "cell_side", "per_cell", "power_of_two", "survey"]

# The side of the blocks that are read: a power of two, as the side of a cell is.
_SIDE = 128
# Rows are looked at in about so many strips, so that there is progress to tell.
_STRIPS = 16
# Numbers added to cells at a time: 8 MiB.
_MOST_ADDED = 1 << 20


class TooMixed(InvalidArgument):
    """A mask has so little structure that looking at all of it would take too long."""


@dataclass(frozen=True, eq=False)
class Survey:
    """What a mask allows within each cell of a grid laid over ``q_len x kv_len`` pairs.

    Attributes:
        counts: allowed pairs per cell, int64 ``[batch, heads, rows, columns]``.
        empty: bool ``[batch, heads, q_len]``, True where a query sees no key at all.
        kv_len: number of keys.
        q_offset: absolute position of the first query.
        cell: (queries, keys) that one cell spans; the last row and column may span fewer.
    """

    counts: NDArray[np.int64]
    empty: NDArray[np.bool_]
    kv_len: int
    q_offset: int
    cell: tuple[int, int]

    @property
    def q_len(self) -> int:
        """The number of queries."""
        return int(self.empty.shape[-1])

    @property
    def total(self) -> int:
        """Allowed pairs over all of the mask's batch rows and heads."""
        return int(self.counts.sum())

    @property
    def pairs(self) -> int:
        """All pairs over all of the mask's batch rows and heads."""
        return int(self.counts.shape[0] * self.counts.shape[1]) * self.q_len * self.kv_len

    @property
    def areas(self) -> NDArray[np.int64]:
        """Pairs per cell, ``[rows, columns]``."""
        heights = _spans(self.q_len, self.cell[0])
        widths = _spans(self.kv_len, self.cell[1])
        return np.outer(heights, widths)

    def empty_runs(self, batch: int, head: int) -> list[tuple[int, int]]:
        """Return the queries that see nothing as runs (first, last) of absolute positions."""
        empty: NDArray[np.bool_] = np.pad(self.empty[batch, head], 1)
        first, beyond = np.flatnonzero(empty[1:] != empty[:-1]).reshape(-1, 2).T + self.q_offset
        return list(zip(first.tolist(), (beyond - 1).tolist(), strict=True))


def survey(
    mask: Mask,
    q_len: int,
    kv_len: int | None = None,
    *,
    q_offset: int = 0,
    fit: int | tuple[int, int] = 64,
    progress: Callable[[int], object] | None = None,
    most_mixed: int | None = None,
    seconds: float | None = None,
) -> Survey:
    """Count what ``mask`` allows in each cell of a grid of at most ``fit`` rows and columns.

    ``progress`` is called with the number of queries done since the last call.

    >>> import sightline as sl
    >>> seen = survey(sl.causal(), 4, fit=2)
    >>> seen.cell, seen.counts[0, 0].tolist()
    ((2, 2), [[3, 0], [4, 3]])

    Raises:
        TooMixed: more than ``most_mixed`` blocks would have to be read, or it takes more than
            ``seconds``; None is no limit.
    """
    frame = Frame.of(q_len, kv_len, q_offset)
    most_rows, most_columns = (fit, fit) if isinstance(fit, int) else fit
    cell = cell_side(frame.q_len, most_rows), cell_side(frame.kv_len, most_columns)
    tally = _Tally(mask, frame, cell, None if seconds is None else monotonic() + seconds)
    frame.check(mask)
    strip = max(_SIDE, cell_side(frame.q_len, _STRIPS))
    for start in range(0, frame.q_len, strip):
        stop = min(start + strip, frame.q_len)
        tally.add(start, stop, most_mixed)
        if progress is not None:
            progress(stop - start)
    return Survey(tally.counts, tally.empty, frame.kv_len, frame.q_offset, cell)


class _Tally:
    """What has been counted so far, in cells of a picture and for each query."""

    def __init__(
        self, mask: Mask, frame: Frame, cell: tuple[int, int], deadline: float | None
    ) -> None:
        lead = mask.batch, mask.heads
        shape = len(_spans(frame.q_len, cell[0])), len(_spans(frame.kv_len, cell[1]))
        self.counts: NDArray[np.int64] = np.zeros((*lead, *shape), np.int64)
        self.empty: NDArray[np.bool_] = np.ones((*lead, frame.q_len), np.bool_)
        self._mask, self._frame, self._cell = mask, frame, cell
        self._block = tuple(min(_SIDE, power_of_two(n)) for n in (frame.q_len, frame.kv_len))
        self._mixed = 0
        self._deadline = deadline

    def add(self, start: int, stop: int, most_mixed: int | None) -> None:
        """Count the queries from ``start`` up to ``stop``, a strip of whole blocks."""
        frame = Frame(stop - start, self._frame.kv_len, self._frame.q_offset + start, 0)
        grid = Grid.uniform(frame, *self._block)
        for state, blocks in descend(self._mask, grid):
            if self._deadline is not None and monotonic() > self._deadline:
                raise TooMixed(
                    f"{short(self._mask)} takes too long to look at {self._frame.q_len} queries x "
                    f"{self._frame.kv_len} keys. Give a smaller size, or a part of this one."
                )
            tiles = grid.tiles(blocks)
            if state == FULL:
                self._add_full(tiles, blocks.size)
                continue
            self._mixed += len(blocks)
            if most_mixed is not None and self._mixed > most_mixed:
                raise TooMixed(
                    f"{short(self._mask)} has too little structure to look at "
                    f"{self._frame.q_len} queries x {self._frame.kv_len} keys: more than "
                    f"{most_mixed} blocks of {self._block[0]} x {self._block[1]} pairs would have "
                    "to be read one by one. Give a smaller size, or a part of this one."
                )
            self._add_mixed(tiles)

    def _add_full(self, tiles: Tiles, size: int) -> None:
        """Add squares of ``size`` blocks; each lies within a cell or holds several of them."""
        down, across = (
            max(1, block * size // side)
            for block, side in zip(self._block, self._cell, strict=True)
        )
        step = max(1, _MOST_ADDED // (down * across))
        for begin in range(0, len(tiles), step):
            some = tiles.at(slice(begin, begin + step))
            row, column = self._places(some, down, across)
            heights = _overlap(some.q_first, some.q_last, row, self._cell[0], self._frame.q_offset)
            widths = _overlap(some.k_first, some.k_last, column, self._cell[1], 0)
            self._add_cells(some, row, column, heights[:, :, None] * widths[:, None, :])
        owner = tiles.batch * self._mask.heads + tiles.head
        beyond = self._frame.q_offset + self._frame.q_len
        _, kinds = np.unique(owner * beyond + tiles.q_first, return_index=True)
        for tile in kinds.tolist():  # one square of each row of squares
            first = int(tiles.q_first[tile]) - self._frame.q_offset
            last = int(tiles.q_last[tile]) - self._frame.q_offset
            self.empty[tiles.batch[tile], tiles.head[tile], first : last + 1] = False

    def _add_mixed(self, tiles: Tiles) -> None:
        """Read blocks and add what they hold."""
        for numbers, words, group in read(self._mask, tiles):
            held = per_cell(words, self._block, self._cell)
            down, across = held.shape[1:]
            step = max(1, _MOST_ADDED // (down * across))
            for begin in range(0, len(numbers), step):
                here = slice(begin, begin + step)
                some = tiles.at(numbers[here])
                self._add_cells(some, *self._places(some, down, across), held[group[here]])
            mine = tiles.at(numbers)
            tile, row = np.nonzero(np.any(words, axis=2)[group])
            query = mine.q_first[tile] - self._frame.q_offset + row
            self.empty[mine.batch[tile], mine.head[tile], query] = False

    def _places(self, tiles: Tiles, down: int, across: int) -> tuple[NDArray, NDArray]:
        """Return the rows and the columns of cells from each tile's first on."""
        row = (tiles.q_first - self._frame.q_offset) // self._cell[0]
        column = tiles.k_first // self._cell[1]
        return row[:, None] + np.arange(down), column[:, None] + np.arange(across)

    def _add_cells(self, tiles: Tiles, row: NDArray, column: NDArray, held: NDArray) -> None:
        """Add ``[T, down, across]`` to the cells; beyond the last one there is only 0 to add."""
        _, heads, rows, columns = self.counts.shape
        row, column = np.minimum(row, rows - 1), np.minimum(column, columns - 1)
        owner = (tiles.batch * heads + tiles.head)[:, None] * rows
        place = (owner + row)[:, :, None] * columns + column[:, None, :]
        np.add.at(self.counts.reshape(-1), place.reshape(-1), held.reshape(-1))


def cell_side(length: int, fit: int) -> int:
    """Return the smallest power of two by which ``length`` positions fit in ``fit`` cells.

    >>> cell_side(64, 64), cell_side(65, 64), cell_side(4096, 64)
    (1, 2, 64)
    """
    side = 1
    while -(-length // side) > max(fit, 1):
        side *= 2
    return side


def _spans(length: int, side: int) -> NDArray[np.int64]:
    """Return how many positions each cell of ``side`` spans along an axis of ``length``."""
    starts = np.arange(0, length, side, dtype=np.int64)
    return np.minimum(starts + side, length) - starts


def power_of_two(length: int) -> int:
    """Return the smallest power of two that is at least ``length``."""
    return 1 << max(length - 1, 0).bit_length()


def _overlap(first: NDArray, last: NDArray, cell: NDArray, side: int, offset: int) -> NDArray:
    """Return how many of the positions ``first`` .. ``last`` lie in each cell, ``[T, cells]``."""
    start, stop = (first - offset)[:, None], (last - offset)[:, None] + 1
    return np.maximum(np.minimum(stop, (cell + 1) * side) - np.maximum(start, cell * side), 0)


def per_cell(words: Words, block: tuple[int, ...], cell: tuple[int, int]) -> NDArray[np.int64]:
    """Return the set bits in each part of every block that is a cell's, ``[P, down, across]``."""
    height, width = (min(side, most) for side, most in zip(cell, block, strict=True))
    # What is read is as large as the largest tile, which may be less than a block.
    missing = block[0] - words.shape[1], words_across(block[1]) - words.shape[2]
    if any(missing):
        words = np.pad(words, ((0, 0), *((0, more) for more in missing)))
    if width % WORD == 0:
        ones = count_bits(words[..., None], axis=-1)
        width //= WORD
    else:
        ones = as_bools(words, block[1])
    parts = ones.reshape(len(words), block[0] // height, height, ones.shape[2] // width, width)
    return parts.sum(axis=(2, 4), dtype=np.int64)
