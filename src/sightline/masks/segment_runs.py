"""Which segment a position belongs to, read from the runs: for planning, where no table fits."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from sightline.masks.intervals import ENDLESS
from sightline.masks.range_least import RangeLeast

if TYPE_CHECKING:
    from sightline.masks.bounds import Bools, Ints, OnGrid


# Rows of positions that pass more ends of runs than this are searched.
MOST_STEPS = 12
# How many stretches to cut a row into for each of its runs.
STRETCHES_A_RUN = 8


class SegmentRuns:
    """The runs of equal segment ids of each batch row, with one more, -1, for what lies beyond.

    A run is known by its place in the tables laid flat.

    Attributes:
        ids: the segment of each run, ``[B, R + 1]``; -1 is none.
        starts: where each run begins, ``[B, R + 1]``.
        stops: where it ends (exclusive), ``[B, R + 1]``; the last one is endless.
        seen: the same, but 0 for gaps, which see nothing.
        in_order: whether every segment is one run, so that runs and segments correspond.
    """

    def __init__(self, ids: Ints, lengths: Ints) -> None:
        stops = np.cumsum(lengths, axis=1)
        self._span = int(stops.max()) + 1
        self._rows, self._runs = ids.shape
        self._width = self._runs + 1
        # One rising row of ends for all batch rows: each begins where the one before it ended.
        self._ends = (stops + self._span * np.arange(len(stops))[:, None]).reshape(-1)
        self._kept: list[tuple[Ints, Ints, Ints]] = []
        self.ids = np.pad(ids, ((0, 0), (0, 1)), constant_values=-1)
        self.starts = np.pad(stops, ((0, 0), (1, 0)))
        self.stops = np.pad(stops, ((0, 0), (0, 1)), constant_values=ENDLESS)
        self.seen = np.where(self.ids < 0, 0, self.stops)
        rising = np.diff(np.maximum.accumulate(ids, axis=1), axis=1) > 0
        self.in_order = bool((rising | (ids[:, 1:] < 0)).all())

    def place_along(self, batch: Ints, position: Ints) -> Ints:
        """Return the same as ``place`` for ``[T, n]`` positions that rise along their last axis."""
        ends = self.place(batch, position[:, [0, -1]])
        first, last = ends[:, :1], ends[:, 1:]
        run: Ints = np.empty(position.shape, dtype=np.int64)
        run[...] = first
        most = int((last - first).max(initial=0))
        if most > MOST_STEPS:
            row = batch if self._rows > 1 else batch * 0
            inside = np.minimum(position, self._span - 1)
            return self._search(row, inside) + row * self._width
        for step in range(most):
            # The run's number grows by one wherever one of the ends between has been passed.
            run += self.stops.take(np.minimum(first + step, last)) <= position
        return run

    def ends(self, batch: Ints, first: Ints, last: Ints, grid: OnGrid | None) -> tuple[Ints, Ints]:
        """Return ``place`` of both ends of stretches, by way of their grid where there is one."""
        if grid is None or self._rows > 1:
            return self.place(batch, first), self.place(batch, last)
        firsts, lasts = self._at_edges(grid.edges)
        return firsts.take(grid.first), lasts.take(grid.stop)

    def _at_edges(self, edges: Ints) -> tuple[Ints, Ints]:
        """Return ``place`` of every edge, and of the position before it. Kept for two axes."""
        for known, firsts, lasts in self._kept:
            if known is edges:
                return firsts, lasts
        zero = np.zeros_like(edges)
        tables = self.place(zero, edges), self.place(zero, np.maximum(edges - 1, 0))
        self._kept = [*self._kept[-1:], (edges, *tables)]
        return tables

    def place(self, batch: Ints, position: Ints) -> Ints:
        """Return the place in the flat tables of the run at each position."""
        position = np.minimum(position, self._span - 1)
        width, before = self._stretches
        stretch: Ints = np.right_shift(position, width)
        if self._rows > 1:
            stretch += batch * before.shape[1]
        run: Ints = before.take(stretch)
        several = np.nonzero(run < 0)
        if len(several[0]):
            row = np.broadcast_to(batch, run.shape)[several] if self._rows > 1 else run[several] * 0
            run[several] = self._search(row, position[several])
        if self._rows > 1:
            run += batch * self._width
        run += self.stops.take(run) <= position
        return run

    def _search(self, row: Ints, position: Ints) -> Ints:
        return np.searchsorted(self._ends, position + row * self._span, "right") - row * self._runs

    @cached_property
    def _stretches(self) -> tuple[int, Ints]:
        """Cut each row into short stretches, most of which meet one end of a run or none.

        Return the log2 of their length, and the run at the start of each; -1 where several runs
        end within it. Looking up is several times as fast as searching.
        """
        width = max(0, (self._span // (STRETCHES_A_RUN * self._runs)).bit_length() - 1)
        starts = np.arange(0, self._span + (1 << width), 1 << width)
        starts = np.minimum(starts, self._span - 1)[None]
        rows = np.arange(self._rows, dtype=np.int64)[:, None]
        before = self._search(rows, starts)
        ends_within = np.diff(before, axis=1, append=before[:, -1:])
        return width, np.where(ends_within > 1, -1, before)

    def surely_apart(self, left: tuple[Ints, Ints], right: tuple[Ints, Ints]) -> Bools:
        """Return where two ranges of places (first, last) share no segment; False if not known."""
        if self.in_order:
            lone_gap = (left[0] == left[1]) & (self.ids.take(left[0]) < 0)
            return lone_gap | (left[1] < right[0]) | (right[1] < left[0])
        zero = left[0] * 0
        low, low_other = self._least(zero, *left), self._least(zero, *right)
        high, high_other = -self._most(zero, *left), -self._most(zero, *right)
        return (high < low_other) | (high_other < low)

    @cached_property
    def _least(self) -> RangeLeast:
        """The least segment of a range of runs; a gap is in none, so it counts as endless."""
        return RangeLeast(np.where(self.ids < 0, ENDLESS, self.ids).reshape(1, -1))

    @cached_property
    def _most(self) -> RangeLeast:
        """The greatest segment of a range of runs, negated; gaps are -1."""
        return RangeLeast(-self.ids.reshape(1, -1))
