"""A mask drawn as a small SVG that needs nothing around it and fits light and dark pages.

Runs of equal cells become one shape, so that a causal mask of 64 tokens takes a few kilobytes.
Where the labels stand is in labels.py, what lies over the cells in extras.py, the colors
are in style.py.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from hashlib import blake2b
from html import escape
from typing import TYPE_CHECKING

import numpy as np

from sightline.views.labels import share_text, visible
from sightline.views.picture import MaskPicture
from sightline.views.style import EXTRAS_CSS, SVG_CSS, Theme, root_class, themed
from sightline.views.svg.extras import change_shapes, definitions, legend_of, over_the_cells
from sightline.views.svg.labels import (
    LEAST_WIDTH,
    Layout,
    heading_elements,
    label_elements,
    layout_of,
    remark_elements,
)
from sightline.views.svg.margins import cut_elements
from sightline.views.svg.numbers import number
from sightline.views.svg.shapes import rectangles, shaded, shape
from sightline.views.svg.words import ENGLISH, Words

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sightline.views.scene import Scene

__all__ = [
    "cell_words",
    "rectangles",
    "render_legend",
    "render_panel",
    "render_svg",
    "render_svg_grid",
    "render_svg_row",
]

# An allowed pair that is not used.
_UNUSED = 0.3
_MOST_CELLS_WITH_TOOLTIPS = 150
_SMALLEST_CELL_WITH_GRID = 5
_MOST_HOLES = 400
# Names of patterns, where they are given and where they are used; no label can look like these.
_NAMES = re.compile(r'<(?:pattern id="|(?:rect|path) fill="url\(#)[\w-]+')
_MOST_PIXELS_OF_TWO, _MOST_PIXELS_OF_MANY = 400, 260


def render_svg(
    picture: MaskPicture,
    *,
    cell: float = 18,
    standalone: bool = True,
    tooltips: bool = True,
    words: Words = ENGLISH,
    over: Sequence[str] = (),
) -> str:
    """Return ``picture`` as SVG text.

    Args:
        picture: what to draw.
        cell: side of a cell in pixels; a picture of many cells is drawn smaller.
        standalone: with its own title line and style sheet; without them it is for a page that
            has ``SVG_CSS`` and a caption.
        tooltips: small pictures say what a cell is when the mouse is over it.
        words: those of words.py, in the reader's language.
        over: elements that lie over the cells; one unit is one cell.

    >>> from sightline.views.picture import MaskPicture
    >>> svg = render_svg(MaskPicture([[True, False], [True, True]]))
    >>> '<path class="in" d="M0 0h1v1h-1zM0 1h2v1h-2z"/>' in svg
    True
    """
    layout = layout_of(picture, cell, titled=standalone, words=words)
    body = _drawing(picture, layout, tooltips, words=words)
    if over:
        body += [f'<g transform="{_place(layout)}">', *over, "</g>"]
    return _document(layout.width, layout.height, _summary(picture, words), body, standalone)


def render_svg_row(
    pictures: Sequence[MaskPicture], *, title: str = "", cell: float = 18, tooltips: bool = True
) -> str:
    """Return several pictures side by side as one SVG, each under its own title.

    >>> from sightline.views.picture import MaskPicture
    >>> row = [MaskPicture([[1]], title="batch row 0"), MaskPicture([[0]], title="batch row 1")]
    >>> render_svg_row(row, title="padding(lengths=[1, 0])").count('<path class="in"')
    1
    """
    layouts = [layout_of(picture, cell, titled=True, beside=True) for picture in pictures]
    width = max(sum(layout.width for layout in layouts), LEAST_WIDTH)
    heading, body = heading_elements(title, width)
    x = 0.0
    for picture, layout in zip(pictures, layouts, strict=True):
        body.append(f'<g transform="translate({number(x)} {number(heading)})">')
        body += _drawing(picture, layout, tooltips)
        body.append("</g>")
        x += layout.width
    height = heading + max((layout.height for layout in layouts), default=0.0)
    summary = "; ".join(_summary(picture, ENGLISH) for picture in pictures)
    return _document(width, height, f"{title}: {summary}", body, True)


def render_svg_grid(
    scene: Scene, *, theme: Theme = "auto", cell: float = 18, tooltips: bool = True
) -> str:
    """Return a scene as one SVG: its pictures in a grid, and below them what the signs mean."""
    panels = scene.panels
    if len(panels) == 1:
        names = [part for part in (scene.title, panels[0].title) if part]
        panels = (replace(panels[0], title=" - ".join(names)),)
    several = len(panels) > 1
    layouts = [
        layout_of(
            one,
            _cell_side(one, cell, len(panels)),
            titled=True,
            beside=several,
            words=scene.words,
        )
        for one in panels
    ]
    across = max(1, min(scene.across, len(panels)))
    columns = [max(each.width for each in layouts[column::across]) for column in range(across)]
    width = max(sum(columns), LEAST_WIDTH)
    y, body = heading_elements(scene.title, width) if several else (0.0, [])
    body = definitions(panels, layouts, root_class(theme)) + body
    for first in range(0, len(panels), across):
        row = slice(first, first + across)
        x = 0.0
        for picture, layout, wide in zip(panels[row], layouts[row], columns, strict=False):
            body.append(f'<g transform="translate({number(x)} {number(y)})">')
            body += _drawing(
                picture, layout, tooltips and not several, root_class(theme), scene.words
            )
            body.append("</g>")
            x += wide
        y += max(layout.height for layout in layouts[row])
    if scene.remarks:
        y, remarks = remark_elements(scene.remarks, y)
        body += remarks
    blocks = any(
        over_the_cells(one, layout.side) for one, layout in zip(panels, layouts, strict=True)
    )
    y, legend = legend_of(panels, y, width, blocks=blocks, words=scene.words)
    body += legend
    styles = SVG_CSS + EXTRAS_CSS if _has_extras(panels) else SVG_CSS
    return _document(width, y, scene.summary, body, True, themed(styles, theme), theme)


def render_panel(
    picture: MaskPicture, *, theme: Theme = "auto", cell: float = 18, words: Words = ENGLISH
) -> tuple[str, Layout]:
    """Return one picture as SVG for a page that has the styles, and where everything stands."""
    root = root_class(theme)
    layout = layout_of(picture, cell, titled=False, words=words)
    body = definitions([picture], [layout], root) + _drawing(picture, layout, False, root, words)
    summary = _summary(picture, words)
    return _document(layout.width, layout.height, summary, body, False, theme=theme), layout


def render_legend(
    pictures: Sequence[MaskPicture], width: float, theme: Theme = "auto", words: Words = ENGLISH
) -> str:
    """Return what the signs of pictures mean, as SVG for a page that has the styles."""
    blocks = any(one.overlay is not None for one in pictures)
    height, body = legend_of(pictures, 12.0, width, blocks=blocks, words=words)
    return _document(width, height, words["signs"], body, False, theme=theme) if body else ""


def _cell_side(picture: MaskPicture, cell: float, panels: int) -> float:
    """Return the side of a cell so that several pictures stay together as large as one or two."""
    if panels == 1:
        return cell
    room = _MOST_PIXELS_OF_TWO if panels == 2 else _MOST_PIXELS_OF_MANY
    return min(cell, max(2.0, room / max(*picture.allowed.shape, 1)))


def _has_extras(pictures: Sequence[MaskPicture]) -> bool:
    return any(
        one.change is not None or one.overlay is not None or one.marks or one.estimated
        for one in pictures
    )


def _document(
    width: float,
    height: float,
    summary: str,
    body: list[str],
    styled: bool,
    styles: str = SVG_CSS,
    theme: Theme = "auto",
) -> str:
    body = _own_names(body, summary, theme)
    size = f'width="{number(width)}" height="{number(height)}"'
    head = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="{root_class(theme)}" role="img" {size} '
        f'viewBox="0 0 {number(width)} {number(height)}" aria-label="{_text(summary)}">'
    ]
    if styled:
        head.append(f"<style>\n{styles}</style>")
        head.append('<rect class="paper" width="100%" height="100%" rx="4"/>')
    return "\n".join([*head, *body, "</svg>"]) + "\n"


def _own_names(body: list[str], *context: str) -> list[str]:
    """Name patterns by what is drawn: several drawings on a page must not share a name."""
    if not any('id="' in part for part in body):
        return body
    own = blake2b("\n".join([*context, *body]).encode(), digest_size=4).hexdigest()
    return [_NAMES.sub(rf"\g<0>-{own}", part) for part in body]


def _drawing(
    picture: MaskPicture,
    layout: Layout,
    tooltips: bool,
    root: str = "sl",
    words: Words = ENGLISH,
) -> list[str]:
    """Return the elements of one picture, its corner at (0, 0)."""
    place = _place(layout)
    parts = _hatch_definition(picture)
    parts += [f'<g transform="{place}" shape-rendering="crispEdges">', *_cells(picture), "</g>"]
    parts[-1:-1] = change_shapes(picture, layout.side, root)
    parts += _lines(picture, layout)
    over = [*cut_elements(picture, layout.side), *over_the_cells(picture, layout.side)]
    wide, tall = (side * layout.side for side in reversed(picture.allowed.shape))
    over += layout.margins.elements(wide, tall)
    if over:
        corner = f"translate({number(layout.left)} {number(layout.top)})"
        parts += [f'<g transform="{corner}">', *over, "</g>"]
    parts += label_elements(picture, layout)
    if tooltips and 0 < picture.allowed.size <= _MOST_CELLS_WITH_TOOLTIPS:
        parts += [f'<g transform="{place}">', *_tooltips(picture, words), "</g>"]
    return parts


def _place(layout: Layout) -> str:
    """Return where the cells stand, as a change of units from cells to pixels."""
    return f"translate({number(layout.left)} {number(layout.top)}) scale({number(layout.side)})"


def _cells(picture: MaskPicture) -> list[str]:
    """Return the shapes of all cells; one unit is one cell."""
    rows, columns = picture.allowed.shape
    parts = [f'<rect class="out" width="{columns}" height="{rows}"/>']
    if picture.used is not None:
        parts.append(shape("in", picture.allowed & ~picture.used, _UNUSED))
        parts.append(shape("in", picture.allowed & picture.used))
        parts += [shape("bad", picture.leaks), _holes(picture.leaks)]
        return [part for part in parts if part]
    if picture.weights is None:
        kept = picture.allowed if picture.change is None else picture.allowed & ~picture.change.any
        return parts + shaded("in", kept, picture.share)
    parts.append(f'<rect fill="url(#sl-hatch)" width="{columns}" height="{rows}"/>')
    finite = np.isfinite(picture.weights)
    heaviest = picture.heaviest or 1.0
    part = np.where(finite, np.abs(picture.weights), 0.0) / heaviest
    # An allowed cell is never see-through: the hatch stands for "not in play".
    parts.append(shape("paper", picture.allowed))
    parts += shaded("in", picture.allowed & finite, part)
    parts += [*shaded("bad", picture.leaks & finite, part), _holes(picture.leaks & finite)]
    parts.append(shape("broken", ~finite))
    return [part for part in parts if part]


def _holes(leaks: NDArray[np.bool_]) -> str:
    """Return a hole in each leak, so that it differs by more than color; too many need none."""
    places = np.argwhere(leaks).tolist()
    if not places or len(places) > _MOST_HOLES:
        return ""
    path = "".join(
        f"M{column + 0.5} {row + 0.25}l.25 .25l-.25 .25l-.25-.25z" for row, column in places
    )
    return f'<path class="paper leak" d="{path}"/>'


def _hatch_definition(picture: MaskPicture) -> list[str]:
    if picture.weights is None:
        return []
    return [
        '<defs><pattern id="sl-hatch" width=".34" height=".34" patternUnits="userSpaceOnUse" '
        'patternTransform="rotate(45)"><path class="hatch" d="M0 0v.34" '
        'style="stroke-width:.12"/></pattern></defs>'
    ]


def _lines(picture: MaskPicture, layout: Layout) -> list[str]:
    """Return the gaps between cells, the frame, and a frame around rows that see nothing."""
    rows, columns = picture.allowed.shape
    side, x, y = layout.side, layout.left, layout.top
    wide, tall = columns * side, rows * side
    parts = []
    # Cells that stand for many pairs join into areas; single pairs stay countable.
    if side >= _SMALLEST_CELL_WITH_GRID and picture.allowed.size and not picture.aggregated:
        across = "".join(f"M0 {number(r * side)}h{number(wide)}" for r in range(1, rows))
        down = "".join(f"M{number(c * side)} 0v{number(tall)}" for c in range(1, columns))
        if across or down:
            thick = number(1 if side >= 10 else 0.5)
            parts.append(
                f'<path class="grid" stroke-width="{thick}" '
                f'transform="translate({number(x)} {number(y)})" d="{across}{down}"/>'
            )
    parts.append(
        f'<rect class="frame" x="{number(x)}" y="{number(y)}" '
        f'width="{number(wide)}" height="{number(tall)}"/>'
    )
    for first, _, tall_rows, _ in rectangles(picture.empty_rows[:, None]):
        parts.append(
            f'<rect class="empty" x="{number(x)}" y="{number(y + first * side)}" '
            f'width="{number(wide)}" height="{number(tall_rows * side)}"/>'
        )
    return parts


def _tooltips(picture: MaskPicture, words: Words) -> list[str]:
    rows, columns = picture.allowed.shape
    return [
        f'<rect class="tip" x="{column}" y="{row}" width="1" height="1">'
        f"<title>{_text(_meaning(picture, row, column, words))}</title></rect>"
        for row in range(rows)
        for column in range(columns)
    ]


def _meaning(picture: MaskPicture, row: int, column: int, words: Words) -> str:
    """Return one cell and its pair in words."""
    pair = f"{picture.row_labels[row]} -> {picture.column_labels[column]}"
    said = cell_words(picture, row, column, words)
    return words["from"].format(pair=pair, said=said) if picture.aggregated else f"{pair}: {said}"


def cell_words(picture: MaskPicture, row: int, column: int, words: Words = ENGLISH) -> str:
    """Return what a cell holds in words.

    >>> from sightline.views.picture import MaskPicture
    >>> cell_words(MaskPicture([[1, 0]]), 0, 1)
    'may not attend'
    """
    if picture.change is not None and picture.change.any[row, column]:
        return picture.change.meaning(row, column, words)
    if picture.aggregated:
        share = float(picture.share[row, column])
        told = {0.0: words["none"], 1.0: words["all"]}.get(share) or share_text(share)
        guessed = picture.sure is not None and not picture.sure[row, column]
        return (words["about"] if guessed else "") + words["share"].format(share=told)
    verdict = words["allowed" if picture.allowed[row, column] else "forbidden"]
    if picture.change is not None:
        both = words["in both" if picture.allowed[row, column] else "in neither"]
        return f"{verdict}, {both}"
    if picture.used is not None:
        return f"{verdict}, {words['depends' if picture.used[row, column] else 'independent']}"
    if picture.weights is None:
        return verdict
    return f"{verdict}, {words['weight'].format(weight=picture.weights[row, column])}"


def _summary(picture: MaskPicture, words: Words = ENGLISH) -> str:
    queries, keys = picture.shape
    said = words["summary"].format(queries=queries, keys=keys, count=picture.count)
    return f"{picture.title + ': ' if picture.title else ''}{said}"


def _text(text: str) -> str:
    """Return ``text`` fit for XML: harmful characters spelled out, markup escaped."""
    return escape("\n".join(visible(line) for line in text.split("\n")))
