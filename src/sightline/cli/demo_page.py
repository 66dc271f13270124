"""`sightline demo` as a page: the report with all its pictures, in one HTML file.

The figures come from the records, tables and words from demo_tables.py and demo_words.py; how a
page looks is decided in sightline.views.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace

from rich.cells import cell_len

from sightline.cli import demo_tables, demo_words
from sightline.cli.demo_tables import Facts, picture_from_drawing
from sightline.cli.demo_views import decoding_view, difference_view, weights_view
from sightline.recipes.demo.records import DemoReport, Drawing, Mistake
from sightline.views.labels import graphemes
from sightline.views.page import Page
from sightline.views.picture import MaskPicture

__all__ = ["render_page"]

# Row labels of a drawing are cut at the end where they are longer; a prefix grows at its end.
_ROW_LABEL = 16


def render_page(report: DemoReport) -> str:
    """Return the whole page as HTML."""
    page = Page(demo_words.TITLE, lead=demo_words.INTRODUCTION)
    verdict = demo_tables.summary_of_checks(report.checks)
    page.note(
        f"{verdict} They are listed at the end of this page.",
        warning=not all(check.holds for check in report.checks),
    )
    sections = (_batch, _masks, _alone, _prefixes, _learning, _mistakes)
    for number, section in enumerate(sections, start=1):
        page.heading(f"{number}. {demo_words.HEADINGS[number - 1]}")
        section(page, report)
    page.heading("What was checked")
    _table(page, demo_tables.checks_table(report.checks))
    page.heading("Where these figures come from")
    page.paragraph(
        "Made by `sightline demo`, which anyone can run. Figures differ a little from "
        "machine to machine where they are rounding."
    )
    page.table(("what", "which"), report.environment)
    return page.html()


def _batch(page: Page, report: DemoReport) -> None:
    _paragraph(page, demo_words.about_frame(report))
    _table(page, demo_tables.sentences_table(report))


def _masks(page: Page, report: DemoReport) -> None:
    page.paragraph(
        demo_words.about_masks(report)
        + " Blue: may look. An orange frame: this word may look at nothing."
    )
    page.pictures(_captioned(report.mask_drawings), cell=20)
    page.heading("Both masks, every sentence", level=3)
    page.paragraph(
        "`" + report.combined_drawings[0].expression + "`, one expression for the "
        "whole batch. Point at a cell to read what it says."
    )
    page.pictures(_captioned(report.combined_drawings, code=False), cell=16)
    page.heading("Padding on the left", level=3)
    _paragraph(page, demo_words.about_left(report))
    page.pictures(_captioned([report.left_drawing]), cell=20)


def _alone(page: Page, report: DemoReport) -> None:
    _paragraph(page, demo_words.about_self(report))
    _table(page, demo_tables.self_table(report))
    _paragraph(page, demo_words.about_rounding(report))
    _paragraph(page, demo_words.about_filling(report))
    page.heading("Three attentions", level=3)
    _paragraph(page, demo_words.about_pairs(report))
    _table(page, demo_tables.pairs_table(report))
    page.paragraph(
        f"The weights of all {report.heads} heads for that pair, one head at a time: the stronger "
        "the color, the more attention. Hatched: may not look. Point at a cell, or walk there with "
        "the arrow keys, to read the pair and its weight."
    )
    for drawing in report.pair_drawings:
        page.heading(drawing.name, level=3)
        page.paragraph(drawing.caption)
        page.fragment(weights_view(drawing))


def _prefixes(page: Page, report: DemoReport) -> None:
    _paragraph(page, demo_words.about_decoding(report))
    page.pictures(_captioned([_short_rows(report.triangle)]), cell=34)
    _table(page, demo_tables.prefixes_table(report))
    page.heading("Word by word", level=3)
    page.paragraph(
        "The same sentence as a model writes it: each new word asks once, and the keys of those "
        "before it are kept in a cache. Play it, or go step by step."
    )
    page.fragment(decoding_view(report.triangle))
    twins = demo_words.about_twins(report)
    if twins is not None:
        page.heading("One word in two places", level=3)
        _paragraph(page, twins)


def _learning(page: Page, report: DemoReport) -> None:
    _paragraph(page, demo_words.about_learning(report))
    _table(page, demo_tables.texts_table(report))
    _paragraph(page, demo_words.about_drawn(report))
    _paragraph(page, demo_words.about_writing(report))


def _mistakes(page: Page, report: DemoReport) -> None:
    _paragraph(page, demo_words.about_mistakes(report))
    _table(page, demo_tables.mistakes_table(report.mistakes))
    page.paragraph("Blue: attention where it may be. Orange: attention where none may be.")
    for mistake in report.mistakes:
        _mistake(page, mistake)


def _mistake(page: Page, mistake: Mistake) -> None:
    page.heading(mistake.name, level=3)
    page.paragraph("What people write:").code(mistake.written)
    _paragraph(page, "What it does: " + mistake.happened + ".")
    page.paragraph("What is right:").code(mistake.right)
    drawn = [d for d in (mistake.wrong_picture, mistake.right_picture) if d is not None]
    if drawn:
        page.pictures(_captioned(drawn, code=False), cell=20)
    difference = mistake.wrong_picture and difference_view(mistake.wrong_picture)
    if difference:
        page.paragraph("Who is looked at, against who may be:")
        page.fragment(difference)


def _short_rows(drawing: Drawing) -> Drawing:
    """Return the drawing with the ends of its row labels, where they are long."""
    return replace(drawing, rows=tuple(map(_end, drawing.rows)))


def _end(text: str) -> str:
    """Return the last words of a text, or its last characters if it has no spaces."""
    kept = text
    while cell_len(kept) > _ROW_LABEL:
        rest = kept.removeprefix("… ").partition(" ")[2]
        if not rest:
            break
        kept = f"… {rest}"
    pieces = graphemes(kept)
    while cell_len("".join(pieces)) > _ROW_LABEL:
        pieces = ["…", *pieces[2:]]
    return "".join(pieces)


def _paragraph(page: Page, text: str) -> None:
    """Add a paragraph in which no line ends inside a number such as 7e-07."""
    page.paragraph(re.sub(r"(?<=\de)-(?=\d)", "\u2011", text))


def _table(page: Page, facts: Facts) -> None:
    page.table(facts.columns, facts.rows, numeric=facts.numeric)


def _captioned(drawings: Iterable[Drawing], *, code: bool = True) -> list[tuple[MaskPicture, str]]:
    """Return each drawing with its name, what it shows and, with ``code``, its expression."""
    return [
        (
            picture_from_drawing(drawing),
            f"{drawing.name}. {drawing.caption}" + (f" `{drawing.expression}`" if code else ""),
        )
        for drawing in drawings
    ]
