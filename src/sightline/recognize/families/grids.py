"""Swin's shifted windows on every 2-D grid that has as many cells as there are keys.

On each axis of the grid the windows are stretches of coordinates, so that an axis can be judged by
itself: by which pairs of its coordinates have a cell.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from sightline.masks.grid import shifted_window

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from sightline.masks.mask import Mask
    from sightline.recognize.region import Region

    Bools = NDArray[np.bool_]
    Ints = NDArray[np.int64]
    Grid = tuple[int, int]

MOST_KEYS = 4096
MOST_WINDOW = 32
# Pairs of cuts that are offered for each grid.
MOST_OFFERED = 4


@dataclass(frozen=True)
class Cuts:
    """The ways to cut an axis into windows; the last one is a single window.

    Attributes:
        window, shift: how each is written, ``[n]``.
        edges: whether a window begins at a coordinate, other than at 0, ``[n, size]``.
        start, stop: where the window of each coordinate begins and ends, ``[n, size]``.
    """

    window: Ints
    shift: Ints
    edges: Bools
    start: Ints
    stop: Ints

    def at(self, chosen: Bools | list[int]) -> Cuts:
        """Return some of them."""
        return Cuts(*(getattr(self, name)[chosen] for name in self.__dataclass_fields__))

    def __len__(self) -> int:
        return len(self.window)


@lru_cache(maxsize=64)
def _cuts(size: int) -> Cuts:
    """Return all cuts of an axis, finest windows first; of equal ones the first."""
    pairs = [(w, s) for w in range(1, min(size, MOST_WINDOW + 1)) for s in range(w)] + [(size, 0)]
    window, shift = np.array(pairs, dtype=np.int64).T
    at = np.arange(size)
    beyond = at >= shift[:, None]
    steps = (at - shift[:, None]) // window[:, None]
    start = np.where(beyond, shift[:, None] + steps * window[:, None], 0)
    stop = np.where(beyond, start + window[:, None], shift[:, None])
    edges = (start == at) & (at > 0)
    _, first = np.unique(edges, axis=0, return_index=True)
    every = Cuts(window, shift, edges, start, np.minimum(stop, size))
    return every.at(np.sort(first).tolist())


def _grids(region: Region) -> Iterator[Grid]:
    """Yield the heights and widths of the grids whose tokens are the queries and the keys."""
    canvas = region.canvas
    tokens = canvas.kv_len
    if canvas.q_offset or canvas.q_len != tokens or tokens > MOST_KEYS:
        return
    for height in range(2, tokens // 2 + 1):
        if tokens % height == 0:
            yield height, tokens // height


def _axis_pairs(region: Region, grid: Grid) -> tuple[Bools, Bools]:
    """Return which pairs of rows, and of columns, of the grid have any cell."""
    height, width = grid
    of_rows = np.logical_or.reduce(region.plane.reshape(height, width, -1), axis=1)
    of_columns = np.logical_or.reduce(region.plane.reshape(height, -1), axis=0)
    return (
        np.logical_or.reduce(of_rows.reshape(height, height, width), axis=2),
        np.logical_or.reduce(of_columns.reshape(width, height, width), axis=1),
    )


def _same_line_pairs(region: Region, grid: Grid) -> tuple[Bools, Bools]:
    """Return which pairs of rows have a cell within a column, and of columns within a row."""
    cells = region.plane.reshape(*grid, *grid)
    rows = np.logical_or.reduce(np.einsum("aibi->iab", cells), axis=0)
    return rows, np.logical_or.reduce(np.einsum("iaib->iab", cells), axis=0)


def _uncrossed(pairs: Bools) -> Cuts:
    """Return the cuts of an axis that part no pair of coordinates."""
    cuts, at = _cuts(len(pairs)), np.arange(len(pairs))
    farthest = np.maximum(np.where(pairs | pairs.T, at, -1).max(axis=1), at)
    crossed = np.concatenate([[False], np.maximum.accumulate(farthest)[:-1] >= at[1:]])
    return cuts.at(~np.logical_or.reduce(cuts.edges & crossed, axis=1))


def _is_clear(pairs: Bools, cuts: Cuts) -> Bools:
    """Return for each cut whether no pair of coordinates is in one of its windows."""
    both, at = pairs | pairs.T, np.arange(len(pairs))
    before = np.where(both & (at <= at[:, None]), at, -1).max(axis=1)
    after = np.where(both & (at >= at[:, None]), at, len(pairs)).min(axis=1)
    return ((before < cuts.start) & (after >= cuts.stop)).all(axis=1)


def _extreme(cuts: Cuts, *, finest: bool) -> Cuts:
    """Return the cuts none of which is finer (or coarser) than another of them; a few."""
    edges = cuts.edges if finest else ~cuts.edges
    kept: list[int] = []
    for number in np.argsort(-edges.sum(axis=1), kind="stable").tolist():
        if len(kept) < MOST_OFFERED and not (edges[number] <= edges[kept]).all(axis=1).any():
            kept.append(number)
    return cuts.at(kept)


def _windows(grid: Grid, rows: Cuts, columns: Cuts) -> list[Mask]:
    found: list[Mask] = []
    for i, j in product(range(len(rows)), range(len(columns))):
        window = int(rows.window[i]), int(columns.window[j])
        if window != grid and len(found) < MOST_OFFERED:
            found.append(shifted_window(grid, window, (int(rows.shift[i]), int(columns.shift[j]))))
    return found


def above(need: Region) -> list[Mask]:
    """The smallest windows on either axis that no needed pair leaves."""
    found: list[Mask] = []
    for grid in _grids(need):
        rows, columns = (_uncrossed(pairs) for pairs in _axis_pairs(need, grid))
        if len(rows) > 1 or len(columns) > 1:
            found += _windows(grid, _extreme(rows, finest=True), _extreme(columns, finest=True))
    return found


def below(avoid: Region) -> list[Mask]:
    """Large windows in which nothing is to be avoided."""
    found: list[Mask] = []
    for grid in _grids(avoid):
        pairs = _same_line_pairs(avoid, grid)
        if pairs[0].diagonal().any():
            continue
        every = [_cuts(size) for size in grid]
        clear = [c.at(_is_clear(p, c)) for c, p in zip(every, pairs, strict=True)]
        rows, columns = (_extreme(cuts, finest=False) for cuts in clear)
        found += _windows(grid, rows, columns)
    return found


def between(need: Region, avoid: Region) -> list[Mask]:
    """Windows that do both on each axis."""
    found: list[Mask] = []
    for grid in _grids(need):
        cuts = [_uncrossed(pairs) for pairs in _axis_pairs(need, grid)]
        if len(cuts[0]) == len(cuts[1]) == 1:
            continue
        walls = _same_line_pairs(avoid, grid)
        rows, columns = (c.at(_is_clear(p, c)) for c, p in zip(cuts, walls, strict=True))
        found += _windows(grid, rows, columns)
    return found
