"""The keys that each query may see as runs, exactly, at a shape: what several destinations want.

Most masks know their runs in closed form. The others are read off the plan, block by block, so
that no array of q_len × kv_len bools is ever held.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sightline.masks.bits import as_bools
from sightline.masks.bounds import Rows
from sightline.masks.frame import Frame
from sightline.masks.intervals import union
from sightline.plan.block_map import FULL_RUN, BlockMap
from sightline.plan.planner import plan

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sightline.lower.arguments import Asked
    from sightline.masks.mask import Mask

    Ints = NDArray[np.int64]
    # The row, the start and the stop (exclusive) of pieces of runs.
    Pieces = tuple[Ints, Ints, Ints]

# Patterns of blocks that are spread out to a byte a bit at a time: 16 MiB for blocks of 128 x 128.
PATTERNS_AT_ONCE = 2**10


@dataclass(frozen=True, eq=False)
class KeyRuns:
    """Sorted runs of keys that neither overlap nor touch, for every row.

    Row ``(batch * heads + head) * q_len + query`` has the runs ``row_start[row]`` up to but not
    including ``row_start[row + 1]``. Keys and queries count from 0, whatever the offsets.

    Attributes:
        batch: the number of batch rows that the mask tells apart.
        heads: the number of heads that it tells apart.
        q_len: the number of queries.
        kv_len: the number of keys.
        row_start: int64 ``[batch * heads * q_len + 1]``.
        first: int64 ``[runs]``, the first key of each run.
        stop: int64 ``[runs]``, one past its last key.
    """

    batch: int
    heads: int
    q_len: int
    kv_len: int
    row_start: Ints
    first: Ints
    stop: Ints

    @property
    def counts(self) -> Ints:
        """How many runs each row has, ``[rows]``."""
        return np.diff(self.row_start)

    @property
    def row(self) -> Ints:
        """The row of each run, ``[runs]``."""
        return np.repeat(np.arange(len(self.row_start) - 1), self.counts)

    def place(self, row: int) -> tuple[int, int, int]:
        """Return the batch row, the head and the query of a row."""
        owner, query = divmod(int(row), self.q_len)
        return *divmod(owner, self.heads), query


def key_runs(asked: Asked) -> KeyRuns:
    """Return the runs of keys of every query.

    >>> import sightline as sl
    >>> from sightline.lower.arguments import Asked
    >>> runs = key_runs(Asked(sl.window(1, 0) | sl.sinks(1), q_len=4, kv_len=4, q_offset=0))
    >>> runs.row_start, runs.first, runs.stop
    (array([0, 1, 2, 3, 5]), array([0, 0, 0, 0, 2]), array([1, 2, 3, 1, 4]))
    """
    return runs_of(asked.mask, Frame.of(asked.q_len, asked.kv_len, asked.q_offset))


def query_runs(asked: Asked) -> KeyRuns:
    """Return the runs of queries that see each key: rows are keys, their "keys" are queries."""
    return runs_of(asked.mask.T, Frame.of(asked.kv_len, asked.q_len, 0, asked.q_offset))


def runs_of(mask: Mask, frame: Frame) -> KeyRuns:
    """Return the runs of a mask in a frame."""
    frame.check(mask)
    rows = mask.batch * mask.heads * frame.q_len
    row, first, stop = _closed(mask, frame) or _planned(mask, frame)
    # Rows one behind the other on one line, with a gap between them, so that none touch.
    width = frame.kv_len + 1
    line = union([np.stack([row * width + first, row * width + stop], axis=1)])
    row = line[:, 0] // width
    counts = np.bincount(row, minlength=rows)
    return KeyRuns(
        mask.batch,
        mask.heads,
        frame.q_len,
        frame.kv_len,
        np.concatenate([[0], np.cumsum(counts)]),
        line[:, 0] - row * width,
        line[:, 1] - row * width,
    )


def _closed(mask: Mask, frame: Frame) -> Pieces | None:
    """Return the runs that the mask knows by itself, as pieces in any order; None if it does not.

    Only masks of a few runs a row do, so that there are O(rows) pieces.
    """
    owners = np.arange(mask.batch * mask.heads)[:, None]
    query = np.arange(frame.q_offset, frame.q_offset + frame.q_len)
    query = np.broadcast_to(query, (len(owners), frame.q_len))
    found = mask.runs(Rows(owners // mask.heads, owners % mask.heads, query))
    if found is None:
        return None
    row = np.arange(query.size).reshape(query.shape)
    pieces: list[Pieces] = []
    for start, stop in found:
        inside = (
            np.clip(np.broadcast_to(end, query.shape) - frame.kv_offset, 0, frame.kv_len)
            for end in (start, stop)
        )
        first, last = inside
        real = first < last
        pieces.append((row[real], first[real], last[real]))
    return _joined(pieces)


def _planned(mask: Mask, frame: Frame) -> Pieces:
    """Return the pieces of runs in the blocks of the plan, in any order."""
    found = plan(
        mask,
        frame.q_len,
        frame.kv_len,
        q_offset=frame.q_offset,
        kv_offset=frame.kv_offset,
    )
    owner, block = np.divmod(found.row, max(found.q_blocks, 1))
    # The grid is uniform: every block of a row or column but the last has the same size.
    top = owner * frame.q_len + block * found.block_q
    full = found.pattern == FULL_RUN
    heights, widths = found.extents()
    start = found.first_block.astype(np.int64) * found.block_kv
    row, of_run = spread(top[full], heights[full])
    pieces = [(row, start[full][of_run], (start + widths)[full][of_run])]
    pieces.extend(_partial_pieces(found, top[~full], ~full))
    return _joined(pieces)


def _partial_pieces(found: BlockMap, top: Ints, partial: NDArray[np.bool_]) -> list[Pieces]:
    """Return the pieces of the blocks that are mixed; blocks of a pattern have the same pieces."""
    length = (found.last_block - found.first_block + 1)[partial].astype(np.int64)
    block, of_run = spread(found.first_block[partial].astype(np.int64), length)
    top, pattern, left = top[of_run], found.pattern[partial][of_run], block * found.block_kv
    row, first, stop, counts = _pattern_pieces(found.patterns)
    begins = np.cumsum(counts) - counts
    piece, of_block = spread(begins[pattern], counts[pattern])
    return [
        (top[of_block] + row[piece], left[of_block] + first[piece], left[of_block] + stop[piece])
    ]


def _pattern_pieces(patterns: NDArray[np.uint64]) -> tuple[Ints, Ints, Ints, Ints]:
    """Return the row, start and stop of every run of bits in the patterns, and how many each has.

    The pieces of a pattern follow those of the one before.
    """
    found: list[Pieces] = []
    counts = np.zeros(len(patterns), dtype=np.int64)
    for begin in range(0, len(patterns), PATTERNS_AT_ONCE):
        some = patterns[begin : begin + PATTERNS_AT_ONCE]
        steps = np.diff(as_bools(some).view(np.int8), axis=-1, prepend=0, append=0)
        number, row, first = np.nonzero(steps == 1)
        stop = np.nonzero(steps == -1)[2]
        counts[begin : begin + len(some)] = np.bincount(number, minlength=len(some))
        found.append((row, first, stop))
    return *_joined(found), counts


def _joined(pieces: list[Pieces]) -> Pieces:
    if not pieces:
        return tuple(np.zeros((3, 0), dtype=np.int64))  # pyright: ignore[reportReturnType]
    row, first, stop = (np.concatenate(column) for column in zip(*pieces, strict=True))
    return row, first, stop


def spread(start: Ints, length: Ints) -> tuple[Ints, Ints]:
    """Return the integers of all ranges ``start`` .. ``start + length``, and the range of each.

    >>> spread(np.array([5, 0]), np.array([2, 3]))
    (array([5, 6, 0, 1, 2]), array([0, 0, 1, 1, 1]))
    """
    owner = np.repeat(np.arange(len(length)), length)
    within = np.arange(len(owner)) - np.repeat(np.cumsum(length) - length, length)
    return start[owner] + within, owner
