"""The signs of text drawings, by which a cell is read; what a legend says beside them.

They are those that `sightline show` and ``sl.draw`` write (a test holds both equal), and x and .
as people draw by hand. Where the cells of a drawing stand is found in drawn_panels.py.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = [
    "ALPHABETS",
    "BITS",
    "BLOCKS",
    "BLOCKS_FOLLOW",
    "LEGEND",
    "NUMBERED_KEYS",
    "SEVERAL",
    "Signs",
    "is_weighted",
    "no_pairs",
    "plain_lines",
]


@dataclass(frozen=True)
class Signs:
    """One set of signs.

    Attributes:
        allowed: what stands for a pair that may attend.
        forbidden: what stands for one that may not; a leak too, for the mask forbids it.
        shades: shares of a cell of several pairs, or weights of pairs that may attend.
        broken: a weight that is no number, of which nobody knows whether it may be.
        leak: the sign among ``forbidden`` that says that the pair is used all the same.
    """

    allowed: str
    forbidden: str
    shades: str = ""
    broken: str = ""
    leak: str = ""

    @property
    def all(self) -> str:
        """Every sign once."""
        return "".join(dict.fromkeys(self.allowed + self.forbidden + self.shades + self.broken))


ALPHABETS = (
    Signs("■□", "·!", "░▒▓█", "?", "!"),
    Signs("#o", ".!", "-+*#", "?", "!"),
    Signs("xX", "."),
)
# Lines of nothing but these are numbers, which do not say what 1 means.
BITS = Signs("1", "0")

SEVERAL = "a cell stands for several pairs, so it does not say which of them may attend"
_COLOR = re.compile(r"\x1b\[[0-9;]*m")
# What may stand directly below the rows of a drawing: what its signs mean, and notes.
LEGEND = re.compile(
    r"weight: |[■·□!#.o] (may|all|for)|(←|<-) a query here sees|(keys|queries): \S.* at \d"
    r"|blocks of \d+ x \d+: |[●#] full block"
)
# The blocks of a plan, drawn below the cells; the line before says so.
BLOCKS = re.compile(r"  [○◐●.o#]( [○◐●.o#])*")
BLOCKS_FOLLOW = "blocks of "
# Below a drawing: the labels of columns, numbered there, since they are too long to stand above.
NUMBERED_KEYS = "keys: 0 "
_DIFFERENCE = re.compile(r"\S+ (share )?in both .* in neither")


def plain_lines(text: str) -> list[str]:
    """Return the lines of a text without colors and without spaces at their ends."""
    return [line.rstrip() for line in _COLOR.sub("", text).splitlines()]


def is_weighted(lines: list[str]) -> bool:
    """Return whether a legend says that shades are weights."""
    return any(line.startswith("weight: ") for line in lines)


def no_pairs(lines: list[str]) -> tuple[int, str] | None:
    """Return the line of a legend that says that cells are no pairs of one mask, and why."""
    for number, line in enumerate(lines):
        if line.startswith("1 cell = "):
            return number, f"{SEVERAL}; draw a part, pair by pair, or give an array."
        if _DIFFERENCE.match(line):
            return number, "a difference of two masks is drawn; draw either of them alone."
    return None
