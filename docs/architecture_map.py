"""Draws the map of the house: rooms as boxes by layer, arrows from each room to what it imports.

Boxes stand in columns, so that arrows have room beside them; every arrow goes down, for nothing
imports upwards. What is drawn, and in which words, is chosen in make_architecture.py.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise

__all__ = ["Room", "map_of", "way_of"]

WIDTH, LINE, HEAD, PADDING = 214, 15, 20, 10
GUTTER, GAP, LANE, EDGE = 44, 34, 7, 24
ROUND = 6  # of corners
ASIDE = 11  # from where arrows leave to where they come in, so that none runs over another
CHARACTERS = 31  # in a line of a box

CSS = """\
text{font:12px system-ui,-apple-system,"Segoe UI",sans-serif;fill:#24292f}
.name{font-weight:600;font-size:14px}
.layer{font-size:11px;fill:#57606a}
.paper{fill:#fff}
.room{fill:#f4f6f8;stroke:#8c959f}
.way{fill:#e4f0fa;stroke:#0067b1;stroke-width:2.5}
.arrow{fill:none;stroke:#57606a;stroke-width:1.4}
.tip{fill:#57606a}
.main{stroke:#0067b1;stroke-width:2.5}
.maintip{fill:#0067b1}
@media (prefers-color-scheme:dark){
text{fill:#e6edf3}
.layer{fill:#9aa4b0}
.paper{fill:#0f141a}
.room{fill:#1a2129;stroke:#5b6672}
.way{fill:#13283b;stroke:#4aa8ff}
.arrow{stroke:#9aa4b0}
.tip{fill:#9aa4b0}
.main{stroke:#4aa8ff}
.maintip{fill:#4aa8ff}
}
"""


@dataclass(frozen=True)
class Room:
    """A box: its name, what it is for, its layer from the top, its column from the left."""

    name: str
    purpose: str
    layer: int
    column: int

    @property
    def lines(self) -> list[str]:
        """The purpose, in lines that fit into the box."""
        return textwrap.wrap(self.purpose, CHARACTERS)

    @property
    def height(self) -> int:
        """Of the box, in pixels."""
        return HEAD + LINE * len(self.lines) + 2 * PADDING


@dataclass(frozen=True)
class Floor:
    """Where a layer's boxes begin, how tall they are, and where its arrows turn below them."""

    top: float
    height: float


def map_of(
    rooms: Sequence[Room], arrows: Sequence[tuple[str, str]], way: Sequence[str], title: str
) -> str:
    """Return the map as SVG; ``way`` names the rooms that data pass on their way, drawn blue."""
    by_name = {room.name: room for room in rooms}
    turns = _turns(by_name, arrows)
    floors = _floors(rooms, turns)
    columns = 1 + max(room.column for room in rooms)
    body = [_box(room, floors[room.layer], room.name in way) for room in rooms]
    main = set(pairwise(way))
    paths = _paths(by_name, arrows, floors)
    # The way of the data last, so that nothing crosses over it.
    body += [_arrow(paths[pair], pair in main) for pair in sorted(arrows, key=main.__contains__)]
    bottom = max(floor.top + floor.height for floor in floors.values())
    return _document(2 * EDGE + columns * WIDTH + columns * GUTTER, bottom + EDGE, body, title)


def way_of(stations: Sequence[tuple[str, str]], steps: Sequence[str], title: str) -> str:
    """Return boxes one below the other, (name, purpose) each; each arrow carries a word."""
    boxes = [Room(name, purpose, number, 0) for number, (name, purpose) in enumerate(stations)]
    body: list[str] = []
    top, x = float(EDGE), EDGE + GUTTER + WIDTH / 2
    for box, step in zip(boxes, ("", *steps), strict=True):
        if step:
            body.append(_arrow([(x, top), (x, top + GAP)], main=True))
            body.append(f'<text x="{x + 14:g}" y="{top + GAP / 2 + 4:g}">{escape(step)}</text>')
            top += GAP
        body.append(_box(box, Floor(top, box.height), True))
        top += box.height
    return _document(2 * (EDGE + GUTTER) + WIDTH, top + EDGE, body, title)


def _left(room: Room) -> float:
    return EDGE + GUTTER + room.column * (WIDTH + GUTTER)


def _turns(
    rooms: Mapping[str, Room], arrows: Sequence[tuple[str, str]]
) -> dict[int, list[tuple[str, str]]]:
    """Return, for each layer, the arrows that turn in the gap below it."""
    below: dict[int, list[tuple[str, str]]] = {}
    for pair in arrows:
        start, end = (rooms[name].layer for name in pair)
        for layer in {start, end - 1}:
            below.setdefault(layer, []).append(pair)
    return below


def _floors(
    rooms: Sequence[Room], turns: Mapping[int, Sequence[tuple[str, str]]]
) -> dict[int, Floor]:
    floors: dict[int, Floor] = {}
    top = float(EDGE)
    for layer in sorted({room.layer for room in rooms}):
        height = max(room.height for room in rooms if room.layer == layer)
        floors[layer] = Floor(top, height)
        top += height + GAP + LANE * len(turns.get(layer, ()))
    return floors


def _paths(
    rooms: Mapping[str, Room], arrows: Sequence[tuple[str, str]], floors: Mapping[int, Floor]
) -> dict[tuple[str, str], list[tuple[float, float]]]:
    """Return the corners of each arrow; lanes and doors are its own, so that none hides another."""
    turns, used = _turns(rooms, arrows), dict[int, int]()
    leaving = {name: [b for a, b in arrows if a == name] for name in rooms}
    coming = {name: [a for a, b in arrows if b == name] for name in rooms}
    for name, others in [*leaving.items(), *coming.items()]:
        others.sort(key=lambda other: (rooms[other].column, rooms[name].layer))

    def lane(layer: int, pair: tuple[str, str]) -> float:
        floor = floors[layer]
        return floor.top + floor.height + GAP / 2 + LANE * turns[layer].index(pair)

    def door(name: str, other: str, doors: list[str]) -> float:
        return _left(rooms[name]) + round(WIDTH * (doors.index(other) + 1) / (len(doors) + 1))

    paths: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for pair in arrows:
        start, end = rooms[pair[0]], rooms[pair[1]]
        x, to = door(*pair, leaving[pair[0]]), door(pair[1], pair[0], coming[pair[1]]) + ASIDE
        first = (x, floors[start.layer].top + floors[start.layer].height)
        last = (to, floors[end.layer].top)
        turn = lane(start.layer, pair)
        corners = [first, (x, turn)]
        if end.layer - start.layer > 1:  # past other boxes: down beside a column
            beside = max(start.column, end.column)
            number = used[beside] = used.get(beside, 0) + 1
            free = EDGE + beside * (WIDTH + GUTTER) + LANE * number
            again = lane(end.layer - 1, pair)
            corners += [(free, turn), (free, again), (to, again)]
        else:
            corners.append((to, turn))
        paths[pair] = [*corners, last]
    return paths


def _box(room: Room, floor: Floor, on_the_way: bool) -> str:
    x = _left(room)
    lines = [
        f'<text x="{x + PADDING}" y="{floor.top + PADDING + HEAD + LINE * (i + 0.6):g}">'
        f"{escape(line)}</text>"
        for i, line in enumerate(room.lines)
    ]
    return (
        f'<rect class="{"way" if on_the_way else "room"}" x="{x}" y="{floor.top:g}" '
        f'width="{WIDTH}" height="{floor.height:g}" rx="5"/>'
        f'<text class="name" x="{x + PADDING}" y="{floor.top + PADDING + HEAD - 6:g}">'
        f"{escape(room.name)}</text>" + "".join(lines)
    )


def _arrow(corners: Sequence[tuple[float, float]], main: bool) -> str:
    """Return a line with rounded corners and a tip at its end."""
    (before_x, before_y), (x, y) = corners[-2:]
    dx, dy = (x > before_x) - (x < before_x), (y > before_y) - (y < before_y)
    tip = (
        f"M{x:g} {y:g}L{x - 7 * dx - 4 * dy:g} {y - 7 * dy - 4 * dx:g}"
        f"L{x - 7 * dx + 4 * dy:g} {y - 7 * dy + 4 * dx:g}z"
    )
    line = f"M{corners[0][0]:g} {corners[0][1]:g}"
    for here, corner, there in zip(corners, corners[1:], corners[2:], strict=False):
        near, far = _toward(corner, here), _toward(corner, there)
        line += f"L{near[0]:g} {near[1]:g}Q{corner[0]:g} {corner[1]:g} {far[0]:g} {far[1]:g}"
    line += f"L{x - 5 * dx:g} {y - 5 * dy:g}"
    return (
        f'<path class="arrow{" main" if main else ""}" d="{line}"/>'
        f'<path class="{"main" if main else ""}tip" d="{tip}"/>'
    )


def _toward(corner: tuple[float, float], other: tuple[float, float]) -> tuple[float, float]:
    """Return the point of the way from a corner to another where its rounding begins."""
    x, y = other[0] - corner[0], other[1] - corner[1]
    length = abs(x) + abs(y)  # one of them is 0
    part = min(ROUND, length / 2) / length if length else 0
    return corner[0] + x * part, corner[1] + y * part


def _document(width: float, height: float, body: Sequence[str], title: str) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:g}" height="{height:g}" '
        f'viewBox="0 0 {width:g} {height:g}" role="img">\n<title>{escape(title)}</title>\n'
        f"<style>{CSS}</style>\n"
        f'<rect class="paper" width="{width:g}" height="{height:g}"/>\n'
        + "\n".join(body)
        + "\n</svg>\n"
    )
