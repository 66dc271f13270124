"""Cells as few SVG shapes: rectangles that cover them, and shades that say how much of them.

One unit is one cell; render.py scales them.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from sightline.views.svg.numbers import number

__all__ = ["opacity_of", "path_of", "rectangles", "shaded", "shape", "steps_of"]

# Shades between "nothing of the cell" and "all of it"; weights use the same steps.
SHADES = 12
_LIGHTEST = 0.14


def rectangles(cells: NDArray[np.bool_]) -> Iterator[tuple[int, int, int, int]]:
    """Cover the True cells with (row, column, rows, columns), without overlap.

    A run in a row grows downwards as long as the next row has the same run.

    >>> list(rectangles(np.array([[1, 1, 0], [1, 1, 0], [0, 1, 1]], dtype=bool)))
    [(0, 0, 2, 2), (2, 1, 1, 2)]
    """
    open_runs: dict[tuple[int, int], int] = {}
    rows = cells.shape[0]
    for row in range(rows + 1):
        runs: set[tuple[int, int]] = set()
        if row < rows:
            edges = np.flatnonzero(np.diff(cells[row].astype(np.int8), prepend=0, append=0))
            runs = set(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))
        for run in sorted(open_runs.keys() - runs):
            first = open_runs.pop(run)
            yield first, run[0], row - first, run[1] - run[0]
        for run in runs:
            open_runs.setdefault(run, row)


def path_of(cells: NDArray[np.bool_]) -> str:
    """Return the outline of the True cells as the ``d`` of a path."""
    return "".join(f"M{c} {r}h{w}v{h}h-{w}z" for r, c, h, w in rectangles(cells))


def shape(name: str, cells: NDArray[np.bool_], opacity: float = 1.0) -> str:
    """Return the True cells as one element, or "" without any."""
    if not cells.any():
        return ""
    shade = "" if opacity == 1.0 else f' fill-opacity="{number(opacity)}"'
    return f'<path class="{name}" d="{path_of(cells)}"{shade}/>'


def shaded(name: str, cells: NDArray[np.bool_], part: NDArray[np.float64]) -> list[str]:
    """Return one shape per shade; only a part of exactly 1 (or more) is fully opaque."""
    steps = steps_of(part)
    shapes = [shape(name, cells & (steps == step), opacity_of(step)) for step in range(SHADES + 1)]
    return [each for each in shapes if each]


def steps_of(part: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the step of each part between 0 and 1; the last one is for a part of all only."""
    steps = np.clip(np.floor(part * SHADES), 0, SHADES - 1)
    return np.where(part >= 1.0, SHADES, steps).astype(np.int64)


def opacity_of(step: int) -> float:
    """Return how opaque a step is: even the lightest shows."""
    return _LIGHTEST + (1 - _LIGHTEST) * step / SHADES
