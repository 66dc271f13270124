"""The cells of tiles, exactly, as bits: 64 keys of a row in one word.

Rows that are a few runs of keys become words without looking at a cell; what is not is asked cell
by cell. In ``&`` and ``|`` only the parts that are mixed in a tile are read.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from sightline.masks.arrays import Cells
from sightline.masks.bounds import EMPTY, FULL, PARTIAL, Rows, Tiles
from sightline.masks.explicit import PerRow
from sightline.masks.nodes import And, Not, Or

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sightline.masks.bounds import Ints, Run
    from sightline.masks.mask import Mask

    # [tiles, rows, words]: bit i of word w is key 64 * w + i of the tile.
    Words = NDArray[np.uint64]

WORD = 64
# LOW[n] has the lowest n bits set.
LOW = np.array([(1 << n) - 1 for n in range(WORD + 1)], dtype=np.uint64)
# Cells read one by one at a time: 4 MiB for each intermediate result.
MOST_CELLS = 2**19
# Odd, and without a pattern.
MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
# Words a row, up to which the lowest keys of a row come from a table, whose size is the square.
MOST_TABLED = 16
# Words read at a time: 512 KiB.
MOST_READ = 2**16


def words_across(width: int) -> int:
    """Return how many words hold ``width`` keys."""
    return -(-width // WORD)


def bits(mask: Mask, tiles: Tiles, height: int, width: int) -> Words:
    """Return the cells of the tiles, ``[T, height, words]``; what is beyond a tile is 0.

    ``height`` and ``width`` are at least those of the largest tile.
    """
    words = words_across(width)
    result = _bits(mask, tiles, height, words)
    if not _all_whole(tiles, height, words):
        result = result & _inside(tiles, height, words)
    return result


def _bits(mask: Mask, tiles: Tiles, height: int, words: int) -> Words:
    """The same, with any bits beyond a tile."""
    query = _along(tiles.q_first, tiles.q_last, height)
    runs = mask.runs(Rows(tiles.batch[:, None], tiles.head[:, None], query))
    if runs is not None:
        return _from_runs(runs, tiles, height, words)
    if isinstance(mask, Not):
        return ~_bits(mask.part, tiles, height, words)
    if isinstance(mask, (And, Or)):
        return _combined(mask, tiles, height, words)
    if isinstance(mask, PerRow):
        result = np.zeros((len(tiles), height, words), dtype=np.uint64)
        for part, mine in mask.each(tiles):
            result[mine] = _bits(part, tiles.at(mine), height, words)
        return result
    return _from_cells(mask, tiles, height, words)


def _combined(mask: And | Or, tiles: Tiles, height: int, words: int) -> Words:
    conjunction = isinstance(mask, And)
    neutral, decided = (LOW[WORD], EMPTY) if conjunction else (LOW[0], FULL)
    result = np.full((len(tiles), height, words), neutral, dtype=np.uint64)
    for part in mask.parts:
        found = part.bounds(tiles)
        mixed = np.flatnonzero(found == PARTIAL)
        if len(mixed):
            read = _bits(part, tiles.at(mixed), height, words)
            result[mixed] = result[mixed] & read if conjunction else result[mixed] | read
        result[found == decided] = ~neutral
    return result


def _along(first: Ints, last: Ints, count: int) -> Ints:
    """Return the positions of each tile, ``[T, count]``; its last one stands for those beyond."""
    return np.minimum(first[:, None] + np.arange(count), last[:, None])


def _from_runs(runs: list[Run], tiles: Tiles, height: int, words: int) -> Words:
    shape = (len(tiles), height, words)
    result: Words | None = None
    first = tiles.k_first[:, None]
    for start, stop in runs:
        within, before = _lowest(stop - first, words), _lowest(start - first, words)
        seen = within & np.invert(before, out=before)
        result = seen if result is None else result | seen
    return np.broadcast_to(LOW[0] if result is None else result, shape)


def _lowest(count: Ints, words: int) -> Words:
    """Return the words of the lowest ``count`` keys of a row: one axis more, ``words`` long."""
    if words <= MOST_TABLED:
        return _lowest_keys(words).take(count, axis=0, mode="clip")
    return LOW.take(count[..., None] - np.arange(words) * WORD, mode="clip")


@lru_cache(maxsize=8)
def _lowest_keys(words: int) -> Words:
    """Return the words of the lowest n keys of a row for every n, ``[64 * words + 1, words]``."""
    keys = np.arange(words * WORD + 1)[:, None] - np.arange(words) * WORD
    return LOW.take(keys, mode="clip")


def _from_cells(mask: Mask, tiles: Tiles, height: int, words: int) -> Words:
    """Ask every cell; positions beyond a tile are not asked for, as no one need know them."""
    width = words * WORD
    result = np.empty((len(tiles), height, words), dtype=np.uint64)
    step = max(1, MOST_CELLS // (height * width))
    for start in range(0, len(tiles), step):
        some = tiles.at(slice(start, start + step))
        cells = Cells(
            batch=some.batch[:, None, None],
            head=some.head[:, None, None],
            query=_along(some.q_first, some.q_last, height)[:, :, None],
            key=_along(some.k_first, some.k_last, width)[:, None, :],
        )
        allowed = np.broadcast_to(mask.allowed(cells), (len(some), height, width))
        packed = np.packbits(allowed, axis=-1, bitorder="little")
        result[start : start + step] = packed.view("<u8")
    return result


def _inside(tiles: Tiles, height: int, words: int) -> Words:
    """Return the words of everything(): ones within each tile, zeros beyond; broadcasts."""
    if _all_whole(tiles, height, words):
        return LOW[WORD:].reshape(1, 1, 1)
    columns = LOW.take(tiles.widths[:, None] - np.arange(words) * WORD, mode="clip")[:, None, :]
    inside = np.arange(height) < tiles.heights[:, None]
    return np.where(inside[..., None], columns, LOW[0])


def _all_whole(tiles: Tiles, height: int, words: int) -> bool:
    """Return whether no bit of the words lies beyond its tile."""
    return bool((tiles.heights == height).all() and (tiles.widths == words * WORD).all())


def full_bits(tiles: Tiles, height: int, width: int) -> Words:
    """Return what ``bits`` gives where every cell of the tiles is allowed."""
    return _inside(tiles, height, words_across(width))


def as_bools(words: Words, width: int | None = None) -> NDArray[np.bool_]:
    """Return words as bools along the last axis: the first ``width`` of them, or all."""
    octets = np.ascontiguousarray(words.astype("<u8", copy=False)).view(np.uint8)
    return np.unpackbits(octets, axis=-1, bitorder="little", count=width).view(np.bool_)


def count_bits(words: Words, axis: int | tuple[int, ...] | None = None) -> Any:
    """Return how many bits are set, summed over ``axis`` (all of them if None)."""
    if hasattr(np, "bitwise_count"):
        ones: NDArray[Any] = np.bitwise_count(words)
    else:  # numpy 1
        ones = np.unpackbits(words[..., None].view(np.uint8), axis=-1).sum(-1, dtype=np.int64)
    return ones.sum(axis=axis, dtype=np.int64)


def distinct(mask: Mask, tiles: Tiles) -> tuple[Ints, Ints]:
    """Group tiles that surely hold the same: return one of each group, and each tile's group."""
    return alike([tiles.heights, tiles.widths, *mask.signature(tiles)])


def read(mask: Mask, tiles: Tiles) -> Iterator[tuple[Ints, Words, Ints]]:
    """Yield (numbers of tiles, the different cells among them, which of those each tile holds).

    Tiles of equal signature are read once. Each is yielded once, a bounded number at a time.
    """
    if not len(tiles):
        return
    height, width = int(tiles.heights.max()), int(tiles.widths.max())
    first, group = distinct(mask, tiles)
    # Small integers are sorted by their digits, which is much quicker.
    order = np.argsort(group.astype(np.uint16) if len(first) < 2**16 else group, kind="stable")
    in_order = group[order]
    for part in parts(len(first), height, width):
        mine = order[slice(*np.searchsorted(in_order, [part.start, part.stop]))]
        words = bits(mask, tiles.at(first[part]), height, width)
        yield mine, words, group[mine] - part.start


def parts(count: int, height: int, width: int) -> Iterator[slice]:
    """Cut ``count`` tiles of a size into parts, so that the words of each part are bounded."""
    step = max(1, MOST_READ // (height * words_across(width)))
    for start in range(0, count, step):
        yield slice(start, min(start + step, count))


# -- tiles that are surely alike ----------------------------------------------------------------


def alike(columns: list[Ints]) -> tuple[Ints, Ints]:
    """Group equal rows of ``columns``: return (the place of one of each, the group of each row)."""
    if not columns or not len(columns[0]):
        none = np.zeros(0, dtype=np.int64)
        return none, none
    mixed = np.zeros(len(columns[0]), dtype=np.uint64)
    for column in columns:
        mixed = mixed * MULTIPLIER + column.astype(np.uint64)
    mixed = scramble(mixed)
    order = np.argsort(mixed)
    mixed = mixed[order]
    begins = np.concatenate([[True], mixed[1:] != mixed[:-1]])
    first, group = order[begins], np.empty_like(order)
    group[order] = np.cumsum(begins) - 1
    # Different rows of equal hash would be a wrong answer: compare, and if so sort the rows.
    if all(np.array_equal(column, column[first[group]]) for column in columns):
        return first, group
    rows = np.stack(columns, axis=1)
    _, first, group = np.unique(rows, axis=0, return_index=True, return_inverse=True)
    return first, group.reshape(-1)


def hash_rows(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return a hash of each row of ``[n, words]``, which also tells high bits apart."""
    # A product loses what overflows on the left, so the left halves are laid over the right ones.
    return (words ^ (words >> np.uint64(32))) @ _odd_numbers(words.shape[1])


@lru_cache(maxsize=8)
def _odd_numbers(count: int) -> NDArray[np.uint64]:
    return scramble(np.arange(1, count + 1, dtype=np.uint64)) | np.uint64(1)


def scramble(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Mix 64-bit integers so that close ones end up far apart."""
    x = (x ^ (x >> np.uint64(32))) * np.uint64(0x9FB21C651E98DF25)
    x = (x ^ (x >> np.uint64(29))) * np.uint64(0xD6E8FEB86659FD93)
    return x ^ (x >> np.uint64(32))
