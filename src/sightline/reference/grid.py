"""The definitions of the masks over tokens on a grid, numbered row by row.

Each writes out the grid, however small the hint that a formula would do; whatever lies beyond
the grid's last token sees nothing and is seen by nobody.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from math import prod

import numpy as np

from sightline.reference.meaning import Meaning, int_list

__all__ = ["GRID"]


def shifted_window(
    grid: Sequence[int], window: int | Sequence[int], shift: int | Sequence[int]
) -> Meaning:
    """Swin's windows, after a cyclic shift whose wrapped-around parts do not see each other.

    Liu et al. 2021 (Swin Transformer), section 3.2 and figure 4; in 3-D Liu et al. 2022 (Video
    Swin). Done here as there: pad at the end, roll, paint the regions, cut into windows.
    """
    windows, shifts = clamped_windows(grid, window, shift)
    padded = [-(-size // width) * width for size, width in zip(grid, windows, strict=True)]
    tokens = np.full(padded, -1)
    tokens[tuple(slice(0, size) for size in grid)] = np.reshape(np.arange(prod(grid)), tuple(grid))
    rolled = np.roll(tokens, [-by for by in shifts], axis=tuple(range(len(padded))))
    regions = paint_regions(padded, windows, shifts)
    place: dict[int, tuple[tuple[int, ...], int]] = {}
    for cell in product(*(range(size) for size in padded)):
        which_window = tuple(c // width for c, width in zip(cell, windows, strict=True))
        place[int(rolled[cell])] = (which_window, int(regions[cell]))

    def allowed(b: int, h: int, q: int, k: int) -> bool:
        return q < prod(grid) and k < prod(grid) and place[q] == place[k]

    return Meaning(allowed)


def clamped_windows(
    grid: Sequence[int], window: int | Sequence[int], shift: int | Sequence[int]
) -> tuple[list[int], list[int]]:
    """Return window and shift per axis, after Swin's rule for grids no larger than the window.

    Swin's own code (2-D, one number for both axes) shrinks both axes to the smaller side when
    that is no larger than the window; Video Swin's treats each axis by itself.
    """
    windows, shifts = per_axis(window, grid), per_axis(shift, grid)
    if np.ndim(window) == 0 and len(grid) == 2:
        if min(grid) <= windows[0]:
            return [min(grid), min(grid)], [0, 0]
        return windows, shifts
    for axis, size in enumerate(grid):
        if size <= windows[axis]:
            windows[axis], shifts[axis] = size, 0
    return windows, shifts


def paint_regions(
    padded: Sequence[int], windows: Sequence[int], shifts: Sequence[int]
) -> np.ndarray:
    """Number the parts of the rolled grid that were neighbors before the roll."""
    bands = [
        [slice(0, -width), slice(-width, -by), slice(-by, None)] if by > 0 else [slice(0, None)]
        for width, by in zip(windows, shifts, strict=True)
    ]
    regions = np.full(tuple(padded), -1)
    for number, box in enumerate(product(*bands)):
        regions[box] = number
    return regions


def neighborhood(
    grid: Sequence[int], kernel: int | Sequence[int], dilation: int | Sequence[int] = 1
) -> Meaning:
    """NATTEN: on every axis the ``kernel`` nearest positions, moved inwards at the border.

    Hassani et al. 2023 (Neighborhood Attention Transformer), section 3.1; dilated: Hassani and
    Shi 2022 (DiNAT), where an axis falls apart into ``dilation`` interleaved groups.
    """
    kernels, dilations = per_axis(kernel, grid), per_axis(dilation, grid)
    cells = list(product(*(range(size) for size in grid)))
    neighbors = [
        [axis_neighbors(c, size, kernels[axis], dilations[axis]) for c in range(size)]
        for axis, size in enumerate(grid)
    ]

    def allowed(b: int, h: int, q: int, k: int) -> bool:
        if q >= len(cells) or k >= len(cells):
            return False
        return all(cells[k][axis] in neighbors[axis][cells[q][axis]] for axis in range(len(grid)))

    return Meaning(allowed)


def axis_neighbors(coordinate: int, size: int, kernel: int, dilation: int) -> list[int]:
    """Return the ``kernel`` coordinates of this one's group that lie around it."""
    group = list(range(coordinate % dilation, size, dilation))
    start = group.index(coordinate) - kernel // 2
    start = max(start, 0)
    start = min(start, len(group) - kernel)
    return group[start : start + kernel]


def axial(grid: Sequence[int], axis: int) -> Meaning:
    """The same coordinate on every axis but this one.

    Ho et al. 2019 (Axial Attention in Multidimensional Transformers), section 3.
    """
    cells = list(product(*(range(size) for size in grid)))
    free = axis % len(grid)

    def allowed(b: int, h: int, q: int, k: int) -> bool:
        if q >= len(cells) or k >= len(cells):
            return False
        return all(cells[q][a] == cells[k][a] for a in range(len(grid)) if a != free)

    return Meaning(allowed)


def per_axis(value: int | Sequence[int], grid: Sequence[int]) -> list[int]:
    """Return one number per axis: the same one for all, or those given."""
    numbers = int_list(value)
    return numbers * len(grid) if np.ndim(value) == 0 else numbers


GRID: dict[str, Callable[..., Meaning]] = {
    "shifted_window": shifted_window,
    "neighborhood": neighborhood,
    "axial": axial,
}
