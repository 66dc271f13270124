"""The colors of the map, light and dark, for the numbers of cells.py; those of views/style.py.

Where two masks are compared the kinds differ in lightness too, so that they can be told apart
without seeing color; and beneath the pointer they are said in words.
"""

from __future__ import annotations

from dataclasses import dataclass

from sightline.views.atlas.cells import SHADES
from sightline.views.style import PALETTES

__all__ = ["DARK", "LIGHT", "Colors", "theme"]


@dataclass(frozen=True)
class Colors:
    """The colors of one theme.

    Attributes:
        paper: behind everything.
        ink: text.
        faint: lines of axes and between cells.
        out: forbidden.
        inside: allowed.
        empty: queries that see nothing.
        first_only: allowed by the first of two masks only.
        second_only: by the second only.
        both_ways: a cell in which there are pairs of both kinds.
    """

    paper: str
    ink: str
    faint: str
    out: str
    inside: str
    empty: str
    first_only: str
    second_only: str
    both_ways: str

    def palette(self) -> list[str]:
        """Return the color of each number, from forbidden over the shades to what differs."""
        some = [
            _mixed(self.out, self.inside, 0.25 + 0.6 * step / (SHADES - 1))
            for step in range(1, SHADES)
        ]
        return [
            self.out, *some, self.inside, self.first_only, self.second_only, self.both_ways,
        ]  # fmt: skip


def _colors(name: str, **differing: str) -> Colors:
    """Return the colors of style.py, and those by which two masks differ."""
    shared = PALETTES[name]
    return Colors(
        paper=_long(shared["paper"]),
        ink=shared["text"],
        faint=shared["frame"],
        out=shared["out"],
        inside=shared["in"],
        empty=shared["bad"],
        **differing,
    )


def _long(color: str) -> str:
    """Return a color with six digits."""
    return color if len(color) == 7 else "#" + "".join(2 * digit for digit in color[1:])


# As sl.draw(first, against=second) has them: green is what the first adds, purple what it lacks;
# but much darker and lighter than what is allowed.
LIGHT = _colors("light", first_only="#35b779", second_only="#5a1846", both_ways="#15181c")
DARK = _colors("dark", first_only="#1f8a63", second_only="#f2b8dc", both_ways="#ffffff")


def theme(dark: bool) -> Colors:
    """Return the colors of the dark theme or of the light one."""
    return DARK if dark else LIGHT


def _mixed(first: str, second: str, share: float) -> str:
    """Return a color between two, ``share`` of the way.

    >>> _mixed("#000000", "#ffffff", 0.5)
    '#808080'
    """
    pairs = [(int(first[at : at + 2], 16), int(second[at : at + 2], 16)) for at in (1, 3, 5)]
    return "#" + "".join(f"{round(a + (b - a) * share):02x}" for a, b in pairs)
