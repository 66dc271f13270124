"""Outlines of the elements of our SVG drawings: rectangles, circles, and the paths that occur."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sightline.errors import InvalidArgument

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Outline", "outline_of", "repeated"]

_MOVE, _LINE, _CLOSE = 1, 2, 79  # matplotlib's codes
_PIECE = re.compile(r"([MLHVhvlaz])([^MLHVhvlaz]*)")
_KNOWN = re.compile(r"[MLHVhvlaz0-9., -]*")
_NUMBER = re.compile(r"-?(?:\d+\.?\d*|\.\d+)")
_STEPS_OF_ARC = 24
# More signs than these in one shape could not be told apart.
_MOST_SIGNS = 20_000


@dataclass(frozen=True, eq=False)
class Outline:
    """Corners [n, 2] and what leads to each of them."""

    corners: NDArray[np.float64]
    codes: NDArray[np.uint8]

    def path(self) -> Any:
        """Return the outline as the rasterizer wants it."""
        from matplotlib.path import Path

        return Path(self.corners, self.codes)

    def moved(self, matrix: NDArray[np.float64]) -> Outline:
        """Return the outline at another place."""
        return Outline(self.corners @ matrix[:2, :2].T + matrix[:2, 2], self.codes)


def outline_of(element: ET.Element, name: str, page: tuple[float, float]) -> Outline:
    """Return the outline of an element; ``page`` is what a percentage is of.

    Raises:
        InvalidArgument: it is none that our drawings are made of.
    """
    if name == "rect":  # the paper's round corners are square here
        x, y = (float(element.get(side, "0")) for side in ("x", "y"))
        wide, tall = (
            _length(element.get(side, "0"), whole)
            for side, whole in zip(("width", "height"), page, strict=True)
        )
        return _outline(f"M{x} {y}h{wide}v{tall}h{-wide}z")
    if name == "circle":
        x, y, r = (float(element.get(side, "0")) for side in ("cx", "cy", "r"))
        return _outline(f"M{x - r} {y}a{r} {r} 0 1 1 {2 * r} 0a{r} {r} 0 1 1 {-2 * r} 0z")
    if name == "path":
        return _outline(element.get("d", ""))
    raise InvalidArgument(f"a drawing has the element {name!r}, which is not known here.")


def repeated(sign: Outline, outline: Outline, side: float, turn: NDArray[np.float64]) -> Outline:
    """Return a sign at every place of a lattice of ``side`` that an outline may hold."""
    corners = (outline.corners - turn[:2, 2]) @ np.linalg.inv(turn[:2, :2]).T
    low, high = (edge(corners, axis=0) / side for edge in (np.min, np.max))
    first, last = np.floor(low).astype(int) - 1, np.ceil(high).astype(int) + 1
    columns, rows = (np.arange(first[axis], last[axis]) for axis in (0, 1))
    if len(columns) * len(rows) > _MOST_SIGNS:
        raise InvalidArgument("a drawing has more signs than can be told apart; lower fit.")
    places = np.stack(np.meshgrid(columns, rows), axis=-1).reshape(-1, 1, 2) * side
    placed = (sign.corners[None] + places).reshape(-1, 2)
    return Outline(placed, np.tile(sign.codes, len(places)))


def _length(text: str, whole: float) -> float:
    return whole * float(text[:-1]) / 100 if text.endswith("%") else float(text)


def _outline(d: str) -> Outline:
    """Return the outline of a path of lines and half circles."""
    corners: list[tuple[float, float]] = []
    codes: list[int] = []
    x = y = 0.0
    start = (0.0, 0.0)
    if _KNOWN.fullmatch(d) is None:
        raise InvalidArgument(f"a drawing has the path {d[:40]!r}, which is not known here.")
    for kind, text in _PIECE.findall(d):
        numbers = [float(each) for each in _NUMBER.findall(text)]
        if kind == "a":
            arc = _half_circle(x, y, numbers)
            corners += arc
            codes += [_LINE] * len(arc)
            x, y = arc[-1]
            continue
        if kind == "z":
            corners.append(start)
            codes.append(_CLOSE)
            x, y = start
            continue
        x, y = _after(kind, x, y, numbers)
        corners.append((x, y))
        codes.append(_MOVE if kind == "M" else _LINE)
        start = (x, y) if kind == "M" else start
    return Outline(np.array(corners, np.float64).reshape(-1, 2), np.array(codes, np.uint8))


def _after(kind: str, x: float, y: float, numbers: list[float]) -> tuple[float, float]:
    """Return where a line ends that begins at (x, y)."""
    if kind in "Hh":
        return numbers[0] + (x if kind == "h" else 0.0), y
    if kind in "Vv":
        return x, numbers[0] + (y if kind == "v" else 0.0)
    return (x + numbers[0], y + numbers[1]) if kind == "l" else (numbers[0], numbers[1])


def _half_circle(x: float, y: float, numbers: list[float]) -> list[tuple[float, float]]:
    radius, other, _, _, clockwise, dx, dy = numbers
    if radius != other or dy or abs(abs(dx) - 2 * radius) > 0.02:
        raise InvalidArgument(f"a drawing has an arc {numbers}, which is no half circle.")
    # With y downwards, clockwise from left to right runs over the top.
    up = -1.0 if (dx > 0) == bool(clockwise) else 1.0
    turns = np.linspace(np.pi, 0.0, _STEPS_OF_ARC)[1:]
    reach = np.sign(dx) * radius
    return [
        (float(x + reach + reach * np.cos(t)), float(y + up * radius * np.sin(t))) for t in turns
    ]
