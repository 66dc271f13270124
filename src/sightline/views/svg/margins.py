"""The margins of an SVG drawing: brackets that name stretches of queries and of keys.

Names stand below the keys and to the right of the queries, in lanes where they would overlap;
what the names are is found in marks.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

from sightline.views.extras import Mark
from sightline.views.labels import cells_of, visible
from sightline.views.svg.numbers import number

if TYPE_CHECKING:
    from sightline.views.picture import MaskPicture

__all__ = ["Margins", "cut_elements", "margins_of"]

_FONT = 10.0
_ADVANCE = _FONT * 0.6
_LANE, _BRACKET, _GAP = 19.0, 4.0, 5.0
_MOST_LANES = 3
# More borders than these would be a grid.
_MOST_BORDERS = 64


@dataclass(frozen=True)
class Placed:
    """A mark with its place in pixels, counted from the picture's corner, and its lane."""

    mark: Mark
    start: float
    stop: float
    text: str
    lane: int
    middle: float


@dataclass(frozen=True)
class Margins:
    """The names around a picture.

    Attributes:
        right: pixels that the names of queries need.
        bottom: pixels that the names of keys need.
        placed: every name that has room.
        lanes: where each lane of the right margin begins.
        hidden: how many names have no room.
    """

    right: float = 0.0
    bottom: float = 0.0
    placed: tuple[Placed, ...] = ()
    lanes: tuple[float, ...] = ()
    hidden: int = 0

    def elements(self, wide: float, tall: float) -> Iterator[str]:
        """Draw the names around cells that take ``wide`` x ``tall`` pixels."""
        brackets: list[str] = []
        texts: list[str] = []
        for one in self.placed:
            if one.mark.axis == "key":
                y = tall + _GAP + one.lane * _LANE
                brackets.append(
                    f"M{number(one.start + 1)} {number(y)}v{number(_BRACKET)}"
                    f"H{number(one.stop - 1)}v-{number(_BRACKET)}"
                )
                place = f'x="{number(one.middle)}" y="{number(y + _BRACKET + 11)}"'
                texts.append(_text(one.text, place, ' text-anchor="middle"'))
            else:
                x = wide + _GAP + self.lanes[one.lane]
                brackets.append(
                    f"M{number(x)} {number(one.start + 1)}h{number(_BRACKET)}"
                    f"V{number(one.stop - 1)}h-{number(_BRACKET)}"
                )
                y = (one.start + one.stop) / 2 + 3.5
                texts.append(_text(one.text, f'x="{number(x + 8)}" y="{number(y)}"'))
        if brackets:
            yield f'<path class="bracket" d="{"".join(brackets)}"/>'
        yield from (text for text in texts if text)


def _text(label: str, place: str, more: str = "") -> str:
    if not label:
        return ""
    shown = escape(visible(label), quote=False)
    return f'<text class="note" style="font-size:{number(_FONT)}px" {place}{more}>{shown}</text>'


def margins_of(picture: MaskPicture, side: float, left: float) -> Margins:
    """Find room for the names around a picture; ``left`` are the pixels beside its first key."""
    if not picture.marks:
        return Margins()
    wide = picture.allowed.shape[1] * side
    keys = [mark for mark in picture.marks if mark.axis == "key"]
    queries = [mark for mark in picture.marks if mark.axis == "query"]
    lanes = _lane_starts(queries, side / picture.cell[0])
    widths = [
        max(0.0, *(_width(one.text) for one in lanes if one.lane == lane), 0.0) + 14.0
        for lane in range(1 + max((one.lane for one in lanes), default=-1))
    ]
    starts = tuple(sum(widths[:lane]) for lane in range(len(widths)))
    right = sum(widths) + _GAP if widths else 0.0
    told = {one.text for one in lanes}
    below = _below(keys, told, side / picture.cell[1], -left, wide + max(right, 6.0))
    bottom = (1 + max(one.lane for one in below)) * _LANE + _GAP if below else 0.0
    hidden = len(keys) + len(queries) - len(below) - len(lanes)
    return Margins(right, bottom, (*below, *lanes), starts, hidden)


def _width(text: str) -> float:
    return cells_of(visible(text)) * _ADVANCE


def _shortened(marks: Sequence[Mark], told: set[str], room: float) -> dict[Mark, str]:
    """Return the text of each mark; numbered names are their number where all have not room.

    The first of them is written out, unless the names are ``told`` beside the queries.
    """
    texts: dict[Mark, str] = {}
    for mark in marks:
        name, _, index = mark.label.rpartition(" ")
        family = [other for other in marks if other.label.rpartition(" ")[0] == name]
        numbered = index.isdigit() and len(family) > 1 and mark.border
        tight = any(_width(other.label) > (other.stop - other.start) * room for other in family)
        known = mark is not family[0] or mark.label in told
        texts[mark] = index if numbered and tight and known else mark.label
    return texts


def _below(
    marks: Sequence[Mark], told: set[str], room: float, least: float, most: float
) -> list[Placed]:
    """Place the names of keys, each in the first lane where neither bracket nor text collide."""
    texts = _shortened(marks, told, room)
    taken: list[float] = []
    placed: list[Placed] = []
    for mark in sorted(marks, key=lambda mark: (not mark.border, mark.start)):
        start, stop = mark.start * room, mark.stop * room
        half = _width(texts[mark]) / 2
        middle = min(max((start + stop) / 2, least + half), most - half)
        first, last = min(start, middle - half - 2), max(stop, middle + half + 2)
        lane = next((n for n, end in enumerate(taken) if end <= first), len(taken))
        if lane >= _MOST_LANES or stop - start < 2:
            continue
        taken[lane:] = [last, *taken[lane + 1 :]]
        placed.append(Placed(mark, start, stop, texts[mark], lane, middle))
    return placed


def _lane_starts(marks: Sequence[Mark], room: float) -> list[Placed]:
    """Place the names of queries, one below the other; a name that has no room is left out."""
    taken: list[float] = []
    placed: list[Placed] = []
    for mark in marks:
        start, stop = mark.start * room, mark.stop * room
        lane = next((n for n, end in enumerate(taken) if end <= start + 0.01), len(taken))
        if lane >= _MOST_LANES or stop - start < 2:
            continue
        taken[lane:] = [stop, *taken[lane + 1 :]]
        text = mark.label if stop - start >= _FONT else ""
        placed.append(Placed(mark, start, stop, text, lane, 0.0))
    return placed


def cut_elements(picture: MaskPicture, side: float) -> list[str]:
    """Draw the borders between stretches across the cells."""
    rows, columns = picture.allowed.shape
    lines: list[str] = []
    for axis, cells, across, cell in (
        ("query", rows, columns, picture.cell[0]),
        ("key", columns, rows, picture.cell[1]),
    ):
        ends = {
            end
            for mark in picture.marks
            if mark.axis == axis and mark.border
            for end in (mark.start, mark.stop)
            if 0 < end < picture.shape[axis == "key"]
        }
        if len(ends) > _MOST_BORDERS or side * cells < 4 * len(ends):
            continue
        for end in sorted(ends):
            at, length = number(end / cell * side), number(across * side)
            lines.append(f"M0 {at}h{length}" if axis == "query" else f"M{at} 0v{length}")
    return [f'<path class="cut" d="{"".join(lines)}"/>'] if lines else []
