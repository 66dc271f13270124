"""A sheet of panels with characters: the panels one under the other, each row a line."""

from __future__ import annotations

from sightline.views.glyphs import glyphs_for, paint
from sightline.views.header import centered, header_for
from sightline.views.labels import cells_of, clip, encodable, is_scale, visible
from sightline.views.moving.sheet import Panel, Sheet

__all__ = ["render_text_sheet"]

_WIDEST_ROW_LABEL = 24
_WIDEST_COLUMN_LABEL = 40
_STYLES = {"in": "allowed", "pale": "allowed", "paper": "allowed", "out": "forbidden"}


def render_text_sheet(sheet: Sheet, *, encoding: str = "utf-8", color: bool = False) -> str:
    """Return the sheet as lines of text; what ``encoding`` cannot write becomes ASCII.

    Every row has the caption of its own behind it, where the panel's caption has as many lines as
    it has rows.
    """
    plain = glyphs_for(encoding).allowed == "#"
    lines = [paint(_fit(sheet.title, encoding), "title", color)]
    for panel in sheet.panels:
        if panel.title:
            lines += ["", paint(_fit(panel.title, encoding), "title", color)]
        lines += _rows(panel, sheet, encoding, plain, color)
    legend = [f"{look.ascii if plain else look.glyph} {look.words}" for _, look in sheet.used()]
    lines += [paint(line, "note", color) for line in _joined(legend)]
    lines += [paint(_fit(note, encoding), "note", color) for note in sheet.notes]
    lines += [paint(_fit(words, encoding), "empty", color) for words in sheet.warnings]
    return "\n".join(line.rstrip() for line in lines)


def _rows(panel: Panel, sheet: Sheet, encoding: str, plain: bool, color: bool) -> list[str]:
    more = "~" if plain else "…"
    rows = [clip(_fit(t, encoding), _WIDEST_ROW_LABEL, more) for t in panel.row_labels]
    columns = [clip(_fit(t, encoding), _WIDEST_COLUMN_LABEL, more) for t in panel.column_labels]
    header = header_for(columns)
    widest = max((cells_of(label) for label in rows), default=0)
    before = is_scale(rows)
    captions = panel.caption.split("\n")
    beside = captions if len(captions) == len(rows) else [""] * len(rows)
    lines = [" " * (widest + 1) + line for line in header.lines]
    for number, label in enumerate(rows):
        pad = " " * (widest - cells_of(label))
        line = (pad + label if before else label + pad) + " "
        for cell in panel.cells[number].tolist():
            look = sheet.looks[cell]
            sign = look.ascii if plain else look.glyph
            line += paint(centered(sign, header.width), _STYLES[look.fill], color)
        lines.append(line + (f"  {_fit(beside[number], encoding)}" if beside[number] else ""))
    lines += [paint(f"key {piece}", "note", color) for piece in header.legend]
    if panel.caption and len(captions) != len(rows):
        lines += [_fit(caption, encoding) for caption in captions]
    return lines


def _fit(text: str, encoding: str) -> str:
    return encodable(visible(text), encoding)


def _joined(pieces: list[str], most: int = 100) -> list[str]:
    """Return the pieces in as few lines as hold them."""
    lines: list[str] = []
    for piece in pieces:
        if lines and cells_of(lines[-1]) + 3 + cells_of(piece) <= most:
            lines[-1] += f"   {piece}"
        else:
            lines.append(piece)
    return lines
