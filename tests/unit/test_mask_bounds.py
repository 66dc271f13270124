"""What a mask says of whole tiles is true, and for the structured masks it is all there is to say.

EMPTY and FULL are promises, held against every cell; so are signatures (equal ones mean equal
cells) and runs. A planted loose promise is caught.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import sightline as sl
from sightline import reference
from sightline.masks.bounds import EMPTY, FULL, PARTIAL, Rows, Tiles
from sightline.masks.periodic import Chunks
from sightline.masks.range_least import RangeLeast
from sightline.testing.specs import build
from sightline.testing.strategies import ATOMS, Frame, atoms, expressions, frames

# Positions up to here are looked at; the data of the drawn masks end well before.
SIDE = 20

# PARTIAL although a tile is empty or full: only asking the cells tells (predicate), or several
# runs, lines, rows of blocks, branches or intervals meet in a tile, which are not looked at singly.
LOOSE = {
    "axial", "documents", "fixed", "intervals", "log_sparse", "log_sparse_row_mask",
    "neighborhood", "predicate", "random_blocks", "shifted_window", "spans", "tree",
}  # fmt: skip


def tiles_of(ends: list[tuple[int, int, int, int]], batch: int, heads: int) -> Tiles:
    """Tiles from (q_first, q_last, k_first, k_last) of each, on every batch row and head."""
    b, h, t = (n.reshape(-1) for n in np.indices((batch, heads, len(ends))))
    q_first, q_last, k_first, k_last = np.array(ends, dtype=np.int64)[t].T
    return Tiles(b, h, q_first, q_last, k_first, k_last)


def rectangles(draw: Any, count: int = 40) -> list[tuple[int, int, int, int]]:
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    first = random.integers(0, SIDE - 1, (count, 2))
    # Few sizes, so that tiles of equal sizes meet.
    sizes = random.integers(1, random.integers(2, 9), (count, 2))
    last = np.minimum(first + sizes - 1, SIDE - 1)
    return [(a, b, c, d) for (a, c), (b, d) in zip(first.tolist(), last.tolist(), strict=True)]


def cells_of(picture: np.ndarray, tiles: Tiles) -> list[np.ndarray]:
    found = []
    for t in range(len(tiles)):
        b = int(tiles.batch[t]) if picture.shape[0] > 1 else 0
        h = int(tiles.head[t]) if picture.shape[1] > 1 else 0
        q = slice(int(tiles.q_first[t]), int(tiles.q_last[t]) + 1)
        k = slice(int(tiles.k_first[t]), int(tiles.k_last[t]) + 1)
        found.append(picture[b, h, q, k])
    return found


def state_of(cells: np.ndarray) -> int:
    return FULL if cells.all() else PARTIAL if cells.any() else EMPTY


def check_promises(mask: sl.Mask, picture: np.ndarray, tiles: Tiles) -> int:
    """Hold bounds, signatures and runs against the picture; return how many bounds were loose."""
    cells = cells_of(picture, tiles)
    found = mask.bounds(tiles)
    assert found.shape == (len(tiles),)
    assert found.dtype == np.int8
    true = np.array([state_of(each) for each in cells])
    wrong = np.flatnonzero((found != PARTIAL) & (found != true))
    assert not len(wrong), (mask, tiles.at(wrong[:1]), found[wrong[0]], cells[wrong[0]])
    check_signature(mask, tiles, found, cells)
    check_runs(mask, picture)
    return int(np.count_nonzero(found != true))


def check_signature(
    mask: sl.Mask, tiles: Tiles, found: np.ndarray, cells: list[np.ndarray]
) -> None:
    """A signature is asked of PARTIAL tiles only."""
    mixed = np.flatnonzero(found == PARTIAL)
    columns = [np.broadcast_to(c, len(mixed)) for c in mask.signature(tiles.at(mixed))]
    groups: dict[Any, list[np.ndarray]] = defaultdict(list)
    for place, t in enumerate(mixed):
        key = (cells[t].shape, *(int(column[place]) for column in columns))
        groups[key].append(cells[t])
    for key, alike in groups.items():
        assert all(np.array_equal(alike[0], other) for other in alike), (mask, key)


def check_runs(mask: sl.Mask, picture: np.ndarray) -> None:
    b, h = (n.reshape(-1, 1) for n in np.indices(picture.shape[:2]))
    key = np.arange(SIDE)
    runs = mask.runs(Rows(b, h, np.broadcast_to(key, (len(b), SIDE))))
    if runs is None:
        return
    seen = np.zeros((len(b), SIDE, SIDE), bool)
    for start, stop in runs:
        start, stop = (np.broadcast_to(end, (len(b), SIDE))[..., None] for end in (start, stop))
        seen |= (key >= start) & (key < stop)
    np.testing.assert_array_equal(seen.reshape(picture.shape), picture, repr(mask))


def picture_of(spec: tuple) -> np.ndarray:
    return reference.dense(spec, SIDE, SIDE, 0, 0)


def wide_frame(draw: Any) -> Frame:
    """A frame that reaches as far as the tiles do, with sizes of batch and heads of its own."""
    small = draw(frames())
    return Frame(SIDE, SIDE, 0, 0, small.batch, small.heads)


@pytest.mark.parametrize("name", sorted(ATOMS))
@given(data=st.data())
def test_the_promises_of_each_mask(name: str, data: st.DataObject) -> None:
    frame = wide_frame(data.draw)
    spec = data.draw(atoms(name, frame))
    mask = build(spec)
    picture = picture_of(spec)
    tiles = tiles_of(rectangles(data.draw), *picture.shape[:2])
    loose = check_promises(mask, picture, tiles)
    assert loose == 0 or name in LOOSE, (mask, loose, len(tiles))


LENGTH = 512
RANDOM = np.random.default_rng(0)
LENGTHS = RANDOM.multinomial(LENGTH - 30, np.ones(30) / 30) + 1
IN_BLOCKS = {
    "documents": sl.documents(lengths=LENGTHS),
    "packed": sl.causal() & sl.documents(lengths=LENGTHS),
    "shifted_window": sl.shifted_window((16, 32), 8, 3),
    "neighborhood": sl.neighborhood((16, 32), 7),
    "line": sl.neighborhood((LENGTH,), 63),
    "axial rows": sl.axial((16, 32), 1),
    "axial columns": sl.axial((16, 32), 0),
    "fixed": sl.fixed(16, 3),
    "strided": sl.strided(24),
    "log_sparse": sl.log_sparse(5, restart=64),
    "log_sparse_row_mask": sl.log_sparse_row_mask(32, LENGTH),
    "block_diffusion": sl.block_diffusion(250, 24),
    "random_blocks": sl.random_blocks(16, 3),
    "permutation": sl.permutation(RANDOM.permutation(LENGTH)),
    "intervals": sl.intervals(np.arange(LENGTH) // 50 * 50, np.arange(LENGTH) + 1),
    "dense": sl.dense(RANDOM.random((LENGTH, LENGTH)) < 0.001, "attend"),
    "padding": sl.padding(lengths=[100]),
    "tree": sl.tree(np.maximum(np.arange(LENGTH) - 1, -1)),
}


@pytest.mark.parametrize("side", [8, 16, 32])
@pytest.mark.parametrize("name", IN_BLOCKS)
def test_in_blocks_of_a_grid_the_bounds_say_all_there_is_to_say(name: str, side: int) -> None:
    mask = IN_BLOCKS[name]
    first = np.arange(0, LENGTH, side).tolist()
    tiles = tiles_of([(q, q + side - 1, k, k + side - 1) for q in first for k in first], 1, 1)
    blocks = mask.dense(LENGTH)[0, 0].reshape(len(first), side, len(first), side)
    true = blocks.any(axis=(1, 3)).astype(int) + blocks.all(axis=(1, 3))
    np.testing.assert_array_equal(mask.bounds(tiles).reshape(true.shape), true)


@pytest.mark.parametrize("name", sorted(ATOMS))
@given(data=st.data())
def test_the_promises_of_each_mask_swapped_moved_and_negated(
    name: str, data: st.DataObject
) -> None:
    frame = wide_frame(data.draw)
    spec = data.draw(atoms(name, frame))
    amounts = {"query": data.draw(st.integers(-4, 4)), "key": data.draw(st.integers(-4, 4))}
    places = rectangles(data.draw)
    for changed in (
        ("transpose", spec),
        ("shift", ("not", spec), amounts),
        ("not", ("shift", ("transpose", spec), amounts)),
    ):
        mask = build(changed)
        picture = picture_of(changed)
        check_promises(mask, picture, tiles_of(places, *picture.shape[:2]))


@given(data=st.data())
def test_the_promises_of_random_expressions(data: st.DataObject) -> None:
    frame = wide_frame(data.draw)
    spec = data.draw(expressions(frame, depth=4))
    mask = build(spec)
    picture = picture_of(spec)
    check_promises(mask, picture, tiles_of(rectangles(data.draw), *picture.shape[:2]))


@pytest.mark.parametrize("fault", ["empty", "full", "signature", "runs"])
def test_a_loose_promise_is_caught(fault: str) -> None:
    @dataclass(frozen=True, repr=False)
    class Loose(Chunks):
        """Chunks whose answers are wrong where fault says."""

        def bounds(self, tiles: Tiles) -> Any:
            found = super().bounds(tiles)
            if fault == "empty":
                return np.where(tiles.q_first > tiles.k_last, np.int8(EMPTY), found)
            if fault == "full":
                return np.where(tiles.q_first == tiles.k_first, np.int8(FULL), found)
            return found

        def signature(self, tiles: Tiles) -> Any:
            columns = super().signature(tiles)
            return columns[1:] if fault == "signature" else columns

        def runs(self, rows: Rows) -> Any:
            [(start, stop)] = super().runs(rows) or [(0, 0)]
            return [(start, stop + (fault == "runs"))]

    random = np.random.default_rng(0)
    tiles = tiles_of(rectangles(lambda _: int(random.integers(100)), 400), 1, 1)
    spec = ("chunks", {"size": 5})
    check_promises(sl.chunks(5), picture_of(spec), tiles)
    with pytest.raises(AssertionError):
        check_promises(Loose(5), picture_of(spec), tiles)


# -- the helper ---------------------------------------------------------------------------------


@pytest.mark.parametrize("most_entries", [10**6, 60, 10])
@given(data=st.data())
def test_the_least_of_a_stretch(most_entries: int, data: st.DataObject) -> None:
    random = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    table = random.integers(-9, 9, (data.draw(st.integers(1, 3)), data.draw(st.integers(1, 40))))
    least = RangeLeast(table, most_entries)
    ends = np.sort(random.integers(0, table.shape[1], (2, 50)), axis=0)
    row = random.integers(0, len(table), 50)
    got = least(row, *ends)
    wanted = np.array([table[r, a : b + 1].min() for r, a, b in zip(row, *ends, strict=True)])
    alone = ends[0] // least.bucket == ends[1] // least.bucket
    exact = ~alone | (least.bucket == 1)
    np.testing.assert_array_equal(got[exact], wanted[exact])
    assert (got <= wanted).all()
    assert least.bucket == 1 or most_entries < 10**6


# -- predicates that classify tiles themselves ---------------------------------------------------


def after(b: Any, h: Any, q: Any, k: Any) -> Any:
    return k > q


def tile_after(b: Any, h: Any, q_first: Any, q_last: Any, k_first: Any, k_last: Any) -> Any:
    return (k_last > q_first).astype(int) + (k_first > q_last)


def test_a_predicate_is_partial_unless_it_brings_bounds() -> None:
    tiles = tiles_of([(0, 3, 4, 7), (4, 7, 0, 3), (0, 3, 0, 3)], 1, 1)
    assert sl.predicate(after).bounds(tiles).tolist() == [PARTIAL] * 3
    mask = sl.predicate(after, bounds=tile_after)
    assert mask.bounds(tiles).tolist() == [FULL, EMPTY, PARTIAL]


@pytest.mark.parametrize(
    ("bounds", "complaint"),
    [
        (lambda *ends: tile_after(*ends) * 0, "promise nothing for queries 0 .. 3"),
        (lambda *ends: tile_after(*ends) * 0 + 2, "promise everything for queries 4 .. 7"),
        (lambda *ends: tile_after(*ends) + 1, "return 0 .nothing allowed., 1"),
        (lambda *ends: tile_after(*ends)[:1], "one a tile"),
        (lambda *ends: tile_after(*ends) / 2, "must return integers"),
        (lambda *ends: ends[0] > 0, "reads its batch index"),
    ],
)
def test_bounds_that_cannot_be_true_are_refused(bounds: Any, complaint: str) -> None:
    tiles = tiles_of([(0, 3, 4, 7), (4, 7, 0, 3), (0, 3, 0, 3)], 1, 1)
    with pytest.raises(sl.InvalidMask, match=complaint):
        sl.predicate(after, bounds=bounds).bounds(tiles)
