"""Masks given as intervals of keys, for each query its own."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from sightline.errors import InvalidMask, ShapeMismatch
from sightline.masks.arguments import as_integers
from sightline.masks.arrays import Array, Cells, Data
from sightline.masks.bounds import MOST_RUNS, states
from sightline.masks.intervals import ENDLESS
from sightline.masks.mask import Extent, Mask, Spec
from sightline.masks.nodes import Atom, Nothing
from sightline.masks.range_least import RangeLeast

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sightline.masks.bounds import Rows, Run, States, Tiles


@dataclass(frozen=True, slots=True, repr=False)
class Intervals(Atom):
    """Query q sees start[q] <= k < end[q], for the union of n intervals: ``[B|1, H|1, Q, n]``."""

    start: Data
    end: Data
    kept: list[Any] = field(default_factory=list[Any], compare=False)

    @property
    def batch(self) -> int:
        return self.start.array.shape[0]

    @property
    def heads(self) -> int:
        return self.start.array.shape[1]

    def allowed(self, cells: Cells) -> Array:
        starts, ends = self.start.array, self.end.array
        batch = cells.batch if self.batch > 1 else 0
        head = cells.head if self.heads > 1 else 0
        inside = cells.query < starts.shape[2]
        query = cells.query * inside
        result = cells.key < 0
        for i in range(starts.shape[3]):
            start = cells.place(starts[..., i])[batch, head, query]
            end = cells.place(ends[..., i])[batch, head, query]
            result = result | ((cells.key >= start) & (cells.key < end))
        return result & inside

    def bounds(self, tiles: Tiles) -> States:
        rows = self.start.array.shape[2]
        last = np.minimum(tiles.q_last, rows - 1)
        first = np.minimum(tiles.q_first, last)
        row = (tiles.batch if self.batch > 1 else 0) * self.heads
        row = row + (tiles.head if self.heads > 1 else tiles.head * 0)
        some, full = tiles.q_first < 0, tiles.q_first < 0
        for least_start, most_start, least_end, most_end in self._extremes():
            before = tiles.k_last < least_start(row, first, last)
            some = some | ~(before | (tiles.k_first >= -most_end(row, first, last)))
            after = tiles.k_first >= -most_start(row, first, last)
            full = full | (after & (tiles.k_last < least_end(row, first, last)))
        some = some & (tiles.q_first < rows)
        return states(~some, some & full & (tiles.q_last < rows))

    def _extremes(self) -> list[list[RangeLeast]]:
        """Return for the i-th intervals of the rows: least and most start and end. Kept."""
        if not self.kept:
            rows = self.start.array.shape[2]
            for i in range(self.start.array.shape[3]):
                start, end = (d.array[..., i].reshape(-1, rows) for d in (self.start, self.end))
                started = np.where(start < end, start, ENDLESS)  # an empty one reaches no key
                tables = (started, -start, end, -end)
                self.kept.append([RangeLeast(table) for table in tables])
        return self.kept

    def runs(self, rows: Rows) -> list[Run] | None:
        starts, ends = self.start.array, self.end.array
        if starts.shape[3] > MOST_RUNS:
            return None
        batch = rows.batch if self.batch > 1 else 0
        head = rows.head if self.heads > 1 else 0
        inside = rows.query < starts.shape[2]
        query = rows.query * inside
        return [
            (starts[..., i][batch, head, query], ends[..., i][batch, head, query] * inside)
            for i in range(starts.shape[3])
        ]

    def spec(self) -> Spec:
        def short(data: Data) -> list[Any]:
            table = data.array
            if self.heads > 1:
                return table.tolist()
            if self.batch > 1:
                return table[:, 0].tolist()
            return table[0, 0, :, 0].tolist() if table.shape[3] == 1 else table[0, 0].tolist()

        return "intervals", {"start": short(self.start), "end": short(self.end)}

    def extent(self) -> Extent:
        return self.start.array.shape[2], int(self.end.array.max())


# -- what users call --------------------------------------------------------------------------


def intervals(start: object, end: object) -> Mask:
    """Query q sees the keys start[q] <= k < end[q].

    ``start`` and ``end`` are ``[Q]``, ``[Q, n]`` for the union of n intervals a row,
    ``[B, Q, n]`` or ``[B|1, H|1, Q, n]``; an interval with start = end is empty. Queries from Q
    on see nothing.

    >>> import sightline as sl
    >>> sl.intervals(start=[0, 0, 2], end=[1, 2, 4]).dense(3, 4)[0, 0].astype(int)
    array([[1, 0, 0, 0],
           [1, 1, 0, 0],
           [0, 0, 1, 1]])
    """
    starts = as_integers(start, "intervals(start=)", ranks=(1, 2, 3, 4))
    ends = as_integers(end, "intervals(end=)", ranks=(1, 2, 3, 4))
    if starts.shape != ends.shape:
        raise ShapeMismatch(
            "intervals wants start and end of the same shape, got "
            f"{list(starts.shape)} and {list(ends.shape)}."
        )
    if (starts > ends).any():
        at = tuple(int(i) for i in np.argwhere(starts > ends)[0])
        raise InvalidMask(
            f"intervals(end=) must not be before start, got {starts[at]} .. {ends[at]} at "
            f"{list(at)}; an empty interval has end = start."
        )
    full = {1: (1, 1, -1, 1), 2: (1, 1, *starts.shape), 3: (len(starts), 1, *starts.shape[1:])}
    shape = full.get(starts.ndim, starts.shape)
    return _intervals(starts.reshape(shape), ends.reshape(shape)) if starts.size else Nothing()


def _intervals(start: NDArray[np.int64], end: NDArray[np.int64]) -> Mask:
    """Merge the intervals of each row that touch, sort them, and cut off what is empty."""
    start = np.where(start < end, start, np.iinfo(np.int64).max)  # empty ones sort to the end
    order = np.argsort(start, axis=-1, kind="stable")
    start, end = np.take_along_axis(start, order, -1), np.take_along_axis(end, order, -1)
    merged_start, merged_end = np.zeros_like(start), np.zeros_like(end)
    filled = np.zeros(start.shape[:-1], dtype=np.int64)
    for i in range(start.shape[-1]):
        real = start[..., i] < end[..., i]
        last = np.maximum(filled - 1, 0)[..., None]
        last_end = np.take_along_axis(merged_end, last, -1)[..., 0]
        touches = real & (filled > 0) & (start[..., i] <= last_end)
        fresh = real & ~touches
        slot = np.where(touches, last[..., 0], np.minimum(filled, start.shape[-1] - 1))[..., None]
        new_end = np.where(touches, np.maximum(last_end, end[..., i]), end[..., i])
        keep_start = np.take_along_axis(merged_start, slot, -1)[..., 0]
        keep_end = np.take_along_axis(merged_end, slot, -1)[..., 0]
        put_start = np.where(fresh, start[..., i], keep_start)
        put_end = np.where(real, new_end, keep_end)
        np.put_along_axis(merged_start, slot, put_start[..., None], -1)
        np.put_along_axis(merged_end, slot, put_end[..., None], -1)
        filled = filled + fresh
    used = np.flatnonzero(filled.any(axis=(0, 1)))
    if not used.size:
        return Nothing()
    rows, width = int(used[-1]) + 1, int(filled.max())
    return Intervals(Data(merged_start[:, :, :rows, :width]), Data(merged_end[:, :, :rows, :width]))


__all__ = ["intervals"]
