"""Paddings as sets of keys: what several of them have in common, in either, and which holds which.

Of one batch size, as data_rules.py gives them; the result is what ``padding`` would make of the
keys, so one run in each row wherever it is one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import numpy as np

from sightline.masks.intervals import ENDLESS
from sightline.masks.mask import Mask
from sightline.masks.padding import Padding, ValidKeys, padding_bits, padding_runs

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Ints = NDArray[np.int64]

AnyPadding = Padding | ValidKeys

# Keys that are not one run in every row are a table of bits; no larger one is made of others.
MOST_CELLS = 2**22


def common_keys(paddings: Sequence[AnyPadding]) -> Mask:
    """Return the padding of the keys that are real in all of ``paddings``, of one batch size."""
    runs = [part for part in paddings if isinstance(part, Padding)]
    tables: list[NDArray[np.bool_]] = [p.valid.array for p in paddings if isinstance(p, ValidKeys)]
    start, stop = (np.stack(ends) for ends in _ends(runs)) if runs else ([[0]], [[ENDLESS]])
    start, stop = np.max(start, axis=0), np.min(stop, axis=0)
    if not tables:
        return padding_runs(start, stop)
    width = min(len(table[0]) for table in tables)
    key = np.arange(width)
    bits = (key >= start[:, None]) & (key < stop[:, None])
    for table in tables:
        bits = bits & table[:, :width]
    return padding_bits(bits)


def keys_of_either(paddings: Sequence[AnyPadding]) -> Mask | None:
    """Return the padding of the keys that are real in any of ``paddings``; None if too large."""
    runs = [part for part in paddings if isinstance(part, Padding)]
    joined = _joined_runs(runs) if len(runs) == len(paddings) else None
    if joined is not None:
        return joined
    batch = paddings[0].batch
    width = max(cast(int, part.extent()[1]) for part in paddings)
    if batch * width > MOST_CELLS:
        return None
    bits = np.zeros((batch, width), dtype=np.bool_)
    key = np.arange(width)
    for part in paddings:
        if isinstance(part, Padding):
            bits |= (key >= part.start.array[:, None]) & (key < part.stop.array[:, None])
        else:
            bits[:, : part.valid.array.shape[1]] |= part.valid.array
    return padding_bits(bits)


def _joined_runs(runs: Sequence[Padding]) -> Mask | None:
    """Return the union of the runs if it is one run in every batch row."""
    start, stop = (np.stack(ends) for ends in _ends(runs))
    start = np.where(start < stop, start, ENDLESS)  # the empty ones come last and join anything
    order = np.argsort(start, axis=0, kind="stable")
    start, stop = np.take_along_axis(start, order, 0), np.take_along_axis(stop, order, 0)
    reach = np.maximum.accumulate(stop, axis=0)
    if ((start[1:] > reach[:-1]) & (start[1:] < ENDLESS)).any():
        return None
    return padding_runs(start[0], reach[-1])


def _ends(runs: Sequence[Padding]) -> tuple[list[Ints], list[Ints]]:
    return [part.start.array for part in runs], [part.stop.array for part in runs]


def padding_within(inner: AnyPadding, outer: AnyPadding) -> bool:
    """``padding(A)`` is within ``padding(B)`` of as many rows if each key of A is one of B."""
    if inner.batch != outer.batch:
        return False
    if isinstance(inner, Padding) and isinstance(outer, Padding):
        start, stop = inner.start.array, inner.stop.array
        inside = (outer.start.array <= start) & (stop <= outer.stop.array)
        return bool((inside | (start == stop)).all())
    return common_keys([inner, outer]) == inner
