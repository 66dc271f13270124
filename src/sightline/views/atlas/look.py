"""What a piece of a mask holds, cell by cell, at the zoom of whoever looks: never the whole of it.

A cell is one pair or a square of them whose side is a power of two, at fixed places: so that
moving a view shows the same cells at other places. How cells are colored is left to the page.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sightline.masks.bounds import EMPTY, FULL, PARTIAL
from sightline.views.survey import cell_side

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sightline.masks.mask import Mask

__all__ = ["Look", "View", "look"]


@dataclass(frozen=True)
class View:
    """The rectangle of pairs that is looked at, and the room there is to draw it.

    Attributes:
        q_start: the first query, an absolute position; ``q_stop`` is behind the last one.
        q_stop: see ``q_start``.
        k_start: the first key; ``k_stop`` is behind the last one.
        k_stop: see ``k_start``.
        rows: at most so many rows of cells, about.
        columns: at most so many columns of cells, about.
        batch: which batch row.
        head: which head.
    """

    q_start: int
    q_stop: int
    k_start: int
    k_stop: int
    rows: int = 256
    columns: int = 256
    batch: int = 0
    head: int = 0


@dataclass(frozen=True, eq=False)
class Look:
    """What was seen.

    Attributes:
        view: what was asked for.
        cell: (queries, keys) of a cell, powers of two.
        q_first: the absolute position of the first query of row 0; a multiple of its cell's side.
        k_first: that of the first key of column 0.
        state: uint8 ``[rows, columns]``, EMPTY, PARTIAL or FULL: of the pairs of a cell none,
            some, or all are allowed. Always exact, except where ``sure`` says otherwise.
        share: float32 ``[rows, columns]``, allowed pairs ÷ pairs; 0 or 1 only with EMPTY or FULL.
        sure: bool ``[rows, columns]``; False where ``share`` was estimated from a sample of the
            cell's pairs, and where ``state`` may be PARTIAL only because nobody looked at them all.
    """

    view: View
    cell: tuple[int, int]
    q_first: int
    k_first: int
    state: NDArray[np.uint8]
    share: NDArray[np.float32]
    sure: NDArray[np.bool_]


def look(mask: Mask, view: View, *, seconds: float = 0.1) -> Look:
    """Return what a piece of ``mask`` holds.

    Cells at the edge of the view are whole cells; beyond the view's last query and key there is
    nothing. ``seconds`` is about how long it may take; what is not known by then is estimated,
    and said to be.

    >>> import sightline as sl
    >>> seen = look(sl.causal(), View(0, 8, 0, 8, rows=2, columns=2))
    >>> seen.cell, seen.state.tolist(), seen.share.tolist()
    ((4, 4), [[1, 0], [2, 1]], [[0.625, 0.0], [1.0, 0.625]])
    """
    cell = (
        cell_side(view.q_stop - view.q_start, view.rows),
        cell_side(view.k_stop - view.k_start, view.columns),
    )
    q_first, k_first = (
        start // side * side for start, side in zip((view.q_start, view.k_start), cell, strict=True)
    )
    queries, keys = view.q_stop - q_first, view.k_stop - k_first
    allowed = mask.dense(queries, keys, q_offset=q_first, kv_offset=k_first)
    pairs = allowed[min(view.batch, mask.batch - 1), min(view.head, mask.heads - 1)]
    counts, areas = (
        np.add.reduceat(
            np.add.reduceat(each, np.arange(0, queries, cell[0]), axis=0, dtype=np.int64),
            np.arange(0, keys, cell[1]),
            axis=1,
        )
        for each in (pairs, np.ones_like(pairs))
    )
    state = np.where(counts == 0, EMPTY, np.where(counts == areas, FULL, PARTIAL))
    return Look(
        view,
        cell,
        q_first,
        k_first,
        state.astype(np.uint8),
        (counts / areas).astype(np.float32),
        np.ones_like(state, np.bool_),
    )
