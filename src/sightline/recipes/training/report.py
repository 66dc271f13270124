"""The report of a run as one HTML page: figures, curves, masks, attention maps, examples, settings.

Everything comes from the result and the curves; how pages and curves look is decided in views/.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sightline.recipes.training.result import Result, short
from sightline.views.page import Cell, Page

__all__ = ["figure_rows", "minutes", "render_report", "summary_line"]


def render_report(
    result: Result,
    losses: Sequence[Mapping[str, Any]],
    evaluations: Sequence[Mapping[str, Any]],
) -> str:
    """Return the page."""
    page = Page(result.title)
    columns, rows = figure_rows(result)
    page.table(columns, rows, numeric=(1, 2, 3))
    return page.html()


def figure_rows(result: Result) -> tuple[tuple[str, ...], list[list[str | Cell]]]:
    """Return the table of figures: its head, and a row for each; columns 1 to 3 are numbers."""
    rows: list[list[str | Cell]] = []
    for figure in result.outcome.figures:
        verdict = {None: Cell("-"), True: Cell("yes", "good"), False: Cell("no", "bad")}
        bound = {"higher": "≥ ", "lower": "≤ "}[figure.better]
        target = "-" if figure.target is None else bound + short(figure.target)
        rows.append(
            [
                figure.name,
                short(figure.value),
                target,
                short(figure.published),
                verdict[figure.reached],
            ]
        )
    return ("figure", "value", "target", "published", "reached"), rows


def summary_line(result: Result) -> str:
    """Return what was trained for how long, in a line."""
    best = f", best at step {result.best_step:,}" if result.best_step else ""
    return (
        f"{result.recipe}, preset {result.preset}, seed {result.seed}: "
        f"{result.parameters:,} parameters, {result.steps:,} steps{best}, "
        f"{minutes(result.seconds)} ({minutes(result.cpu_seconds)} of CPU)"
    )


def minutes(seconds: float) -> str:
    """Return a time in words.

    >>> minutes(4.2), minutes(150), minutes(5400)
    ('4.2 s', '2.5 minutes', '90 minutes')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} minutes" if seconds < 3000 else f"{seconds / 60:.0f} minutes"
