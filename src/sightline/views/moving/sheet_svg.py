"""A sheet of panels as SVG: cells joined into shapes, a sign in each that has one.

The drawing needs nothing around it and is light or dark as its page is. ``panel_svg`` gives single
panels for pages.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray

from sightline.views.labels import cells_of, clip, is_scale, visible
from sightline.views.moving.sheet import Look, Panel, Sheet
from sightline.views.style import SVG_CSS, Theme, root_class, themed
from sightline.views.svg.numbers import number
from sightline.views.svg.render import rectangles

__all__ = [
    "SHEET_CSS",
    "Frame",
    "moving_rows",
    "panel_frame",
    "panel_svg",
    "render_svg_sheet",
    "swatch",
]

SHEET_CSS = """\
.sl .pale{fill:#0067b1;fill-opacity:.36}
.sl .plus{fill:none;stroke:#fff;stroke-width:1.2}
.sl .hole{fill:#fff}
.sl .ring{fill:none;stroke:#0067b1;stroke-width:1.2}
.sl .dim{fill:none;stroke:#57606a;stroke-width:.8}
.sl .now{fill:none;stroke:#24292f;stroke-width:2}
@media (prefers-color-scheme:dark){
.sl .pale{fill:#4aa8ff}
.sl .plus{stroke:#0f141a}
.sl .hole{fill:#0f141a}
.sl .ring{stroke:#4aa8ff}
.sl .dim{stroke:#9aa4b0}
.sl .now{stroke:#e6edf3}
}
"""
_ADVANCE, _LINE, _PAD = 0.62, 17.0, 12.0
_WIDEST_LABEL = 16
_SLANT = math.radians(55)
_MOST_PIXELS, _LARGEST_SIDE, _SMALLEST_SIGNED = 620.0, 24.0, 5.0
# The class of a sign, and its strokes in a cell of 10 x 10: where each begins, and how it goes on.
_SIGNS: dict[str, tuple[str, tuple[tuple[int, int, str], ...]]] = {
    "plus": ("plus", ((5, 2, "v6"), (2, 5, "h6"))),
    "minus": ("dim", ((2, 5, "h6"),)),
    "hole": ("hole", ((5, 3, "l2 2l-2 2l-2-2z"),)),
    "ring": ("ring", ((2, 2, "h6v6h-6z"),)),
}


class Frame:
    """Where the cells of a panel stand within its drawing, in pixels."""

    def __init__(self, panel: Panel, side: float) -> None:
        rows, columns = panel.cells.shape
        self.side = side
        self.font = max(8.0, min(12.0, side * 0.75))
        wide = _widest(panel.column_labels, self.font)
        self.slanted = wide > side - 2 and not is_scale(panel.column_labels)
        self.left = _widest(panel.row_labels, self.font) + 7
        heading = _LINE if panel.title else 0.0
        self.top = heading + (math.sin(_SLANT) * wide if self.slanted else 0.0) + self.font + 6
        self.over = math.cos(_SLANT) * wide if self.slanted else self.font
        self.width = math.ceil(self.left + columns * side + self.over)
        self.width = max(self.width, math.ceil(cells_of(panel.title) * 13 * _ADVANCE))
        self.height = math.ceil(self.top + rows * side + 3)


def panel_frame(panel: Panel, most: float = _MOST_PIXELS) -> Frame:
    """Return the frame of a panel whose cells take at most ``most`` pixels."""
    longest = max(*panel.cells.shape)
    return Frame(panel, max(3.0, min(_LARGEST_SIDE, math.floor(2 * most / longest) / 2)))


def render_svg_sheet(
    sheet: Sheet, *, theme: Theme = "auto", width: float = 900.0, cells: str = ""
) -> str:
    """Return the whole sheet as SVG text: panels in rows, then what the cells mean.

    ``cells`` are further elements in the place of the first panel, such as those that move.
    """
    small = 220.0 if len(sheet.panels) > 1 else _MOST_PIXELS
    frames = [panel_frame(panel, small) for panel in sheet.panels]
    body: list[str] = []
    x, y, tall, right = _PAD, _PAD, 0.0, 360.0
    for line in _lines(sheet.title, 110):
        body.append(_text("title", x, y + 12, line))
        right = max(right, cells_of(line) * 13 * _ADVANCE + _PAD)
        y += _LINE
    y += 6
    for place, (panel, frame) in enumerate(zip(sheet.panels, frames, strict=True)):
        if x > _PAD and x + frame.width > width:
            x, y, tall = _PAD, y + tall + 14, 0.0
        inner = panel_elements(panel, frame, sheet.looks) + ([cells] if not place else [])
        below = _caption(panel, frame)
        inner += below
        body.append(f'<g transform="translate({number(x)} {number(y)})">{"".join(inner)}</g>')
        x, tall = x + frame.width + 16, max(tall, frame.height + len(below) * _LINE)
        right = max(right, x - 16)
    y += tall + 8
    y = _legend(sheet, body, y, right)
    for name, words in [
        *(("note", n) for n in sheet.notes),
        *(("note warn", w) for w in sheet.warnings),
    ]:
        for line in _lines(words, int(right / (11 * _ADVANCE))):
            body.append(_text(name, _PAD, y + 12, line))
            y += _LINE
    wide, tall_all = number(right + _PAD), number(y + _PAD)
    size = f'width="{wide}" height="{tall_all}" viewBox="0 0 {wide} {tall_all}"'
    label = escape(visible(sheet.summary or sheet.title))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="{root_class(theme)}" role="img" {size} '
        f'aria-label="{label}">\n<style>\n{themed(SVG_CSS + SHEET_CSS, theme)}</style>\n'
        '<rect class="paper" width="100%" height="100%" rx="4"/>\n' + "\n".join(body) + "\n</svg>\n"
    )


def _caption(panel: Panel, frame: Frame) -> list[str]:
    """Return what stands below a panel; a caption with a line for each row is not for here."""
    if not panel.caption or "\n" in panel.caption:
        return []
    lines = _lines(panel.caption, int(frame.width / (11 * _ADVANCE)))
    return [
        _text("note", 0, frame.height + 12 + line * _LINE, words)
        for line, words in enumerate(lines)
    ]


def _legend(sheet: Sheet, body: list[str], y: float, right: float) -> float:
    """Add what the looks mean, in as many lines as that takes; return where it ends."""
    x = _PAD
    for _, look in sheet.used():
        wide = 20 + cells_of(look.words) * 11 * _ADVANCE + 14
        if x > _PAD and x + wide > right + _PAD:
            x, y = _PAD, y + _LINE + 2
        body.append(
            f'<g transform="translate({number(x)} {number(y)}) scale(14)">{_cell(look)}</g>'
        )
        body.append(_text("note", x + 20, y + 11, look.words))
        x += wide
    return y + _LINE + 4


def moving_rows(panel: Panel, most: float = _MOST_PIXELS) -> str:
    """Return what lets the rows of a sheet's only panel appear one by one, again and again.

    Who asked for less motion, or has a viewer without any, sees all rows.
    """
    frame, rows = panel_frame(panel, most), len(panel.row_labels)
    if rows < 2:
        return ""
    wide, tall = panel.cells.shape[1] * frame.side, rows * frame.side
    # Style sheets reach the whole page that a drawing stands in: a name for each size.
    name = f"slv-{rows}-{number(frame.side)}".replace(".", "_")
    x, y, side = number(frame.left), number(frame.top), number(frame.side)
    bottom = number(frame.top + tall)
    run = f"{number(rows * 0.9 + 2)}s steps({rows},jump-none) infinite"
    return (
        f"<style>.{name}-cover{{transform:scaleY(0);transform-origin:0 {bottom}px}}"
        f".{name}-now{{visibility:hidden}}"
        "@media (prefers-reduced-motion:no-preference){"
        f".{name}-cover{{animation:{name}-cover {run}}}"
        f".{name}-now{{visibility:visible;animation:{name}-now {run}}}}}"
        f"@keyframes {name}-cover{{0%{{transform:scaleY({1 - 1 / rows:.6f})}}"
        "90%,100%{transform:scaleY(0)}}"
        f"@keyframes {name}-now{{90%,100%{{transform:translateY({number(tall - frame.side)}px)}}}}"
        "</style>"
        f'<rect class="paper {name}-cover" x="{x}" y="{y}" width="{number(wide)}" '
        f'height="{number(tall)}" fill-opacity=".86"/>'
        f'<rect class="now {name}-now" x="{x}" y="{y}" width="{number(wide)}" height="{side}"/>'
    )


def panel_svg(
    panel: Panel,
    looks: Sequence[Look],
    label: str,
    extra: str = "",
    *,
    most: float = _MOST_PIXELS,
    root: str = "sl",
) -> str:
    """Return one panel as an SVG for a page that has the style sheets."""
    frame = panel_frame(panel, most)
    body = "".join(panel_elements(panel, frame, looks)) + extra
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="{root}" role="img" width="{frame.width}" '
        f'height="{frame.height}" viewBox="0 0 {frame.width} {frame.height}" '
        f'aria-label="{escape(visible(label))}">{body}</svg>'
    )


def swatch(look: Look, root: str = "sl") -> str:
    """Return one cell of a look as a small SVG, for legends and rows of keys on a page."""
    return f'<svg class="{root}" viewBox="0 0 1 1" aria-hidden="true">{_cell(look)}</svg>'


def panel_elements(panel: Panel, frame: Frame, looks: Sequence[Look]) -> list[str]:
    """Return the elements of a panel, its corner at (0, 0)."""
    rows, columns = panel.cells.shape
    place = f"translate({number(frame.left)} {number(frame.top)}) scale({number(frame.side)})"
    parts = [_text("subtitle title", 0, 12, panel.title)] if panel.title else []
    parts.append(f'<g transform="{place}" shape-rendering="crispEdges">')
    for kind, look in enumerate(looks):
        mine = panel.cells == kind
        if mine.any() and look.fill != "paper":
            parts.append(f'<path class="{look.fill}" d="{_covered(mine)}"/>')
    parts.append("</g>")
    if frame.side >= _SMALLEST_SIGNED:
        parts.append(_grid(panel, frame))
    parts.append(f'<g transform="{place} scale(.1)">')
    parts += [_signs(panel.cells == kind, look) for kind, look in enumerate(looks)]
    parts.append("</g>")
    parts.append(
        f'<rect class="frame" x="{number(frame.left)}" y="{number(frame.top)}" '
        f'width="{number(columns * frame.side)}" height="{number(rows * frame.side)}"/>'
    )
    return [part for part in parts if part] + _labels(panel, frame)


def _covered(cells: NDArray[np.bool_]) -> str:
    return "".join(f"M{c} {r}h{w}v{h}h-{w}z" for r, c, h, w in rectangles(cells))


def _signs(cells: NDArray[np.bool_], look: Look) -> str:
    if not look.sign or not cells.any():
        return ""
    if look.sign == "strike":  # one line through all that stand side by side
        runs = "".join(
            f"M{10 * first + 2} {10 * (top + row) + 5}h{10 * wide - 4}"
            for top, first, tall, wide in rectangles(cells)
            for row in range(tall)
        )
        return f'<path class="dim" d="{runs}"/>'
    name, strokes = _SIGNS[look.sign]
    where = "".join(
        f"M{10 * column + x} {10 * row + y}{line}"
        for row, column in np.argwhere(cells).tolist()
        for x, y, line in strokes
    )
    return f'<path class="{name}" d="{where}"/>'


def _cell(look: Look) -> str:
    fill = f'<path class="{look.fill}" d="M0 0h1v1h-1z"/>' if look.fill != "paper" else ""
    return f'{fill}<g transform="scale(.1)">{_signs(np.ones((1, 1), np.bool_), look)}</g>'


def _grid(panel: Panel, frame: Frame) -> str:
    rows, columns = panel.cells.shape
    side = frame.side
    across = "".join(f"M0 {number(r * side)}h{number(columns * side)}" for r in range(1, rows))
    down = "".join(f"M{number(c * side)} 0v{number(rows * side)}" for c in range(1, columns))
    place = f"translate({number(frame.left)} {number(frame.top)})"
    return f'<path class="grid" transform="{place}" d="{across}{down}"/>' if across + down else ""


def _labels(panel: Panel, frame: Frame) -> list[str]:
    parts = []
    size = f'style="font-size:{number(frame.font)}px"'
    for row in _every(panel.row_labels, frame, across=False):
        y = frame.top + (row + 0.5) * frame.side + frame.font * 0.35
        parts.append(
            f'<text {size} x="{number(frame.left - 5)}" y="{number(y)}" text-anchor="end">'
            f"{_short(panel.row_labels[row])}</text>"
        )
    for column in _every(panel.column_labels, frame, across=True):
        x, y = frame.left + (column + 0.5) * frame.side, frame.top - 5
        turn = f'transform="translate({number(x)} {number(y)}) rotate(-55)"'
        upright = f'x="{number(x)}" y="{number(y)}" text-anchor="middle"'
        place = turn if frame.slanted else upright
        parts.append(f"<text {size} {place}>{_short(panel.column_labels[column])}</text>")
    return parts


def _every(labels: Sequence[str], frame: Frame, *, across: bool) -> range:
    """Return the places of labels that have room: all, or every n-th."""
    room = frame.font * 1.15
    if across and not frame.slanted:
        room = _widest(labels, frame.font) + 4
    steps = (n for n in (1, 2, 4, 5, 8, 10, 16, 20, 32, 64) if n * frame.side >= room)
    return range(0, len(labels), next(steps, max(1, len(labels))))


def _widest(labels: Sequence[str], font: float) -> float:
    cells = max((min(cells_of(visible(label)), _WIDEST_LABEL) for label in labels), default=0)
    return cells * font * _ADVANCE


def _short(label: str) -> str:
    return escape(clip(visible(label), _WIDEST_LABEL), quote=False)


def _text(name: str, x: float, y: float, words: str) -> str:
    shown = escape(visible(words), quote=False)
    return f'<text class="{name}" x="{number(x)}" y="{number(y)}">{shown}</text>'


def _lines(words: str, cells: int, most: int = 3) -> list[str]:
    """Break words into lines of at most ``cells`` terminal cells."""
    lines = [""]
    for word in visible(words).split(" "):
        joined = f"{lines[-1]} {word}".strip()
        if cells_of(joined) > cells and lines[-1]:
            lines.append(word)
        else:
            lines[-1] = joined
    if len(lines) > most:
        lines = [*lines[: most - 1], " ".join(lines[most - 1 :])]
    return [clip(line, cells) for line in lines]
