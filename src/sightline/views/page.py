"""A self-contained HTML page: headings, paragraphs, tables, pictures, no outside resources.

The same parts always give the same bytes. What a page says is decided by whoever builds it;
drawings come from svg/render.py, the look from style.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Literal

from sightline.views.labels import visible
from sightline.views.picture import MaskPicture
from sightline.views.style import PAGE_CSS, SVG_CSS
from sightline.views.svg.render import render_svg

__all__ = ["Cell", "Page"]

State = Literal["good", "bad", ""]


@dataclass(frozen=True)
class Cell:
    """One table cell: its text, and whether what it says is good, bad or neither."""

    text: str
    state: State = ""


class Page:
    """Collects the parts of a page in order; ``html()`` returns the document.

    Every text is taken literally (markup in it is escaped); between backquotes it is code.

    >>> page = Page("Masks")
    >>> page.heading("Causal").paragraph("A token sees `itself` & what is before it.")
    <Page 'Masks': 2 parts>
    >>> "A token sees <code>itself</code> &amp; what" in page.html()
    True
    """

    def __init__(self, title: str, *, language: str = "en", lead: str = "") -> None:
        self.title = title
        self._language = language
        self._parts: list[str] = []
        self._styles: dict[str, None] = {}
        if lead:
            self.paragraph(lead)

    def __repr__(self) -> str:
        return f"<Page {self.title!r}: {len(self._parts)} parts>"

    def heading(self, text: str, *, level: Literal[2, 3] = 2) -> Page:
        """Start a section (level 2) or a part of one (level 3)."""
        return self._add(f"<h{level}>{_inline(text)}</h{level}>")

    def paragraph(self, text: str) -> Page:
        """Add a paragraph of running text."""
        return self._add(f"<p>{_inline(text)}</p>")

    def note(self, text: str, *, warning: bool = False) -> Page:
        """Add a paragraph that stands out; a warning does so in orange."""
        name = "note warn" if warning else "note"
        return self._add(f'<p class="{name}">{_inline(text)}</p>')

    def items(self, texts: Iterable[str]) -> Page:
        """Add a bulleted list."""
        return self._add("<ul>" + "".join(f"<li>{_inline(text)}</li>" for text in texts) + "</ul>")

    def code(self, text: str) -> Page:
        """Add text that keeps its line breaks and letter widths."""
        return self._add(f"<pre>{_text(text)}</pre>")

    def table(
        self,
        columns: Sequence[str],
        rows: Iterable[Sequence[str | Cell]],
        *,
        numeric: Iterable[int] = (),
    ) -> Page:
        """Add a table; ``numeric`` columns (counted from 0) are set to the right."""
        right = frozenset(numeric)
        head = "".join(
            f'<th scope="col"{_classes("number" if index in right else "")}>{_inline(name)}</th>'
            for index, name in enumerate(columns)
        )
        lines = [_table_row(row, len(columns), right) for row in rows]
        body = "\n".join(lines)
        return self._add(
            f'<div class="scroll"><table>\n<thead><tr>{head}</tr></thead>\n'
            f"<tbody>\n{body}\n</tbody></table></div>"
        )

    def pictures(
        self, pictures: Iterable[MaskPicture | tuple[MaskPicture, str]], *, cell: float = 18
    ) -> Page:
        """Add drawings side by side, each with a caption (by default the picture's title)."""
        drawings = []
        for item in pictures:
            picture, caption = item if isinstance(item, tuple) else (item, item.title)
            drawings.append((render_svg(picture, cell=cell, standalone=False), caption))
        return self.drawings(drawings)

    def drawings(self, drawings: Iterable[tuple[str, str]], *, style: str = "") -> Page:
        """Add SVG drawings side by side, each with its caption; they are taken as they are.

        ``style`` is a style sheet that they need beside that of masks.
        """
        self._styles.update({style: None})
        figures = [
            f"<figure>\n{drawing}<figcaption>{_inline(caption)}</figcaption></figure>"
            for drawing, caption in drawings
        ]
        return self._add('<div class="pictures">\n' + "\n".join(figures) + "\n</div>")

    def fragment(self, html: str) -> Page:
        """Add a drawing that brings its own style and script, such as ``sl.draw(to="html")``.

        It is taken as it is.
        """
        return self._add(f'<div class="fragment">\n{html}</div>')

    def html(self) -> str:
        """Return the whole document."""
        body = "\n".join(self._parts)
        styles = "".join(self._styles)
        return (
            f'<!doctype html>\n<html lang="{_text(self._language)}">\n<head>\n'
            '<meta charset="utf-8">\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            f"<title>{_text(self.title)}</title>\n"
            f"<style>\n{PAGE_CSS}{SVG_CSS}{styles}</style>\n</head>\n<body>\n<main>\n"
            f"<h1>{_inline(self.title)}</h1>\n{body}\n</main>\n</body>\n</html>\n"
        )

    def _add(self, part: str) -> Page:
        self._parts.append(part)
        return self


def _table_row(row: Sequence[str | Cell], columns: int, right: frozenset[int]) -> str:
    if len(row) != columns:
        raise ValueError(f"a table row has {len(row)} cells, its table has {columns} columns.")
    cells = [cell if isinstance(cell, Cell) else Cell(cell) for cell in row]
    return (
        "<tr>"
        + "".join(
            f"<td{_classes(cell.state, 'number' if index in right else '')}>"
            f"{_inline(cell.text)}</td>"
            for index, cell in enumerate(cells)
        )
        + "</tr>"
    )


def _classes(*names: str) -> str:
    present = " ".join(name for name in names if name)
    return f' class="{present}"' if present else ""


def _text(text: str) -> str:
    """Return ``text`` fit for HTML: control characters spelled out, markup escaped."""
    return escape("\n".join(visible(line) for line in text.split("\n")))


def _inline(text: str) -> str:
    """Return running text; what stands between a pair of backquotes is code."""
    pieces = text.split("`")
    if len(pieces) % 2 == 0:  # an unpaired backquote stays a backquote
        pieces[-2:] = ["`".join(pieces[-2:])]
    return "".join(
        f"<code>{_text(piece)}</code>" if index % 2 else _text(piece)
        for index, piece in enumerate(pieces)
    )
