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
from sightline.views.svg.numbers import number
from sightline.views.svg.shapes import shaded, shape
from sightline.views.svg.words import ENGLISH, Words

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sightline.views.extras import Overlay
    from sightline.views.picture import MaskPicture
    from sightline.views.svg.labels import Layout

__all__ = ["change_shapes", "definitions", "legend_of", "over_the_cells"]

# A sign needs this many pixels; a block needs more to hold one, and some to have a border.
_SIGN = 9.0
_LEAST_BLOCK_WITH_DISC, _LEAST_BLOCK = 24.0, 16.0
# Half of the widths of .disc and .hollow.
_HOLE = 3.75
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
        for name in _occurring(picture):
            made[_pattern(root, name, side)] = _sign(name, side)
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
    for state in (FULL, PARTIAL):
        boxes = [
            f"M{number(x[k] + 1.5)} {number(y[q] + 1.5)}h{number(x[k + 1] - x[k] - 3)}"
            f"v{number(y[q + 1] - y[q] - 3)}h-{number(x[k + 1] - x[k] - 3)}z"
            for q, k in np.argwhere(overlay.states == state).tolist()
            if x[k + 1] - x[k] > 3 and y[q + 1] - y[q] > 3
        ]
        if boxes:
            path = "".join(boxes)
            # Full blocks are of one color; under the other lines there is paper, lest they be lost.
            names = ("block",) if state == FULL else ("halo", "part")
            parts += [f'<path class="{name}" d="{path}"/>' for name in names]
    return parts


def _discs(overlay: Overlay, x: list[float], y: list[float]) -> list[str]:
    """Return a disc in the middle of each block: full, half, or empty."""
    assert overlay.states is not None
    middles: dict[int, list[tuple[float, float]]] = {
        state: [
            ((x[k] + x[k + 1]) / 2, (y[q] + y[q + 1]) / 2)
            for q, k in np.argwhere(overlay.states == state).tolist()
        ]
        for state in (EMPTY, PARTIAL, FULL)
    }
    # A line of next to no length with round ends is a disc.
    all_of_them = "".join(_dot(*each) for state in middles.values() for each in state)
    hollow = "".join(_dot(*each) for state in (EMPTY, PARTIAL) for each in middles[state])
    r, turn = number(_HOLE), number(2 * _HOLE)
    halves = "".join(
        f"M{number(a - _HOLE)} {number(b)}a{r} {r} 0 0 0 {turn} 0z" for a, b in middles[PARTIAL]
    )
    return [
        *([f'<path class="disc" d="{all_of_them}"/>'] if all_of_them else []),
        *([f'<path class="hollow" d="{hollow}"/>'] if hollow else []),
        *([f'<path class="half" d="{halves}"/>'] if halves else []),
    ]


def _dot(x: float, y: float) -> str:
    return f"M{number(x)} {number(y)}h.01"


# -- what the signs mean ----------------------------------------------------------------------


def legend_of(
    pictures: Sequence[MaskPicture], y: float, width: float, *, blocks: bool, words: Words = ENGLISH
) -> tuple[float, list[str]]:
    """Return the height with the legend, which begins at ``y``, and its elements.

    ``blocks`` is whether any are drawn.
    """
    entries = _entries(pictures, blocks, words)
    if not entries:
        return y, []
    parts: list[str] = []
    x, y = _PADDING, y - _PADDING + 4
    for swatch, said in entries:
        # The border of a block stands out of its swatch.
        out = 3 if 'class="disc"' in swatch else 0
        wide = _SWATCH + 5 + 2 * out + cells_of(said) * _ADVANCE
        if x > _PADDING and x + wide > width - _PADDING:
            x, y = _PADDING, y + _LINE
        parts.append(f'<g transform="translate({number(x + out)} {number(y)})">{swatch}</g>')
        parts.append(
            f'<text class="note" x="{number(x + _SWATCH + 5 + 2 * out)}" '
            f'y="{number(y + 9.5)}">{said}</text>'
        )
        x += wide + 12
    return y + _LINE + _PADDING - 4, parts


def _entries(pictures: Sequence[MaskPicture], blocks: bool, words: Words) -> list[tuple[str, str]]:
    """Return a swatch and its words for each sign that occurs; ``blocks`` if any are drawn."""
    first = pictures[0]
    found: list[tuple[str, str]] = []
    if first.change is not None:
        kinds = {name for one in pictures for name in _occurring(one)}
        found.append((_square("in"), words["in both"]))
        for name in ("added", "removed", "mixed"):
            if name in kinds:
                found.append((_square(name) + _sign(name), words[name]))
        found.append((_square("out"), words["in neither"]))
    elif first.weights is None and first.used is None:
        found += [(_square("in"), words["allowed"]), (_square("out"), words["not allowed"])]
    if any(_guessed(one).any() for one in pictures):
        dot = '<circle class="dots" cx="5.5" cy="5.5" r="2"/>'
        found.append((_square("in") + dot, words["estimated"]))
    if blocks:
        found += [
            (_block("block", hole=False, half=False), words["full block"]),
            (_block("part", hole=True, half=True), words["partial block"]),
            (_block("", hole=True, half=False), words["empty block"]),
        ]
    return found


def _occurring(picture: MaskPicture) -> list[str]:
    """Return the kinds of change that a picture shows."""
    if picture.change is None:
        return []
    return [name for name, cells in picture.change.cells().items() if cells.any()]


def _square(name: str) -> str:
    return (
        f'<rect class="{name}" width="{number(_SWATCH)}" height="{number(_SWATCH)}"/>'
        f'<rect class="frame" width="{number(_SWATCH)}" height="{number(_SWATCH)}"/>'
    )


def _sign(name: str, side: float = _SWATCH) -> str:
    return (
        f'<path class="sign" transform="scale({number(side)})" stroke-width=".13" '
        f'd="{_SIGNS[name]}"/>'
    )


def _block(name: str, *, hole: bool, half: bool) -> str:
    """Return a disc as it stands in a block, in the border that goes with it."""
    border = f'<rect class="{name}" x="-1.5" y="-1.5" width="14" height="14"/>' if name else ""
    if name == "block":
        border = f'<rect class="in" x="-3" y="-3" width="17" height="17"/>{border}'
    parts = [border, f'<path class="disc" d="{_dot(5.5, 5.5)}"/>']
    if hole:
        parts.append(f'<path class="hollow" d="{_dot(5.5, 5.5)}"/>')
    if half:
        parts.append('<path class="half" d="M1.75 5.5a3.75 3.75 0 0 0 7.5 0z"/>')
    return "".join(parts)
