"""Exact answers about a mask at a shape, by asking every cell; in strips, where not all are kept.

Everything but ``dense`` holds a bounded strip of rows at a time. Answers read off the structure
of the expression, without asking the cells, are the planner's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sightline.errors import InvalidMask, ShapeMismatch
from sightline.masks.arguments import as_int
from sightline.masks.arrays import Cells
from sightline.masks.mask import Mask

if TYPE_CHECKING:
    from numpy.typing import NDArray

# How many cells a strip may hold: 2 MiB of bools, and 16 MiB for each intermediate result.
STRIP_CELLS = 2**21


@dataclass(frozen=True)
class Frame:
    """The rectangle of absolute positions at which a mask is asked."""

    q_len: int
    kv_len: int
    q_offset: int
    kv_offset: int

    @classmethod
    def of(cls, q_len: int, kv_len: int | None, q_offset: int = 0, kv_offset: int = 0) -> Frame:
        """Check the four numbers; ``kv_len`` None means ``q_len``."""
        kv_len = q_len if kv_len is None else kv_len
        return cls(
            _checked(q_len, "q_len"),
            _checked(kv_len, "kv_len"),
            _checked(q_offset, "q_offset"),
            _checked(kv_offset, "kv_offset"),
        )

    @classmethod
    def of_rows(cls, q_start: int, q_stop: int, kv_len: int | None, kv_offset: int) -> Frame:
        """The frame of the queries from ``q_start`` up to ``q_stop``; keys up to there if None."""
        start, stop = _checked(q_start, "q_start"), _checked(q_stop, "q_stop")
        if start > stop:
            raise ShapeMismatch(f"q_start must not be after q_stop, got {start} and {stop}.")
        return cls.of(stop - start, stop if kv_len is None else kv_len, start, kv_offset)


def _checked(value: int, name: str) -> int:
    try:
        return as_int(value, name, least=0)
    except InvalidMask as error:
        raise ShapeMismatch(str(error)) from None


def dense(mask: Mask, frame: Frame) -> NDArray[np.bool_]:
    """Return the bools ``[batch, heads, q_len, kv_len]`` of the mask in the frame."""
    shape = (mask.batch, mask.heads, frame.q_len, frame.kv_len)
    result = np.empty(shape, dtype=np.bool_)
    if result.size:
        mask.check_reach(frame.q_offset + frame.q_len, frame.kv_offset + frame.kv_len)
        _fill(mask, frame, result)
    return result


def _fill(mask: Mask, frame: Frame, result: NDArray[np.bool_]) -> None:
    cells = Cells(
        batch=_axis(0, mask.batch, 0),
        head=_axis(0, mask.heads, 1),
        query=_axis(frame.q_offset, frame.q_len, 2),
        key=_axis(frame.kv_offset, frame.kv_len, 3),
    )
    result[...] = mask.allowed(cells)


def _axis(start: int, length: int, axis: int) -> NDArray[np.int64]:
    shape = [1, 1, 1, 1]
    shape[axis] = length
    return np.arange(start, start + length, dtype=np.int64).reshape(shape)


def strips(mask: Mask, frame: Frame) -> Iterator[tuple[int, NDArray[np.bool_]]]:
    """Yield (first row, bools of some rows) from top to bottom, at most ``STRIP_CELLS`` each."""
    per_row = max(1, mask.batch * mask.heads * frame.kv_len)
    height = max(1, STRIP_CELLS // per_row)
    for first in range(0, frame.q_len, height):
        rows = min(height, frame.q_len - first)
        strip = Frame(rows, frame.kv_len, frame.q_offset + first, frame.kv_offset)
        yield first, dense(mask, strip)


def count(mask: Mask, frame: Frame) -> int:
    """Return the number of allowed pairs over all batch rows and heads of the mask."""
    return sum(int(np.count_nonzero(strip)) for _, strip in strips(mask, frame))


def density(mask: Mask, frame: Frame) -> float:
    """Return allowed pairs ÷ all pairs; 0 where there are no pairs."""
    pairs = mask.batch * mask.heads * frame.q_len * frame.kv_len
    return count(mask, frame) / pairs if pairs else 0.0


def empty_rows(mask: Mask, frame: Frame) -> NDArray[np.bool_]:
    """Return bools ``[batch, heads, q_len]``, True where a query may see no key."""
    result = np.ones((mask.batch, mask.heads, frame.q_len), dtype=np.bool_)
    for first, strip in strips(mask, frame):
        result[:, :, first : first + strip.shape[2]] = ~strip.any(axis=-1)
    return result
