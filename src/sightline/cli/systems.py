"""`sightline systems`: the reference systems, what each is held against and what it reached.

Reads the arguments and prints; the systems stand in sightline.recipes.systems.
"""

from __future__ import annotations

import textwrap
from typing import Annotated

import typer

from sightline.cli.output import output_encoding, output_width, use_color, write_line, write_table
from sightline.recipes.systems.record import Drawn
from sightline.recipes.systems.table import Shown, as_json, shown, shown_system
from sightline.recipes.training.comparison import Comparison
from sightline.recipes.training.comparison_page import spread_rows
from sightline.recipes.training.comparison_page import summary_line as compared_line
from sightline.recipes.training.report import figure_notes, figure_rows, summary_line
from sightline.recipes.training.result import short
from sightline.views.page import Cell
from sightline.views.picture import picture_of
from sightline.views.text.terminal import render_text

__all__ = ["systems"]

# Facts stand beside names that have so much room.
_MARGIN = 16

_Name = Annotated[
    str | None, typer.Argument(metavar="NAME", help="One system in full; without it: all of them.")
]
_Full = Annotated[bool, typer.Option("--full", help="All of them in full.")]
_Json = Annotated[bool, typer.Option("--json", help="Print JSON: a list of systems.")]


def systems(name: _Name = None, full: _Full = False, json: _Json = False) -> None:
    """List the reference systems: definition, mask, what each is held against, what it reached.

    Examples:
      sightline systems
      sightline systems xlnet
      sightline systems --json

    Exit codes: 0 fine, 2 bad usage.
    """
    rows = shown() if name is None else [shown_system(name)]
    if json:
        write_line(as_json(rows))
    elif name is None and not full:
        _list(rows)
    else:
        for number, row in enumerate(rows):
            write_line("\n" * (number > 0) + f"{row.system.name}: {row.system.title}")
            write_line()
            _one(row)


def _list(rows: list[Shown]) -> None:
    cells = [
        [
            row.system.name,
            row.system.title,
            row.system.recipes[0] if row.system.recipes else "-",
            *_measured(row),
        ]
        for row in rows
    ]
    write_table(("system", "what it is", "recipe", "measured", "published"), cells)
    write_line()
    write_line(
        "one with its masks and sources: sightline systems NAME; all: sightline systems --full"
    )
    write_line("train one: sightline train RECIPE")


def _measured(row: Shown) -> tuple[str | Cell, str]:
    figure = row.main
    if figure is None:
        return row.state, "-"
    text = f"{figure.name} {short(figure.value)}"
    state = {True: "good", False: "bad", None: ""}[figure.reached]
    return Cell(text, state), short(figure.published)  # type: ignore[arg-type]


def _one(row: Shown) -> None:
    system = row.system
    facts: list[tuple[str, str]] = [
        ("what", system.definition),
        ("source", system.source),
        ("in Sightline", ", ".join(system.parts)),
        ("held against", system.parity),
        ("tests", "\n".join(system.tests)),
        ("made by", "\n".join(system.commands)),
    ]
    if system.missing:
        facts.append(("not there", system.missing))
    for fact, said in facts:
        _fact(fact, said)
    for drawn in system.masks:
        write_line()
        _draw(drawn)
    for result in row.results:
        write_line()
        write_line(summary_line(result))
        columns, rows = figure_rows(result)
        write_table(columns, rows, numeric=(1, 2, 3))
        for figure, said in figure_notes(result):
            write_line(f"{figure}: {said}")
    for comparison in row.comparisons:
        _compared(comparison)
    if system.recipes and not row.results:
        write_line()
        write_line(f"measured: {row.state}")


def _compared(comparison: Comparison) -> None:
    """Print the first figure of a comparison, and what its differences say."""
    write_line()
    write_line(compared_line(comparison))
    for figure in comparison.main_figures[:1]:
        write_line(figure.name)
        columns, rows = spread_rows(comparison, figure)
        write_table(columns, rows, numeric=range(1, len(columns)))
        for difference in comparison.differences(figure.name):
            write_line(difference.sentence())


def _fact(name: str, said: str) -> None:
    """Print a fact, its lines beside its name."""
    room = output_width() - _MARGIN
    lines = [part for line in said.split("\n") for part in textwrap.wrap(line, room)]
    for number, line in enumerate(lines):
        write_line(f"{name if number == 0 else '':{_MARGIN}}{line}")


def _draw(drawn: Drawn) -> None:
    queries, keys = drawn.size
    picture = picture_of(
        drawn.mask,
        queries,
        keys,
        row_labels=drawn.queries if isinstance(drawn.queries, tuple) else None,
        column_labels=drawn.keys if isinstance(drawn.keys, tuple) else None,
        title=f"{drawn.title}: {drawn.expression}",
    )
    write_line(render_text(picture, color=use_color(), encoding=output_encoding()))
