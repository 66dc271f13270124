"""Masks over tokens on a grid, numbered row by row: Swin's windows, neighborhoods, axes.

Everything is derived from the coordinates of a token. Positions beyond the grid belong to no
token: they see nothing and nobody sees them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sightline.errors import InvalidMask
from sightline.masks.arguments import as_grid, as_int, as_per_axis
from sightline.masks.arrays import Array, Cells, positive_part
from sightline.masks.bounds import EMPTY, FULL, PARTIAL, between, every, states
from sightline.masks.mask import Extent, Mask, Spec
from sightline.masks.nodes import Atom

if TYPE_CHECKING:
    from sightline.masks.bounds import Bools, Ints, States, Tiles

Sizes = tuple[int, ...]


def cell_count(grid: Sizes) -> int:
    """Return the number of tokens on the grid."""
    count = 1
    for size in grid:
        count *= size
    return count


def coordinates(position: Array, grid: Sizes) -> list[Array]:
    """Return the coordinate of a position on each axis; the last axis runs fastest."""
    found: list[Array] = []
    for size in reversed(grid):
        found.append(position % size)
        position = position // size
    return found[::-1]


def inside(cells: Cells, grid: Sizes) -> Array:
    """Return where both the query and the key are tokens of the grid."""
    return (cells.query < cell_count(grid)) & (cells.key < cell_count(grid))


def ranges(first: Ints, last: Ints, grid: Sizes) -> list[tuple[Ints, Ints]]:
    """Return the least and the greatest coordinate on each axis of the tokens of a stretch.

    A stretch that goes on into the next line of an axis may touch all of that axis.
    """
    found: list[tuple[Ints, Ints]] = []
    for size in reversed(grid[1:]):
        low, high = first % size, last % size
        first, last = first // size, last // size
        one_line = first == last
        found.append((np.where(one_line, low, 0), np.where(one_line, high, size - 1)))
    return [(first, last), *reversed(found)]


class GridAtom(Atom):
    """A mask over the tokens of a grid that looks at each axis for itself."""

    __slots__ = ()

    grid: Sizes

    def axis_bounds(self, axis: int, query: tuple[Ints, Ints], key: tuple[Ints, Ints]) -> States:
        """Return the states on one axis, for ranges of query and of key coordinates."""
        raise NotImplementedError

    def bounds(self, tiles: Tiles) -> States:
        tokens = cell_count(self.grid)
        beyond = (tiles.q_first >= tokens) | (tiles.k_first >= tokens)
        cut = (tiles.q_last >= tokens) | (tiles.k_last >= tokens)
        result = np.where(beyond, EMPTY, np.where(cut, PARTIAL, FULL)).astype(np.int8)
        queries = ranges(tiles.q_first, np.minimum(tiles.q_last, tokens - 1), self.grid)
        keys = ranges(tiles.k_first, np.minimum(tiles.k_last, tokens - 1), self.grid)
        for axis, (query, key) in enumerate(zip(queries, keys, strict=True)):
            result = np.minimum(result, self.axis_bounds(axis, query, key))
        return result

    def settled(self, query: tuple[Ints, Ints], key: tuple[Ints, Ints]) -> Bools:
        """Return where moving query and key on along the first axis by a period changes nothing."""
        raise NotImplementedError

    def period(self) -> int:
        """Return that period, in lines of the first axis."""
        return 1

    def signature(self, tiles: Tiles) -> list[Ints]:
        """Away from the borders of the first axis the pattern repeats."""
        line = cell_count(self.grid[1:])
        query = tiles.q_first // line, tiles.q_last // line
        key = tiles.k_first // line, tiles.k_last // line
        inside = (query[1] < self.grid[0]) & (key[1] < self.grid[0])
        repeats = inside & self.settled(query, key)
        place = np.where(repeats, tiles.q_first % (self.period() * line), tiles.q_first)
        return [repeats.astype(np.int64), place, tiles.k_first - tiles.q_first]


@dataclass(frozen=True, slots=True, repr=False)
class ShiftedWindow(GridAtom):
    """Same window of the grid rolled by ``shift``, and on the same side of the roll's seam."""

    grid: Sizes
    window: Sizes
    shift_by: Sizes

    def allowed(self, cells: Cells) -> Array:
        result = inside(cells, self.grid)
        queries, keys = coordinates(cells.query, self.grid), coordinates(cells.key, self.grid)
        axes = zip(queries, keys, self.grid, self.window, self.shift_by, strict=True)
        for query, key, size, window, shift in axes:
            padded = -(-size // window) * window
            query_at, key_at = (query - shift) % padded, (key - shift) % padded
            result = result & (query_at // window == key_at // window)
            # The roll brings the first `shift` coordinates behind the last ones: a seam.
            result = result & ((query_at >= padded - shift) == (key_at >= padded - shift))
        return result

    def axis_bounds(self, axis: int, query: tuple[Ints, Ints], key: tuple[Ints, Ints]) -> States:
        def group(at: Ints) -> Ints:
            """Number the groups along the axis; what the roll brought around comes first."""
            window, shift = self.window[axis], self.shift_by[axis]
            return np.where(at < shift, 0, 1 + (at - shift) // window)

        return between(group(query[0]), group(query[1]), group(key[0]), group(key[1]))

    def settled(self, query: tuple[Ints, Ints], key: tuple[Ints, Ints]) -> Bools:
        # Before the seam lie lines of another group; from there on windows follow each other.
        return np.minimum(query[0], key[0]) >= self.shift_by[0]

    def period(self) -> int:
        return self.window[0]

    def spec(self) -> Spec:
        arguments = {"grid": self.grid, "window": self.window, "shift": self.shift_by}
        return "shifted_window", arguments

    def transposed(self) -> Mask:
        return self

    def extent(self) -> Extent:
        return cell_count(self.grid), cell_count(self.grid)


@dataclass(frozen=True, slots=True, repr=False)
class Neighborhood(GridAtom):
    """The ``kernel``-sized neighborhood of the query, moved inwards at the border."""

    grid: Sizes
    kernel: Sizes
    dilation: Sizes

    def allowed(self, cells: Cells) -> Array:
        result = inside(cells, self.grid)
        queries, keys = coordinates(cells.query, self.grid), coordinates(cells.key, self.grid)
        axes = zip(queries, keys, self.grid, self.kernel, self.dilation, strict=True)
        for query, key, size, kernel, step in axes:
            residue = query % step
            group_size = (size - residue + step - 1) // step
            start = positive_part(query // step - kernel // 2)
            start = start - positive_part(start - (group_size - kernel))
            neighbor = key // step - start
            near = (neighbor >= 0) & (neighbor < kernel)
            result = result & (key % step == residue) & near
        return result

    def axis_bounds(self, axis: int, query: tuple[Ints, Ints], key: tuple[Ints, Ints]) -> States:
        size, kernel, step = self.grid[axis], self.kernel[axis], self.dilation[axis]
        # Among the tokens of one residue the neighborhood starts between these two.
        shortest, longest = size // step - kernel, -(-size // step) - kernel
        low = np.clip(query[0] // step - kernel // 2, 0, shortest)
        high = np.clip(query[1] // step - kernel // 2, 0, longest)
        first, last = key[0] // step, key[1] // step
        full = (first >= high) & (last < low + kernel) & (step == 1)
        return states((last < low) | (first >= high + kernel), full)

    def settled(self, query: tuple[Ints, Ints], key: tuple[Ints, Ints]) -> Bools:
        margin = self.kernel[0] * self.dilation[0]
        return (query[0] >= margin) & (query[1] < self.grid[0] - margin)

    def period(self) -> int:
        return self.dilation[0]

    def spec(self) -> Spec:
        arguments = {"grid": self.grid, "kernel": self.kernel, "dilation": self.dilation}
        return "neighborhood", arguments

    def extent(self) -> Extent:
        return cell_count(self.grid), cell_count(self.grid)


@dataclass(frozen=True, slots=True, repr=False)
class Axial(GridAtom):
    """Equal coordinates on every axis but one."""

    grid: Sizes
    axis: int

    def allowed(self, cells: Cells) -> Array:
        result = inside(cells, self.grid)
        queries, keys = coordinates(cells.query, self.grid), coordinates(cells.key, self.grid)
        for axis, (query, key) in enumerate(zip(queries, keys, strict=True)):
            if axis != self.axis:
                result = result & (query == key)
        return result

    def axis_bounds(self, axis: int, query: tuple[Ints, Ints], key: tuple[Ints, Ints]) -> States:
        if axis == self.axis:
            return every(FULL, query[0])
        return between(*query, *key)

    def settled(self, query: tuple[Ints, Ints], key: tuple[Ints, Ints]) -> Bools:
        return query[0] >= 0

    def spec(self) -> Spec:
        return "axial", {"grid": self.grid, "axis": self.axis}

    def transposed(self) -> Mask:
        return self

    def extent(self) -> Extent:
        return cell_count(self.grid), cell_count(self.grid)


# -- what users call --------------------------------------------------------------------------


def shifted_window(
    grid: tuple[int, ...], window: int | tuple[int, ...], shift: int | tuple[int, ...]
) -> Mask:
    """Swin's shifted windows over an H x W (or T x H x W) grid of tokens, row by row.

    On every axis the grid is padded at its end to a multiple of ``window`` and rolled back by
    ``shift``; two tokens see each other iff they then fall into the same window and the roll did
    not bring one of them around the border. ``shift=0`` gives plain windows. Tokens keep their
    numbers: no roll is needed before or after. Where Swin adds -100, this forbids.

    An axis that is not larger than the window is one window without a shift; with one integer
    for ``window`` on a 2-D grid this holds for both axes as soon as the shorter one is not larger
    (Liu et al. 2021, "Swin Transformer", and Video Swin for each axis by itself).

    >>> import sightline as sl
    >>> sl.shifted_window(grid=(1, 6), window=(1, 2), shift=(0, 1)).dense(6)[0, 0].astype(int)
    array([[1, 0, 0, 0, 0, 0],
           [0, 1, 1, 0, 0, 0],
           [0, 1, 1, 0, 0, 0],
           [0, 0, 0, 1, 1, 0],
           [0, 0, 0, 1, 1, 0],
           [0, 0, 0, 0, 0, 1]])
    """
    sizes = as_grid(grid, "shifted_window(grid=)", dimensions=(2, 3))
    windows = as_per_axis(window, "shifted_window(window=)", len(sizes), least=1)
    shifts = as_per_axis(shift, "shifted_window(shift=)", len(sizes), least=0)
    for w, s in zip(windows, shifts, strict=True):
        if s >= w:
            raise InvalidMask(f"shifted_window(shift=) must be less than the window {w}, got {s}.")
    if len(sizes) == 2 and np.ndim(window) == 0 and min(sizes) <= windows[0]:
        windows, shifts = (min(sizes),) * 2, (0, 0)
    fits = [size <= w for size, w in zip(sizes, windows, strict=True)]
    windows = tuple(n if fit else w for n, w, fit in zip(sizes, windows, fits, strict=True))
    shifts = tuple(0 if fit else s for s, fit in zip(shifts, fits, strict=True))
    return ShiftedWindow(sizes, windows, shifts)


def neighborhood(
    grid: tuple[int, ...], kernel: int | tuple[int, ...], dilation: int | tuple[int, ...] = 1
) -> Mask:
    """Neighborhood attention: every query sees exactly ∏kernel keys around it on the grid.

    On each axis the ``kernel`` keys around the query (for an even kernel one more before than
    after), moved inwards where they would cross the border; with ``dilation`` d, among the tokens
    whose coordinate is the query's modulo d (Hassani et al. 2023, "Neighborhood Attention
    Transformer"; Hassani and Shi 2022 for the dilation). ``kernel * dilation`` must fit the grid.

    >>> import sightline as sl
    >>> sl.neighborhood(grid=(5,), kernel=3).dense(5)[0, 0].astype(int)
    array([[1, 1, 1, 0, 0],
           [1, 1, 1, 0, 0],
           [0, 1, 1, 1, 0],
           [0, 0, 1, 1, 1],
           [0, 0, 1, 1, 1]])
    """
    sizes = as_grid(grid, "neighborhood(grid=)", dimensions=(1, 3))
    kernels = as_per_axis(kernel, "neighborhood(kernel=)", len(sizes), least=1)
    steps = as_per_axis(dilation, "neighborhood(dilation=)", len(sizes), least=1)
    for size, k, step in zip(sizes, kernels, steps, strict=True):
        if k * step > size:
            raise InvalidMask(
                f"neighborhood needs kernel * dilation <= the grid on every axis, got {k} * {step} "
                f"on an axis of {size}; use a smaller kernel or dilation."
            )
    return Neighborhood(sizes, kernels, steps)


def axial(grid: tuple[int, ...], axis: int) -> Mask:
    """Attention along one axis of the grid: equal coordinates on every other axis.

    ``axis`` counts from 0, or from -1 backwards (Ho et al. 2019, "Axial Attention in
    Multidimensional Transformers").

    >>> import sightline as sl
    >>> sl.axial(grid=(2, 3), axis=1).dense(6)[0, 0].astype(int)[:2]
    array([[1, 1, 1, 0, 0, 0],
           [1, 1, 1, 0, 0, 0]])
    >>> sl.axial(grid=(2, 3), axis=0).dense(6)[0, 0].astype(int)[:2]
    array([[1, 0, 0, 1, 0, 0],
           [0, 1, 0, 0, 1, 0]])
    """
    sizes = as_grid(grid, "axial(grid=)", dimensions=(1, 3))
    axis = as_int(axis, "axial(axis=)", least=-len(sizes), most=len(sizes) - 1)
    return Axial(sizes, axis % len(sizes))


__all__ = ["axial", "neighborhood", "shifted_window"]
