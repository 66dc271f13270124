"""The pictures of the playground: numbers in cells, masks, weights, and where one patch looks.

Masks and weights are drawn by svg/render.py; here are tables of signed numbers, which it has not.
"""

from __future__ import annotations

from html import escape

import numpy as np
from numpy.typing import NDArray

from sightline.views.labels import visible
from sightline.views.picture import MaskPicture
from sightline.views.playground.steps import Floats
from sightline.views.svg.labels import label_elements, layout_of
from sightline.views.svg.numbers import number
from sightline.views.svg.render import render_svg
from sightline.views.svg.words import LANGUAGES, Language

__all__ = ["NUMBERS_CSS", "draw_numbers", "draw_pairs", "draw_patches", "signed"]

Labels = tuple[str, ...]
Bools = NDArray[np.bool_]

# Purple stands for minus, since orange means leaks; the sign says it, too. Never so dark that
# the number on top could not be read.
NUMBERS_CSS = """\
.sl .plus{fill:#0067b1}
.sl .minus{fill:#8f4a78}
.sl text.of{text-anchor:middle;font-variant-numeric:tabular-nums}
.sl .asks{fill:none;stroke:#24292f;stroke-width:3}
@media (prefers-color-scheme:dark){
.sl .plus{fill:#4aa8ff}
.sl .minus{fill:#d690bd}
.sl .asks{stroke:#e6edf3}
}
"""
_CELL, _PATCH, _DARKEST = 30.0, 36.0, 0.55
_SMALLEST_CELL_WITH_NUMBERS = 22.0


def signed(value: float, digits: int = 1) -> str:
    """Return a number with a real minus sign, and none before 0.

    >>> signed(-1.26), signed(-0.01), signed(float("nan"))
    ('−1.3', '0.0', 'NaN')
    """
    if not np.isfinite(value):
        return "NaN" if np.isnan(value) else "−∞" if value < 0 else "∞"
    text = f"{abs(value):.{digits}f}"
    return f"−{text}" if value < 0 and float(text) != 0 else text


def draw_numbers(values: Floats, rows: Labels, columns: Labels, *, title: str) -> str:
    """Return a table of numbers ``[rows, columns]`` as SVG: blue plus, purple minus.

    >>> drawn = draw_numbers(np.array([[1.0, -0.5]]), ("a",), ("x", "y"), title="scores")
    >>> drawn.count('class="plus"'), drawn.count('class="minus"'), "−0.5" in drawn
    (1, 1, True)
    """
    picture = MaskPicture(np.ones(values.shape, bool), rows, columns, title)
    layout = layout_of(picture, _CELL, titled=False)
    side, x, y = layout.side, layout.left, layout.top
    strongest = float(np.abs(values[np.isfinite(values)]).max(initial=0.0)) or 1.0
    parts = [f'<g transform="translate({number(x)} {number(y)})">']
    wide, tall = values.shape[1] * side, values.shape[0] * side
    parts.append(f'<rect class="paper" width="{number(wide)}" height="{number(tall)}"/>')
    for (row, column), value in np.ndenumerate(values):
        parts.append(_cell(float(value), row, column, side, strongest))
    parts.append("</g>")
    parts.append(
        f'<rect class="frame" x="{number(x)}" y="{number(y)}" '
        f'width="{number(wide)}" height="{number(tall)}"/>'
    )
    parts += label_elements(picture, layout)
    size = f'width="{number(layout.width)}" height="{number(layout.height)}"'
    box = f'viewBox="0 0 {number(layout.width)} {number(layout.height)}"'
    label = escape(visible(title))
    head = f'<svg xmlns="http://www.w3.org/2000/svg" class="sl" role="img" {size} {box} '
    return head + f'aria-label="{label}">' + "".join(parts) + "</svg>"


def _cell(value: float, row: int, column: int, side: float, strongest: float) -> str:
    name = "minus" if value < 0 else "plus"
    shade = _DARKEST * min(1.0, abs(value) / strongest) if np.isfinite(value) else 0.0
    place = f'x="{number(column * side)}" y="{number(row * side)}"'
    shown = signed(value)
    cell = (
        f'<rect class="{name}" {place} width="{number(side)}" height="{number(side)}" '
        f'fill-opacity="{number(shade)}"><title>{signed(value, 3)}</title></rect>'
    )
    if side < _SMALLEST_CELL_WITH_NUMBERS:
        shown = "−" if shown.startswith("−") else ""
    middle = f'x="{number((column + 0.5) * side)}" y="{number((row + 0.5) * side + 3.5)}"'
    font = f'style="font-size:{number(min(11.0, side * 0.4))}px;pointer-events:none"'
    return cell + (f'<text class="of" {font} {middle}>{shown}</text>' if shown else "")


def draw_pairs(
    allowed: Bools,
    rows: Labels,
    columns: Labels,
    *,
    title: str,
    language: Language,
    weights: Floats | None = None,
    cell: float = 26.0,
) -> str:
    """Return a mask, or the weights under it, as SVG: what is allowed, what leaks, what is empty.

    >>> cells = np.array([[True, False]])
    >>> drawn = draw_pairs(cells, ("a",), ("a", "b"), title="", language="zh")
    >>> "可以关注" in drawn and "不可关注" in drawn
    True
    """
    picture = MaskPicture(allowed, rows, columns, title, weights)
    return render_svg(picture, cell=cell, standalone=False, words=LANGUAGES[language])


def draw_patches(
    allowed: Bools, weights: Floats, patches: Labels, query: int, *, title: str, language: Language
) -> str:
    """Return where one patch looks: the picture ``[rows, columns]`` with its weights upon it.

    ``patches`` are all of them, row by row; the one that asks has a thick frame.
    """
    rows, columns = (tuple(map(str, range(size))) for size in allowed.shape)
    # A row of the picture is not a query: it may well hold nothing that is seen.
    empty = np.zeros(len(rows), bool)
    picture = MaskPicture(allowed, rows, columns, title, weights, empty_rows=empty)
    words = LANGUAGES[language]
    drawn = render_svg(picture, cell=_PATCH, standalone=False, words=words)
    layout = layout_of(picture, _PATCH, titled=False, words=words)
    side = layout.side
    parts = [f'<g class="patches" style="font-size:{number(side / 2)}px">']
    for index, patch in enumerate(patches):
        row, column = divmod(index, len(columns))
        x, y = layout.left + column * side, layout.top + row * side
        place = f'x="{number(x + side / 2)}" y="{number(y + side * 0.68)}"'
        style = 'style="font-size:inherit;pointer-events:none"'
        parts.append(f'<text class="of" {style} {place}>{escape(visible(patch))}</text>')
        if index == query:
            parts.append(
                f'<rect class="asks" x="{number(x + 1)}" y="{number(y + 1)}" '
                f'width="{number(side - 2)}" height="{number(side - 2)}"/>'
            )
    return drawn.replace("</svg>", "".join([*parts, "</g></svg>"]))
