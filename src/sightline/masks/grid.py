"""Masks over tokens on a grid, numbered row by row: Swin's windows, neighborhoods, axes.

Everything is derived from the coordinates of a token. Positions beyond the grid belong to no
token: they see nothing and nobody sees them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sightline.errors import InvalidMask
from sightline.masks.arguments import as_grid, as_int, as_per_axis
from sightline.masks.arrays import Array, Cells, positive_part
from sightline.masks.mask import Extent, Mask, Spec
from sightline.masks.nodes import Atom

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


@dataclass(frozen=True, slots=True, repr=False)
class ShiftedWindow(Atom):
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

    def spec(self) -> Spec:
        arguments = {"grid": self.grid, "window": self.window, "shift": self.shift_by}
        return "shifted_window", arguments

    def transposed(self) -> Mask:
        return self

    def extent(self) -> Extent:
        return cell_count(self.grid), cell_count(self.grid)


@dataclass(frozen=True, slots=True, repr=False)
class Neighborhood(Atom):
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

    def spec(self) -> Spec:
        arguments = {"grid": self.grid, "kernel": self.kernel, "dilation": self.dilation}
        return "neighborhood", arguments

    def extent(self) -> Extent:
        return cell_count(self.grid), cell_count(self.grid)


@dataclass(frozen=True, slots=True, repr=False)
class Axial(Atom):
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
