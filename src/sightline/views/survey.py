"""One pass over a mask at a shape: how much each cell of a picture holds, who sees nothing.

The mask is asked for a few rows at a time, so that memory stays small at any length. What the
numbers look like is left to picture.py and the renderers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sightline.masks.mask import Mask

__all__ = ["Survey", "cell_side", "survey"]

# Pairs evaluated at a time. A mask's definition works in 64-bit integers: 8 to 30 bytes a pair.
_PAIRS_AT_A_TIME = 1 << 21


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


def survey(
    mask: Mask,
    q_len: int,
    kv_len: int | None = None,
    *,
    q_offset: int = 0,
    fit: int | tuple[int, int] = 64,
    progress: Callable[[int], object] | None = None,
) -> Survey:
    """Count what ``mask`` allows in each cell of a grid of at most ``fit`` rows and columns.

    ``progress`` is called with the number of queries done since the last call.

    >>> import sightline as sl
    >>> seen = survey(sl.causal(), 4, fit=2)
    >>> seen.cell, seen.counts[0, 0].tolist()
    ((2, 2), [[3, 0], [4, 3]])
    """
    kv_len = q_len if kv_len is None else kv_len
    most_rows, most_columns = (fit, fit) if isinstance(fit, int) else fit
    cell = cell_side(q_len, most_rows), cell_side(kv_len, most_columns)
    lead = (mask.batch, mask.heads)
    counts = np.zeros((*lead, len(_spans(q_len, cell[0])), len(_spans(kv_len, cell[1]))), np.int64)
    empty = np.ones((*lead, q_len), np.bool_)
    step = _rows_at_a_time(mask.batch * mask.heads * max(kv_len, 1))
    for start in range(0, q_len, step):
        stop = min(start + step, q_len)
        allowed = mask.rows(q_offset + start, q_offset + stop, kv_len)
        if kv_len:
            per_row = _per_cell(allowed, cell[1], axis=-1)
            empty[..., start:stop] = ~per_row.any(axis=-1)
            first = start // cell[0]
            block = _per_cell(per_row, cell[0], axis=-2)
            counts[:, :, first : first + block.shape[-2]] += block
        if progress is not None:
            progress(stop - start)
    return Survey(counts=counts, empty=empty, kv_len=kv_len, q_offset=q_offset, cell=cell)


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


def _rows_at_a_time(pairs_per_row: int) -> int:
    """Return how many rows to ask for at a time: a power of two, as the side of a cell is.

    One divides the other, so a chunk of rows lies within one row of cells or fills several.
    """
    return 1 << max(0, (_PAIRS_AT_A_TIME // pairs_per_row).bit_length() - 1)


def _per_cell(values: NDArray, side: int, axis: int) -> NDArray[np.int64]:
    """Sum ``values`` along ``axis`` over cells of ``side`` positions."""
    if side == 1:
        return values.astype(np.int64)
    starts = np.arange(0, values.shape[axis], side)
    return np.add.reduceat(values, starts, axis=axis, dtype=np.int64)
