"""From a text drawing back to cells: one of `sightline show` or ``sl.draw``, or drawn by hand.

Exact or refused: a drawing in which a cell stands for several pairs, or whose rows do not line
up, is not read. The expression is then found as for any array.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from sightline.errors import InvalidArgument, ShapeMismatch
from sightline.masks.arguments import describe
from sightline.recognize.drawn_panels import (
    Panel,
    numbers_above,
    panels_of,
    refused,
    tail_start,
    without_mark,
)
from sightline.recognize.drawn_signs import (
    ALPHABETS,
    BITS,
    LEGEND,
    NUMBERED_KEYS,
    SEVERAL,
    Signs,
    is_weighted,
    no_pairs,
    plain_lines,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sightline.recognize.result import Recognized

__all__ = ["Drawn", "read_drawing", "recognize_drawing"]

# Drawings with so many columns, and a header, have two characters for each.
_MOST_SPACED_COLUMNS = 36
_Place = tuple[int | None, int | None]
_WORDS = ("batch row", "head")
_NAME = re.compile(r"(?:batch row (\d+))?(?:, )?(?:head (\d+))?")


@dataclass(frozen=True)
class Drawn:
    """What a drawing shows.

    Attributes:
        cells: ``[batch, heads, queries, keys]``: bools, True may attend; of a drawing with 0 and
            1 the numbers.
        q_offset: the position of the first query, where the labels say it.
        evidence: how it was read.
        ambiguous: what it leaves open.
        warnings: what it shows that is wrong.
    """

    cells: NDArray[Any]
    q_offset: int | None
    evidence: tuple[str, ...]
    ambiguous: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def recognize_drawing(
    text: str, means: str | None, core: Callable[..., Recognized], *, q_offset: int | None = None
) -> Recognized:
    """Return what a drawing says, as an expression; ``core`` is ``recognize`` of arrays."""
    drawn = read_drawing(text)
    if q_offset is not None and drawn.q_offset not in (None, q_offset):
        raise ShapeMismatch(
            f"got q_offset={q_offset}, but the first row of the drawing is labelled "
            f"{drawn.q_offset}; leave q_offset out."
        )
    if drawn.cells.dtype != np.bool_:
        found = core(drawn.cells, means, q_offset=q_offset)
        return replace(found, evidence=(*drawn.evidence, *found.evidence))
    if means not in (None, "attend"):
        raise InvalidArgument(
            f"got means={means!r} with a drawing, whose signs say what they mean; leave means out."
        )
    at = drawn.q_offset if q_offset is None else q_offset
    found = core(drawn.cells, "attend", q_offset=at)
    return replace(
        found,
        evidence=(*drawn.evidence, *found.evidence[1:]),
        ambiguous=(*drawn.ambiguous, *found.ambiguous),
        warnings=(*drawn.warnings, *found.warnings),
    )


def read_drawing(text: str) -> Drawn:
    r"""Return the cells of a text drawing, every one.

    Raises:
        InvalidArgument: a text without a drawing.
        ParseError: a drawing that cannot be read exactly; says where and why.

    >>> read_drawing("x.\nxx").cells[0, 0].tolist()
    [[True, False], [True, True]]
    """
    lines = plain_lines(text)
    words = [line for line in lines if line]
    if words and all(re.fullmatch(r" *[01]( *[01])*", line) for line in words):
        panels = panels_of(lines, BITS.all)
        numbers = np.array([_numbers(panel) for panel in _of_one_size(panels, lines)], np.int64)
        return Drawn(numbers[:, None], None, ("read from a drawing of 0 and 1",))
    signs = _alphabet(words)
    if signs is None:
        raise InvalidArgument(
            f"got {describe(text)}, in which no mask is drawn; wanted an array, or a drawing such "
            "as sl.draw(mask, to='txt') makes; an expression is read by sl.parse."
        )
    told = no_pairs(lines)
    if told is not None:
        raise refused(lines, *told)
    panels = _of_one_size(panels_of(lines, signs.all), lines)
    if not panels:
        raise refused(lines, 0, "rows of cells that line up are nowhere below; draw some.")
    weighted, said = is_weighted(lines), any(LEGEND.match(line) for line in lines)
    for panel in panels:
        _check(panel, signs, lines, weighted, said)
    batch, heads, named = _arranged(panels, lines)
    cells = np.array([_cells(panel, signs) for panel in panels], np.bool_)
    leaks = sum(row.count(signs.leak) for panel in panels for row in panel.rows if signs.leak)
    return Drawn(
        cells.reshape(batch, heads, *cells.shape[1:]),
        _first_query(panels, lines),
        (_told(signs, panels), *named),
        ambiguous=_unnamed(panels, named),
        warnings=(f"{leaks} forbidden pairs are drawn as used",) if leaks else (),
    )


def _alphabet(words: list[str]) -> Signs | None:
    """Return the signs in which most of the lines end, or None."""

    def ending(signs: Signs) -> int:
        ends = (line[tail_start(line, signs.all) :] for line in map(without_mark, words))
        return sum(len(end) - end.count(" ") for end in ends)

    best = max(ALPHABETS, key=ending)
    return best if ending(best) else None


def _of_one_size(panels: list[Panel], lines: list[str]) -> list[Panel]:
    for panel in panels:
        for row, signs in enumerate(panel.rows):
            if len(signs) != len(panels[0].rows[0]):
                raise refused(
                    lines,
                    panel.line + row,
                    f"this row has {len(signs)} cells, the first one has "
                    f"{len(panels[0].rows[0])}; draw them all as long.",
                )
        if len(panel.rows) != len(panels[0].rows):
            raise refused(
                lines,
                panel.line,
                f"a drawing of {len(panel.rows)} queries begins here, the first one has "
                f"{len(panels[0].rows)}; draw all batch rows and heads at one size.",
            )
    return panels


def _check(panel: Panel, signs: Signs, lines: list[str], weighted: bool, said: bool) -> None:
    """Refuse a panel whose cells are not pairs that may or may not attend.

    ``weighted`` and ``said``: what the legend tells of all panels.
    """
    for row, cells in enumerate(panel.rows):
        line = panel.line + row
        if signs.broken and signs.broken in cells:
            raise refused(
                lines, line, f"{signs.broken} is a weight that is no number; draw the mask alone."
            )
        unclear = set(cells) & set(signs.shades) - set(signs.allowed)
        if unclear and not weighted:
            raise refused(
                lines,
                line,
                f"{min(unclear)} is a share or a weight, and no legend says which; draw the mask "
                "with its legend, pair by pair.",
            )
    if _is_filled(panel) or (not said and _step_of_rows(panel) > 1):
        raise refused(lines, panel.line, f"{SEVERAL}; draw a part, pair by pair.")


def _is_filled(panel: Panel) -> bool:
    """Return whether signs stand side by side as they do where they fill wide cells."""
    if not panel.header or panel.width > 1:
        return False
    numbers = _column_numbers(panel) or []
    apart = len(numbers) > 1 and any(at != number for at, number in numbers)
    return apart or len(panel.rows[0]) <= _MOST_SPACED_COLUMNS


def _step_of_rows(panel: Panel) -> int:
    numbers = _row_numbers(panel)
    steps = {two - one for one, two in pairwise(numbers or ())}
    return steps.pop() if len(steps) == 1 else 1


def _column_numbers(panel: Panel) -> list[tuple[int, int]] | None:
    return numbers_above(panel.header, panel.margin, panel.width)


def _row_numbers(panel: Panel) -> list[int] | None:
    if not all(label.isascii() and label.isdigit() for label in panel.labels):
        return None
    return [int(label) for label in panel.labels]


def _first_query(panels: list[Panel], lines: list[str]) -> int | None:
    """Return the position of the first query, where rows and columns are numbered.

    Raises:
        ParseError: a number is missing among the rows.
    """
    panel = panels[0]
    columns, rows = _column_numbers(panel), _row_numbers(panel)
    numbered = any(line.startswith(NUMBERED_KEYS) for line in lines)
    if numbered or not rows or columns is None or any(at != number for at, number in columns):
        return None
    for at, (one, two) in enumerate(pairwise(rows), start=1):
        if two != one + 1:
            raise refused(
                lines,
                panel.line + at,
                f"row {two} follows row {one}, and one is missing; draw every query.",
            )
    return rows[0]


def _numbers(panel: Panel) -> list[list[int]]:
    return [[int(sign) for sign in row] for row in panel.rows]


def _cells(panel: Panel, signs: Signs) -> list[list[bool]]:
    return [[sign not in signs.forbidden for sign in row] for row in panel.rows]


def _told(signs: Signs, panels: list[Panel]) -> str:
    used = {sign for panel in panels for row in panel.rows for sign in row}
    allowed = "".join(sign for sign in signs.allowed + signs.shades if sign in used)
    may = f"{' '.join(dict.fromkeys(allowed))} may attend" if allowed else "no cell may attend"
    return f"read from a drawing: {may}"


def _unnamed(panels: list[Panel], named: tuple[str, ...]) -> tuple[str, ...]:
    if len(panels) == 1 or named:
        return ()
    return (f"{len(panels)} drawings without names: read as batch rows, in order",)


# -- several panels --------------------------------------------------------------------------------


def _arranged(panels: list[Panel], lines: list[str]) -> tuple[int, int, tuple[str, ...]]:
    """Return the numbers of batch rows and heads, and what the panels' names told of them.

    Raises:
        ParseError: some of the batch rows or heads are missing, or not in order.
    """
    for number, line in enumerate(lines):
        if re.match(r"\.\.\. and \d+ more; choose", line):
            raise refused(lines, number, "not all batch rows and heads are drawn; give an array.")
    names = [_named(panel) for panel in panels]
    if not any(names):
        return len(panels), 1, ()
    if len(panels) == 1:
        return 1, 1, (f"it draws {_called(names[0])} alone",)
    places = [name or (None, None) for name in names]
    counts = [max((place[axis] or 0) for place in places) + 1 for axis in (0, 1)]
    wanted = [(row, head) for row in range(counts[0]) for head in range(counts[1])]
    for panel, name, place in zip(panels, names, [*wanted, *[None] * len(panels)], strict=False):
        if name is None or place != tuple(number or 0 for number in name):
            raise refused(
                lines,
                panel.line,
                f"{_called(name)} is drawn here, out of order; draw all batch rows, and in each "
                "all heads, from 0 on.",
            )
    if len(panels) < len(wanted):
        raise refused(lines, panels[-1].line, "batch rows or heads are missing; draw all of them.")
    return counts[0], counts[1], (f"{len(panels)} drawings, by their names",)


def _named(panel: Panel) -> _Place | None:
    """Return the batch row and the head that a line of the title names, or None."""
    for line in panel.title:
        found = _NAME.fullmatch(line)
        if found is not None and found[0]:
            batch, head = (None if number is None else int(number) for number in found.groups())
            return batch, head
    return None


def _called(place: _Place | None) -> str:
    if place is None:
        return "a mask without the number of its batch row or head"
    parts = [f"{word} {n}" for word, n in zip(_WORDS, place, strict=True) if n is not None]
    return ", ".join(parts)
