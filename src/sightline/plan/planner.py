"""From a mask and a shape to its BlockMap: exact, at the cost of the mask's boundary.

descent.py finds the tiles that are full and the blocks that are mixed; here the mixed ones are
read, those that turn out empty or full are demoted, equal bits are kept once, and all of it
becomes runs of blocks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np

from sightline.errors import InvalidArgument
from sightline.masks.arguments import as_size, describe, mask_wanted
from sightline.masks.bits import WORD, bits, distinct, full_bits, hash_rows, parts, words_across
from sightline.masks.bounds import FULL, Tiles
from sightline.masks.descent import Blocks, Grid, descend
from sightline.masks.frame import Frame
from sightline.masks.mask import Mask
from sightline.plan.block_map import FULL_RUN, BlockMap
from sightline.plan.cache import PlanCache

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sightline.masks.bits import Words

    Ints = NDArray[np.int64]
    Int32s = NDArray[np.int32]
    # Two columns at a time, to be joined at the end.
    Stretches = list[tuple[Ints, Ints]]

Cuts = Literal["uniform", "aligned"]

# More mixed blocks than this are too many to read and to keep: 128 MiB of runs.
MOST_MIXED = 2**23

# Up to so many words of 64 cells, a single row of blocks is read whole: 2^18 cells.
MOST_WORDS = 2**12

# What a block that turns out to be empty is told by, in place of a pattern.
EMPTY_BLOCK = -2

PLANS = PlanCache()


def plan(
    mask: Mask,
    q_len: int,
    kv_len: int | None = None,
    *,
    q_offset: int = 0,
    kv_offset: int = 0,
    block_q: int = 128,
    block_kv: int = 128,
    cuts: Cuts = "uniform",
) -> BlockMap:
    """Return which blocks of scores a mask leaves to compute, exactly.

    The structure is read from the expression, not found by looking at every pair: a causal mask
    over documents at a million tokens takes milliseconds. A ``predicate`` without ``bounds`` has no
    structure to read and is asked for every pair.

    Plans are kept: asking again for an equal mask at the same shape returns the same object.
    ``sl.plan.cache_clear()`` forgets them, ``sl.plan.cache_info()`` says how many there are.

    Args:
        mask: who may see whom.
        q_len: number of queries.
        kv_len: number of keys; None means ``q_len``.
        q_offset: absolute position of the first query.
        kv_offset: absolute position of the first key.
        block_q: queries a block.
        block_kv: keys a block.
        cuts: ``"uniform"``: blocks begin at multiples of their size. ``"aligned"``: they begin anew
            with every document and every run of real tokens, so that a sequence is cut alike
            whether it stands alone, padded, or packed with others.

    Raises:
        InvalidArgument: an argument out of range, or more than 2^23 blocks that are neither empty
            nor full.
        ShapeMismatch: a negative length, or a shape beyond the array of a ``dense`` mask.

    >>> import sightline as sl
    >>> sl.plan(sl.causal() & sl.documents(lengths=[2**19, 2**19]), 2**20).counts
    BlockCounts(empty=50327552, partial=8192, full=16773120)
    """
    frame = Frame.of(q_len, kv_len, q_offset, kv_offset)
    key = (mask, frame, block_q, block_kv, cuts)
    known = PLANS.get(key)
    if known is None:
        known = _checked(mask, frame, block_q, block_kv, cuts)
        PLANS.put(key, known)
    return known


# As functools.lru_cache names them; the package, which is ``sl.plan`` too, has the same two.
vars(plan).update(cache_clear=PLANS.clear, cache_info=PLANS.info)


def _checked(mask: Mask, frame: Frame, block_q: object, block_kv: object, cuts: object) -> BlockMap:
    if not isinstance(cast(Any, mask), Mask):
        raise InvalidArgument(f"plan wants a mask, {mask_wanted(mask)}")
    if cuts not in ("uniform", "aligned"):
        raise InvalidArgument(f"plan(cuts=) must be 'uniform' or 'aligned', got {describe(cuts)}.")
    sizes = (
        as_size(block_q, "plan(block_q=)", error=InvalidArgument),
        as_size(block_kv, "plan(block_kv=)", error=InvalidArgument),
    )
    frame.check(mask)
    grid = Grid.uniform(frame, *sizes) if cuts == "uniform" else Grid.aligned(frame, *sizes, mask)
    return _build(mask, frame, grid, sizes, cuts)


def _build(mask: Mask, frame: Frame, grid: Grid, sizes: tuple[int, int], cuts: Cuts) -> BlockMap:
    patterns = Patterns(grid)
    small = _is_small(mask, grid, sizes[1])
    full, mixed = _read(mask, grid, patterns) if small else _find(mask, frame, grid, patterns)
    rows = mask.batch * mask.heads * grid.rows
    runs = _runs(full, mixed, rows, grid.columns + 1)
    words = patterns.kept()
    for array in (grid.q_edges, grid.k_edges, *runs, words):
        array.setflags(write=False)  # a plan is handed to all who ask for it
    return BlockMap(mask, frame, *sizes, cuts, grid, *runs, words)


def _find(mask: Mask, frame: Frame, grid: Grid, patterns: Patterns) -> tuple[Stretches, Stretches]:
    """Return the stretches of full blocks and (place, pattern) of mixed ones, level by level."""
    full: Stretches = []
    mixed: Stretches = []
    count = 0
    for state, blocks in descend(mask, grid):
        if state == FULL:
            full.append(_full_runs(mask, grid, blocks))
            continue
        count += len(blocks)
        if count > MOST_MIXED:
            height, width = grid.largest()
            raise InvalidArgument(
                f"{mask!r} leaves more than {MOST_MIXED} blocks of {height} x {width} neither "
                f"empty nor full at {frame.q_len} x {frame.kv_len}, too many to read one by one. "
                "Use larger blocks or a smaller shape; give a predicate its bounds=."
            )
        place = _row(mask, grid, blocks) * (grid.columns + 1) + blocks.column
        found = patterns.add(mask, grid, blocks)
        whole = place[found == FULL_RUN]
        full.append((whole, whole + 1))
        mixed.append((place[found >= 0], found[found >= 0]))
    return full, mixed


def _is_small(mask: Mask, grid: Grid, block_kv: int) -> bool:
    """Return whether reading every cell costs less than finding out which need not be read.

    So it is where a few new tokens ask a cache.
    """
    if grid.rows != 1 or len(grid.q_edges) > 1 or not grid.columns or block_kv % WORD:
        return False
    rows = mask.batch * mask.heads * int(grid.q_edges[0, 1] - grid.q_edges[0, 0])
    return rows * grid.columns * (block_kv // WORD) <= MOST_WORDS


def _read(mask: Mask, grid: Grid, patterns: Patterns) -> tuple[Stretches, Stretches]:
    """Return the same as ``_find`` for a single row of blocks, of which every cell is read."""
    owners = np.arange(mask.batch * mask.heads)
    batch, head = np.divmod(owners, mask.heads)
    tiles = grid.tiles(Blocks(batch, head, owners * 0, owners * 0, grid.columns))
    height, width = grid.largest()
    words = words_across(width)
    shape = (-1, height, grid.columns, words)
    every = grid.columns * words
    read = bits(mask, tiles, height, every * WORD).reshape(shape)
    whole = full_bits(tiles.at(slice(1)), height, every * WORD)
    is_full = (read == np.broadcast_to(whole, (1, height, every)).reshape(shape)).all(axis=(1, 3))
    is_mixed = read.any(axis=(1, 3)) & ~is_full
    place = owners[:, None] * (grid.columns + 1) + np.arange(grid.columns)
    flat = read.transpose(0, 2, 1, 3)[is_mixed].reshape(-1, height * words)
    return (
        [(place[is_full], place[is_full] + 1)],
        [(place[is_mixed], patterns.numbers(flat))] if len(flat) else [],
    )


def _row(mask: Mask, grid: Grid, blocks: Blocks) -> Ints:
    return (blocks.batch * mask.heads + blocks.head) * grid.rows + blocks.row


def _full_runs(mask: Mask, grid: Grid, blocks: Blocks) -> tuple[Ints, Ints]:
    """Return the first place of each row of the squares, and the place after its last.

    A place is ``row * (columns + 1) + column``, so that no run ends where the next row begins.
    """
    start = _row(mask, grid, blocks) * (grid.columns + 1) + blocks.column
    if blocks.size == 1:
        return start, start + 1
    _, columns = grid.filled(blocks.batch)
    width = np.minimum(blocks.size, columns - blocks.column)
    square, row = grid.rows_of(blocks)
    starts = (start - blocks.row * (grid.columns + 1))[square] + row * (grid.columns + 1)
    return starts, starts + width[square]


def _runs(
    full: Stretches, mixed: Stretches, rows: int, width: int
) -> tuple[Ints, Int32s, Int32s, Int32s]:
    """Return row_start, first_block, last_block, pattern of the runs, joined where they touch."""
    # Stretches that do not overlap keep their partners when starts and stops are sorted apart.
    starts, stops = (np.sort(ends) for ends in _columns(full))
    begins = np.concatenate([starts[:1] >= 0, starts[1:] != stops[:-1]])
    ends = np.concatenate([begins[1:], starts[:1] >= 0])
    starts, stops = starts[begins], stops[ends]
    place, pattern = _sorted_together(*_columns(mixed))
    begins = np.concatenate(
        [place[:1] >= 0, (place[1:] != place[:-1] + 1) | (pattern[1:] != pattern[:-1])]
    )
    ends = np.concatenate([begins[1:], place[:1] >= 0])
    first = np.concatenate([starts, place[begins]])
    order = np.argsort(first, kind="stable")  # of two rising rows, which takes one pass
    first = first[order]
    last = np.concatenate([stops - 1, place[ends]])[order]
    kind = np.concatenate([np.full(len(starts), FULL_RUN), pattern[begins]])[order]
    row, column = np.divmod(first, width)
    row_start = np.zeros(rows + 1, dtype=np.int64)
    np.cumsum(np.bincount(row, minlength=rows), out=row_start[1:])
    narrow = np.int32
    return (
        row_start,
        column.astype(narrow),
        (last - row * width).astype(narrow),
        kind.astype(narrow),
    )


def _sorted_together(place: Ints, pattern: Ints) -> tuple[Ints, Ints]:
    """Return both in the order of ``place``: sorted as one number each, which is the quickest."""
    bits_of_pattern = int(pattern.max(initial=0)).bit_length()
    if int(place.max(initial=0)).bit_length() + bits_of_pattern > 62:
        order = np.argsort(place)
        return place[order], pattern[order]
    both = np.sort((place << bits_of_pattern) | pattern)
    return both >> bits_of_pattern, both & ((1 << bits_of_pattern) - 1)


def _columns(parts: Stretches) -> tuple[Ints, Ints]:
    none = np.zeros(0, dtype=np.int64)
    left, right = zip(*parts, strict=True) if parts else ((none,), (none,))
    return np.concatenate(left), np.concatenate(right)


class Patterns:
    """The bits of mixed blocks, each kept once."""

    def __init__(self, grid: Grid) -> None:
        self._height, self._width = grid.largest()
        self._words = np.empty((0, self._height * words_across(self._width)), dtype=np.uint64)
        self._count = 0
        # The hashes of the patterns, rising, and whose they are.
        self._hashes = np.zeros(0, dtype=np.uint64)
        self._owners = np.zeros(0, dtype=np.int64)

    def add(self, mask: Mask, grid: Grid, blocks: Blocks) -> Ints:
        """Return the pattern of every block; FULL_RUN or EMPTY_BLOCK if it turns out to be that."""
        tiles = grid.tiles(blocks)
        first, group = distinct(mask, tiles)
        tiles = tiles.at(first)  # the others are not needed any more
        self._make_room(len(first))
        kind = np.empty(len(first), dtype=np.int64)
        for some in parts(len(first), self._height, self._width):
            kind[some] = self._kinds(mask, tiles.at(some))
        return kind[group]

    def _kinds(self, mask: Mask, tiles: Tiles) -> Ints:
        words = bits(mask, tiles, self._height, self._width)
        whole = full_bits(tiles, self._height, self._width)
        kind = np.where((words == whole).all(axis=(1, 2)), FULL_RUN, EMPTY_BLOCK)
        mixed = np.flatnonzero((kind == EMPTY_BLOCK) & words.any(axis=(1, 2)))
        if len(mixed):
            flat = words.reshape(len(words), -1)
            kind[mixed] = self._numbers(flat if len(mixed) == len(flat) else flat[mixed])
        return kind

    def numbers(self, flat: Words) -> Ints:
        """Return the number of the pattern of each row, ``[n, rows * words]``."""
        self._make_room(len(flat))
        return self._numbers(flat)

    def _numbers(self, flat: Words) -> Ints:
        """Return the number of each pattern; those not seen before are kept."""
        hashes, first, inverse = np.unique(hash_rows(flat), return_index=True, return_inverse=True)
        place = np.searchsorted(self._hashes, hashes)
        known = place < len(self._hashes)
        known[known] = self._hashes[place[known]] == hashes[known]
        numbers = np.empty(len(hashes), dtype=np.int64)
        numbers[known] = self._owners[place[known]]
        new = np.flatnonzero(~known)
        numbers[new] = self._count + np.arange(len(new))
        # Equal hashes are no proof: what is taken for the same is compared.
        repeats = np.flatnonzero(first[inverse] != np.arange(len(flat)))
        same = np.array_equal(flat[repeats], flat[first[inverse[repeats]]])
        if not same or not np.array_equal(flat[first[known]], self._words[numbers[known]]):
            return self._numbers_by_content(flat)
        self._keep(flat[first[new]], hashes[new])
        return numbers[inverse]

    def _numbers_by_content(self, flat: Words) -> Ints:
        """Do the same without hashes, two of which are equal by chance."""
        together = np.concatenate([self._words[: self._count], flat])
        _, first, inverse = np.unique(together, axis=0, return_index=True, return_inverse=True)
        new = np.flatnonzero(first >= self._count)
        numbers = first.copy()
        numbers[new] = self._count + np.arange(len(new))
        self._keep(together[first[new]], hash_rows(together[first[new]]))
        return numbers[inverse.reshape(-1)[len(together) - len(flat) :]]

    def _make_room(self, count: int) -> None:
        """Have room for so many more; what is never written costs no memory."""
        if self._count + count > len(self._words):
            room = np.empty((self._count + count, self._words.shape[1]), dtype=np.uint64)
            room[: self._count] = self._words[: self._count]
            self._words = room

    def _keep(self, flat: Words, hashes: NDArray[np.uint64]) -> None:
        stop = self._count + len(flat)
        self._words[self._count : stop] = flat
        hashes = np.concatenate([self._hashes, hashes])
        owners = np.concatenate([self._owners, np.arange(self._count, stop)])
        order = np.argsort(hashes)
        self._hashes, self._owners, self._count = hashes[order], owners[order], stop

    def kept(self) -> Words:
        """Return all patterns, ``[patterns, rows, words]``."""
        words = self._words[: self._count]
        if 2 * len(words) < len(self._words):
            words = words.copy()
        return words.reshape(self._count, self._height, words_across(self._width))
