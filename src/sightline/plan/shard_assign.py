"""Dealing blocks of queries out to ranks: equally many to each, and equally much work.

Every rank starts with a stretch of neighbouring blocks, or one from either side, for which few
keys travel. Then heavy and light ranks exchange equally many blocks until areas are even.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sightline.plan.block_map import BlockMap

    Ints = NDArray[np.int64]
    Floats = NDArray[np.float64]

_Number = TypeVar("_Number", np.int64, np.float64)

__all__ = ["EVENNESS", "area_at_least", "counts_of", "evened_out"]

# By how much the largest area may exceed the mean: from no matter how much, which leaves stretches
# in order, to less than what the speed of a rank varies by. Finer makes more keys travel.
EVENNESS = (np.inf, 1.0, 0.3, 0.1, 0.02, 0.005)
# Other partners a heavy rank tries if it finds no exchange that helps.
_MOST_PARTNERS = 12
# From how many means on a rank gives half away, instead of as much as one light rank can take:
# two of them then go on.
_HALVED = 4.0
# How uneven areas must be left for blocks to be scattered.
_UNEVEN = 0.02


def counts_of(blocks: int, ranks: int) -> Ints:
    """Return how many blocks each rank holds: the last ranks one more if they do not go round."""
    few, more = divmod(blocks, ranks)
    return few + (np.arange(ranks) >= ranks - more).astype(np.int64)


def area_at_least(cost: Floats, ranks: int) -> float:
    """Return what no assignment of equally many blocks can have less of as its largest area.

    That is the mean; or else, whatever the ranks, one of them holds j + 1 of the ``ranks * j + 1``
    largest blocks of a batch row, for any j, and as few others as it may.
    """
    few = cost.shape[1] // ranks
    falling = -np.sort(-cost, axis=1)
    before = np.concatenate([np.zeros((len(cost), 1)), np.cumsum(falling, axis=1)], axis=1)
    j = np.arange(max(1, -(-cost.shape[1] // ranks)))
    top = j * ranks + 1
    j, top = j[top <= cost.shape[1]], top[top <= cost.shape[1]]
    total = before[:, -1:]
    held = before[:, top] - before[:, top - 1 - j]
    others = total - before[:, cost.shape[1] - np.maximum(few - 1 - j, 0)]
    least = total[:, 0] - before[:, cost.shape[1] - few]
    row = (held + others).max(axis=1, initial=0) + least.sum() - least
    return max(float(row.max(initial=0)), float(cost.sum()) / ranks)


def evened_out(
    plan: BlockMap,
    cost: Floats,
    ranks: int,
    *,
    evenness: float = EVENNESS[-1],
    folded: bool = False,
) -> NDArray[np.int32]:
    """Return the rank of each block of queries, int32 ``[1|B, q_blocks]``.

    Every rank gets as many blocks (give or take one) and as many tokens in one batch row as in
    another: where blocks do not go round the last ranks get one more, and a last block that is
    shorter than the others stays with the last rank.

    Args:
        plan: the block map.
        cost: what each block costs, ``[batch, q_blocks]``, over the plan's heads.
        ranks: among how many they are dealt out.
        evenness: by how much of the mean the largest area may exceed it.
        folded: whether each rank starts with two stretches, as far from the front as from the
            end, instead of one.
    """
    sizes = np.diff(plan.grid.q_edges[0])
    is_short = len(sizes) > 0 and bool(sizes[-1] != sizes[0])
    hands = _Hands.dealt(cost, ranks, is_short, folded)
    if not np.isfinite(evenness):
        return hands.owner()
    hands.match()
    mean = float(hands.load.mean())
    hands.even_out(evenness * mean)
    if not folded and hands.load.max() > (1 + _UNEVEN) * mean:
        # Blocks are large for so many ranks. Scattered ones become more even, for more keys.
        scattered = _Hands.dealt(cost, ranks, is_short, folded)
        scattered.scatter()
        scattered.even_out(evenness * mean)
        if scattered.load.max() < hands.load.max() - _UNEVEN / 2 * mean:
            return scattered.owner()
    return hands.owner()


class _Exchange(NamedTuple):
    """``many`` blocks of a light rank from its ``light``-th on, for as many of a heavy rank."""

    many: Ints
    light: Ints
    heavy: Ints
    work: Floats  # by how much the light rank's area grows

    def beside(self, other: _Exchange) -> _Exchange:
        """Return the exchanges of both, pair by pair."""
        return _Exchange(
            np.concatenate([self.many, other.many], axis=1),
            np.concatenate([self.light, other.light], axis=1),
            np.concatenate([self.heavy, other.heavy], axis=1),
            np.concatenate([self.work, other.work], axis=1),
        )

    def at(self, place: Ints) -> _Exchange:
        """Return one exchange of each pair."""
        pair = np.arange(len(place))
        return _Exchange(
            self.many[pair, place],
            self.light[pair, place],
            self.heavy[pair, place],
            self.work[pair, place],
        )


@dataclass
class _Hands:
    """Which blocks each rank holds in each batch row.

    Attributes:
        cost: what each block costs, ``[batch, blocks + 1]``; 0 for the one that there is not.
        held: the blocks that may be exchanged, rising, ``[batch, ranks, most]``; behind them
            ``blocks``, which there is not.
        count: how many they are, ``[ranks]``.
        load: each rank's area in all rows.
        is_short: whether the last block stays with the last rank.
    """

    cost: Floats
    held: Ints
    count: Ints
    load: Floats
    is_short: bool

    @classmethod
    def dealt(cls, cost: Floats, ranks: int, is_short: bool, folded: bool) -> _Hands:
        """Return blocks dealt out in stretches."""
        batch, blocks = cost.shape
        count = counts_of(blocks, ranks)
        first = np.cumsum(count) - count
        rank = np.arange(ranks)
        if folded:  # the last rank has both ends
            front = count // 2
            rank = np.concatenate([rank[::-1], rank])
            owner = np.repeat(rank, np.concatenate([front[::-1], count - front]))
        else:
            owner = np.repeat(rank, count)
        order = np.append(np.argsort(owner, kind="stable"), blocks)
        count[-1] -= is_short
        place = np.arange(max(1, int(count.max())))
        place = np.where(place < count[:, None], first[:, None] + place, blocks)
        held = order[place]
        padded = np.concatenate([cost, np.zeros((batch, 1))], axis=1)
        load = padded[:, held].sum(axis=(0, 2))
        if is_short:
            load[-1] += cost[:, -1].sum()
        return cls(padded, np.repeat(held[None], batch, axis=0), count, load, is_short)

    def owner(self) -> NDArray[np.int32]:
        """Return the rank of each block, ``[batch, blocks]``."""
        batch, ranks, _ = self.held.shape
        result = np.full(self.cost.shape, ranks - 1, dtype=np.int32)
        for row in range(batch):
            result[row, self.held[row]] = np.arange(ranks, dtype=np.int32)[:, None]
        return result[:, :-1]

    def match(self) -> None:
        """Give ranks with little work in the batch rows so far the heavy stretches of the next."""
        for row in range(1, len(self.held)):
            area = self.cost[row][self.held[row]].sum(axis=1)
            before = self.load - area
            for many in np.unique(self.count):
                alike = np.flatnonzero(self.count == many)
                light = alike[np.argsort(before[alike], kind="stable")]
                heavy = alike[np.argsort(-area[alike], kind="stable")]
                self.held[row, light] = self.held[row, heavy]
                self.load[light] = before[light] + area[heavy]

    def scatter(self) -> None:
        """Give the dearest block first, each to the rank with least work that has room."""
        for row, held in enumerate(self.held):
            self.load -= self.cost[row][held].sum(axis=1)
        for row, held in enumerate(self.held):
            blocks = np.sort(held[held < self.cost.shape[1] - 1])
            cost = self.cost[row][blocks]
            heap = [(area, rank) for rank, area in enumerate(self.load.tolist())]
            hands: list[list[int]] = [[] for _ in heap]
            heap = [each for each in heap if self.count[each[1]]]
            heapq.heapify(heap)
            order = np.argsort(-cost, kind="stable")
            room = self.count.tolist()
            for block, work in zip(blocks[order].tolist(), cost[order].tolist(), strict=True):
                area, rank = heapq.heappop(heap)
                hands[rank].append(block)
                self.load[rank] = area + work
                if len(hands[rank]) < room[rank]:
                    heapq.heappush(heap, (area + work, rank))
            for rank, hand in enumerate(hands):
                held[rank, : len(hand)] = sorted(hand)

    def even_out(self, slack: float) -> None:
        """Exchange blocks till no rank is over the mean by more, or none helps."""
        for row in range(len(self.held)):
            self._even_out(row, slack)

    def _even_out(self, row: int, slack: float) -> None:
        mean, ranks = float(self.load.mean()), len(self.load)
        partner, misses = 0, 0
        for _ in range(4 * ranks):
            order = np.argsort(self.load, kind="stable")
            over = int((self.load > mean + slack).sum())
            pairs = min(over, ranks // 2)
            partners = min(_MOST_PARTNERS, ranks - 2 * pairs + 1)
            if not pairs or misses >= partners:
                break
            partner %= partners
            light, heavy = order[partner : partner + pairs], order[::-1][:pairs]
            if self._exchange(row, light, heavy, mean, slack):
                misses = 0
            else:
                partner, misses = partner + 1, misses + 1

    def _exchange(self, row: int, light: Ints, heavy: Ints, mean: float, slack: float) -> bool:
        low, high = self.load[light], self.load[heavy]
        # At most this may go over, and this must for the heavy rank to be done with; where that is
        # more, the light rank is filled up.
        most, least = mean + slack - low, high - mean - slack
        least = np.where(least <= most, least, most - slack / 2)
        half, is_far = (high - low) / 2, high > _HALVED * mean
        least, most = np.where(is_far, half - slack, least), np.where(is_far, half, most)
        best = self._best(row, light, heavy, least, most)
        # The squares of the areas fall with every exchange, so that exchanging comes to an end.
        helps = (best.work > slack / 4) & (best.work < high - low)
        light, heavy = light[helps], heavy[helps]
        many, first, other, work = (
            best.many[helps],
            best.light[helps],
            best.heavy[helps],
            best.work[helps],
        )
        mine, theirs = self.held[row, light], self.held[row, heavy]
        place = np.arange(int(mine.shape[1]))
        shift = (other - first)[:, None]
        given = (place >= first[:, None]) & (place < (first + many)[:, None])
        taken = (place >= other[:, None]) & (place < (other + many)[:, None])
        last = len(place) - 1
        gets = _picked(theirs, np.clip(place + shift, 0, last))
        gives = _picked(mine, np.clip(place - shift, 0, last))
        self.held[row, light] = np.sort(np.where(given, gets, mine), axis=1)
        self.held[row, heavy] = np.sort(np.where(taken, gives, theirs), axis=1)
        self.load[light] += work
        self.load[heavy] -= work
        return bool(helps.any())

    def _best(self, row: int, light: Ints, heavy: Ints, least: Floats, most: Floats) -> _Exchange:
        """Return for each pair the exchange of fewest blocks that moves an area between two.

        Where there is none, the one that comes nearest. Stretches at an end of what a rank holds
        come before single blocks from between.
        """
        mine, theirs = (self.cost[row][self.held[row, rank]] for rank in (light, heavy))
        counts = self.count[light], self.count[heavy]
        wanted = (least + most) / 2
        ends = _ends(mine, theirs, *counts)
        options = ends.beside(_singles(mine, theirs, *counts, wanted))
        # Whatever moves work the wrong way, or more blocks than there are, is no exchange.
        is_one = (options.work > 0) & (options.many <= np.minimum(*counts)[:, None])
        work = np.where(is_one, options.work, 0.0)
        fits = is_one & (work >= least[:, None]) & (work <= most[:, None])
        # Whatever fits, by size, comes before whatever does not, by how far off it is.
        ranked = options.many - 3.0 * mine.shape[1]
        ranked[:, ends.many.shape[1] :] += mine.shape[1]
        off = np.where(is_one, np.abs(work - wanted[:, None]), np.inf)
        best = np.argmin(np.where(fits, ranked, off), axis=1)
        return options._replace(work=work).at(best)


def _ends(mine: Floats, theirs: Floats, count: Ints, other: Ints) -> _Exchange:
    """Return all exchanges of stretches at the ends, ``[pairs, 4 * most]``."""
    many = np.broadcast_to(np.arange(1, int(mine.shape[1]) + 1), mine.shape)
    light, heavy = _stretches(mine, count), _stretches(theirs, other)
    both = [(a, b) for a in reversed(light) for b in reversed(heavy)]
    return _Exchange(
        np.concatenate([many] * len(both), axis=1),
        np.concatenate([a[0] for a, _ in both], axis=1),
        np.concatenate([b[0] for _, b in both], axis=1),
        np.concatenate([b[1] - a[1] for a, b in both], axis=1),
    )


def _stretches(cost: Floats, count: Ints) -> list[tuple[Ints, Floats]]:
    """Return where 1, 2, ... blocks at either end begin, and what they cost."""
    many = np.arange(1, int(cost.shape[1]) + 1)
    before = np.zeros((len(cost), len(many) + 1))
    np.cumsum(cost, axis=1, out=before[:, 1:])
    tail = np.maximum(count[:, None] - many, 0)
    after = before[:, -1:] - _picked(before, tail)
    return [(np.zeros_like(tail), before[:, 1:]), (tail, after)]


def _singles(mine: Floats, theirs: Floats, count: Ints, other: Ints, wanted: Floats) -> _Exchange:
    """Return for each block of the heavy rank the one of the light it is best exchanged for."""
    pairs, most = len(mine), int(mine.shape[1])
    place = np.arange(most)
    order = np.argsort(np.where(place < count[:, None], mine, np.inf), axis=1, kind="stable")
    rising = _picked(mine, order)
    # One search for all pairs: each has a stretch of numbers of its own.
    apart = 4.0 * (float(mine.max(initial=0)) + float(theirs.max(initial=0)) + 1.0)
    base = apart * np.arange(pairs)[:, None]
    filled = np.where(place < count[:, None], rising, apart / 2) + base
    asked = np.clip(theirs - wanted[:, None], -apart / 4, apart / 4) + base
    found = np.searchsorted(filled.ravel(), asked.ravel()).reshape(asked.shape)
    found = found - most * np.arange(pairs)[:, None]
    above = np.clip(found, 0, np.maximum(count - 1, 0)[:, None])
    below = np.maximum(above - 1, 0)
    up, down = (_picked(rising, at) for at in (above, below))
    target = theirs - wanted[:, None]
    at = np.where(np.abs(up - target) <= np.abs(down - target), above, below)
    partner = _picked(order, at)
    work = theirs - _picked(mine, partner)
    exists = np.where(place < other[:, None], 1, most + 1)
    return _Exchange(exists, partner, np.broadcast_to(place, (pairs, most)), work)


def _picked(values: NDArray[_Number], place: Ints) -> NDArray[_Number]:
    """Return the values of each row at its places; take_along_axis without its checks."""
    return values[np.arange(len(place))[:, None], place]
