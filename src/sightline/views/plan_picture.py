"""A plan in a notebook: its blocks, drawn like the cells of a mask.

What a block holds is the plan's matter (plan/block_map.py); here it is only counted into cells.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

import numpy as np

from sightline.views.picture import MaskPicture
from sightline.views.svg.numbers import number
from sightline.views.svg.render import render_svg
from sightline.views.svg.words import ENGLISH

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sightline.plan.block_map import BlockMap

__all__ = ["coverage", "plan_html"]

# At most so many cells each way; a cell is one block or a square of them.
_CELLS, _PIXELS = 64, 256
_WORDS = {
    **ENGLISH,
    "cell": "1 cell = {queries} x {keys} blocks; stronger color: more to compute",
    "empty": "orange rows: no key for these queries",
    "summary": "{queries} x {keys} blocks, {count} to compute",
}
_LEGEND = "blue: to compute; with a hole: not all of it full; gray: nothing to compute"


def plan_html(plan: BlockMap) -> str:
    """Return HTML: the plan's text, and a picture of the blocks of its first batch row and head.

    >>> import sightline as sl
    >>> "3 x 3 blocks, 6 to compute" in plan_html(sl.plan(sl.causal(), 3, block_q=1, block_kv=1))
    True
    """
    covered, whole, side = coverage(plan)
    rows, columns = covered.shape
    picture = MaskPicture(
        covered > 0,
        _labels(plan.grid.q_edges, plan.q_blocks, side),
        _labels(plan.grid.k_edges, plan.kv_blocks, side),
        title="batch row 0, head 0" if plan.batch * plan.heads > 1 else "",
        share=covered,
        cell=(side, side),
        shape=(plan.q_blocks, plan.kv_blocks),
        count=round(float((covered * _blocks(plan, side)).sum())),
    )
    cell = min(18.0, _PIXELS / max(rows, columns, 1))
    holes = _holes(picture.allowed & ~whole)
    svg = render_svg(picture, cell=cell, tooltips=False, words=_WORDS, over=holes)
    return f"<div><code>{escape(repr(plan))}</code><br>{svg}<br><small>{_LEGEND}</small></div>"


def _labels(edges: NDArray[np.int64], blocks: int, side: int) -> tuple[str, ...]:
    """Return the first position of each cell."""
    return tuple(str(edge) for edge in edges[0, :blocks:side].tolist())


def _holes(cells: NDArray[np.bool_]) -> list[str]:
    path = "".join(
        f"M{number(column + 0.5)} {number(row + 0.3)}l.2 .2-.2 .2-.2-.2z"
        for row, column in np.argwhere(cells).tolist()
    )
    return [f'<path class="paper mark" d="{path}"/>'] if path else []


def _blocks(plan: BlockMap, side: int) -> NDArray[np.int64]:
    """Return how many blocks each cell of ``side`` x ``side`` stands for, fewer at the ends."""
    rows, columns = (
        np.diff(np.minimum(np.arange(0, blocks + side, side), blocks))
        for blocks in (plan.q_blocks, plan.kv_blocks)
    )
    return np.outer(rows, columns)


def coverage(plan: BlockMap) -> tuple[NDArray[np.float64], NDArray[np.bool_], int]:
    """Return the share of blocks to compute in each cell, whether all are full, and its side."""
    side = 1
    while max(plan.q_blocks, plan.kv_blocks) > side * _CELLS:
        side *= 2
    rows, columns = (-(-blocks // side) for blocks in (plan.q_blocks, plan.kv_blocks))
    to_compute, full = np.zeros((2, rows, columns + 2), dtype=np.int64)
    runs = slice(0, int(plan.row_start[plan.q_blocks]))
    row, pattern = plan.row[runs] // side, plan.pattern[runs]
    for ends, sign in ((plan.first_block[runs], 1), (plan.last_block[runs].astype(int) + 1, -1)):
        column, within = np.divmod(ends.astype(np.int64), side)
        for counts, weight in ((to_compute, sign), (full, sign * (pattern < 0))):
            # From here to the end of the row: what is left of this cell, then all of the others.
            np.add.at(counts, (row, column), weight * (side - within))
            np.add.at(counts, (row, column + 1), weight * within)
    blocks = _blocks(plan, side)
    to_compute, full = (np.cumsum(counts, axis=1)[:, :columns] for counts in (to_compute, full))
    return to_compute / blocks, full == blocks, side
