"""What lies over the cells of an SVG drawing, and what its signs mean.

Differences, blocks of a plan, and estimates. Every difference of color is also one of sign: plus
and minus, solid and dashed borders, full, half and empty discs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from sightline.masks.bounds import EMPTY, FULL, PARTIAL
from sightline.views.labels import cells_of
from sightline.views.numbers import number
from sightline.views.shapes import shaded, shape

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sightline.views.extras import Overlay
    from sightline.views.picture import MaskPicture
    from sightline.views.svg_labels import Layout

__all__ = ["change_shapes", "definitions", "legend_of", "over_the_cells"]

# A sign needs this many pixels; a block needs more to hold one, and some to have a border.
_SIGN = 9.0
_LEAST_BLOCK_WITH_DISC, _LEAST_BLOCK = 22.0, 5.0
_DISC = 4.5
_PADDING, _LINE, _SWATCH = 12.0, 17.0, 11.0
_ADVANCE = 11 * 0.6
# Strokes of each sign in a square of side 1.
_SIGNS = {
    "added": "M.5 .24v.52M.24 .5h.52",
    "removed": "M.24 .5h.52",
    "mixed": "M.5 .16v.44M.28 .38h.44M.28 .8h.44",
}


# -- differences and estimates ----------------------------------------------------------------


def definitions(pictures: Sequence[MaskPicture], layouts: Sequence[Layout], root: str) -> list[str]:
    """Return the patterns that the pictures are filled with, each once."""
    made: dict[str, str] = {}
    for picture, layout in zip(pictures, layouts, strict=True):
        side = _pattern_side(layout.side)
        if picture.change is not None:
            for name, cells in picture.change.cells().items():
                if cells.any():
                    made[_pattern(root, name, side)] = (
                        f'<path class="sign" transform="scale({side})" stroke-width=".13" '
                        f'd="{_SIGNS[name]}"/>'
                    )
        if _guessed(picture).any():
            made[_pattern(root, "dots", side)] = (
                f'<circle class="dots" cx="{number(side / 2)}" cy="{number(side / 2)}" '
                f'r="{number(side * 0.16)}"/>'
            )
    if not made:
        return []
    patterns = [
        f'<pattern id="{name}" width="{name.rpartition("-")[2]}" '
        f'height="{name.rpartition("-")[2]}" patternUnits="userSpaceOnUse">{content}</pattern>'
        for name, content in made.items()
    ]
    return ["<defs>", *patterns, "</defs>"]


def _pattern(root: str, name: str, side: int) -> str:
    return f"{root}-{name}-{side}"


def _pattern_side(side: float) -> int:
    """Return how many cells across a sign takes."""
    return max(1, math.ceil(_SIGN / side))


def _guessed(picture: MaskPicture) -> NDArray[np.bool_]:
    return np.zeros_like(picture.allowed) if picture.sure is None else ~picture.sure


def change_shapes(picture: MaskPicture, side: float, root: str) -> list[str]:
    """Return the shapes of what differs, and of what is only estimated; one unit is one cell."""
    parts: list[str] = []
    across = _pattern_side(side)
    if picture.change is not None:
        for name, cells in picture.change.cells().items():
            parts += shaded(name, cells, picture.change.share)
            parts.append(_filled(cells, _pattern(root, name, across)))
    parts.append(_filled(_guessed(picture), _pattern(root, "dots", across)))
    return [part for part in parts if part]


def _filled(cells: NDArray[np.bool_], pattern: str) -> str:
    return shape("signs", cells).replace('class="signs"', f'fill="url(#{pattern})"')


# -- blocks -----------------------------------------------------------------------------------


def over_the_cells(picture: MaskPicture, side: float) -> list[str]:
    """Return the blocks of a plan, in pixels from the corner of the cells."""
    overlay = picture.overlay
    if overlay is None or overlay.states is None or not overlay.states.size:
        return []
    y, x = (
        (np.asarray(edges, np.float64) / cell * side).tolist()
        for edges, cell in (
            (overlay.q_edges, picture.cell[0]),
            (overlay.k_edges, picture.cell[1]),
        )
    )
    smallest = min(float(np.median(np.diff(edges))) for edges in (x, y))
    if smallest < _LEAST_BLOCK:
        return []
    parts = _borders(overlay, x, y)
    if smallest >= _LEAST_BLOCK_WITH_DISC:
        parts += _discs(overlay, x, y)
    return parts


def _borders(overlay: Overlay, x: list[float], y: list[float]) -> list[str]:
    assert overlay.states is not None
    parts = []
    for state, name in ((FULL, "block"), (PARTIAL, "part")):
        boxes = [
            f"M{number(x[k] + 1.5)} {number(y[q] + 1.5)}h{number(x[k + 1] - x[k] - 3)}"
            f"v{number(y[q + 1] - y[q] - 3)}h-{number(x[k + 1] - x[k] - 3)}z"
            for q, k in np.argwhere(overlay.states == state).tolist()
            if x[k + 1] - x[k] > 3 and y[q + 1] - y[q] > 3
        ]
        if boxes:
            path = "".join(boxes)
            # Paper around the line, which would be lost on strong colors.
            parts += [f'<path class="{kind}" d="{path}"/>' for kind in ("halo", name)]
    return parts


def _discs(overlay: Overlay, x: list[float], y: list[float]) -> list[str]:
    """Return a disc in the middle of each block: full, half, or empty."""
    assert overlay.states is not None
    r = number(_DISC)
    turn = number(2 * _DISC)
    places = {
        state: [
            f"{number((x[k] + x[k + 1]) / 2 - _DISC)} {number((y[q] + y[q + 1]) / 2)}"
            for q, k in np.argwhere(overlay.states == state).tolist()
        ]
        for state in (EMPTY, PARTIAL, FULL)
    }
    whole = f"a{r} {r} 0 1 1 {turn} 0a{r} {r} 0 1 1 -{turn} 0z"
    lower = f"a{r} {r} 0 0 0 {turn} 0z"
    discs = "".join(f"M{place}{whole}" for state in places.values() for place in state)
    filled = "".join(f"M{place}{whole}" for place in places[FULL])
    filled += "".join(f"M{place}{lower}" for place in places[PARTIAL])
    return [
        f'<path class="disc" d="{discs}"/>',
        *([f'<path class="half" d="{filled}"/>'] if filled else []),
    ]


# -- what the signs mean ----------------------------------------------------------------------


def legend_of(pictures: Sequence[MaskPicture], y: float, width: float) -> tuple[float, list[str]]:
    """Return the height with the legend, which begins at ``y``, and its elements."""
    entries = _entries(pictures)
    if not entries:
        return y, []
    parts: list[str] = []
    x, y = _PADDING, y - _PADDING + 4
    for swatch, words in entries:
        wide = _SWATCH + 5 + cells_of(words) * _ADVANCE
        if x > _PADDING and x + wide > width - _PADDING:
            x, y = _PADDING, y + _LINE
        parts.append(f'<g transform="translate({number(x)} {number(y)})">{swatch}</g>')
        parts.append(
            f'<text class="note" x="{number(x + _SWATCH + 5)}" y="{number(y + 9.5)}">{words}</text>'
        )
        x += wide + 12
    return y + _LINE + _PADDING - 4, parts


def _entries(pictures: Sequence[MaskPicture]) -> list[tuple[str, str]]:
    first = pictures[0]
    found: list[tuple[str, str]] = []
    if first.change is not None:
        kinds = {name for one in pictures if one.change for name in _occurring(one)}
        found.append((_square("in"), "in both"))
        for name in ("added", "removed", "mixed"):
            if name in kinds:
                words = "added and removed" if name == "mixed" else name
                found.append((_square(name) + _sign(name), words))
        found.append((_square("out"), "in neither"))
    elif first.weights is None and first.used is None:
        found += [(_square("in"), "may attend"), (_square("out"), "may not")]
    if any(_guessed(one).any() for one in pictures):
        dot = '<circle class="dots" cx="5.5" cy="5.5" r="2"/>'
        found.append((_square("in") + dot, "estimated"))
    if first.overlay is not None:
        found += [
            (_block("block", "M1 5.5a4.5 4.5 0 1 1 9 0a4.5 4.5 0 1 1 -9 0z"), "full block"),
            (_block("part", "M1 5.5a4.5 4.5 0 0 0 9 0z"), "partial"),
            (_block("", ""), "empty"),
        ]
    return found


def _occurring(picture: MaskPicture) -> list[str]:
    assert picture.change is not None
    return [name for name, cells in picture.change.cells().items() if cells.any()]


def _square(name: str) -> str:
    return (
        f'<rect class="{name}" width="{number(_SWATCH)}" height="{number(_SWATCH)}"/>'
        f'<rect class="frame" width="{number(_SWATCH)}" height="{number(_SWATCH)}"/>'
    )


def _sign(name: str) -> str:
    return (
        f'<path class="sign" transform="scale({number(_SWATCH)})" stroke-width=".13" '
        f'd="{_SIGNS[name]}"/>'
    )


def _block(name: str, filled: str) -> str:
    """Return a disc as it stands in a block, in the border that goes with it."""
    border = f'<rect class="{name}" x="-2" y="-2" width="15" height="15"/>' if name else ""
    half = f'<path class="half" d="{filled}"/>' if filled else ""
    return f'{border}<circle class="disc" cx="5.5" cy="5.5" r="4.5"/>{half}'
