"""The tables of `sightline demo`, once for the terminal and the page: cells made from records.

Nothing is computed but the worst of several figures. Where a table stands, and the words around
it, are the matter of demo_text.py and demo_page.py.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sightline.recipes.demo.records import Agreement, Check, DemoReport, Drawing, Mistake
from sightline.recipes.demo.text import phrase
from sightline.views.page import Cell
from sightline.views.picture import MaskPicture

__all__ = [
    "Facts",
    "checks_table",
    "difference",
    "figure",
    "mistakes_table",
    "pairs_table",
    "picture_from_drawing",
    "prefixes_table",
    "self_table",
    "sentences_table",
    "summary_of_checks",
    "texts_table",
]

_PAIR_MASKS = {
    "encoder self": "padding of the source",
    "decoder self": "causal & padding of the target",
    "cross": "padding of the source, for all rows",
}


@dataclass(frozen=True)
class Facts:
    """A table: column names, rows of cells, and which columns hold numbers."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str | Cell, ...], ...]
    numeric: tuple[int, ...] = ()


def picture_from_drawing(drawing: Drawing, *, title: str | None = None) -> MaskPicture:
    """Return the drawing as what views draw."""
    return MaskPicture(
        drawing.allowed,
        row_labels=drawing.rows,
        column_labels=drawing.columns,
        title=drawing.name if title is None else title,
        weights=drawing.weights,
    )


def difference(value: float) -> str:
    """Return a difference for a table: 0 is written only for an exact 0.

    >>> difference(0.0), difference(8.3446e-07)
    ('0', '8.3e-07')
    """
    return "0" if value == 0 else f"{value:.1e}"


def figure(value: float, kind: str) -> str:
    """Return a mistake's figure in its own kind; 0 is written only for an exact 0.

    >>> figure(0.534, "share"), figure(1.3566, "change"), figure(2.4e-08, "share")
    ('53%', '1.36', '2.4e-08')
    """
    if value == 0 or value < 0.005:
        return difference(value)
    return f"{value:.0%}" if kind == "share" else f"{value:.2f}"


def sentences_table(report: DemoReport) -> Facts:
    """The batch: the tokens of each sentence and how much padding it takes."""
    batch = report.batch
    rows = tuple(
        (str(row), " ".join(words[:length]), str(length), str(batch.width - length))
        for row, (words, length) in enumerate(zip(batch.rows, batch.lengths, strict=True), start=1)
    )
    return Facts(("#", "tokens", "length", "padding"), rows, (2, 3))


def self_table(report: DemoReport) -> Facts:
    """Self-attention, padded against alone: a row a sentence, a column a way to compute."""
    ways = _ways(report.self_agreements)
    found = {(a.sentence, a.way): a for a in report.self_agreements}
    rows = tuple(
        (text, *(_cell(found[row, way]) for way in ways))
        for row, text in enumerate(report.batch.texts)
    )
    return Facts(("sentence", *ways), rows, tuple(range(1, len(ways) + 1)))


def pairs_table(report: DemoReport) -> Facts:
    """The three attentions of an encoder-decoder step: the worst pair of each."""
    ways = _ways(report.pair_agreements)
    rows = tuple(
        (name, mask, *(_cell(_worst(report.pair_agreements, name, way)) for way in ways))
        for name, mask in _PAIR_MASKS.items()
    )
    columns = ("attention", "mask", *ways)
    return Facts(columns, rows, tuple(range(2, len(columns))))


def prefixes_table(report: DemoReport) -> Facts:
    """The prefixes of one sentence: the guesses, and how far the other two ways are off."""
    rows = tuple(
        (
            phrase(step.prefix),
            step.guess_one_pass,
            Cell(step.guess_alone, "" if step.guess_alone == step.guess_one_pass else "bad"),
            difference(step.difference_alone),
            difference(step.difference_decode),
        )
        for step in report.decoding.steps
    )
    columns = ("prefix", "guess, one pass", "guess, prefix alone", "difference", "one query")
    return Facts(columns, rows, (3, 4))


def texts_table(report: DemoReport) -> Facts:
    """What the trained model was given, how it went on, and how sure it was."""
    rows = tuple(
        (
            phrase(text.start),
            phrase(text.words),
            f"{text.probability:.0%}",
            Cell("yes", "good") if text.known else "no",
        )
        for text in report.learning.texts
    )
    return Facts(("given", "the model goes on", "probability", "as learned"), rows, (2,))


def mistakes_table(mistakes: Iterable[Mistake], *, right: bool = False) -> Facts:
    """The last table: what was done wrongly, the harm, and the same measure done rightly."""
    rows = tuple(
        (
            found.name,
            found.measure,
            Cell(figure(found.harm, found.kind), "bad"),
            _right(found),
            *([f"`{found.right}`"] if right else []),
        )
        for found in mistakes
    )
    columns = ("mistake", "what is measured", "harm", "done right", *(["how"] if right else []))
    return Facts(columns, rows, (2, 3))


def checks_table(checks: Iterable[Check]) -> Facts:
    """Every check with its figure and its limit."""
    rows = tuple(
        (
            check.claim,
            difference(check.measured),
            difference(check.limit),
            Cell("holds", "good") if check.holds else Cell("fails", "bad"),
        )
        for check in checks
    )
    return Facts(("what must hold", "measured", "limit", ""), rows, (1, 2))


def summary_of_checks(checks: tuple[Check, ...]) -> str:
    """Say how many checks hold."""
    holding = sum(check.holds for check in checks)
    if holding == len(checks):
        return f"All {len(checks)} checks hold."
    return f"{len(checks) - holding} of {len(checks)} checks fail."


def _right(found: Mistake) -> Cell:
    """Return the figure of the right way: good, up to rounding, or bad."""
    text = figure(found.right_harm, found.kind)
    if not found.right_harm <= found.tolerance:
        return Cell(text, "bad")
    return Cell(text if found.right_harm == 0 else f"{text} (rounding)", "good")


def _ways(agreements: Iterable[Agreement]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(found.way for found in agreements))


def _worst(agreements: Iterable[Agreement], attention: str, way: str) -> Agreement:
    chosen = [a for a in agreements if a.attention == attention and a.way == way]
    return max(chosen, key=lambda found: (not found.identical, found.max_difference))


def _cell(found: Agreement) -> Cell:
    return Cell("0", "good") if found.identical else Cell(difference(found.max_difference))
