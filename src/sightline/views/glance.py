"""How much of each cell of a picture is allowed: counted where that is quick, else estimated.

survey.py counts, atlas/look.py estimates and says so; here is only the choice between the two.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sightline.views.atlas.look import View, look
from sightline.views.survey import Survey, TooMixed, survey

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from sightline.masks.frame import Frame
    from sightline.masks.mask import Mask

__all__ = ["Glance", "glances"]

Panel = tuple[int, int]


@dataclass(frozen=True, eq=False)
class Glance:
    """What one batch row and head of a mask allows.

    Attributes:
        share: float ``[rows, columns]``, allowed pairs ÷ pairs of each cell.
        empty: bool ``[rows]``, True where a row holds a query that sees nothing; None if unknown.
        count: allowed pairs in all, an estimate where ``sure`` is not None.
        sure: bool ``[rows, columns]``, False where ``share`` is an estimate; None: all of it exact.
        cell: (queries, keys) of a cell.
        origin: the absolute positions of the first query and the first key.
    """

    share: NDArray[np.float64]
    empty: NDArray[np.bool_] | None
    count: int
    sure: NDArray[np.bool_] | None
    cell: tuple[int, int]
    origin: tuple[int, int]


def glances(
    mask: Mask,
    frame: Frame,
    panels: Sequence[Panel],
    fit: tuple[int, int],
    *,
    most_mixed: int,
    patience: float,
    seconds: float,
) -> list[Glance]:
    """Look at some batch rows and heads, each drawn in at most ``fit`` rows and columns.

    Where more than ``most_mixed`` blocks would have to be read, or that takes longer than
    ``patience`` (seconds), shares are estimated, in about ``seconds`` for each.
    """
    try:
        seen = survey(
            mask,
            frame.q_len,
            frame.kv_len,
            q_offset=frame.q_offset,
            fit=fit,
            most_mixed=most_mixed,
            seconds=patience,
        )
    except TooMixed:
        return [_estimated(mask, frame, panel, fit, seconds) for panel in panels]
    return [_counted(seen, min(b, mask.batch - 1), min(h, mask.heads - 1)) for b, h in panels]


def _counted(seen: Survey, batch: int, head: int) -> Glance:
    counts, empty = seen.counts[batch, head], seen.empty[batch, head]
    if seen.q_len:
        empty = np.logical_or.reduceat(empty, np.arange(0, seen.q_len, seen.cell[0]))
    share = counts / np.maximum(seen.areas, 1)
    return Glance(share, empty, int(counts.sum()), None, seen.cell, (seen.q_offset, 0))


def _estimated(
    mask: Mask, frame: Frame, panel: Panel, fit: tuple[int, int], seconds: float
) -> Glance:
    stop = frame.q_offset + frame.q_len
    view = View(frame.q_offset, stop, 0, frame.kv_len, *fit, *panel)
    seen = look(mask, view, seconds=seconds)
    share = seen.share.astype(np.float64)
    heights, widths = (
        np.minimum(first + side * (np.arange(number) + 1), last)
        - np.maximum(first + side * np.arange(number), begin)
        for first, side, number, begin, last in (
            (seen.q_first, seen.cell[0], share.shape[0], frame.q_offset, stop),
            (seen.k_first, seen.cell[1], share.shape[1], 0, frame.kv_len),
        )
    )
    count = round(float((share * np.outer(heights, widths)).sum()))
    # Shares are rounded, so that even where all of them are sure their sum is not.
    return Glance(share, None, count, seen.sure, seen.cell, (seen.q_first, seen.k_first))
