"""Which keys the rows of each rank see: stretches of blocks, and in mixed blocks the single keys.

What is seen is worked out from the runs of a plan by sorting, for all ranks at once: nowhere is a
rank's or a block's turn taken one after the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sightline.masks.bits import LOW, WORD, count_bits
from sightline.plan.block_map import FULL_RUN, BlockMap

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Ints = NDArray[np.int64]

__all__ = ["Seen", "seen_blocks", "seen_keys"]

_WHOLE = 0


@dataclass(frozen=True, eq=False)
class Seen:
    """What each group sees; group ``rank * batch + row`` is a rank in a batch row.

    Attributes:
        start: the stretches of group g are those from ``start[g]`` up to ``start[g + 1]``.
        first, stop: from which block up to which, ``[stretches]``; they rise and do not overlap.
        words: uint64 ``[stretches, words]``, the keys that are seen of each of its blocks; bit i
            of word w is key 64·w + i. 0 where they are all seen.
        batch: how many rows there are.
    """

    start: Ints
    first: Ints
    stop: Ints
    words: NDArray[np.uint64]
    batch: int

    @property
    def groups(self) -> Ints:
        """The group of each stretch."""
        return np.repeat(np.arange(len(self.start) - 1), np.diff(self.start))

    def received(self, owner: NDArray[np.int32], edges: Ints) -> Ints:
        """Return how many keys each rank sees and does not hold, ``[ranks]``."""
        return self._total(edges) - self._held(owner, edges)

    def sent(self, owner: NDArray[np.int32], edges: Ints) -> Ints:
        """Return how many keys each rank holds and another sees, each time, ``[ranks]``."""
        width = len(edges)
        row = self.groups % self.batch
        begin, end = row * width + self.first, row * width + self.stop
        size = self.batch * width
        times = np.zeros((2, size))
        for kind, weight in enumerate(((~self._mixed).astype(float), self._ones.astype(float))):
            times[kind] = np.bincount(begin, weight, size) - np.bincount(end, weight, size)
        whole, ones = np.cumsum(times.reshape(2, self.batch, width), axis=2)[:, :, :-1]
        asked = whole * np.diff(edges) + ones
        owner = np.broadcast_to(owner, asked.shape)
        ranks = (len(self.start) - 1) // self.batch
        total = np.bincount(owner.ravel(), asked.ravel(), ranks).astype(np.int64)
        return total - self._held(owner, edges)

    def keys(self, group: int, edges: Ints) -> NDArray[np.bool_]:
        """Return which keys a group sees, ``[keys]``."""
        here = slice(int(self.start[group]), int(self.start[group + 1]))
        first, stop, mixed = self.first[here], self.stop[here], self._mixed[here]
        place = edges - edges[0]
        change = np.zeros(int(place[-1]) + 1, dtype=np.int64)
        np.add.at(change, place[first[~mixed]], 1)
        np.add.at(change, place[stop[~mixed]], -1)
        result = np.cumsum(change[:-1]) > 0
        words, many = self.words[here][mixed], (stop - first)[mixed]
        bits = (words[:, :, None] >> np.arange(WORD, dtype=np.uint64)) & np.uint64(1)
        stretch, word, bit = np.nonzero(bits)
        # Each key that a stretch sees in a block, it sees in all its blocks.
        times = many[stretch]
        ahead = np.arange(int(times.sum())) - np.repeat(np.cumsum(times) - times, times)
        block = np.repeat(first[mixed][stretch], times) + ahead
        result[place[block] + np.repeat(WORD * word + bit, times)] = True
        return result

    def asked(self, row: int, blocks: Ints, edges: Ints) -> tuple[Ints, Ints]:
        """Return who sees which keys of some blocks: (rank, index of the key), sorted.

        Args:
            row: of which batch row.
            blocks: the blocks, rising.
            edges: where all blocks begin and end.
        """
        here = self.groups % self.batch == row
        low, high = (np.searchsorted(blocks, at[here]) for at in (self.first, self.stop))
        times = high - low
        stretch = np.repeat(np.arange(len(times)), times)
        ahead = np.arange(len(stretch)) - np.repeat(np.cumsum(times) - times, times)
        block = blocks[low[stretch] + ahead]
        words = self.words[here][stretch]
        bits = (words[:, :, None] >> np.arange(WORD, dtype=np.uint64)) & np.uint64(1)
        size = int(np.diff(edges).max(initial=0))
        seen = np.zeros((len(block), size), dtype=np.bool_)
        width = min(size, WORD * words.shape[1])
        seen[:, :width] = bits.reshape(len(block), WORD * words.shape[1])[:, :width]
        whole = ~words.any(axis=1)
        seen[whole] = np.arange(size) < np.diff(edges)[block[whole], None]
        pair, bit = np.nonzero(seen)
        rank = (self.groups[here] // self.batch)[stretch]
        return rank[pair], edges[block[pair]] - edges[0] + bit

    @property
    def _mixed(self) -> NDArray[np.bool_]:
        return np.asarray(self.words.any(axis=1))

    @property
    def _ones(self) -> Ints:
        return count_bits(self.words, axis=1).astype(np.int64)

    def _total(self, edges: Ints) -> Ints:
        many = np.where(
            self._mixed, self._ones * (self.stop - self.first), edges[self.stop] - edges[self.first]
        )
        return self._by_rank(many)

    def _held(self, owner: NDArray[np.int32], edges: Ints) -> Ints:
        """Return how many of the keys it sees a rank holds."""
        width = len(edges)
        rank = np.broadcast_to(owner, (self.batch, width - 1)).astype(np.int64)
        group = rank * self.batch + np.arange(self.batch)[:, None]
        order = np.argsort(group.ravel(), kind="stable")
        block = order % (width - 1)
        place = group.ravel()[order] * width + block
        before = np.zeros(len(block) + 1, dtype=np.int64)
        np.cumsum(np.diff(edges)[block], out=before[1:])
        base = self.groups * width
        begin, end = (np.searchsorted(place, base + at) for at in (self.first, self.stop))
        return self._by_rank(
            np.where(self._mixed, self._ones * (end - begin), before[end] - before[begin])
        )

    def _by_rank(self, many: Ints) -> Ints:
        ranks = (len(self.start) - 1) // self.batch
        return np.bincount(self.groups // self.batch, many, ranks).astype(np.int64)


def seen_blocks(plan: BlockMap, owner: NDArray[np.int32], ranks: int, batch: int) -> Seen:
    """Return the blocks of keys that each rank's rows see, whole."""
    group, first, stop, _ = _runs(plan, owner, batch)
    group, first, stop = _merged(group, first, stop, plan.kv_blocks + 1)
    return _seen(group, first, stop, np.zeros((len(group), 1), np.uint64), ranks, batch)


def seen_keys(plan: BlockMap, owner: NDArray[np.int32], ranks: int, batch: int) -> Seen:
    """Return the keys that each rank's rows see, and no others."""
    width = plan.kv_blocks + 1
    group, first, stop, pattern = _runs(plan, owner, batch)
    kinds, words = _columns(plan)
    kind = np.where(pattern == FULL_RUN, _WHOLE, kinds[pattern])
    group, first, stop = _merged(group * len(words) + kind, first, stop, width)
    group, kind = np.divmod(group, len(words))
    begin, end = group * width + first, group * width + stop
    # Between two neighbouring points, whatever is seen of a block is seen of all.
    points = np.unique(np.concatenate([begin, end]))
    begin, end = np.searchsorted(points, begin), np.searchsorted(points, end)
    is_whole = kind == _WHOLE
    size = len(points) + 1
    rises, falls = (np.bincount(at[is_whole], minlength=size) for at in (begin, end))
    whole = np.cumsum(rises - falls) > 0
    begin, many, kind = begin[~is_whole], (end - begin)[~is_whole], kind[~is_whole]
    ahead = np.arange(int(many.sum())) - np.repeat(np.cumsum(many) - many, many)
    piece, kind = np.repeat(begin, many) + ahead, np.repeat(kind, many)
    mixed = ~whole[piece]
    piece, kind = piece[mixed], kind[mixed]
    order = np.argsort(piece, kind="stable")
    piece, kind = piece[order], kind[order]
    new = np.flatnonzero(np.diff(piece, prepend=-1))
    union = np.zeros((size, words.shape[1]), dtype=np.uint64)
    if len(new):
        union[piece[new]] = np.bitwise_or.reduceat(words[kind], new, axis=0)
    some = np.flatnonzero(whole | union.any(axis=1))
    group, first = np.divmod(points[some], width)
    return _seen(group, first, points[some + 1] - group * width, union[some], ranks, batch)


def _seen(
    group: Ints, first: Ints, stop: Ints, words: NDArray[np.uint64], ranks: int, batch: int
) -> Seen:
    start = np.zeros(ranks * batch + 1, dtype=np.int64)
    np.cumsum(np.bincount(group, minlength=ranks * batch), out=start[1:])
    return Seen(start, first, stop, words, batch)


def _runs(
    plan: BlockMap, owner: NDArray[np.int32], batch: int
) -> tuple[Ints, Ints, Ints, NDArray[np.int32]]:
    """Return the group, first and stop block, and pattern of each run, in every batch row."""
    rows, block = np.divmod(plan.row, max(plan.q_blocks, 1))
    row = rows // plan.heads
    first = plan.first_block.astype(np.int64)
    stop = plan.last_block.astype(np.int64) + 1
    pattern = plan.pattern
    if plan.batch < batch:  # the mask is the same for all rows, who holds what is not
        row = np.repeat(np.arange(batch), len(block))
        block, first, stop = (np.tile(each, batch) for each in (block, first, stop))
        pattern = np.tile(pattern, batch)
    rank = owner[row if len(owner) > 1 else 0, block].astype(np.int64)
    return rank * batch + row, first, stop, pattern


def _merged(group: Ints, first: Ints, stop: Ints, width: int) -> tuple[Ints, Ints, Ints]:
    """Return the union of stretches, group by group; they rise and do not touch."""
    if not len(group):
        return group, first, stop
    # A stretch of a group never touches one of the next: each has a width of its own.
    begin, end = group * width + first, group * width + stop
    order = np.argsort(begin, kind="stable")
    begin, reach = begin[order], np.maximum.accumulate(end[order])
    new = np.append(True, begin[1:] > reach[:-1])
    last = np.append(np.flatnonzero(new)[1:] - 1, len(reach) - 1)
    group, first = np.divmod(begin[new], width)
    return group, first, reach[last] - group * width


def _columns(plan: BlockMap) -> tuple[Ints, NDArray[np.uint64]]:
    """Return the kind of each pattern, and the keys that any row sees in a block of each kind.

    Kind 0 is a block all of whose keys are seen, which takes no words.
    """
    count = plan.patterns.shape[2]  # fewer words than a block has if there are few keys
    full = np.full(count, LOW[WORD], dtype=np.uint64)
    full[-1:] = LOW[min(WORD, plan.block_kv - WORD * (count - 1))]
    seen = np.bitwise_or.reduce(plan.patterns, axis=1) if len(plan.patterns) else full[None]
    words, kinds = np.unique(seen, axis=0, return_inverse=True)
    kinds = np.where((seen == full).all(axis=1), _WHOLE, kinds.reshape(-1) + 1)
    return kinds, np.concatenate([np.zeros((1, count), np.uint64), words])
