"""Exact counts of what large tiles hold, by halving them: equal parts are counted once.

What it costs follows how many different parts a mask is made of, not how many pairs; and it ends
when its time is over. What is counted where is left to look.py and facts.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from time import perf_counter, thread_time
from typing import TYPE_CHECKING

import numpy as np

from sightline.masks.bits import bits, count_bits, distinct, words_across
from sightline.masks.bounds import FULL, PARTIAL, Rows, Tiles

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sightline.masks.bits import Words
    from sightline.masks.mask import Mask

    Ints = NDArray[np.int64]

__all__ = ["BLOCK", "Clock", "Held", "OutOfTime", "count", "in_batches", "parts"]

# The side of the blocks that are read, and of those that are counted.
BLOCK = 128
# What is asked pair by pair is halved on, down to this: a word of keys.
_LEAF = (16, 64)
# Tiles that are halved at a time, and words that are read at a time: at first, and at most.
_MOST_TILES = 2**13
_FIRST_WORDS, _MOST_WORDS = 2**11, 2**16
# How many times longer than its work something may take.
_PATIENCE = 2
# Batches grow while each takes less than this, in seconds.
_SHORT = 0.004


class OutOfTime(Exception):
    """There is no time left; what was asked is not known."""


@dataclass(frozen=True)
class Clock:
    """When to stop.

    Attributes:
        end: a moment of ``time.perf_counter``; infinity is never.
        worked: a moment of ``time.thread_time``, which stands still while others have the
            processor: so that a busy machine takes longer, and does not find out less.
    """

    end: float = float("inf")
    worked: float = float("inf")

    @classmethod
    def of_work(cls, seconds: float) -> Clock:
        """Return a clock that ends after so many seconds of work, or not much later in any case."""
        return cls(perf_counter() + _PATIENCE * seconds, thread_time() + seconds)

    @property
    def is_over(self) -> bool:
        """Whether the time is over."""
        return perf_counter() > self.end or thread_time() > self.worked

    def check(self) -> None:
        """Raise OutOfTime if the time is over."""
        if self.is_over:
            raise OutOfTime


@dataclass(frozen=True)
class Held:
    """What tiles hold, int64 ``[T]`` each.

    Attributes:
        pairs: allowed pairs.
        full: blocks of 128 x 128, counted from the tile's first pair, of which all are allowed.
        mixed: those of which some are.
        computed: the pairs of both.
    """

    pairs: Ints
    full: Ints
    mixed: Ints
    computed: Ints

    @classmethod
    def nothing(cls, count: int) -> Held:
        """Return room for so many tiles."""
        return cls(*(np.zeros(count, np.int64) for _ in range(4)))

    def put(self, places: Ints | slice, held: Held, group: Ints | slice) -> None:
        """Set the tiles at ``places`` to what is ``held`` by those of ``group``."""
        for mine, other in zip(self.columns(), held.columns(), strict=True):
            mine[places] = other[group]

    def columns(self) -> tuple[Ints, Ints, Ints, Ints]:
        """Return the four."""
        return self.pairs, self.full, self.mixed, self.computed


def count(mask: Mask, tiles: Tiles, side: tuple[int, int], clock: Clock) -> Held:
    """Return what each of the tiles holds.

    ``side`` is the (queries, keys) of a whole tile, powers of two; tiles at a border are smaller.

    Raises:
        OutOfTime: the clock was over before all of it was known.
    """
    clock.check()
    held, found = Held.nothing(len(tiles)), mask.bounds(tiles)
    full = np.flatnonzero(found == FULL)
    held.put(full, _whole(tiles.at(full)), slice(None))
    mixed = np.flatnonzero(found == PARTIAL)
    if not len(mixed):
        return held
    some = tiles.at(mixed)
    first, group = distinct(mask, some)
    kinds = some.at(first)
    if max(side) > BLOCK:
        inner = _halved(mask, kinds, side, (BLOCK, BLOCK), clock)
    elif side[0] * side[1] > _LEAF[0] * _LEAF[1] and _is_asked_by_cell(mask, kinds):
        inner = _as_block(kinds, _halved(mask, kinds, side, _LEAF, clock).pairs)
    else:
        inner = _read(mask, kinds, clock)
    held.put(mixed, inner, group)
    return held


def _is_asked_by_cell(mask: Mask, tiles: Tiles) -> bool:
    """Return whether rows are no runs, so that every pair that is read has its price."""
    top = tiles.at(slice(1)).top
    return mask.runs(Rows(top.batch[:, None], top.head[:, None], top.query[:, None])) is None


def _whole(tiles: Tiles) -> Held:
    area = tiles.heights * tiles.widths
    return Held(area, -(-tiles.heights // BLOCK) * -(-tiles.widths // BLOCK), area * 0, area)


def _halved(
    mask: Mask, tiles: Tiles, side: tuple[int, int], least: tuple[int, int], clock: Clock
) -> Held:
    """Count the quarters of tiles, or the halves where one axis has reached its ``least``."""
    held = Held.nothing(len(tiles))
    down, across = (n // 2 if n > most else n for n, most in zip(side, least, strict=True))
    for start in range(0, len(tiles), _MOST_TILES):
        here = slice(start, start + _MOST_TILES)
        inside, inner_tiles = parts(tiles.at(here), side, (down, across))
        inner = count(mask, inner_tiles, (down, across), clock)
        begins = np.flatnonzero(np.diff(inside, prepend=-1))
        sums = Held(*(np.add.reduceat(column, begins) for column in inner.columns()))
        held.put(here, sums, slice(None))
    return held


def parts(tiles: Tiles, side: tuple[int, int], step: tuple[int, int]) -> tuple[Ints, Tiles]:
    """Return (whose part it is, the part) for every part of ``step`` of every tile, in order."""
    down, across = np.meshgrid(*(np.arange(n // s) for n, s in zip(side, step, strict=True)))
    q_first = tiles.q_first[:, None] + down.reshape(-1) * step[0]
    k_first = tiles.k_first[:, None] + across.reshape(-1) * step[1]
    real = (q_first <= tiles.q_last[:, None]) & (k_first <= tiles.k_last[:, None])
    inside, part = np.nonzero(real)
    q_first, k_first = q_first[inside, part], k_first[inside, part]
    return inside, Tiles(
        tiles.batch[inside],
        tiles.head[inside],
        q_first,
        np.minimum(q_first + step[0] - 1, tiles.q_last[inside]),
        k_first,
        np.minimum(k_first + step[1] - 1, tiles.k_last[inside]),
    )


def _read(mask: Mask, tiles: Tiles, clock: Clock) -> Held:
    """Count tiles of at most one block, bit by bit."""
    pairs = np.zeros(len(tiles), np.int64)
    for here, words in in_batches(mask, tiles, clock):
        pairs[here] = count_bits(words, axis=(1, 2))
    return _as_block(tiles, pairs)


def _as_block(tiles: Tiles, pairs: Ints) -> Held:
    """Say of tiles of at most one block what they are as blocks."""
    area = tiles.heights * tiles.widths
    full, mixed = pairs == area, (pairs > 0) & (pairs < area)
    return Held(pairs, full * 1, mixed * 1, (full | mixed) * area)


def in_batches(mask: Mask, tiles: Tiles, clock: Clock) -> Iterator[tuple[slice, Words]]:
    """Yield the bits of tiles, a few at first and more while that is quick, until time is over.

    Raises:
        OutOfTime: before the bits of all of them were read.
    """
    if not len(tiles):
        return
    height, width = int(tiles.heights.max()), int(tiles.widths.max())
    each, most, start = height * words_across(width), _FIRST_WORDS, 0
    while start < len(tiles):
        clock.check()
        began = perf_counter()
        here = slice(start, start + max(1, most // each))
        yield here, bits(mask, tiles.at(here), height, width)
        start = here.stop
        if perf_counter() - began < _SHORT:
            most = min(2 * most, _MOST_WORDS)
