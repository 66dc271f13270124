"""A plan in a notebook: its text, and a small picture of its blocks (of the first head).

Self-contained and plain; pictures with labels and pages are sightline.views' matter.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sightline.plan.block_map import BlockMap

# At most so many cells each way; a cell is one block or a square of them.
_CELLS, _PIXELS = 64, 256
# Blue on a gray that shows on white and on black; the share of blocks to compute is the opacity.
_FULL, _EMPTY = "#2f87d0", "#8c959f"


def render(plan: BlockMap) -> str:
    """Return HTML; a cell is the bluer the more of it there is to compute."""
    covered, whole, side = coverage(plan)
    rows, columns = covered.shape
    scale = max(1, _PIXELS // max(rows, columns, 1))
    cells: list[str] = []
    for row, column in zip(*(axis.tolist() for axis in np.nonzero(covered)), strict=True):
        share = 0.25 + 0.75 * float(covered[row, column])
        cells.append(f'<path d="M{column} {row}h1v1h-1z" opacity="{share:.2f}"/>')
        if not whole[row, column]:
            cells.append(f'<circle cx="{column + 0.5}" cy="{row + 0.5}" r=".15" fill="#fff"/>')
    first = " of batch row 0, head 0" if plan.batch * plan.heads > 1 else ""
    legend = f"1 cell = {side} x {side} blocks{first}; blue: to compute; dot: not all of it full"
    return (
        f"<div><code>{escape(repr(plan))}</code><br>"
        f'<svg role="img" width="{columns * scale}" height="{rows * scale}" '
        f'viewBox="0 0 {columns} {rows}" style="margin:.5em 0" fill="{_FULL}">'
        f'<path d="M0 0h{columns}v{rows}h-{columns}z" fill="{_EMPTY}" opacity=".2"/>'
        f"{''.join(cells)}</svg><br><small>{escape(legend)}</small></div>"
    )


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
    sizes = (
        np.diff(np.minimum(np.arange(0, n * side + 1, side), blocks))
        for n, blocks in ((rows, plan.q_blocks), (columns, plan.kv_blocks))
    )
    blocks = np.outer(*sizes)
    to_compute, full = (np.cumsum(counts, axis=1)[:, :columns] for counts in (to_compute, full))
    return to_compute / blocks, full == blocks, side
