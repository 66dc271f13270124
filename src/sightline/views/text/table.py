"""A table of facts in the terminal, with what is good and bad marked.

The same cells as in page.py, so that a report can be shown in both places.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sightline.views.labels import encodable, visible
from sightline.views.page import Cell
from sightline.views.text.glyphs import STYLES

__all__ = ["render_table"]


def render_table(
    columns: Sequence[str],
    rows: Iterable[Sequence[str | Cell]],
    *,
    numeric: Iterable[int] = (),
    color: bool = False,
    encoding: str = "utf-8",
    width: int = 100,
) -> str:
    """Return a table as text; ``numeric`` columns (counted from 0) are set to the right.

    >>> print(render_table(["mask", "pairs"], [["causal()", "3"]], numeric=[1]))
     mask       pairs
    ──────────────────
     causal()       3
    """
    right = frozenset(numeric)
    plain = encodable("─", encoding) != "─"
    table = Table(box=_ASCII_RULE if plain else _RULE, show_edge=False, pad_edge=True)
    for index, name in enumerate(columns):
        table.add_column(
            Text(_shown(name, encoding)),
            justify="right" if index in right else "left",
            overflow="fold",
        )
    for row in rows:
        table.add_row(*(_cell(cell, color, encoding) for cell in row))
    target = io.StringIO()
    console = Console(
        file=target,
        width=width,
        force_terminal=color,
        color_system="256" if color else None,
        no_color=not color,
        highlight=False,
        markup=False,
        emoji=False,
    )
    console.print(table)
    return "\n".join(line.rstrip() for line in target.getvalue().splitlines())


# A line under the head and nothing else.
_RULE = box.Box("    \n    \n ── \n    \n    \n    \n    \n    \n")
_ASCII_RULE = box.Box("    \n    \n -- \n    \n    \n    \n    \n    \n", ascii=True)


def _cell(cell: str | Cell, color: bool, encoding: str) -> Text:
    own = cell if isinstance(cell, Cell) else Cell(cell)
    style = {"good": STYLES["allowed"], "bad": STYLES["empty"], "": ""}[own.state]
    return Text(_shown(own.text, encoding), style=style if color else "")


def _shown(text: str, encoding: str) -> str:
    return "\n".join(encodable(visible(line), encoding) for line in text.split("\n"))
