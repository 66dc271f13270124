"""Where the cells of a text drawing stand: rows of signs at equal distances, under their header.

A row's signs are found from its end, for labels may be of any script and hold any sign. What
does not line up is refused with its line; what the signs mean is in drawn_signs.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from sightline.errors import ParseError
from sightline.recognize.drawn_signs import BLOCKS, BLOCKS_FOLLOW, LEGEND, NUMBERED_KEYS

__all__ = [
    "Panel",
    "numbers_above",
    "panels_of",
    "refused",
    "tail_start",
    "width_of",
    "without_mark",
]

# Beside a row of which a query sees nothing.
_MARK = re.compile(r"  (←|<-)( (a query )?sees nothing)?$")
# Lines above the first row that may end in signs: a title and labels letter by letter.
_TALLEST_HEADER = 16
# A header of numbers, which labels below may explain.
_COUNTED = re.compile(r" +0( +\d+)*")


@dataclass(frozen=True)
class Panel:
    """The drawing of one batch row and head.

    Attributes:
        line: where its first row stands, counted from 0.
        rows: the signs of each row.
        labels: what stands before each row; "" without a header.
        header: the line above the first row, or "".
        title: the lines of the same paragraph above it that are not its header.
        margin: terminal cells before the first column.
        width: terminal cells of a column.
    """

    line: int
    rows: tuple[str, ...]
    labels: tuple[str, ...]
    header: str = ""
    title: tuple[str, ...] = ()
    margin: int = 0
    width: int = 0


@dataclass(frozen=True)
class _Tail:
    """The signs at the end of a line, and how far each is from the last; ``text`` has no mark."""

    text: str
    places: tuple[int, ...]

    def prefix(self, columns: int) -> str:
        """Return what stands before the last so many signs."""
        return self.text[: len(self.text) - 1 - self.places[columns - 1]]

    def row(self, columns: int) -> str:
        """Return the last so many signs, the first of them first."""
        last = len(self.text) - 1
        return "".join(self.text[last - place] for place in self.places[:columns][::-1])


def refused(lines: list[str], line: int, why: str) -> ParseError:
    """Return the error for a line of a drawing, counted from 0."""
    text = "\n".join(lines)
    position = sum(len(each) + 1 for each in lines[:line])
    return ParseError(f"line {line + 1}: {why}", text=text, position=position)


def width_of(text: str) -> int:
    """Return the terminal cells that a text takes."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len  # not worth its import time for plain text

    return cell_len(text)


def panels_of(lines: list[str], signs: str) -> list[Panel]:
    """Return the drawings in a text, in order.

    Raises:
        ParseError: lines that look like rows, but do not line up with what is around them.
    """
    found: list[Panel] = []
    for start, stop in _paragraphs(lines):
        found += _in_paragraph(lines, start, stop, signs)
    return found


def _paragraphs(lines: list[str]) -> Iterator[tuple[int, int]]:
    start = 0
    for index, line in enumerate([*lines, ""]):
        if not line:
            if index > start:
                yield start, index
            start = index + 1


def _in_paragraph(lines: list[str], start: int, stop: int, signs: str) -> list[Panel]:
    """Return the panel between two blank lines, if any; nothing that may be a row is left out."""
    found: Panel | None = None
    runs = list(_runs(lines, start, stop, signs))
    for first, last in runs:
        panel = None if found else _panel(lines, start, first, last, signs)
        # A title may be a line that ends in a sign.
        if panel is None and (found or last - first > 1 or (first, last) == runs[-1]):
            line = first if found else _oddest(lines, first, last, signs)
            raise refused(lines, line, _no_panel(line > start, found))
        found = panel or found
    if found is None:
        return []
    below = found.line + len(found.rows)
    for line in range(below, stop):
        if not _is_legend(lines, line, found, signs):
            raise refused(
                lines,
                line,
                "this is neither a row of cells nor a legend; draw every row with the signs of "
                "the others, or leave a blank line before words.",
            )
    return [found]


def _oddest(lines: list[str], first: int, last: int, signs: str) -> int:
    """Return the line that has another number of signs than most, or the first."""
    tails = [_tail(line, signs) for line in lines[first:last]]
    counts = [len(tail.places) if tail else 0 for tail in tails]
    usual = max(counts, key=counts.count)
    return first + next((at for at, count in enumerate(counts) if count != usual), 0)


def _no_panel(below_something: bool, found: Panel | None) -> str:
    if found:
        return (
            "cells go on below a line that is no row of them; draw every row with the signs of "
            "the others, or leave a blank line between two drawings."
        )
    above = "the lines above" if below_something else "what is below"
    return (
        f"this looks like a row of cells, but does not line up with {above}; draw a header and "
        "labelled rows, sign below label, or rows of signs only, all as long."
    )


def _is_legend(lines: list[str], line: int, panel: Panel, signs: str) -> bool:
    """Return whether a line below a panel is one that drawings have there."""
    if not lines[line].startswith((NUMBERED_KEYS, "      ")):
        return bool(LEGEND.match(lines[line])) or _is_block_row(lines, line)
    # Labels of columns that are too long are numbered, each of them, on as many lines as it takes.
    below = lines[panel.line + len(panel.rows) :]
    numbered = [each for each in below if each.startswith((NUMBERED_KEYS, "      "))]
    pieces = "; ".join(each[6:] for each in numbered).split("; ")
    numbers = [piece.partition(" ")[0] for piece in pieces]
    wanted = [str(number) for number in range(len(panel.rows[0]))]
    # A row of one cell that is labelled so cannot be told from a label that ends in a sign.
    alone = len(wanted) == 1 and _tail(lines[line], signs) is not None
    return not alone and [number for number in numbers if number in wanted] == wanted


def _runs(lines: list[str], start: int, stop: int, signs: str) -> Iterator[tuple[int, int]]:
    """Yield (first, one past the last) of neighboring lines that end in signs."""
    first, counted, numbered = None, False, False
    for index in range(start, stop + 1):
        line = lines[index] if index < stop else ""
        counted = counted or bool(_COUNTED.fullmatch(line))
        numbered = numbered or (counted and line.startswith(NUMBERED_KEYS))
        words = not line or numbered or _is_block_row(lines, index)
        is_row = not words and _tail(line, signs) is not None
        if is_row and first is None:
            first = index
        elif not is_row and first is not None:
            yield first, index
            first = None


def _is_block_row(lines: list[str], line: int) -> bool:
    """Return whether a line draws blocks of a plan: below a line that says so, or below such."""
    first = line
    while first and BLOCKS.fullmatch(lines[first]):
        first -= 1
    return first < line and lines[first].startswith(BLOCKS_FOLLOW)


def _tail(line: str, signs: str) -> _Tail | None:
    text = without_mark(line)
    start = tail_start(text, signs)
    last = len(text) - 1
    places = [last - at for at in range(last, start - 1, -1) if text[at] != " "]
    return _Tail(text, tuple(places)) if places else None


def without_mark(line: str) -> str:
    """Return a line without the words beside a row of which a query sees nothing."""
    return _MARK.sub("", line).rstrip()


def tail_start(text: str, signs: str) -> int:
    """Return where the signs at the end of a line begin, parted from what is before by a space."""
    start = len(text.rstrip(f"{signs} "))
    if start and not text[start : start + 1].isspace():
        space = text.find(" ", start)
        return space if space >= 0 else len(text)
    return start


def _panel(lines: list[str], free: int, first: int, last: int, signs: str) -> Panel | None:
    """Return the drawing whose last rows these lines are: some of the first may be its header."""
    tails = [tail for line in lines[first:last] if (tail := _tail(line, signs)) is not None]
    for skipped in range(min(len(tails), _TALLEST_HEADER)):
        above = first + skipped - 1
        rows = tails[skipped:]
        header = lines[above] if above >= free else ""
        grid = _grid(rows)
        fitted = grid and _fitted(rows, *grid, header)
        if not grid or not fitted:
            continue
        labels, margin, width = fitted
        title = tuple(lines[free:above]) if header else ()
        if _may_be_rows(tails[:skipped], grid[0], title, margin):
            return None
        cells = tuple(row.row(grid[0]) for row in rows)
        return Panel(above + 1, cells, labels, header, title, margin, width)
    return None


def _may_be_rows(skipped: list[_Tail], columns: int, title: tuple[str, ...], margin: int) -> bool:
    """Return whether lines taken for title and header could as well be rows, some without label."""
    if any(len(tail.places) >= columns for tail in skipped[:-1]):
        return True
    if not skipped or len(skipped[-1].places) < columns or not title:
        return False
    return len(title[-1]) - len(title[-1].lstrip(" ")) >= margin  # then that one is the header


def _grid(rows: list[_Tail]) -> tuple[int, int] | None:
    """Return the most columns that all rows have in common, and how wide a column is."""
    least = min(len(row.places) for row in rows)
    common = 0
    while common < least and len({row.places[common] for row in rows}) == 1:
        common += 1
    places = rows[0].places[:common]
    width = places[1] - places[0] if common > 1 else 0
    columns = 1 + next(
        (at for at, (one, two) in enumerate(pairwise(places)) if two - one != width),
        max(0, common - 1),
    )
    return (columns, width) if common else None


def _fitted(
    rows: list[_Tail], columns: int, width: int, header: str
) -> tuple[tuple[str, ...], int, int] | None:
    """Return labels, margin and width of rows that fit their header, or None."""
    prefixes = [row.prefix(columns) for row in rows]
    labels = tuple(prefix.strip() for prefix in prefixes)
    if not header:
        alone = not any(labels) and len(set(prefixes)) == 1
        return (labels, 0, width) if alone else None
    ends = {width_of(prefix) for prefix in prefixes}
    named = all(labels) and all(prefix.endswith(" ") for prefix in prefixes)
    if len(ends) != 1 or not named:
        return None
    text = header.strip()
    width = width or max(2, width_of(text) + 1)
    margin = ends.pop() - (width - 1) // 2
    indent = len(header) - len(header.lstrip(" "))
    last = width_of(header[: header.rfind(" ") + 1])
    # The first column has a label, none stands before it, and none begins after the last, which
    # has one too, unless numbers are left out in equal steps.
    if not (margin <= indent < margin + width and last < margin + columns * width):
        return None
    if width_of(header) <= margin + (columns - 1) * width:
        numbers = numbers_above(header, margin, width) or []
        if len(numbers) < 2 or 2 * numbers[-1][0] - numbers[-2][0] < columns:
            return None
    return (labels, margin, width) if _labels_end(prefixes, margin) else None


def _labels_end(prefixes: list[str], margin: int) -> bool:
    """Return whether a space parts every label from the first column."""
    return margin >= 2 and all(width_of(prefix.rstrip()) < margin for prefix in prefixes)


def numbers_above(header: str, margin: int, width: int) -> list[tuple[int, int]] | None:
    """Return (column, the number above it) for all numbers of a header, or None for words."""
    found: list[tuple[int, int]] = []
    for word in re.finditer(r"\S+", header):
        if not (word[0].isascii() and word[0].isdigit()):
            return None
        found.append(((word.start() - margin) // width, int(word[0])))
    return found or None
