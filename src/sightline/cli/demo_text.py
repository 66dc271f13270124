"""`sightline demo` in the terminal: the report told in order, in plain words and small pictures.

Works with and without colors, in any width from 60 columns on. The figures come from the
records, tables and words from demo_tables.py and demo_words.py, drawings from sightline.views.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from sightline.cli import demo_tables, demo_words
from sightline.cli.demo_tables import Facts, picture_from_drawing
from sightline.recipes.demo.records import DemoReport, Drawing, Mistake
from sightline.views.labels import clip, encodable, visible
from sightline.views.picture import MaskPicture
from sightline.views.text.glyphs import glyphs_for, legend_of, paint
from sightline.views.text.table import render_table
from sightline.views.text.terminal import render_text

__all__ = ["Screen", "render_report"]

_MOST_ROWS = 8
_CAPTION = 30
_GAP = "    "


@dataclass(frozen=True)
class Screen:
    """What the output can show."""

    width: int = 80
    color: bool = False
    encoding: str = "utf-8"

    def wrapped(self, text: str, *, indent: str = "") -> list[str]:
        """Return a paragraph as lines; backquotes are for the page and are left out here."""
        shown = Text(encodable(visible(text.replace("`", "")), self.encoding))
        room = self.width - len(indent)
        lines = shown.wrap(Console(width=room), room)
        return [indent + line.plain.rstrip() for line in lines]

    def heading(self, number: int) -> str:
        """Return the heading of a section."""
        return paint(f"{number}  {demo_words.HEADINGS[number - 1]}", "title", self.color)

    def table(self, facts: Facts) -> str:
        """Return a table at this width."""
        return render_table(
            facts.columns,
            facts.rows,
            numeric=facts.numeric,
            color=self.color,
            encoding=self.encoding,
            width=self.width,
        )


def render_report(report: DemoReport, screen: Screen) -> str:
    """Return the whole report as text."""
    lines = [paint(demo_words.TITLE, "title", screen.color)]
    lines += screen.wrapped(demo_words.INTRODUCTION)
    for section in (_batch, _masks, _alone, _prefixes, _learning, _mistakes):
        lines += ["", *section(report, screen)]
    return "\n".join(lines)


def _batch(report: DemoReport, screen: Screen) -> Iterator[str]:
    yield screen.heading(1)
    yield from screen.wrapped(demo_words.about_frame(report))
    yield from _start_of(demo_tables.sentences_table(report), screen)


def _masks(report: DemoReport, screen: Screen) -> Iterator[str]:
    yield screen.heading(2)
    yield from screen.wrapped(
        f"{demo_words.about_masks(report)} Columns bear the numbers of their words."
    )
    yield from _beside(report.mask_drawings, screen, report.drawn_places[0])
    yield from _legend(picture_from_drawing(report.mask_drawings[0]), screen)
    yield from screen.wrapped(demo_words.about_left(report))


def _alone(report: DemoReport, screen: Screen) -> Iterator[str]:
    yield screen.heading(3)
    yield from screen.wrapped(demo_words.about_self(report))
    yield from _start_of(demo_tables.self_table(report), screen)
    yield from screen.wrapped(demo_words.about_rounding(report))
    yield from screen.wrapped(demo_words.about_filling(report))
    yield ""
    yield from screen.wrapped(demo_words.about_pairs(report))
    yield screen.table(demo_tables.pairs_table(report))


def _prefixes(report: DemoReport, screen: Screen) -> Iterator[str]:
    yield screen.heading(4)
    yield from _triangle(report.triangle, screen)
    yield from screen.wrapped(demo_words.about_decoding(report))
    yield from _start_of(demo_tables.prefixes_table(report), screen)
    twins = demo_words.about_twins(report)
    if twins is not None:
        yield from screen.wrapped(twins)


def _learning(report: DemoReport, screen: Screen) -> Iterator[str]:
    yield screen.heading(5)
    yield from screen.wrapped(demo_words.about_learning(report))
    yield from _start_of(demo_tables.texts_table(report), screen)
    yield from screen.wrapped(demo_words.about_drawn(report))
    yield from screen.wrapped(demo_words.about_writing(report))


def _mistakes(report: DemoReport, screen: Screen) -> Iterator[str]:
    yield screen.heading(6)
    yield from screen.wrapped(demo_words.about_mistakes(report))
    for mistake in report.mistakes:
        yield from _mistake(mistake, screen)
    yield ""
    yield screen.table(demo_tables.mistakes_table(report.mistakes))
    yield ""
    failing = [check for check in report.checks if not check.holds]
    if failing:
        yield screen.table(demo_tables.checks_table(failing))
    yield demo_tables.summary_of_checks(report.checks)


def _mistake(mistake: Mistake, screen: Screen) -> Iterator[str]:
    yield ""
    name = f"{mistake.name}:"
    beside = cell_len(name) + 2 + cell_len(mistake.written) <= screen.width
    yield paint(name, "title", screen.color) + (f"  {mistake.written}" if beside else "")
    if not beside:
        yield from screen.wrapped(mistake.written, indent="  ")
    yield from screen.wrapped(f"{mistake.happened}.", indent="  ")
    if mistake.right != demo_words.RIGHT:
        yield from screen.wrapped(f"right: {mistake.right}", indent="  ")


def _start_of(facts: Facts, screen: Screen) -> Iterator[str]:
    """Write the first rows of a table, long texts cut; the page has all of it."""
    rows = tuple(
        tuple(clip(cell, screen.width // 2) if isinstance(cell, str) else cell for cell in row)
        for row in facts.rows[:_MOST_ROWS]
    )
    yield screen.table(replace(facts, rows=rows))
    if len(facts.rows) > _MOST_ROWS:
        yield paint(f" ... and {len(facts.rows) - _MOST_ROWS} more", "note", screen.color)


def _triangle(drawing: Drawing, screen: Screen) -> Iterator[str]:
    """Draw the first prefixes."""
    size = min(_MOST_ROWS, len(drawing.columns))
    start = replace(
        drawing,
        allowed=drawing.allowed[:size, :size],
        rows=drawing.rows[:size],
        columns=drawing.columns[:size],
        weights=None if drawing.weights is None else drawing.weights[:size, :size],
    )
    picture = picture_from_drawing(start, title="")
    yield render_text(picture, color=screen.color, encoding=screen.encoding, legend=False)
    yield from _legend(picture, screen)


def _legend(picture: MaskPicture, screen: Screen) -> Iterator[str]:
    for line in screen.wrapped(legend_of(picture, glyphs_for(screen.encoding))):
        yield paint(line, "note", screen.color)


def _beside(drawings: Sequence[Drawing], screen: Screen, before: int) -> Iterator[str]:
    """Draw several pictures in columns, as many side by side as there is room for.

    ``before`` places come before the first that is drawn.
    """
    blocks = [_block(drawing, screen, before) for drawing in drawings]
    widths = _column_widths(blocks, screen.width)
    for start in range(0, len(blocks), len(widths)):
        yield from _joined(blocks[start : start + len(widths)], widths)


def _column_widths(blocks: Sequence[Sequence[str]], room: int) -> list[int]:
    """Return the widths of as many columns as fit, one at least."""
    for columns in range(len(blocks), 1, -1):
        widths = [max(map(_cells, blocks[column::columns])) for column in range(columns)]
        if sum(widths) + len(_GAP) * (columns - 1) <= room:
            return widths
    return [max(map(_cells, blocks))]


def _block(drawing: Drawing, screen: Screen, before: int) -> list[str]:
    picture = _numbered(drawing, before)
    drawn = render_text(picture, color=screen.color, encoding=screen.encoding, legend=False)
    lines = ["", paint(drawing.name, "title", screen.color), *drawn.split("\n")]
    narrow = Screen(max(_CAPTION, _cells(lines)), screen.color, screen.encoding)
    return lines + narrow.wrapped(drawing.caption)


def _numbered(drawing: Drawing, before: int) -> MaskPicture:
    """Return the picture of a square drawing with its words numbered, to save width.

    Words stand at the rows only; a column has the number of its word.
    """
    places = range(before + 1, before + len(drawing.columns) + 1)
    numbers = tuple(str(number) for number in places)
    widest = len(numbers[-1])
    return replace(
        picture_from_drawing(drawing, title=""),
        row_labels=tuple(
            f"{number:>{widest}} {word}" for number, word in zip(numbers, drawing.rows, strict=True)
        ),
        column_labels=numbers,
    )


def _joined(blocks: Sequence[Sequence[str]], widths: Sequence[int]) -> Iterator[str]:
    """Put blocks of lines side by side, each in a column of its width."""
    for number in range(max(len(block) for block in blocks)):
        line = ""
        for block, width in zip(blocks, widths, strict=False):
            part = block[number] if number < len(block) else ""
            line += part + " " * (width - _cells([part])) + _GAP
        yield line.rstrip()


def _cells(lines: Sequence[str]) -> int:
    """Return how many terminal cells the widest line takes; color codes take none."""
    return max(Text.from_ansi(line).cell_len for line in lines)
