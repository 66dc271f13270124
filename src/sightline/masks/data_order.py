"""Which of two masks lies within the other, where one is documents, padding, prefixes or chunks.

Only what holds for every length is said, and only what data_rules.py and rewrite.py can use in any
order: bands and positions merge among themselves, so they are found within these masks, never
around them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sightline.masks.data import PrefixLM, Segments
from sightline.masks.intervals import ENDLESS, mirrored, union
from sightline.masks.mask import Mask
from sightline.masks.moves import Transposed
from sightline.masks.nodes import Not, Nothing
from sightline.masks.padding import Padding, ValidKeys
from sightline.masks.padding_sets import padding_within
from sightline.masks.periodic import BlockCausal, Chunks
from sightline.masks.positional import Band, Positions

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sightline.masks.intervals import Intervals

    Ints = NDArray[np.int64]

DATA_ATOMS = (Segments, Padding, ValidKeys, PrefixLM, Chunks, BlockCausal)


def core(part: Mask) -> Mask:
    """Return the atom of ``a``, ``a.T``, ``~a`` or ``~a.T``."""
    part = part.part if isinstance(part, Not) else part
    return part.part if isinstance(part, Transposed) else part


def data_within(inner: Mask, outer: Mask) -> bool:
    """Return True only if ``inner`` is within ``outer``; a pair that is not known is False."""
    if isinstance(inner, Not):
        if not isinstance(core(inner), DATA_ATOMS):
            return False
        if not isinstance(outer, (Not, Band, Positions)):
            return together_everything(inner.part, outer)
        inner, outer = outer.complement(), inner.part  # ~a is within ~b iff b is within a
    if isinstance(outer, Transposed):
        if not isinstance(outer.part, DATA_ATOMS):
            return False
        inner, outer = inner.transposed(), outer.part
    if isinstance(outer, Segments):
        return isinstance(inner, Segments) and documents_within(inner, outer)
    if isinstance(outer, (Chunks, BlockCausal)):
        return chunks_within(inner, outer)
    if isinstance(outer, PrefixLM):
        return prefix_within(inner, outer)
    if isinstance(outer, (Padding, ValidKeys)) and isinstance(inner, (Padding, ValidKeys)):
        return padding_within(inner, outer)
    return False


def documents_within(inner: Segments, outer: Segments) -> bool:
    """``documents(A)`` is within ``documents(B)`` where each document of A lies in one of B."""
    if outer.batch not in (1, inner.batch) or inner.size() > outer.size():
        return False

    def one_row(row: int) -> bool:
        ids, starts, lasts = _runs(inner, row)
        outer_row = row if outer.batch > 1 else 0
        ends = np.cumsum(outer.lengths.array[outer_row])
        if len(ids) and lasts.max() >= ends[-1]:
            return False
        run = np.searchsorted(ends, starts, side="right")
        # Runs next to each other differ in id, so that one document lies in one run.
        whole = np.array_equal(run, np.searchsorted(ends, lasts, side="right"))
        label = outer.ids.array[outer_row][run]
        return whole and bool((label >= 0).all()) and _one_label_each(ids, label)

    return all(one_row(row) for row in range(inner.batch))


def together_everything(a: Mask, b: Mask) -> bool:
    """``~a`` is within b where every gap is in one of them: ``~block_causal(m)`` in its ``.T``."""
    return union([gaps_inside(a), gaps_inside(b)]).tolist() == [[-ENDLESS, ENDLESS]]


def chunks_within(inner: Mask, outer: Chunks | BlockCausal) -> bool:
    """``chunks(m)`` is within ``chunks(n)``, and that within ``block_causal(n)``, if m divides n.

    So are documents of which each lies in one chunk, and what is causal is in every block_causal.
    """
    if isinstance(inner, Band):
        # The diagonal is in every chunk, but chunks that it made needless would have cut documents.
        return isinstance(outer, BlockCausal) and bool(inner.gaps.array[-1, 1] <= 1)
    if isinstance(inner, Chunks) or (
        isinstance(inner, BlockCausal) and isinstance(outer, BlockCausal)
    ):
        return outer.size % inner.size == 0
    if not isinstance(inner, Segments):
        return False

    def one_row(row: int) -> bool:
        ids, starts, lasts = _runs(inner, row)
        label = starts // outer.size
        return np.array_equal(label, lasts // outer.size) and _one_label_each(ids, label)

    return all(one_row(row) for row in range(inner.batch))


def prefix_within(inner: Mask, outer: PrefixLM) -> bool:
    """``causal()``, ``prefix(m)`` and ``prefix_lm(m)`` are within ``prefix_lm(n)`` if m <= n."""
    if isinstance(inner, Band):
        return bool(inner.gaps.array[-1, 1] <= 1)
    if isinstance(inner, Positions):
        last = int(inner.members.array[-1, 1])
        return inner.axis == "key" and last <= outer.lengths.array.min()
    if not isinstance(inner, PrefixLM) or inner.batch != outer.batch:
        return False
    return bool((inner.lengths.array <= outer.lengths.array).all())


def gaps_inside(mask: Mask) -> Intervals:
    """Return the gaps H of the largest band(H) that data_within finds within ``mask``."""
    if isinstance(mask, Transposed):
        return mirrored(gaps_inside(mask.part))
    if isinstance(mask, (BlockCausal, PrefixLM)):
        return np.array([[-ENDLESS, 1]])
    return np.zeros((0, 2), dtype=np.int64)


def keys_inside(mask: Mask) -> Intervals:
    """Return the keys P of the largest keys(P) that is within ``mask`` for every query."""
    stop = int(mask.lengths.array.min()) if isinstance(mask, PrefixLM) else 0
    return np.array([[0, stop]])


def queries_inside(mask: Mask) -> Intervals:
    """Return the queries P of the largest queries(P) that is within ``mask`` for every key."""
    return keys_inside(mask.part if isinstance(mask, Transposed) else Nothing())


def _runs(segments: Segments, row: int) -> tuple[Ints, Ints, Ints]:
    """Return the ids, first and last positions of a row's runs, without the gaps."""
    ids, lengths = segments.ids.array[row], segments.lengths.array[row]
    ends, real = np.cumsum(lengths), ids >= 0
    return ids[real], (ends - lengths)[real], ends[real] - 1


def _one_label_each(ids: Ints, labels: Ints) -> bool:
    """Return whether runs of the same id have the same label; ids are 0, 1, ... and all appear."""
    _, first = np.unique(ids, return_index=True)
    return np.array_equal(labels, labels[first][ids])
