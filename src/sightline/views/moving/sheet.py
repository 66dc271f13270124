"""A sheet of panels: grids of cells of a few looks, each with a sign of its own.

Decoding and layered reach are described so, once; sheet_svg.py, sheet_png.py and sheet_text.py
draw it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sightline.errors import ShapeMismatch

__all__ = ["Look", "Panel", "Sheet", "labels_or_numbers", "some"]


@dataclass(frozen=True)
class Look:
    """How a kind of cell looks, everywhere.

    Attributes:
        fill: "in", "pale", "out" or "paper": which color the cell has.
        sign: what is drawn within: "", "plus", "strike", "hole", "ring" or "minus".
        glyph: the sign of a text drawing.
        words: what it means.
    """

    fill: str
    sign: str
    glyph: str
    words: str


@dataclass(frozen=True, eq=False)
class Panel:
    """One grid: for each cell the number of its look, uint8 ``[rows, columns]``."""

    title: str
    cells: NDArray[np.uint8]
    row_labels: tuple[str, ...]
    column_labels: tuple[str, ...]
    caption: str = ""

    def __post_init__(self) -> None:
        if self.cells.shape != (len(self.row_labels), len(self.column_labels)):
            raise ShapeMismatch(
                f"a panel of {self.cells.shape} cells got {len(self.row_labels)} row labels and "
                f"{len(self.column_labels)} column labels."
            )


@dataclass(frozen=True, eq=False)
class Sheet:
    """Panels that share a title, their looks, and notes below them."""

    title: str
    panels: tuple[Panel, ...]
    looks: tuple[Look, ...]
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    summary: str = field(default="")

    def used(self) -> Iterator[tuple[int, Look]]:
        """Return the looks that occur and have a meaning to tell."""
        seen = {int(number) for panel in self.panels for number in np.unique(panel.cells)}
        return ((n, look) for n, look in enumerate(self.looks) if n in seen and look.words)


def labels_or_numbers(tokens: Sequence[str] | None, length: int) -> tuple[str, ...]:
    """Return a label for each position: its token, or its number."""
    if tokens is None:
        return tuple(map(str, range(length)))
    if isinstance(tokens, str) or len(tokens) != length:
        kind = "one text" if isinstance(tokens, str) else f"{len(tokens)}"
        raise ShapeMismatch(f"got {kind} as tokens; wanted a list of {length}, one a position.")
    return tuple(str(token) for token in tokens)


def some(number: int, one: str) -> str:
    """Return so many of a thing in words.

    >>> some(1, "key"), some(4096, "pair")
    ('1 key', '4,096 pairs')
    """
    return f"{number:,} {one if number == 1 else one + 's'}"
