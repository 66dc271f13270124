"""The parts of a picture of shards: who holds what, bars of numbers, and the mask with its owners.

Each is a group of SVG elements with a size; shard_picture.py puts them together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from sightline.views.charts.parts import ADVANCE, xml
from sightline.views.plan_picture import coverage
from sightline.views.shard_rows import ShardRows
from sightline.views.svg.numbers import number
from sightline.views.svg.shapes import shape

if TYPE_CHECKING:
    from sightline.plan.shard import Shard

__all__ = ["MOST_OWNERS", "Panel", "bars_panel", "mask_panel", "stretches_panel"]

# A mask's queries are told apart by color and number for so few ranks.
MOST_OWNERS = 8
_SIDE, _BARS = 256.0, 150.0
_TOP, _FOOT = 30.0, 40.0
_LOOKS = 6  # colors of CHARTS_CSS
_SHADES = 4


@dataclass(frozen=True)
class Panel:
    """One part: its elements, and how wide and high it is, in pixels."""

    elements: tuple[str, ...]
    width: float
    height: float


def stretches_panel(rows: ShardRows, cut: Shard) -> Panel:
    """Return a row for each rank: tall where it holds keys, low where it receives some."""
    left, high = _left(rows.names), _height(rows)
    wide = _SIDE / max(rows.held.shape[1], 1)
    body = [_title("keys held (tall) and received (low)"), *_names(rows.names, left, high)]
    place = f"translate({number(left)} {number(_TOP)})"
    whole = number(high * len(rows.names))
    body.append(f'<rect class="out" x="{number(left)}" y="{_TOP:g}" width="256" height="{whole}"/>')
    for name, cells, top, part in (
        ("in", rows.held, 0.06, 0.88),
        ("bad", rows.received & ~rows.held, 0.36, 0.28),
    ):
        # Cells are one unit high; a row keeps a part of its height free.
        for row in np.flatnonzero(cells.any(axis=1)).tolist():
            own = f"translate(0 {number(high * (row + top))})scale({wide:.4f} {high * part:.4f})"
            drawn = shape(name, cells[row : row + 1])
            body.append(f'<g transform="{place}{own}" shape-rendering="crispEdges">{drawn}</g>')
    foot = _TOP + high * len(rows.names) + 15
    ends = cut.keys.edges
    body += [
        _note(left, foot, f"{int(ends[0]):,}"),
        _note(left + _SIDE, foot, f"{int(ends[-1]):,}", "end"),
        _note(left + _SIDE / 2, foot, "position of the key", "middle"),
    ]
    return Panel(tuple(body), left + _SIDE + 14, foot + 15)


def bars_panel(
    title: str,
    names: Sequence[str],
    values: Sequence[float],
    texts: Sequence[str],
    *,
    full: float,
    mark: float,
    foot: str,
) -> Panel:
    """Return a bar for each rank, as long as its value is of ``full``; ``mark`` is a dotted line.

    Args:
        title: what is shown.
        names: of the rows.
        values: of the rows.
        texts: what is written behind the bars, where there is room.
        full: what fills the whole width.
        mark: where the line stands.
        foot: what the line means, written below.
    """
    left, high = _left(names), _row_height(len(names))
    written = high >= 11
    body = [_title(title), *_names(names, left, high)]
    step = _BARS / full if full > 0 else 0.0
    lengths = [min(_BARS, max(0.75 * (value > 0), value * step)) for value in values]
    path = "".join(
        f"M{number(left)} {number(_TOP + high * (row + 0.12))}h{number(length)}"
        f"v{number(high * 0.76)}h-{number(length)}z"
        for row, length in enumerate(lengths)
        if length
    )
    bottom = _TOP + high * len(names)
    body.append(f'<path class="in" d="{path}"/>')
    if written:
        body += [
            _note(left + max(length, mark * step) + 5, _middle(row, high), text)
            for row, (length, text) in enumerate(zip(lengths, texts, strict=True))
        ]
    at = number(left + mark * step)
    body.append(f'<path class="target" d="M{at} {number(_TOP - 4)}V{number(bottom + 4)}"/>')
    body.append(f'<path class="axis" d="M{number(left)} {_TOP:g}V{number(bottom)}"/>')
    body.append(_note(12, bottom + 15, foot))
    behind = 8 + ADVANCE * max(map(len, texts), default=0) if written else 8.0
    width = max(left + _BARS + behind, 12 + ADVANCE * 0.9 * max(len(foot), len(title)))
    return Panel(tuple(body), width + 14, bottom + 30)


def mask_panel(cut: Shard) -> Panel:
    """Return the mask's blocks to compute, each row in the color and number of its rank.

    Of the first batch row and head; where a row of cells belongs to several ranks, that of the
    rank that has most of it.
    """
    covered, _, side = coverage(cut.plan)
    rows, columns = covered.shape
    owner = _owners(cut, rows, side)
    wide, tall = _SIDE / max(columns, 1), _SIDE / max(rows, 1)
    left = 34.0
    body = [_title("blocks to compute, by the rank of the query")]
    frame = f'x="{number(left)}" y="{_TOP:g}" width="{_SIDE:g}" height="{_SIDE:g}"'
    body.append(f'<rect class="out" {frame}/>')
    scale = f"translate({number(left)} {number(_TOP)})scale({wide:.4f} {tall:.4f})"
    levels = np.ceil(covered * _SHADES).astype(np.int64)
    cells: list[str] = []
    for rank in range(cut.ranks):
        for level in range(1, _SHADES + 1):
            own = (levels == level) & (owner == rank)[:, None]
            opacity = 0.3 + 0.7 * level / _SHADES
            cells.append(shape(f"f{rank % _LOOKS}", own, opacity))
    body.append(f'<g transform="{scale}" shape-rendering="crispEdges">{"".join(cells)}</g>')
    body += _owner_labels(owner, left, tall)
    foot = _TOP + _SIDE + 15
    about = "paler: only some blocks of the cell"
    if cut.plan.batch * cut.plan.heads > 1:
        about = "batch row 0, head 0; " + about
    body.append(_note(left + _SIDE / 2, foot, about, "middle"))
    return Panel(tuple(body), left + _SIDE + 14, foot + 15)


def _owners(cut: Shard, rows: int, side: int) -> np.ndarray:
    """Return the rank that holds most queries of each row of cells."""
    block = np.arange(cut.plan.q_blocks)
    votes = np.zeros((rows, cut.ranks))
    np.add.at(votes, (block // side, cut.queries.owner[0]), cut.queries.sizes)
    return votes.argmax(axis=1)


def _owner_labels(owner: np.ndarray, left: float, tall: float) -> list[str]:
    """Return the number of a rank beside each run of its rows, and a line between two runs."""
    edges = [0, *(np.flatnonzero(np.diff(owner)) + 1).tolist(), len(owner)]
    found, below = [], -np.inf
    for first, stop in pairwise(edges):
        y = _TOP + tall * (first + stop) / 2 + 4
        found.append(
            f'<path class="axis" d="M{number(left - 6)} {number(_TOP + tall * first)}h6"/>'
        )
        if y - below >= 11:
            found.append(_note(left - 9, y, str(owner[first]), "end"))
            below = y
    return found


def _height(rows: ShardRows) -> float:
    return _row_height(len(rows.names))


def _row_height(rows: int) -> float:
    return min(28.0, max(4.0, _SIDE / max(rows, 1)))


def _left(names: Sequence[str]) -> float:
    return 18 + ADVANCE * max(map(len, names), default=1)


def _names(names: Sequence[str], left: float, high: float) -> list[str]:
    """Return the names of rows, of as many as there is room for."""
    every = max(1, int(-(-11 // high)))
    return [
        _note(left - 6, _middle(row, high), names[row], "end")
        for row in range(0, len(names), every)
    ]


def _middle(row: int, high: float) -> float:
    return _TOP + high * (row + 0.5) + 4


def _title(text: str) -> str:
    return f'<text x="12" y="20">{xml(text)}</text>'


def _note(x: float, y: float, text: str, anchor: str = "") -> str:
    side = f' text-anchor="{anchor}"' if anchor else ""
    return f'<text class="note" x="{number(x)}" y="{number(y)}"{side}>{xml(text)}</text>'
