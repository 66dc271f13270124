"""Exact answers about a mask at a shape, by asking every cell; in strips, where not all are kept.

Everything but ``dense`` holds a bounded strip of rows at a time. Answers read off the structure
of the expression, without asking the cells, are the planner's.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from sightline.errors import InvalidMask, ShapeMismatch
from sightline.masks.arrays import Cells
from sightline.masks.mask import Mask

if TYPE_CHECKING:
    from numpy.typing import NDArray

# How many cells a strip may hold: 16 MiB of bools, and a few times that in intermediate results.
STRIP_CELLS = 2**24


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
        values = {
            "q_len": q_len,
            "kv_len": q_len if kv_len is None else kv_len,
            "q_offset": q_offset,
            "kv_offset": kv_offset,
        }
        for name, value in values.items():
            try:
                number = operator.index(cast(Any, value))
            except TypeError:
                raise ShapeMismatch(f"{name} must be an integer, got {value!r}.") from None
            if number < 0:
                raise ShapeMismatch(f"{name} must be at least 0, got {number}.")
            values[name] = number
        return cls(**values)


def dense(mask: Mask, frame: Frame) -> NDArray[np.bool_]:
    """Return the bools ``[batch, heads, q_len, kv_len]`` of the mask in the frame."""
    mask.check_reach(frame.q_offset + frame.q_len, frame.kv_offset + frame.kv_len)
    shape = (mask.batch, mask.heads, frame.q_len, frame.kv_len)
    result = np.empty(shape, dtype=np.bool_)
    if result.size:
        _fill(mask, frame, result)
    return result


def _fill(mask: Mask, frame: Frame, result: NDArray[np.bool_]) -> None:
    cells = Cells(
        batch=np.arange(mask.batch).reshape(-1, 1, 1, 1),
        head=np.arange(mask.heads).reshape(1, -1, 1, 1),
        query=np.arange(frame.q_offset, frame.q_offset + frame.q_len).reshape(1, 1, -1, 1),
        key=np.arange(frame.kv_offset, frame.kv_offset + frame.kv_len).reshape(1, 1, 1, -1),
    )
    allowed = mask.allowed(cells)
    try:
        result[...] = allowed
    except ValueError:
        raise InvalidMask(
            f"{mask!r} answered with shape {list(np.shape(allowed))}, which does not broadcast to "
            f"[batch, heads, queries, keys] = {list(result.shape)}; make its function elementwise."
        ) from None


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
