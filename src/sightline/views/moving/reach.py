"""Layered reach, layer by layer: who can influence whom, and what each layer adds.

``sl.reach`` says who; here it is counted for the cells of a picture of any size. How frames look
and move is left to frames.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sightline.errors import InvalidArgument
from sightline.masks.evaluate import summarize
from sightline.masks.frame import Frame
from sightline.masks.mask import Mask
from sightline.masks.positional import nothing, window
from sightline.plan.reach import reach_by_layer
from sightline.views.moving.arguments import check_row, row_of
from sightline.views.survey import survey

__all__ = ["ADDED", "BEFORE", "LOST", "NEVER", "Layer", "follow_reach"]

# What a cell is after a layer: no pair in it; pairs that were there before; at least one new pair;
# none any more, though there were some.
NEVER, BEFORE, ADDED, LOST = range(4)


@dataclass(frozen=True, eq=False)
class Layer:
    """What can influence what after a number of layers.

    Attributes:
        layers: how many.
        states: uint8 ``[rows, columns]``: NEVER, BEFORE, ADDED or LOST for each cell.
        pairs, added, lost: pairs in all, and those that this layer brought and took.
        farthest: the greatest distance from a query to a key that can influence it; -1 for none.
    """

    layers: int
    states: NDArray[np.uint8]
    pairs: int
    added: int
    lost: int
    farthest: int


@dataclass(frozen=True, eq=False)
class Reach:
    """All layers, the size of a cell, and how many positions there are."""

    layers: tuple[Layer, ...]
    cell: tuple[int, int]
    length: int


def follow_reach(
    mask: Mask | Sequence[Mask],
    layers: int | None,
    length: int,
    *,
    residual: bool = True,
    mix_heads: bool = True,
    batch: int = 0,
    head: int = 0,
    fit: int = 64,
    most_layers: int = 64,
) -> Reach:
    """Return what each layer adds, from 0 layers (every position itself) on.

    Without a residual connection a layer can also take pairs away.

    >>> import sightline as sl
    >>> for each in follow_reach(sl.window(left=1, right=0), 2, 4).layers:
    ...     print(each.layers, each.pairs, each.added, each.farthest)
    0 4 4 0
    1 7 3 1
    2 9 2 2

    Raises:
        InvalidArgument: what ``sl.reach`` refuses, or more than ``most_layers``.
        ShapeMismatch: no such batch row or head.
    """
    number = len(mask) if isinstance(mask, (list, tuple)) and layers is None else layers
    if isinstance(number, int) and number > most_layers:
        raise InvalidArgument(
            f"got {number} layers; a drawing has a frame for each, at most {most_layers}. "
            "sl.reach answers for any number."
        )
    found = [
        window(left=0, right=0),
        *reach_by_layer(mask, layers, length, residual=residual, mix_heads=mix_heads),
    ]
    check_row(found[-1], batch, head, "there are")
    done: list[Layer] = []
    before: Mask = nothing()
    below, cell = _counts(before, length, fit, batch, head)
    for count, now in enumerate(found):
        pairs = _counts(now, length, fit, batch, head)[0]
        if residual:  # nothing is ever lost
            added, lost = pairs - below, np.zeros_like(pairs)
        else:
            added = _counts(now - before, length, fit, batch, head)[0]
            lost = _counts(before - now, length, fit, batch, head)[0]
        done.append(_layer(count, now, pairs, added, lost, length, row_of(now, batch, head)))
        before, below = now, pairs
    return Reach(tuple(done), cell, length)


def _counts(
    mask: Mask, length: int, fit: int, batch: int, head: int
) -> tuple[NDArray[np.int64], tuple[int, int]]:
    """Return the allowed pairs of each cell, and the size of a cell."""
    seen = survey(mask, length, fit=fit)
    return seen.counts[row_of(mask, batch, head)], seen.cell


def _layer(
    count: int,
    now: Mask,
    pairs: NDArray[np.int64],
    added: NDArray[np.int64],
    lost: NDArray[np.int64],
    length: int,
    row: tuple[int, int],
) -> Layer:
    states = np.select([added > 0, pairs > 0, lost > 0], [ADDED, BEFORE, LOST], default=NEVER)
    own = np.arange(length)
    rows = summarize(now, Frame.of(length, length))
    first, last = rows.first[row], rows.last[row]
    sees = first >= 0
    far = np.maximum(own - first, last - own)[sees]
    return Layer(
        layers=count,
        states=states.astype(np.uint8),
        pairs=int(pairs.sum()),
        added=int(added.sum()),
        lost=int(lost.sum()),
        farthest=int(far.max(initial=-1)),
    )
