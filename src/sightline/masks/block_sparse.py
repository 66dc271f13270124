"""Sparse patterns made of blocks: random blocks after BigBird, block diffusion after BD3-LM."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sightline.errors import InvalidMask
from sightline.masks.arguments import as_int, as_size
from sightline.masks.arrays import Array, Cells
from sightline.masks.bounds import EMPTY, FULL, PARTIAL, between, every, states
from sightline.masks.intervals import ENDLESS
from sightline.masks.mask import Extent, Mask, Spec
from sightline.masks.nodes import Atom
from sightline.masks.periodic import same_chunks

if TYPE_CHECKING:
    from sightline.masks.bounds import Bools, Ints, Rows, Run, States, Tiles

# A tile of random blocks is read row of blocks by row of blocks if it has no more than these.
MOST_ROWS = 4


@dataclass(frozen=True, slots=True, repr=False)
class RandomBlocks(Atom):
    """The key's block is among ``per_row`` blocks drawn for the query's block."""

    block: int
    per_row: int
    seed: int

    def allowed(self, cells: Cells) -> Array:
        row, column = cells.query // self.block, cells.key // self.block
        result = (row < self.per_row) & (column <= row)
        for pick in self.drawn(row):
            result = result | ((row >= self.per_row) & (pick == column))
        return result

    def drawn(self, row: Array) -> list[Array]:
        """Return the blocks drawn for each row of blocks; rows below ``per_row`` take all."""
        # Floyd's sampling without replacement, written out over its ``per_row`` steps.
        chosen: list[Array] = []
        base = mix(mix(self.seed) ^ row)
        for step in range(self.per_row):
            top = row - self.per_row + 1 + step
            drawn = mix(base ^ (top * (top >= 0))) % (top * (top >= 0) + 1)
            taken = top < 0
            for earlier in chosen:
                taken = taken | (earlier == drawn)
            chosen.append(drawn * ~taken + top * taken)
        return chosen

    def bounds(self, tiles: Tiles) -> States:
        row, last_row = tiles.q_first // self.block, tiles.q_last // self.block
        result = every(PARTIAL, tiles)
        result[tiles.k_first > last_row * self.block + self.block - 1] = EMPTY
        few = np.flatnonzero((last_row - row < MOST_ROWS) & (result == PARTIAL))
        if not len(few):
            return result
        some, full = np.zeros(len(few), np.bool_), np.ones(len(few), np.bool_)
        first, last = tiles.k_first[few] // self.block, tiles.k_last[few] // self.block
        for step in range(MOST_ROWS):
            here = np.minimum(row[few] + step, last_row[few])
            met = np.maximum(np.minimum(last, here) - first + 1, 0)
            drawn = [(pick >= first) & (pick <= last) for pick in self.drawn(here)]
            met = np.where(here < self.per_row, met, np.sum(drawn, axis=0))
            some, full = some | (met > 0), full & (met == last - first + 1)
        result[few] = states(~some, full)
        return result

    def signature(self, tiles: Tiles) -> list[Ints]:
        """The heads and batch rows are alike."""
        return [tiles.q_first, tiles.k_first]

    def spec(self) -> Spec:
        return "random_blocks", {"block": self.block, "per_row": self.per_row, "seed": self.seed}


def mix(x: Array) -> Array:
    """Scramble 31-bit integers; every product stays within int64 on any array library."""
    low_bits = 2**31 - 1
    x = (x + 0x1E3779B9) & low_bits
    x = x ^ (x >> 16)
    x = (x * 0x45D9F3B) & low_bits
    x = x ^ (x >> 15)
    x = (x * 0x2C1B3C6D) & low_bits
    return x ^ (x >> 16)


@dataclass(frozen=True, slots=True, repr=False)
class BlockDiffusion(Atom):
    """Noised tokens 0 .. length-1, then the same tokens clean, in blocks of ``block``."""

    length: int
    block: int

    def allowed(self, cells: Cells) -> Array:
        query, key, length = cells.query, cells.key, self.length
        clean_query, clean_key = query >= length, key >= length
        query_block = (query % length) // self.block
        key_block = (key % length) // self.block
        own_noise = ~clean_query & ~clean_key & (query_block == key_block)
        earlier_clean = ~clean_query & clean_key & (key_block < query_block)
        clean_to_clean = clean_query & clean_key & (key_block <= query_block)
        inside = (query < 2 * length) & (key < 2 * length)
        return inside & (own_noise | earlier_clean | clean_to_clean)

    def bounds(self, tiles: Tiles) -> States:
        some, full = tiles.q_first < 0, tiles.q_first >= 0
        for clean_query in (0, 1, 2):
            for clean_key in (0, 1, 2):
                here, found = self._quadrant(tiles, clean_query, clean_key)
                some = some | (here & (found != EMPTY))
                full = full & (~here | (found == FULL))
        return states(~some, full)

    def _quadrant(self, tiles: Tiles, clean_query: int, clean_key: int) -> tuple[Bools, States]:
        """Return which tiles meet a quadrant (2 is beyond the data), and their states in it."""
        here = tiles.q_first >= 0
        first: list[Ints] = []
        last: list[Ints] = []
        for part, start, stop in (
            (clean_query, tiles.q_first, tiles.q_last),
            (clean_key, tiles.k_first, tiles.k_last),
        ):
            low = part * self.length
            high = low + self.length - 1 if part < 2 else ENDLESS
            here = here & (start <= high) & (stop >= low)
            first.append((np.maximum(start, low) - low) // self.block)
            last.append((np.minimum(stop, high) - low) // self.block)
        if 2 in (clean_query, clean_key) or clean_query > clean_key:
            return here, every(EMPTY, tiles)
        if clean_key == 0:
            return here, between(first[0], last[0], first[1], last[1])
        own = clean_query  # a clean token sees its own block as well
        return here, states(first[1] >= last[0] + own, last[1] < first[0] + own)

    def signature(self, tiles: Tiles) -> list[Ints]:
        """Within one quadrant the places in the blocks tell, and how far apart the blocks are."""
        ends = (tiles.q_first, tiles.q_last, tiles.k_first, tiles.k_last)
        half = [end // self.length for end in ends]
        simple = (half[0] == half[1]) & (half[2] == half[3]) & (half[1] < 2) & (half[3] < 2)
        there = tiles.over(
            (tiles.q_first % self.length, tiles.q_last % self.length),
            (tiles.k_first % self.length, tiles.k_last % self.length),
        )
        local = [2 * half[0] + half[2], *same_chunks(there, self.block)]
        other = [tiles.q_first, tiles.k_first, tiles.q_first * 0, tiles.q_first * 0]
        told = zip(local, other, strict=True)
        return [simple.astype(np.int64), *(np.where(simple, a, b) for a, b in told)]

    def runs(self, rows: Rows) -> list[Run] | None:
        query, length = rows.query, self.length
        clean = query >= length
        block_start = (query % length) // self.block * self.block
        block_stop = np.minimum(block_start + self.block, length)
        seen = (query < 2 * length) * 1
        own = np.where(clean, 0, block_start), np.where(clean, 0, block_stop)
        earlier = length + query * 0, np.where(clean, length + block_stop, length + block_start)
        return [own, (earlier[0], earlier[1] * seen)]

    def spec(self) -> Spec:
        return "block_diffusion", {"length": self.length, "block": self.block}

    def extent(self) -> Extent:
        return 2 * self.length, 2 * self.length


# -- what users call --------------------------------------------------------------------------


def random_blocks(block: int, per_row: int, seed: int = 0) -> Mask:
    """The key's block is one of ``per_row`` blocks drawn for the query's block.

    Blocks hold ``block`` positions. Query block i draws min(per_row, i + 1) different blocks of
    0 .. i, by a counter-based generator: the same seed gives the same mask whatever the length,
    the batch or the device. For an encoder, draw the other side as well:
    ``random_blocks(64, 3, seed=1) | random_blocks(64, 3, seed=2).T``. After BigBird
    (Zaheer et al. 2020), whose draw depends on the length.

    >>> import sightline as sl
    >>> mask = sl.random_blocks(block=2, per_row=2, seed=5)
    >>> bool((mask.dense(16)[..., :9, :9] == mask.dense(9)).all())
    True
    """
    block = as_size(block, "random_blocks(block=)")
    per_row = as_int(per_row, "random_blocks(per_row=)", least=1, most=4096)
    return RandomBlocks(
        block, per_row, as_int(seed, "random_blocks(seed=)", least=0, most=2**31 - 1)
    )


def block_diffusion(length: int, block: int) -> Mask:
    """BD3-LM's training mask over 2·length positions: noised tokens, then the same ones clean.

    A noised token sees the noised tokens of its own block and the clean tokens of earlier blocks;
    a clean token sees the clean tokens of its own and earlier blocks (Arriola et al. 2025,
    "Block Diffusion"). Positions from 2·length on see nothing.

    >>> import sightline as sl
    >>> sl.block_diffusion(length=4, block=2).dense(8)[0, 0].astype(int)
    array([[1, 1, 0, 0, 0, 0, 0, 0],
           [1, 1, 0, 0, 0, 0, 0, 0],
           [0, 0, 1, 1, 1, 1, 0, 0],
           [0, 0, 1, 1, 1, 1, 0, 0],
           [0, 0, 0, 0, 1, 1, 0, 0],
           [0, 0, 0, 0, 1, 1, 0, 0],
           [0, 0, 0, 0, 1, 1, 1, 1],
           [0, 0, 0, 0, 1, 1, 1, 1]])
    """
    length = as_size(length, "block_diffusion(length=)")
    block = as_size(block, "block_diffusion(block=)")
    if block > length:
        raise InvalidMask(
            f"block_diffusion(block=) must be at most length={length}, got {block}; "
            f"one block over all tokens is block={length}."
        )
    return BlockDiffusion(length, block)


__all__ = ["block_diffusion", "random_blocks"]
