"""A mask drawn with characters, for terminals, pipes and log files.

Every line is laid out in terminal cells, so that CJK and emoji line up. Which signs and colors
there are is in glyphs.py, how columns are headed in header.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sightline.views.labels import cells_of, clip, encodable, is_scale, visible
from sightline.views.marks import marks_text
from sightline.views.picture import MaskPicture
from sightline.views.svg.labels import extra_notes
from sightline.views.text.glyphs import Glyphs, block_lines, glyph_of, glyphs_for, legend_of, paint
from sightline.views.text.header import Header, centered, header_for

if TYPE_CHECKING:
    from sightline.views.scene import Scene

__all__ = ["render_scene_text", "render_text"]

_WIDEST_ROW_LABEL = 24
_WIDEST_COLUMN_LABEL = 40
_LINE = 80
# "  <- a query sees nothing"
_MARK = 25


def render_text(
    picture: MaskPicture, *, color: bool = False, encoding: str = "utf-8", legend: bool = True
) -> str:
    """Return ``picture`` as lines of text, with ANSI colors if ``color``.

    ``encoding`` is the output's: what it cannot write is drawn with ASCII signs and escapes.

    >>> import sightline as sl
    >>> from sightline.views.picture import picture_of
    >>> print(render_text(picture_of(sl.causal(strict=True), 3, title="")))
      0 1 2
    0 · · ·   ← sees nothing
    1 ■ · ·
    2 ■ ■ ·
    ■ may attend   · may not
    """
    glyphs = glyphs_for(encoding)
    rows = [_label(label, _WIDEST_ROW_LABEL, glyphs, encoding) for label in picture.row_labels]
    columns = [
        _label(label, _WIDEST_COLUMN_LABEL, glyphs, encoding) for label in picture.column_labels
    ]
    header = header_for(columns)
    widest = max((cells_of(label) for label in rows), default=0)
    # Numbers end at the same place, words begin at the same place.
    before = is_scale(rows)
    rows = [_padded(label, widest, before=before) for label in rows]
    margin = widest + 1
    lines = [paint(line, "title", color) for line in _title(picture, encoding)]
    lines += [" " * margin + line for line in header.lines]
    for row, label in enumerate(rows):
        lines.append(_row(picture, row, label, header, glyphs, color))
    lines += [paint(line, "note", color) for line in _numbered(header)]
    if legend:
        lines.append(paint(legend_of(picture, glyphs), "note", color))
        if picture.empty_rows.any() and rows and _is_wide(picture, rows[0], header):
            lines.append(paint(f"{glyphs.arrow} a query here sees nothing", "empty", color))
    return "\n".join(line.rstrip() for line in lines)


def render_scene_text(scene: Scene, *, color: bool = False, encoding: str = "utf-8") -> str:
    """Return a scene as lines of text: its pictures one below the other."""
    lines = [paint(encodable(visible(scene.title), encoding), "title", color)] * bool(scene.title)
    for number, picture in enumerate(scene.panels):
        last = number == len(scene.panels) - 1
        if picture.title:
            lines.append("")
        lines.append(render_text(picture, color=color, encoding=encoding, legend=last))
        for notes, signs in (
            (extra_notes(picture), block_lines(picture, glyphs_for(encoding))),
            (marks_text(picture.marks), []),
        ):
            lines += [paint(encodable(visible(note), encoding), "note", color) for note in notes]
            lines += signs
    return "\n".join([*lines, *scene.remarks])


def _label(label: str, widest: int, glyphs: Glyphs, encoding: str) -> str:
    return clip(encodable(visible(label), encoding), widest, glyphs.more)


def _padded(label: str, cells: int, *, before: bool) -> str:
    pad = " " * (cells - cells_of(label))
    return pad + label if before else label + pad


def _title(picture: MaskPicture, encoding: str) -> list[str]:
    return [encodable(visible(line), encoding) for line in picture.title.splitlines()]


def _row(
    picture: MaskPicture, row: int, label: str, header: Header, glyphs: Glyphs, color: bool
) -> str:
    """Return one row: its label, its cells, and a mark if a query in it sees nothing."""
    empty = bool(picture.empty_rows[row])
    cells = []
    for column in range(len(picture.column_labels)):
        sign, style = glyph_of(picture, row, column, glyphs)
        # Cells that stand for many pairs are filled, so that shades join into an area.
        text = sign * header.width if picture.aggregated else centered(sign, header.width)
        cells.append((text, "empty" if empty and style == "forbidden" else style))
    if cells and not empty:
        cells[-1] = (cells[-1][0].rstrip(), cells[-1][1])  # nothing follows
    line = paint(label, "empty" if empty else "label", color) + " " + _joined(cells, color)
    if empty:
        some = picture.aggregated and picture.allowed[row].any()
        note = "a query sees nothing" if some else "sees nothing"
        # Beside a wide drawing the words would not fit; the legend has them then.
        words = "" if _is_wide(picture, label, header) else f" {note}"
        line += paint(f"  {glyphs.arrow}{words}", "empty", color)
    return line


def _is_wide(picture: MaskPicture, label: str, header: Header) -> bool:
    return cells_of(label) + 1 + len(picture.column_labels) * header.width + _MARK > _LINE


def _joined(cells: list[tuple[str, str]], color: bool) -> str:
    """Paint neighbors of the same style in one go, to keep escape codes few."""
    line, pending, style = "", "", ""
    for text, own in cells:
        if own != style:
            line += paint(pending, style, color)
            pending, style = "", own
        pending += text
    return line + paint(pending, style, color)


def _numbered(header: Header) -> list[str]:
    """Return the meaning of numbered columns, as many to a line as have room."""
    lines: list[str] = []
    for piece in header.legend:
        if lines and cells_of(lines[-1]) + 2 + cells_of(piece) <= _LINE:
            lines[-1] += f"; {piece}"
        else:
            lines.append(f"      {piece}" if lines else f"keys: {piece}")
    return lines
