"""What may lie over a picture of a mask: blocks of a plan, a difference, names of its parts.

Records only. marks.py reads names off a mask, scene.py the others; svg/extras.py draws them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np

from sightline.masks.bounds import EMPTY, FULL, PARTIAL
from sightline.views.labels import share_text
from sightline.views.svg.words import ENGLISH, Words

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sightline.plan.block_map import BlockCounts, BlockMap

__all__ = ["Change", "Mark", "Overlay", "overlay_of"]

# More blocks than this are counted, not drawn: nobody could tell them apart.
MOST_BLOCKS = 1 << 14


@dataclass(frozen=True, eq=False)
class Change:
    """What a mask allows more and less than another one.

    Attributes:
        added: float ``[rows, columns]``, the share of a cell's pairs that are newly allowed.
        removed: float ``[rows, columns]``, the share that is no longer allowed.
        both: pairs that both allow, in all.
        pairs_added: newly allowed pairs, in all.
        pairs_removed: pairs no longer allowed, in all.
    """

    added: NDArray[np.float64]
    removed: NDArray[np.float64]
    both: int
    pairs_added: int
    pairs_removed: int

    @cached_property
    def any(self) -> NDArray[np.bool_]:
        """Where anything is added or removed. Kept: it is asked for cell by cell."""
        return (self.added > 0) | (self.removed > 0)

    @property
    def share(self) -> NDArray[np.float64]:
        """How much of each cell is added or removed."""
        return self.added + self.removed

    def meaning(self, row: int, column: int, words: Words = ENGLISH) -> str:
        """Return what is different in a cell, in words."""
        added, removed = float(self.added[row, column]), float(self.removed[row, column])
        if not added and not removed:
            return words["same"]
        told = [(words["added"], added), (words["removed"], removed)]
        return ", ".join(
            word if share == 1.0 else words["part"].format(share=share_text(share), what=word)
            for word, share in told
            if share
        )

    def cells(self) -> dict[str, NDArray[np.bool_]]:
        """Return the cells of each kind of change, bool ``[rows, columns]``."""
        added, removed = self.added > 0, self.removed > 0
        return {
            "added": added & ~removed,
            "removed": removed & ~added,
            "mixed": added & removed,
        }


@dataclass(frozen=True)
class Mark:
    """A name for a stretch of queries or of keys.

    Attributes:
        axis: ``"query"`` or ``"key"``.
        start: the first position of the stretch, counted from the picture's first.
        stop: the position behind its last one.
        label: its name.
        border: whether a line is drawn where it begins and ends.
    """

    axis: Literal["query", "key"]
    start: int
    stop: int
    label: str
    border: bool = True


@dataclass(frozen=True, eq=False)
class Overlay:
    """The blocks of a plan, of one batch row and head.

    Attributes:
        q_edges: where blocks of queries begin and end, counted from the picture's first query.
        k_edges: the same for keys.
        states: int8 ``[query blocks, key blocks]`` of EMPTY, PARTIAL and FULL; None where there
            are too many to be drawn.
        counts: how many blocks are in each state.
        size: (queries, keys) of a block.
    """

    q_edges: NDArray[np.int64]
    k_edges: NDArray[np.int64]
    states: NDArray[np.int8] | None
    counts: BlockCounts
    size: tuple[int, int]


def overlay_of(plan: BlockMap, batch: int = 0, head: int = 0) -> Overlay:
    """Return the blocks of one batch row and head of a plan.

    >>> import sightline as sl
    >>> overlay_of(sl.plan(sl.causal(), 4, block_q=2, block_kv=2)).states.tolist()
    [[1, 0], [2, 1]]
    """
    batch, head = min(batch, plan.batch - 1), min(head, plan.heads - 1)
    first = (batch * plan.heads + head) * plan.q_blocks
    begin, end = (int(plan.row_start[row]) for row in (first, first + plan.q_blocks))
    runs = slice(begin, end)
    row, state = plan.row[runs] - first, np.where(plan.pattern[runs] < 0, FULL, PARTIAL)
    starts, stops = plan.first_block[runs].astype(np.int64), plan.last_block[runs].astype(np.int64)
    q_edges, k_edges = (
        edges[min(batch, len(edges) - 1)] - offset
        for edges, offset in (
            (plan.grid.q_edges, plan.q_offset),
            (plan.grid.k_edges, plan.kv_offset),
        )
    )
    # Where another batch row is cut into more blocks, the last ones hold nothing.
    rows, columns = (int(np.count_nonzero(np.diff(edges))) for edges in (q_edges, k_edges))
    lengths = stops - starts + 1
    full, partial = int(lengths[state == FULL].sum()), int(lengths[state == PARTIAL].sum())
    states = None
    if rows * columns <= MOST_BLOCKS:
        states = np.full((rows, columns), EMPTY, np.int8)
        for place in range(len(row)):
            states[row[place], starts[place] : stops[place] + 1] = state[place]
    counts = type(plan.counts)(rows * columns - full - partial, partial, full)
    return Overlay(
        q_edges[: rows + 1], k_edges[: columns + 1], states, counts, (plan.block_q, plan.block_kv)
    )
