"""A sheet of panels with characters: the panels one under the other, each row a line."""

from __future__ import annotations

from sightline.views.labels import cells_of, clip, is_scale, visible
from sightline.views.moving.sheet import Panel, Sheet
from sightline.views.text.header import centered, header_for

__all__ = ["render_text_sheet"]

_WIDEST_ROW_LABEL = 24
_WIDEST_COLUMN_LABEL = 40
_LINE = 100


def render_text_sheet(sheet: Sheet) -> str:
    """Return the sheet as lines of text.

    A caption with a line for each row of its panel stands behind the rows, others stand below.
    """
    lines = [visible(sheet.title)]
    for panel in sheet.panels:
        if panel.title:
            lines += ["", visible(panel.title)]
        lines += _rows(panel, sheet)
    lines += _joined([f"{look.glyph} {look.words}" for _, look in sheet.used()])
    lines += [visible(words) for words in (*sheet.notes, *sheet.warnings)]
    return "\n".join(line.rstrip() for line in lines)


def _rows(panel: Panel, sheet: Sheet) -> list[str]:
    rows = [clip(visible(label), _WIDEST_ROW_LABEL) for label in panel.row_labels]
    header = header_for([clip(visible(t), _WIDEST_COLUMN_LABEL) for t in panel.column_labels])
    widest = max((cells_of(label) for label in rows), default=0)
    # Numbers end at the same place, words begin at the same place.
    before = is_scale(rows)
    captions = panel.caption.split("\n") if panel.caption else []
    beside = captions if len(captions) == len(rows) else [""] * len(rows)
    lines = [" " * (widest + 1) + line for line in header.lines]
    for label, cells, caption in zip(rows, panel.cells.tolist(), beside, strict=True):
        pad = " " * (widest - cells_of(label))
        signs = "".join(centered(sheet.looks[cell].glyph, header.width) for cell in cells)
        end = f"  {caption}" if caption else ""
        lines.append(f"{pad + label if before else label + pad} {signs}{end}")
    lines += [f"key {piece}" for piece in header.legend]
    return lines if beside is captions else lines + captions


def _joined(pieces: list[str]) -> list[str]:
    """Return the pieces in as few lines as hold them."""
    lines: list[str] = []
    for piece in pieces:
        if lines and cells_of(lines[-1]) + 3 + cells_of(piece) <= _LINE:
            lines[-1] += f"   {piece}"
        else:
            lines.append(piece)
    return lines
