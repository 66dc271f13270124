"""Exact answers about a mask at a shape, read off its structure: tiles first, cells where mixed.

Only ``dense`` holds a value for every cell. What the others cost follows the mask's boundary; a
mask without structure, such as a predicate, is asked cell by cell, a bounded number at a time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sightline.masks.arrays import Cells
from sightline.masks.bits import WORD, as_bools, count_bits, read
from sightline.masks.bounds import FULL
from sightline.masks.descent import Blocks, Grid, descend
from sightline.masks.frame import Frame
from sightline.masks.mask import Mask

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sightline.masks.bits import Words
    from sightline.masks.bounds import Ints, Tiles

# The side of the smallest tiles.
SIDE = 128
# Tiles whose rows are summed up at a time: 4 MiB for each intermediate result.
TILES_AT_ONCE = 2**12
_NOWHERE = 2**62


def dense(mask: Mask, frame: Frame) -> NDArray[np.bool_]:
    """Return the bools ``[batch, heads, q_len, kv_len]`` of the mask in the frame."""
    shape = (mask.batch, mask.heads, frame.q_len, frame.kv_len)
    result = np.empty(shape, dtype=np.bool_)
    if result.size:
        frame.check(mask)
        cells = Cells(
            batch=_axis(0, mask.batch, 0),
            head=_axis(0, mask.heads, 1),
            query=_axis(frame.q_offset, frame.q_len, 2),
            key=_axis(frame.kv_offset, frame.kv_len, 3),
        )
        result[...] = mask.allowed(cells)
    return result


def _axis(start: int, length: int, axis: int) -> NDArray[np.int64]:
    shape = [1, 1, 1, 1]
    shape[axis] = length
    return np.arange(start, start + length, dtype=np.int64).reshape(shape)


def count(mask: Mask, frame: Frame) -> int:
    """Return the number of allowed pairs over all batch rows and heads of the mask."""
    total = 0
    grid = _grid(mask, frame)
    for state, blocks in descend(mask, grid):
        tiles = grid.tiles(blocks)
        if state == FULL:
            total += int((tiles.heights * tiles.widths).sum())
            continue
        for _, words, group in read(mask, tiles):
            times = np.bincount(group, minlength=len(words))
            total += int((count_bits(words, axis=(1, 2)) * times).sum())
    return total


def _grid(mask: Mask, frame: Frame) -> Grid:
    frame.check(mask)
    return Grid.uniform(frame, SIDE, SIDE)


def density(mask: Mask, frame: Frame) -> float:
    """Return allowed pairs ÷ all pairs; 0 where there are no pairs."""
    pairs = mask.batch * mask.heads * frame.q_len * frame.kv_len
    return count(mask, frame) / pairs if pairs else 0.0


@dataclass(frozen=True)
class RowSummary:
    """What each query sees, ``[batch, heads, q_len]`` int64 each.

    Attributes:
        first: the first key, by its absolute position; -1 if the row is empty.
        last: the last key; -1 if the row is empty.
        seen: the number of keys.
    """

    first: Ints
    last: Ints
    seen: Ints


def summarize(mask: Mask, frame: Frame) -> RowSummary:
    """Return the first and the last key of every row, and how many there are."""
    beyond = frame.kv_offset + frame.kv_len
    shape = (mask.batch, mask.heads, frame.q_len)
    first = np.full(shape, beyond, dtype=np.int64)
    last, seen = np.full(shape, -1, dtype=np.int64), np.zeros(shape, dtype=np.int64)
    grid = _grid(mask, frame)
    tops = np.full((*shape[:2], grid.rows), beyond, dtype=np.int64)
    full = RowSummary(tops, np.full_like(tops, -1), np.zeros_like(tops))
    for state, blocks in descend(mask, grid):
        if state == FULL:
            _add_full(full, grid, blocks)
        else:
            _add_mixed(RowSummary(first, last, seen), mask, grid, blocks, frame)
    # What is full is full for every row of its blocks.
    of_row = np.arange(frame.q_len) // SIDE
    first = np.minimum(first, full.first[..., of_row])
    last = np.maximum(last, full.last[..., of_row])
    seen += full.seen[..., of_row]
    return RowSummary(np.where(seen > 0, first, -1), last, seen)


def _add_full(found: RowSummary, grid: Grid, blocks: Blocks) -> None:
    tiles = grid.tiles(blocks)
    square, row = grid.rows_of(blocks)
    where = (blocks.batch[square], blocks.head[square], row)
    start, end = tiles.k_first[square], tiles.k_last[square]
    np.minimum.at(found.first, where, start)
    np.maximum.at(found.last, where, end)
    np.add.at(found.seen, where, end - start + 1)


def _add_mixed(found: RowSummary, mask: Mask, grid: Grid, blocks: Blocks, frame: Frame) -> None:
    tiles = grid.tiles(blocks)
    for numbers, words, group in read(mask, tiles):
        low, high, ones = _ends(words)
        # Tiles of the same rows stand side by side, so that each stretch of them becomes one.
        owner = (blocks.batch * mask.heads + blocks.head) * grid.rows + blocks.row
        order = np.argsort(owner[numbers], kind="stable")
        for start in range(0, len(order), TILES_AT_ONCE):
            here = order[start : start + TILES_AT_ONCE]
            some, kind = tiles.at(numbers[here]), group[here]
            begins = np.flatnonzero(np.diff(owner[numbers[here]], prepend=-1))
            empty, key = ones[kind] == 0, some.k_first[:, None]
            first = np.where(empty, _NOWHERE, key + low[kind])
            first = np.minimum.reduceat(first, begins)
            last = np.maximum.reduceat(np.where(empty, -1, key + high[kind]), begins)
            seen = np.add.reduceat(ones[kind], begins)
            place, inside = _places(mask, some.at(begins), words.shape[1], frame)
            for known, new, combine in (
                (found.first, first, np.minimum),
                (found.last, last, np.maximum),
                (found.seen, seen, np.add),
            ):
                flat = known.reshape(-1)
                here, there = place[inside], new[inside]
                flat[here] = combine(flat[here], there)


def _places(mask: Mask, tiles: Tiles, height: int, frame: Frame) -> tuple[Ints, Any]:
    """Return where the rows of tiles stand in a flat ``[batch, heads, q_len]``, and which are real.

    The second is an index that leaves out rows beyond short tiles; all of them, if none is short.
    """
    owner = tiles.batch * mask.heads + tiles.head
    first = owner * frame.q_len + tiles.q_first - frame.q_offset
    place = first[:, None] + np.arange(height)
    inside = np.arange(height) < tiles.heights[:, None]
    return place, ... if inside.all() else inside


def _ends(words: Words) -> tuple[Ints, Ints, Ints]:
    """Return the first and the last set bit of every row, and how many are set, ``[P, rows]``."""
    found: list[list[Ints]] = []
    for word in range(words.shape[2]):
        bits = as_bools(words[..., word, None])
        some = words[..., word] != 0
        low, high = np.argmax(bits, axis=-1), WORD - 1 - np.argmax(bits[..., ::-1], axis=-1)
        beyond = words.shape[2] * WORD
        found.append(
            [
                np.where(some, low + word * WORD, beyond),
                np.where(some, high + word * WORD, -1),
            ]
        )
    lows, highs = zip(*found, strict=True)
    return np.min(lows, axis=0), np.max(highs, axis=0), count_bits(words, axis=2)


def empty_rows(mask: Mask, frame: Frame) -> NDArray[np.bool_]:
    """Return bools ``[batch, heads, q_len]``, True where a query may see no key."""
    result = np.ones((mask.batch, mask.heads, frame.q_len), dtype=np.bool_)
    grid = _grid(mask, frame)
    full = np.zeros((mask.batch, mask.heads, grid.rows), dtype=np.bool_)
    for state, blocks in descend(mask, grid):
        if state == FULL:
            square, row = grid.rows_of(blocks)
            full[blocks.batch[square], blocks.head[square], row] = True
            continue
        tiles = grid.tiles(blocks)
        for numbers, words, group in read(mask, tiles):
            place, _ = _places(mask, tiles.at(numbers), words.shape[1], frame)
            seen = (words != 0).any(axis=2)[group]
            result.reshape(-1)[place[seen]] = False
    return result & ~full[..., np.arange(frame.q_len) // SIDE]
