"""A set of cells, and what the families of masks ask about it.

A question has two regions: the cells that are *needed* and those to *avoid*; what lies in neither
may go either way. Every feature here is "is there any cell such that ...", which serves both.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from sightline.recognize.canvas import Canvas

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sightline.masks.bits import Words

    Bools = NDArray[np.bool_]
    Ints = NDArray[np.int64]

# Greater than any position: "there is none".
BEYOND = 2**40


class Region:
    """Some cells of a canvas, ``[batch, heads, queries, words]``."""

    def __init__(self, canvas: Canvas, words: Words) -> None:
        self.canvas = canvas
        shape = (canvas.batch, canvas.heads, *words.shape[2:])
        self.neighbours: dict[int, list[int]] = {}  # kept by cliques.py
        self.words = words if words.shape == shape else np.broadcast_to(words, shape)

    def minus(self, words: Words) -> Region:
        """Return the cells that are not in ``words``."""
        return Region(self.canvas, self.words & ~words)

    def within(self, words: Words) -> Region:
        """Return the cells that are in ``words`` too."""
        return Region(self.canvas, self.words & words)

    def is_inside(self, words: Words) -> bool:
        """Return whether every cell is in ``words``."""
        return not (self.words & ~words).any()

    def is_outside(self, words: Words) -> bool:
        """Return whether no cell is in ``words``."""
        return not (self.words & words).any()

    @cached_property
    def empty(self) -> bool:
        """Whether there is no cell."""
        return not self.words.any()

    def part(self, axis: int, index: int) -> Region:
        """Return one batch row (axis 0) or one head (axis 1)."""
        words = self.words.take([index], axis=axis)
        base = self.canvas
        sizes = [1 if axis == i else size for i, size in enumerate((base.batch, base.heads))]
        canvas = Canvas(sizes[0], sizes[1], base.q_len, base.kv_len, base.q_offset)
        return Region(canvas, words)

    # -- cells, over heads and over batch rows ----------------------------------------------------

    @cached_property
    def rows(self) -> Bools:
        """The cells of any head, ``[batch, queries, keys]``."""
        return self.canvas.unpack(np.bitwise_or.reduce(self.words, axis=1))

    @cached_property
    def plane(self) -> Bools:
        """The cells of any head and batch row, ``[queries, keys]``."""
        return self.rows[0] if len(self.rows) == 1 else np.logical_or.reduce(self.rows, axis=0)

    @cached_property
    def keys(self) -> Bools:
        """Which keys have a cell, ``[batch, keys]``."""
        return np.logical_or.reduce(self.rows, axis=1)

    @cached_property
    def gaps(self) -> Ints:
        """The gaps key - query of any cell, rising."""
        q_len, kv_len = self.plane.shape
        padded = np.zeros((q_len, q_len + kv_len), dtype=np.bool_)
        padded[:, q_len:] = self.plane
        # Read with rows one cell longer, what stood on a diagonal stands in a column.
        flat = np.concatenate([padded.reshape(-1), np.zeros(q_len, dtype=np.bool_)])
        skewed = flat.reshape(q_len, q_len + kv_len + 1)
        # Cell (i, j) is at i * (Q + K) + Q + j = i * (Q + K + 1) + (Q + j - i).
        found = np.flatnonzero(np.logical_or.reduce(skewed, axis=0))
        return found - q_len - self.canvas.q_offset

    # -- where the cells of a row begin and end ---------------------------------------------------

    @cached_property
    def first(self) -> Ints:
        """The first key of each row, ``[batch, queries]``; BEYOND for none."""
        some = np.logical_or.reduce(self.rows, axis=2)
        return np.where(some, np.argmax(self.rows, axis=2), BEYOND)

    @cached_property
    def last(self) -> Ints:
        """The last key of each row, ``[batch, queries]``; -1 for none."""
        some = np.logical_or.reduce(self.rows, axis=2)
        return np.where(some, self.canvas.kv_len - 1 - np.argmax(self.rows[..., ::-1], axis=2), -1)

    @cached_property
    def before(self) -> Ints:
        """The last key at or before the query itself, ``[batch, queries]``; -1 for none."""
        return self._beside(-1, early=True)

    @cached_property
    def after(self) -> Ints:
        """The first key at or after the query itself, ``[batch, queries]``; BEYOND for none."""
        return self._beside(BEYOND, early=False)

    def _beside(self, none: int, *, early: bool) -> Ints:
        query, key = self.canvas.query[:, None], np.arange(self.canvas.kv_len)
        side = key <= query if early else key >= query
        cells = self.rows & side
        some = np.logical_or.reduce(cells, axis=2)
        if early:
            place = self.canvas.kv_len - 1 - np.argmax(cells[..., ::-1], axis=2)
        else:
            place = np.argmax(cells, axis=2)
        return np.where(some, place, none)

    # -- by position -------------------------------------------------------------------------------

    @cached_property
    def transposed(self) -> Region:
        """The region with queries and keys swapped, from position 0 on both axes."""
        canvas, base = self.canvas, self.canvas.q_offset
        swapped = Canvas(canvas.batch, 1, canvas.kv_len, base + canvas.q_len, 0)
        cells = np.zeros((canvas.batch, 1, canvas.kv_len, base + canvas.q_len), dtype=np.bool_)
        cells[:, 0, :, base:] = np.swapaxes(self.rows, 1, 2)
        return Region(swapped, swapped.pack(cells))
