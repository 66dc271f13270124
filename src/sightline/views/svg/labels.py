"""Where everything in an SVG drawing stands, and its texts: title, labels, what shades mean.

Text widths are estimated from terminal cells, since an SVG cannot ask for them. The cells
themselves are drawn in render.py.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import NamedTuple

import numpy as np

from sightline.views.labels import cells_of, clip, graphemes, is_scale, visible
from sightline.views.picture import MaskPicture
from sightline.views.svg.margins import Margins, margins_of
from sightline.views.svg.numbers import number
from sightline.views.svg.words import ENGLISH, Words

__all__ = [
    "LEAST_WIDTH",
    "Layout",
    "extra_notes",
    "heading_elements",
    "label_elements",
    "layout_of",
    "remark_elements",
]

_MOST_PIXELS = 640
_SMALLEST_CELL = 2.0
_PADDING = 12.0
_LINE = 17.0
_WIDEST_LABEL = 18
_SLANT = math.radians(50)
# Pixels per terminal cell at a font size of 1: what the digits of wide sans-serif fonts take.
_ADVANCE = 0.64
_TITLE_ADVANCE = 13 * 0.62
# A title of ordinary length has room in this.
LEAST_WIDTH = 240.0


class Note(NamedTuple):
    """A line below the cells, and whether it warns."""

    text: str
    warns: bool


@dataclass(frozen=True)
class Layout:
    """Sizes in pixels.

    Attributes:
        side: of a cell.
        left, top: where the cells begin.
        padding: around everything.
        width, height: of the whole drawing.
        font: size of the labels.
        slanted: whether column labels are turned to have room.
        title: the title's lines.
        beside: whether the title is one of several below a title of them all.
        notes: what stands below the cells.
        margins: the names beside and below the cells.
    """

    side: float
    left: float
    top: float
    padding: float
    width: float
    height: float
    font: float
    slanted: bool
    title: tuple[str, ...]
    beside: bool
    notes: tuple[Note, ...]
    margins: Margins


def layout_of(
    picture: MaskPicture,
    cell: float,
    *,
    titled: bool,
    beside: bool = False,
    words: Words = ENGLISH,
) -> Layout:
    """Place everything for cells of at most ``cell`` pixels; ``beside`` others under one title."""
    rows, columns = picture.allowed.shape
    padding = _PADDING if titled else 1.0  # a page has margins of its own
    side = max(_SMALLEST_CELL, min(float(cell), _MOST_PIXELS / max(rows, columns, 1)))
    # Numbers may be left out where there is no room, tokens may not: they get smaller.
    least_font = 9.0 if is_scale(picture.row_labels) and is_scale(picture.column_labels) else 7.0
    font = max(least_font, min(12.0, side * 0.72))
    row_space = _widest(picture.row_labels, font) + 6
    column_widest = _widest(picture.column_labels, font)
    slanted = not is_scale(picture.column_labels) and column_widest > side - 2
    above = math.sin(_SLANT) * column_widest + font if slanted else font + 6
    overhang = math.cos(_SLANT) * column_widest if slanted else 0.0
    left = padding + row_space
    margins = margins_of(picture, side, left)
    right = max(overhang, margins.right, 6.0) + padding
    notes = _notes(picture, words)
    note_width = max((cells_of(note.text) * 11 * _ADVANCE for note in notes), default=0.0)
    # Whole pixels: a picture scaled by a fraction in a viewer would be blurred.
    width = float(math.ceil(max(left + columns * side + right, note_width + 2 * padding)))
    title: tuple[str, ...] = ()
    if titled:
        own = cells_of(visible(picture.title)) * _TITLE_ADVANCE + 2 * padding
        width = max(width, float(math.ceil(min(own, LEAST_WIDTH))) if beside else LEAST_WIDTH)
        title = _title_lines(picture.title, width)
    top = padding + len(title) * _LINE + (4 if title else 0) + above
    below = margins.bottom + (6 + len(notes) * _LINE if notes else 0)
    height = math.ceil(top + rows * side + below + padding)
    return Layout(
        side, left, top, padding, width, float(height), font, slanted, title, beside, notes, margins
    )


def label_elements(picture: MaskPicture, layout: Layout) -> list[str]:
    """Return the text elements: title, column labels, row labels, notes."""
    parts = _title_elements(layout.title, "subtitle" if layout.beside else "title")
    parts += _column_labels(picture, layout)
    parts += _row_labels(picture, layout)
    bottom = layout.top + picture.allowed.shape[0] * layout.side + layout.margins.bottom
    for line, note in enumerate(layout.notes):
        y = bottom + 6 + (line + 1) * _LINE - 4
        warn = " warn" if note.warns else ""
        parts.append(
            f'<text class="note{warn}" x="{number(layout.padding)}" y="{number(y)}">'
            f"{_xml(note.text)}</text>"
        )
    return parts


def heading_elements(title: str, width: float) -> tuple[float, list[str]]:
    """Return the height that a title over several drawings takes, and its elements."""
    lines = _title_lines(title, width)
    return len(lines) * (_LINE + 2), _title_elements(lines, "title")


def remark_elements(remarks: Sequence[str], y: float) -> tuple[float, list[str]]:
    """Return the height with remarks below a drawing that ends at ``y``, and their elements."""
    parts = [
        f'<text class="note" x="{number(_PADDING)}" y="{number(y + line * _LINE)}">'
        f"{_xml(visible(text))}</text>"
        for line, text in enumerate(remarks)
    ]
    return y + len(remarks) * _LINE, parts


def _title_lines(title: str, width: float) -> tuple[str, ...]:
    return _wrapped(visible(title), int((width - 2 * _PADDING) / _TITLE_ADVANCE + 1e-9))


def _title_elements(lines: tuple[str, ...], name: str) -> list[str]:
    return [
        f'<text class="{name}" x="{number(_PADDING)}" '
        f'y="{number(_PADDING + 12 + line * _LINE)}">{_xml(text)}</text>'
        for line, text in enumerate(lines)
    ]


def _column_labels(picture: MaskPicture, layout: Layout) -> list[str]:
    parts = []
    size = f'style="font-size:{number(layout.font)}px"'
    y = layout.top - 5
    for column, label in _shown(picture.column_labels, layout, across=True):
        x = layout.left + (column + 0.5) * layout.side
        if layout.slanted:
            place = f'transform="translate({number(x)} {number(y)}) rotate(-50)"'
            x_align = ""
        else:
            place = f'x="{number(x)}" y="{number(y)}"'
            x_align = ' text-anchor="middle"'
        parts.append(f"<text {size} {place}{x_align}>{_clipped(label)}</text>")
    return parts


def _row_labels(picture: MaskPicture, layout: Layout) -> list[str]:
    parts = []
    x = number(layout.left - 6)
    for row, label in _shown(picture.row_labels, layout, across=False):
        y = layout.top + (row + 0.5) * layout.side + layout.font * 0.35
        warn = ' class="warned"' if picture.empty_rows[row] else ""
        parts.append(
            f'<text{warn} style="font-size:{number(layout.font)}px" x="{x}" y="{number(y)}" '
            f'text-anchor="end">{_clipped(label)}</text>'
        )
    return parts


def _shown(labels: Sequence[str], layout: Layout, *, across: bool) -> list[tuple[int, str]]:
    """Return the labels that have room: all of them, or every n-th of a scale."""
    every = 1
    if is_scale(labels):
        room = _widest(labels, layout.font) + 6 if across else layout.font * 1.3
        steps = (1, 2, 4, 5, 8, 10, 16, 20, 32, 64, 128)
        fitting = (step for step in steps if step * layout.side >= room)
        every = next(fitting, max(len(labels), 1))
    elif layout.side < layout.font * 0.9:
        every = math.ceil(layout.font * 0.9 / layout.side)
    return list(enumerate(labels))[::every]


def _notes(picture: MaskPicture, words: Words) -> tuple[Note, ...]:
    notes = []
    if not picture.allowed.size:
        notes.append(Note(words["no pairs"], False))
    if picture.aggregated:
        queries, keys = picture.cell
        notes.append(Note(words["cell"].format(queries=queries, keys=keys), False))
    notes += [Note(text, False) for text in extra_notes(picture, words)]
    if picture.used is not None:
        if (picture.allowed & ~picture.used).any():
            notes.append(Note(words["unused"], False))
        if picture.leaks.any():
            notes.append(Note(words["used leak"], True))
    elif picture.weights is not None:
        notes.append(Note(words["weights"].format(heaviest=picture.heaviest), False))
        finite = np.isfinite(picture.weights)
        if (picture.leaks & finite).any():
            notes.append(Note(words["leak"], True))
        if not finite.all():
            notes.append(Note(words["broken"], True))
    if picture.empty_rows.any():
        notes.append(Note(words["empty"], True))
    return tuple(notes)


def extra_notes(picture: MaskPicture, words: Words = ENGLISH) -> list[str]:
    """Return what is to be said of estimates, a difference and blocks, for any kind of picture."""
    notes = []
    if picture.sure is not None:
        guessed = int((~picture.sure).sum())
        notes.append(
            words["guessed"].format(some=guessed, all=picture.sure.size)
            if guessed
            else words["not looked for"]
        )
    if (change := picture.change) is not None:
        notes.append(
            words["change"].format(
                both=change.both, added=change.pairs_added, removed=change.pairs_removed
            )
        )
    if (overlay := picture.overlay) is not None:
        empty, partial, full = overlay.counts
        notes.append(
            words["blocks"].format(
                queries=overlay.size[0],
                keys=overlay.size[1],
                full=full,
                partial=partial,
                empty=empty,
            )
        )
    return notes


def _widest(labels: Sequence[str], font: float) -> float:
    """Return the estimated width of the widest label in pixels."""
    cells = max((min(cells_of(visible(label)), _WIDEST_LABEL) for label in labels), default=0)
    return cells * font * _ADVANCE


def _clipped(label: str) -> str:
    """Return a label cut to size; the whole of it shows when the mouse is over it."""
    shown = visible(label)
    short = clip(shown, _WIDEST_LABEL)
    whole = f"<title>{_xml(shown)}</title>" if short != shown else ""
    return _xml(short) + whole


def _wrapped(text: str, cells: int, most_lines: int = 3) -> tuple[str, ...]:
    """Break ``text`` into lines of at most ``cells`` terminal cells, at spaces if possible."""
    lines: list[str] = []
    line = ""
    for word in text.split(" "):
        candidate = f"{line} {word}" if line else word
        if cells_of(candidate) <= cells:
            line = candidate
            continue
        if line:
            lines.append(line)
        *full, line = _pieces(word, cells)
        lines += full
    lines.append(line)
    if len(lines) > most_lines:
        rest = " ".join(lines[most_lines - 1 :])
        lines = [*lines[: most_lines - 1], clip(rest, cells)]
    return tuple(line for line in lines if line)


def _pieces(word: str, cells: int) -> list[str]:
    """Cut a word that is longer than a line."""
    pieces = [""]
    for piece in graphemes(word):
        if cells_of(pieces[-1] + piece) > cells:
            pieces.append("")
        pieces[-1] += piece
    return pieces


def _xml(text: str) -> str:
    return escape(text, quote=False)
