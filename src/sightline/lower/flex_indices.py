"""The lists of blocks that FlexAttention wants, from the runs of a plan, without a dense grid.

torch's shape for them is ``[batch, heads, rows, columns]``. Only the entries before a row's count
mean anything, so the rows are laid over each other in a short buffer, by strides.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sightline.plan.block_map import FULL_RUN, BlockMap

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Ints = NDArray[np.int64]
    Int32s = NDArray[np.int32]


@dataclass(frozen=True)
class Runs:
    """Runs of blocks: the row of each, its first block, its length and its place in the row."""

    row: Ints
    first: Ints
    length: Ints
    place: Ints

    @staticmethod
    def of(row: Ints, first: Ints, length: Ints) -> Runs:
        """Order the runs by row and first block; ``place`` counts the blocks before, in its row."""
        order = np.lexsort((first, row))
        row, first, length = row[order], first[order], length[order]
        before = np.cumsum(length) - length
        begins = np.searchsorted(row, row, side="left")
        return Runs(row, first, length, before - before[begins])


@dataclass(frozen=True)
class BlockLists:
    """For each row its blocks: ``count`` of them, at ``buffer[start of row + 0, 1, ...]``.

    Attributes:
        count: int32 ``[batch, heads, rows]``.
        buffer: int32, flat; whatever a view of ``shape`` and ``strides`` reads lies in
            ``0 .. columns - 1``, beyond a row's count too.
        shape: ``(batch, heads, rows, columns)``.
        strides: in elements, one for each axis.
    """

    count: Int32s
    buffer: Int32s
    shape: tuple[int, int, int, int]
    strides: tuple[int, int, int, int]

    def tensors(self, torch: Any, device: Any) -> tuple[Any, Any]:
        """Return torch's pair: how many blocks each row has, and which."""
        count = torch.from_numpy(self.count).to(device)
        buffer = torch.from_numpy(self.buffer).to(device)
        return count, buffer.as_strided(self.shape, self.strides)


def partial_and_full(plan: BlockMap) -> tuple[BlockLists, BlockLists]:
    """Return the lists of the mixed and of the full blocks of a plan with uniform cuts.

    torch calls a block full only if it is whole, too: a shorter one at the end of the queries or
    keys is listed as mixed, and so it is here.
    """
    row, first = plan.row, plan.first_block.astype(np.int64)
    stop = plan.last_block.astype(np.int64) + 1
    is_full = plan.pattern == FULL_RUN
    if plan.q_len % plan.block_q:
        is_full = is_full & (row % plan.q_blocks != plan.q_blocks - 1)
    row_of, first_of, stop_of = row[is_full], first[is_full], stop[is_full]
    cut = np.zeros(len(row_of), dtype=bool)
    if plan.kv_len % plan.block_kv:
        cut = stop_of == plan.kv_blocks
    short = stop_of[cut] - 1
    full = Runs.of(row_of, first_of, stop_of - cut - first_of)
    mixed = Runs.of(
        np.concatenate([row[~is_full], row_of[cut]]),
        np.concatenate([first[~is_full], short]),
        np.concatenate([(stop - first)[~is_full], np.ones_like(short)]),
    )
    return lists(mixed, plan), lists(full, plan)


def lists(runs: Runs, plan: BlockMap) -> BlockLists:
    """Lay the blocks of the runs into a buffer, rows over each other where they agree."""
    shape = (plan.batch, plan.heads, plan.q_blocks, plan.kv_blocks)
    count = np.bincount(runs.row, runs.length, plan.batch * plan.heads * plan.q_blocks)
    count = count.astype(np.int32).reshape(shape[:3])
    agreed = _one_staircase(runs, shape)
    buffer, strides = agreed if agreed is not None else _apart(runs, count, shape)
    np.clip(buffer, 0, max(plan.kv_blocks - 1, 0), out=buffer)
    return BlockLists(count, buffer, shape, strides)


def _one_staircase(
    runs: Runs, shape: tuple[int, int, int, int]
) -> tuple[Int32s, tuple[int, int, int, int]] | None:
    """Return the buffer and strides if all rows are stretches of one rising line, else None.

    With row stride 0 they all begin alike (causal's full blocks 0 .. i-1), with row stride 1 each
    begins one later than the row before (its transpose: i+1 .. n).
    """
    rows, columns = shape[2:]
    for stride in (0, 1):
        ahead = runs.first - runs.place - stride * (runs.row % rows)
        if not len(ahead) or (ahead == ahead[0]).all():
            start = int(ahead[0]) if len(ahead) else 0
            length = stride * (rows - 1) + columns
            return np.arange(start, start + length, dtype=np.int32), (0, 0, stride, 1)
    return None


def _apart(
    runs: Runs, count: Int32s, shape: tuple[int, int, int, int]
) -> tuple[Int32s, tuple[int, int, int, int]]:
    """Return a buffer in which no row meets another, with as short a row stride as that allows."""
    heads, rows, columns = shape[1:]
    stride = min(_row_stride(count.reshape(-1, rows)), columns)
    table = stride * (rows - 1) + columns  # long enough for a whole last row
    begin = runs.row // rows * table + runs.row % rows * stride + runs.place
    # Every entry is one more than the entry before it, except where a run begins.
    buffer = np.ones(shape[0] * heads * table, dtype=np.int32)
    reached = np.concatenate([[1], runs.first[:-1]]) + np.diff(begin, prepend=0) - 1
    buffer[begin] = runs.first - reached
    np.cumsum(buffer, out=buffer)
    return buffer, (heads * table, table, stride, 1)


def _row_stride(count: Int32s) -> int:
    """Return a stride at which each row ends before the next one that has blocks begins.

    A power of two: torch.compile compiles again for every stride that it has not met.
    """
    table, row = np.nonzero(count)
    same = table[1:] == table[:-1]
    needed = -(-count[table, row][:-1][same] // np.diff(row)[same])
    return 1 << (int(needed.max(initial=1)) - 1).bit_length()
