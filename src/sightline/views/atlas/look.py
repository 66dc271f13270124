"""What a piece of a mask holds, cell by cell, at the zoom of whoever looks: never the whole of it.

A cell is one pair or a square of them whose side is a power of two, at fixed places: so that
moving a view shows the same cells at other places. How cells are colored is left to the page.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sightline.errors import InvalidArgument
from sightline.masks.arguments import as_int
from sightline.views.atlas.canvas import Canvas
from sightline.views.atlas.tally import Clock, OutOfTime
from sightline.views.reasons.owners import owner_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from sightline.masks.mask import Mask

__all__ = ["Look", "View", "look"]

# How much of the time may be spent on counting; what is left is for estimates.
_SHARE_COUNTING = 0.7
# Views of no more pairs are counted however long it takes: a few milliseconds for most masks.
_FEW_PAIRS = 2**17


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

    Cells that hold fewer pairs, at the view's last query and key, count those.
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
    nothing. ``seconds`` is about how long it may work (on a busy machine it takes longer, not less
    is found out); what is not known by then is estimated, and said to be. Single pairs, and views
    of few pairs, are exact however long they take.

    Raises:
        InvalidArgument: the view is no rectangle of pairs, or names a batch row or head that the
            mask does not have.
        ShapeMismatch: the view goes beyond the array of a ``dense`` mask.

    >>> import sightline as sl
    >>> seen = look(sl.causal(), View(0, 8, 0, 8, rows=2, columns=2))
    >>> seen.cell, seen.state.tolist(), seen.share.tolist()
    ((4, 4), [[1, 0], [2, 1]], [[0.625, 0.0], [1.0, 0.625]])
    """
    owner = _checked(mask, view)
    canvas = Canvas.over(
        mask,
        owner,
        (view.q_start, view.q_stop, view.k_start, view.k_stop),
        (view.rows, view.columns),
    )
    exact = canvas.cell == (1, 1) or canvas.pairs <= _FEW_PAIRS
    try:
        canvas.count(Clock() if exact else Clock.of_work(seconds * _SHARE_COUNTING))
    except OutOfTime:
        canvas.estimate(Clock.of_work(seconds * (1 - _SHARE_COUNTING)))
    return Look(view, canvas.cell, *canvas.first, *canvas.result())


def _checked(mask: Mask, view: View) -> tuple[int, int]:
    """Return the batch row and head to look at: those of the view, or the one that serves all."""
    for name, value in vars(view).items():
        as_int(value, f"View({name}=)", least=name in ("rows", "columns"), error=InvalidArgument)
    for axis in "qk":
        start, stop = (getattr(view, f"{axis}_{end}") for end in ("start", "stop"))
        if stop < start:
            raise InvalidArgument(
                f"View({axis}_stop=) must not be before {axis}_start, got {start} and {stop}."
            )
    return owner_of(mask, view.batch, view.head)
