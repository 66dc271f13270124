"""The colors of the map, light and dark, for the numbers of cells.py; those of views/style.py.

Where two masks are compared the kinds differ in lightness too, so that they can be told apart
without seeing color; and beneath the pointer they are said in words.
"""

from __future__ import annotations

from dataclasses import dataclass

from sightline.views.atlas.cells import SHADES

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
        mark: around the pair that is explained.
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
    mark: str

    def palette(self) -> list[str]:
        """Return the color of each number, from forbidden over the shades to what differs."""
        some = [
            _mixed(self.out, self.inside, 0.25 + 0.6 * step / (SHADES - 1))
            for step in range(1, SHADES)
        ]
        return [
            self.out, *some, self.inside, self.first_only, self.second_only, self.both_ways,
        ]  # fmt: skip


LIGHT = Colors(
    paper="#ffffff",
    ink="#24292f",
    faint="#8c959f",
    out="#e6eaef",
    inside="#0067b1",
    empty="#d55e00",
    first_only="#5a1846",
    second_only="#35b779",
    both_ways="#15181c",
    mark="#24292f",
)
DARK = Colors(
    paper="#0f141a",
    ink="#e6edf3",
    faint="#5b6672",
    out="#1c232c",
    inside="#4aa8ff",
    empty="#ff9d4d",
    first_only="#f2b8dc",
    second_only="#1f8a63",
    both_ways="#ffffff",
    mark="#ffffff",
)


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
