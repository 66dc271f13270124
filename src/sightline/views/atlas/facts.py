"""What is said beside a map of a mask: counts, blocks, cost, empty rows; what is not known, why.

All of it is exact or left out: nothing here is estimated. How it is shown is left to the page.
"""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np

from sightline.masks.bounds import Tiles
from sightline.masks.frame import Frame
from sightline.plan.block_map import BlockCounts
from sightline.plan.cost import forward_flops
from sightline.views.atlas.empty_rows import empty_runs
from sightline.views.atlas.tally import BLOCK, Clock, Held, OutOfTime, count
from sightline.views.reasons.owners import one_of, owner_of
from sightline.views.reasons.sentences import Line, in_words
from sightline.views.survey import power_of_two

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from sightline.masks.mask import Mask

__all__ = ["Facts", "edges", "facts"]

# How much of the time may be spent on counting; what is left is for empty rows.
_SHARE_COUNTING = 0.6
# The head dimension for which operations are told.
HEAD_DIM = 64


@dataclass(frozen=True)
class Facts:
    """What one batch row and head of a mask holds at a shape; None is not known.

    Attributes:
        batch: the batch row; ``head``: the head.
        head: see ``batch``.
        pairs: all pairs of a query and a key.
        count: those that are allowed.
        blocks: how many blocks of 128 x 128 pairs are empty, partial and full.
        computed: pairs of the blocks that are partial or full, which a kernel computes.
        flops: operations of a forward pass with ``HEAD_DIM``, where empty blocks are skipped.
        dense_flops: the same where nothing is.
        empty_count: queries that see no key.
        empty_runs: those as runs (first, last) of absolute positions, int64 ``[n, 2]``.
        empty_in_all: queries that see no key, over all batch rows and heads.
        words: the parts of the expression, in words.
        unknown: why a fact is None, by its name.
    """

    batch: int
    head: int
    pairs: int
    count: int | None
    blocks: BlockCounts | None
    computed: int | None
    flops: int | None
    dense_flops: int
    empty_count: int | None
    empty_runs: NDArray[np.int64] | None
    empty_in_all: int | None
    words: list[Line]
    unknown: Mapping[str, str]

    @property
    def density(self) -> float | None:
        """Allowed ÷ all pairs; 0 where there are none."""
        if self.count is None:
            return None
        return self.count / self.pairs if self.pairs else 0.0


def facts(
    mask: Mask,
    q_len: int,
    kv_len: int | None = None,
    *,
    q_offset: int = 0,
    batch: int = 0,
    head: int = 0,
    seconds: float = 0.5,
) -> Facts:
    """Return what a mask holds at a shape, as far as it can be found out in about ``seconds``.

    >>> import sightline as sl
    >>> found = facts(sl.causal() & sl.padding(lengths=[300, 0]), 512, batch=1)
    >>> found.count, found.blocks, found.empty_runs.tolist(), found.empty_in_all
    (0, BlockCounts(empty=16, partial=0, full=0), [[0, 511]], 512)

    Raises:
        ShapeMismatch: a negative length, or a shape beyond the array of a ``dense`` mask.
        InvalidArgument: a batch row or head that the mask does not have.
    """
    frame = Frame.of(q_len, kv_len, q_offset)
    frame.check(mask)
    owner = owner_of(mask, batch, head)
    pairs, started, unknown = frame.q_len * frame.kv_len, perf_counter(), dict[str, str]()
    late = f"it was not known within {seconds:g} s"
    try:
        held = _held(mask, owner, frame, Clock(started + seconds * _SHARE_COUNTING))
    except OutOfTime:
        held = None
        unknown |= dict.fromkeys(("count", "blocks", "computed", "flops"), late)
    runs: NDArray[np.int64] | None = None
    in_all: int | None = None
    clock = Clock(started + seconds)
    try:
        runs = empty_runs(mask, owner, frame, clock)
        others = [o for o in np.ndindex(mask.batch, mask.heads) if o != owner]
        in_all = _rows(runs) + sum(_rows(empty_runs(mask, o, frame, clock)) for o in others)
    except OutOfTime:
        names = ("empty_in_all",) if runs is not None else _EMPTY
        unknown |= dict.fromkeys(names, late)
    computed = None if held is None else int(held.computed.sum())
    return Facts(
        batch,
        head,
        pairs,
        None if held is None else int(held.pairs.sum()),
        None if held is None else _blocks(held, frame),
        computed,
        None if computed is None else forward_flops(computed, HEAD_DIM),
        forward_flops(pairs, HEAD_DIM),
        None if runs is None else _rows(runs),
        runs,
        in_all,
        in_words(mask),
        unknown,
    )


_EMPTY = ("empty_count", "empty_runs", "empty_in_all")


def _held(mask: Mask, owner: tuple[int, int], frame: Frame, clock: Clock) -> Held:
    """Count the whole frame, as one tile."""
    if not frame.q_len or not frame.kv_len:
        return Held.nothing(0)
    ends = (
        frame.q_offset,
        frame.q_offset + frame.q_len - 1,
        frame.kv_offset,
        frame.kv_offset + frame.kv_len - 1,
    )
    at = [np.array([n], np.int64) for n in (*owner, *ends)]
    whole = Tiles(at[0], at[1], at[2], at[3], at[4], at[5])
    side = power_of_two(frame.q_len), power_of_two(frame.kv_len)
    return count(mask, whole, side, clock)


def _blocks(held: Held, frame: Frame) -> BlockCounts:
    full, partial = int(held.full.sum()), int(held.mixed.sum())
    every = -(-frame.q_len // BLOCK) * -(-frame.kv_len // BLOCK)
    return BlockCounts(every - full - partial, partial, full)


def _rows(runs: NDArray[np.int64]) -> int:
    return int((runs[:, 1] - runs[:, 0] + 1).sum())


def edges(mask: Mask, batch: int = 0) -> NDArray[np.int64]:
    """Return where sequences begin or end in a batch row, by what the mask's data say; they rise.

    >>> import sightline as sl
    >>> edges(sl.causal() & sl.documents(lengths=[3, 5])).tolist()
    [0, 3, 8]
    """
    cuts = mask.cuts()
    return np.unique(cuts[one_of(batch, "batch", len(cuts), "batch rows")])
