"""BlockMap: which blocks of scores there are to compute, and which bits hold in the mixed ones.

The one thing that engines, pictures, shards and costs are made from. planner.py makes it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sightline.errors import InvalidArgument, ShapeMismatch
from sightline.lazy import room
from sightline.masks.bits import count_bits
from sightline.masks.bounds import FULL, PARTIAL
from sightline.masks.descent import Grid
from sightline.masks.frame import Frame
from sightline.masks.mask import Mask
from sightline.masks.text import short

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sightline.plan.cost import Cost

# The pattern of a run of FULL blocks.
FULL_RUN = -1
# A grid of states is written out for at most this many blocks: 64 MiB.
MOST_STATES = 2**26


class BlockCounts(NamedTuple):
    """How many blocks are in each state, over all batch rows and heads of the mask."""

    empty: int
    partial: int
    full: int


class Run(NamedTuple):
    """Key blocks ``first_block`` .. ``last_block`` of one query block; pattern -1 for FULL."""

    first_block: int
    last_block: int
    pattern: int


@dataclass(frozen=True, eq=False, repr=False)
class BlockMap:
    """The blocks of a mask at a shape: runs of key blocks for each batch row, head, query block.

    What is in no run is EMPTY. A row of runs is ``slice(row_start[r], row_start[r + 1])`` with
    ``r = (batch * heads + head) * q_blocks + query_block``; ``batch`` and ``heads`` are the mask's
    own, 1 where it is the same for all.

    Attributes:
        mask: the mask that this is a map of.
        frame: the shape: ``q_len``, ``kv_len`` and the absolute positions of the first query and
            key, ``q_offset`` and ``kv_offset``; also read as ``plan.q_len`` and so on.
        block_q: queries a block; ``block_kv``: keys a block. Blocks at the end of a sequence (of
            all of them, or with ``cuts="aligned"`` of each) may hold fewer.
        cuts: "uniform" or "aligned".
        grid: the absolute positions at which blocks begin and end.
        row_start: int64 ``[rows + 1]``.
        first_block, last_block: int32 ``[runs]``, both ends belong to the run.
        pattern: int32 ``[runs]``, -1 for FULL, else an index into ``patterns``.
        patterns: uint64 ``[patterns, block_q, words]``; bit i of word w of a row is key 64·w + i
            of the block. What is beyond a shorter block is 0.

    >>> import sightline as sl
    >>> plan = sl.plan(sl.causal(), 512)
    >>> plan
    BlockMap(causal(), 512 x 512 in blocks of 128 x 128: 6 full, 4 partial, 6 empty; 1 pattern)
    >>> plan.runs(query_block=2)
    [Run(first_block=0, last_block=1, pattern=-1), Run(first_block=2, last_block=2, pattern=0)]
    """

    mask: Mask
    frame: Frame
    block_q: int
    block_kv: int
    cuts: str
    grid: Grid
    row_start: NDArray[np.int64]
    first_block: NDArray[np.int32]
    last_block: NDArray[np.int32]
    pattern: NDArray[np.int32]
    patterns: NDArray[np.uint64]

    @property
    def batch(self) -> int:
        """The number of batch rows that the mask tells apart."""
        return self.mask.batch

    @property
    def heads(self) -> int:
        """The number of heads that the mask tells apart."""
        return self.mask.heads

    @property
    def q_len(self) -> int:
        """The number of queries."""
        return self.frame.q_len

    @property
    def kv_len(self) -> int:
        """The number of keys."""
        return self.frame.kv_len

    @property
    def q_offset(self) -> int:
        """The absolute position of the first query."""
        return self.frame.q_offset

    @property
    def kv_offset(self) -> int:
        """The absolute position of the first key."""
        return self.frame.kv_offset

    @property
    def q_blocks(self) -> int:
        """The number of query blocks."""
        return self.grid.rows

    @property
    def kv_blocks(self) -> int:
        """The number of key blocks."""
        return self.grid.columns

    @property
    def nbytes(self) -> int:
        """The memory that the map holds, without its mask's own data."""
        arrays = (self.row_start, self.first_block, self.last_block, self.pattern, self.patterns)
        return sum(array.nbytes for array in (*arrays, self.grid.q_edges, self.grid.k_edges))

    def check(
        self,
        mask: Mask,
        q_len: int,
        kv_len: int | None = None,
        q_offset: int = 0,
        kv_offset: int = 0,
    ) -> None:
        """Refuse to be used with another mask or another shape than its own.

        Raises:
            InvalidArgument: it is the map of another mask.
            ShapeMismatch: it is the map of another shape.
        """
        if mask is not self.mask and mask != self.mask:
            raise InvalidArgument(
                f"this plan was made for {short(self.mask)} and cannot be used with "
                f"{short(mask)}; call sl.plan with the mask at hand."
            )
        asked = Frame.of(q_len, kv_len, q_offset, kv_offset)
        if asked != self.frame:
            own, got = vars(self.frame), vars(asked)
            names = [name for name in own if own[name] != got[name]]
            wrong = [f"{name}={own[name]}, not {got[name]}" for name in names]
            raise ShapeMismatch(
                f"this plan was made for {'; '.join(wrong)}. Call sl.plan with the shape at hand; "
                "the plan of a shape seen before costs next to nothing."
            )

    # -- what is in it --------------------------------------------------------------------------

    def runs(self, query_block: int, batch: int = 0, head: int = 0) -> list[Run]:
        """Return the runs of one query block, from left to right."""
        owner = self._index("batch", batch) * self.heads + self._index("heads", head)
        if not 0 <= query_block < self.q_blocks:
            raise ShapeMismatch(
                f"query_block must be from 0 to {self.q_blocks - 1}, got {query_block}."
            )
        row = owner * self.q_blocks + query_block
        here = slice(int(self.row_start[row]), int(self.row_start[row + 1]))
        columns = (self.first_block[here], self.last_block[here], self.pattern[here])
        return [Run(*each) for each in zip(*(column.tolist() for column in columns), strict=True)]

    def _index(self, axis: str, index: int) -> int:
        size = int(getattr(self, axis))
        if size > 1 and not 0 <= index < size:
            raise ShapeMismatch(f"{axis} must be from 0 to {size - 1}, got {index}.")
        return index if size > 1 else 0

    @property
    def row(self) -> NDArray[np.int64]:
        """The row of every run, ``[runs]``."""
        return np.repeat(np.arange(len(self.row_start) - 1), np.diff(self.row_start))

    def extents(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return how many queries and how many keys every run spans, ``[runs]`` each."""
        owner, block = np.divmod(self.row, max(self.q_blocks, 1))
        batch = owner // self.heads
        return (
            _span(self.grid.q_edges, batch, block, block),
            _span(self.grid.k_edges, batch, self.first_block, self.last_block),
        )

    @cached_property
    def counts(self) -> BlockCounts:
        """How many blocks are empty, partial and full, over the mask's batch rows and heads."""
        length = self.last_block.astype(np.int64) - self.first_block + 1
        is_full = self.pattern == FULL_RUN
        full, partial = int(length[is_full].sum()), int(length[~is_full].sum())
        rows, columns = self.grid.filled(np.arange(self.batch))
        blocks = int((rows * columns).sum()) * self.heads
        return BlockCounts(blocks - full - partial, partial, full)

    @cached_property
    def pairs(self) -> int:
        """The number of allowed (query, key) pairs, over the mask's batch rows and heads."""
        heights, widths = self.extents()
        is_full = self.pattern == FULL_RUN
        total = int((heights * widths)[is_full].sum())
        if len(self.patterns):
            ones = count_bits(self.patterns, axis=(1, 2))
            length = (self.last_block - self.first_block + 1)[~is_full].astype(np.int64)
            total += int((ones[self.pattern[~is_full]] * length).sum())
        return total

    @property
    def all_pairs(self) -> int:
        """All pairs, allowed or not, over the mask's batch rows and heads."""
        return self.batch * self.heads * self.q_len * self.kv_len

    @property
    def density(self) -> float:
        """Allowed pairs ÷ all pairs, between 0 and 1; 0 if there is no pair at all."""
        return self.pairs / self.all_pairs if self.all_pairs else 0.0

    def states(self) -> NDArray[np.int8]:
        """Return 0 (EMPTY), 1 (PARTIAL) or 2 (FULL) for every block, written out.

        int8 ``[batch, heads, q_blocks, kv_blocks]``; refused for more than 2^26 blocks.
        """
        shape = (self.batch, self.heads, self.q_blocks, self.kv_blocks)
        if np.prod(shape, dtype=object) > MOST_STATES:
            raise InvalidArgument(
                f"the states of {list(shape)} blocks are too many to write out one by one; read "
                "the runs, or plan with larger blocks."
            )
        # A run raises the states from its first block on and lowers them again after its last.
        change = np.zeros((len(self.row_start) - 1, self.kv_blocks + 1), dtype=np.int8)
        state = np.where(self.pattern == FULL_RUN, FULL, PARTIAL).astype(np.int8)
        np.add.at(change, (self.row, self.first_block), state)
        np.subtract.at(change, (self.row, self.last_block + 1), state)
        return np.cumsum(change[:, :-1], axis=1, dtype=np.int8).reshape(shape)

    def cost(self, **sizes: int | None) -> Cost:
        """Return what attention under this plan costs; the arguments are those of ``cost_of``."""
        from sightline.plan.cost import cost_of

        return cost_of(self, **sizes)  # pyright: ignore[reportArgumentType]

    # -- text -----------------------------------------------------------------------------------

    def __repr__(self) -> str:
        empty, partial, full = self.counts
        patterns = f"{len(self.patterns)} pattern{'' if len(self.patterns) == 1 else 's'}"
        at = f" at {self.q_offset}, {self.kv_offset}" if self.q_offset or self.kv_offset else ""
        cuts = f", cut {self.cuts}" if self.cuts != "uniform" else ""
        return (
            f"BlockMap({short(self.mask)}, {self.q_len} x {self.kv_len}{at} in blocks of "
            f"{self.block_q} x {self.block_kv}{cuts}: {full} full, {partial} partial, "
            f"{empty} empty; {patterns})"
        )

    def _repr_html_(self) -> str:
        """Return what a notebook shows."""
        return room("views.plan_picture").plan_html(self)


def _span(
    edges: NDArray[np.int64],
    batch: NDArray[np.int64],
    first: NDArray[np.integer],
    last: NDArray[np.integer],
) -> NDArray[np.int64]:
    row = batch if len(edges) > 1 else np.zeros_like(batch)
    return edges[row, last + 1] - edges[row, first]
