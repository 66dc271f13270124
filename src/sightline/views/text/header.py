"""Column labels above a text drawing: side by side, stacked letter by letter, or numbered.

One layout is chosen from the labels' widths in terminal cells, so that wide characters line up
with the columns below them. The drawing itself is in terminal.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest

from sightline.views.labels import cells_of, graphemes, is_scale

__all__ = ["Header", "centered", "header_for"]

# Up to here a drawing keeps within a terminal of 80 columns together with its row labels.
_MOST_CELLS = 64
_WIDEST_SIDE_BY_SIDE = 7
_TALLEST_STACK = 12
# Up to this many columns there is room for a gap between them.
_MOST_SPACED_COLUMNS = 36


@dataclass(frozen=True)
class Header:
    """The lines above a drawing.

    Attributes:
        lines: text that starts at the first column's left edge.
        width: terminal cells per column.
        legend: what the numbers above the columns stand for, where labels are too long.
    """

    lines: tuple[str, ...]
    width: int
    legend: tuple[str, ...] = ()


def header_for(labels: Sequence[str]) -> Header:
    """Choose the layout for ``labels``, which must be fit to be shown.

    >>> print(*header_for(["I", "have", "a"]).lines, sep="|")
      I  have   a
    >>> print(*header_for([str(n) for n in range(0, 40)]).lines)
    0   4   8   12  16  20  24  28  32  36
    """
    widest = max((cells_of(label) for label in labels), default=0)
    if widest <= _WIDEST_SIDE_BY_SIDE and (widest + 1) * len(labels) <= _MOST_CELLS:
        width = max(2, widest + 1)
        return Header(("".join(centered(label, width) for label in labels).rstrip(),), width)
    if is_scale(labels):
        width = 2 if len(labels) <= _MOST_SPACED_COLUMNS else 1
        return Header((_ticks(labels, width),), width)
    if max(len(graphemes(label)) for label in labels) <= _TALLEST_STACK:
        return _stacked(labels)
    numbered = header_for([str(number) for number in range(len(labels))])
    legend = tuple(f"{number} {label}" for number, label in enumerate(labels))
    return Header(numbered.lines, numbered.width, legend)


def centered(text: str, width: int) -> str:
    """Center ``text`` in ``width`` terminal cells.

    >>> centered("日", 5), centered("a", 4)
    (' 日  ', ' a  ')
    """
    room = max(0, width - cells_of(text))
    left = room // 2 if room % 2 == 0 else (room - 1) // 2
    return " " * left + text + " " * (room - left)


def _ticks(labels: Sequence[str], width: int) -> str:
    """Write as many labels as have room, at equal distances, each from its column on."""
    widest = max(len(label) for label in labels)
    every = next(n for n in (1, 2, 4, 5, 8, 10, 16, 20, 32, 64, 1 << 30) if n * width > widest)
    return "".join(label.ljust(every * width) for label in labels[::every]).rstrip()


def _stacked(labels: Sequence[str]) -> Header:
    """Write each label downwards, one character a line, ending just above its column."""
    columns = [graphemes(label)[::-1] for label in labels]
    widest = max((cells_of(piece) for column in columns for piece in column), default=1)
    width = max(2, widest + 1) if len(labels) <= _MOST_SPACED_COLUMNS else widest
    lines = [
        "".join(centered(piece, width) for piece in level).rstrip()
        for level in zip_longest(*columns, fillvalue=" ")
    ]
    return Header(tuple(lines[::-1]), width)
