"""Recognition is exact whatever the array, and mostly finds what was meant."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import sightline as sl
from sightline.recognize.canvas import Canvas
from sightline.recognize.cost import Cost
from sightline.recognize.families import families_for
from sightline.recognize.families.cliques import joined
from sightline.recognize.families.marks import between, filled
from sightline.recognize.recognize import find
from sightline.recognize.region import BEYOND, Region
from sightline.recognize.search import Budget, Search
from sightline.reference.dense import dense as oracle
from sightline.testing.random_masks import KINDS, two_parts
from sightline.testing.specs import build
from sightline.testing.strategies import expressions, frames

SAMPLE, FLOOR = 100, 0.93
# Looked at in tests that ask for the same cells only, whatever the expression.
FEW_CELLS = 1_500_000
# The place of the grids among the families.
GRIDS = 6


@given(data=st.data())
def test_exact_for_any_expression(data: Any) -> None:
    frame = data.draw(frames())
    spec = data.draw(expressions(frame))
    at = frame.q_len, frame.kv_len, frame.q_offset
    array = oracle(spec, *at)
    found = find(array, frame.q_offset, FEW_CELLS)
    np.testing.assert_array_equal(np.broadcast_to(oracle(found, *at), array.shape), array)


@given(data=st.data())
def test_exact_for_any_bools(data: Any) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 2**16)))
    shape = data.draw(st.tuples(*[st.integers(1, 2)] * 2, *[st.integers(1, 7)] * 2))
    array = rng.random(shape) < data.draw(st.sampled_from([0.1, 0.5, 0.9]))
    q_offset = data.draw(st.integers(0, 3))
    found = oracle(find(array, q_offset, FEW_CELLS), shape[2], shape[3], q_offset)
    np.testing.assert_array_equal(np.broadcast_to(found, shape), array)


@given(data=st.data())
def test_the_front_door_is_exact_in_either_reading(data: Any) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 2**16)))
    shape = data.draw(st.tuples(st.integers(1, 5), st.integers(1, 5)))
    array = rng.random(shape) < data.draw(st.sampled_from([0.1, 0.5, 0.9]))
    found = sl.recognize(array)
    cells = oracle(found.mask, *shape, found.q_offset)[0, 0]
    np.testing.assert_array_equal(cells if found.convention == "attend" else ~cells, array)


def test_two_parts_are_mostly_found() -> None:
    """A sample of benchmarks/recognize.py."""
    random = np.random.default_rng(7)
    good = 0
    for _ in range(SAMPLE):
        drawn, size, _ = two_parts(random)
        array = drawn.dense(size)
        found = find(array, 0)
        np.testing.assert_array_equal(np.broadcast_to(found.dense(size), array.shape), array)
        few = Cost.of(found).parts <= Cost.of(drawn).parts
        good += few and len(repr(found)) <= len(repr(drawn))
    assert good >= FLOOR * SAMPLE


def test_all_kinds_are_drawn() -> None:
    random = np.random.default_rng(0)
    names = " ".join(two_parts(random)[2] for _ in range(300))
    assert all(name in names for name in KINDS)
    assert "per_head" in names


def test_the_same_array_gives_the_same_expression() -> None:
    array = np.random.default_rng(3).random((2, 1, 12, 12)) < 0.3
    assert find(array, 0) == find(array.copy(), 0)


def test_a_small_budget_only_costs_expressions() -> None:
    mask = sl.causal() & (sl.prefix(2) | sl.window(left=3))
    array = mask.dense(24)
    assert find(array, 0) == mask
    for most_cells in (0, 50_000, 200_000):
        found = find(array, 0, most_cells)
        np.testing.assert_array_equal(found.dense(24), array)


def test_costs() -> None:
    assert Cost.of(sl.causal()) < Cost.of(sl.causal(strict=True))
    assert Cost.of(sl.causal() & sl.prefix(3)).parts == 2
    assert Cost.of(sl.per_head([sl.causal(), sl.chunks(2) & sl.prefix(3)])).parts == 3
    listed = [Cost.of(sl.intervals(np.zeros(shape, int), np.ones(shape, int))).parts
              for shape in ((4,), (4, 2), (2, 4, 1), (2, 3, 4, 1))]  # fmt: skip
    assert [parts // listed[0] for parts in listed] == [1, 1, 2, 6]


# -- the features that families read -----------------------------------------------------------


def regions(array: np.ndarray, q_offset: int) -> Region:
    batch, heads, q_len, kv_len = array.shape
    canvas = Canvas(batch, heads, q_len, kv_len, q_offset)
    return Region(canvas, canvas.pack(array))


@pytest.mark.parametrize("shape", [(2, 3, 5, 70), (1, 1, 70, 5), (3, 1, 6, 6)])
@pytest.mark.parametrize("q_offset", [0, 2])
def test_features_of_a_region(shape: tuple[int, ...], q_offset: int) -> None:
    array = np.random.default_rng(1).random(shape) < 0.1
    region = regions(array, q_offset)
    cells = np.argwhere(array)
    np.testing.assert_array_equal(region.canvas.unpack(region.words), array)
    gaps = cells[:, 3] - cells[:, 2] - q_offset
    assert region.gaps.tolist() == sorted(set(gaps.tolist()))
    for b in range(shape[0]):
        for i in range(shape[2]):
            own = sorted(set(cells[(cells[:, 0] == b) & (cells[:, 2] == i)][:, 3].tolist()))
            assert region.first[b, i] == min(own, default=BEYOND)
            assert region.last[b, i] == max(own, default=-1)
            at = i + q_offset
            assert region.before[b, i] == max([k for k in own if k <= at], default=-1)
            assert region.after[b, i] == min([k for k in own if k >= at], default=BEYOND)
    swapped = region.transposed.rows[:, :, q_offset:]
    np.testing.assert_array_equal(np.swapaxes(swapped, 1, 2), array.any(axis=1))


@given(data=st.data())
def test_words_are_the_cells_of_masks(data: Any) -> None:
    frame = data.draw(frames())
    spec = data.draw(expressions(frame, depth=1, opaque=False))
    canvas = Canvas(frame.batch, frame.heads, frame.q_len, frame.kv_len, frame.q_offset)
    cells = canvas.unpack(canvas.words(build(spec)))
    drawn = oracle(spec, frame.q_len, frame.kv_len, frame.q_offset)
    np.testing.assert_array_equal(np.broadcast_to(cells, drawn.shape), drawn)


def test_words_of_more_keys_than_a_tile_holds() -> None:
    mask = sl.window(left=1200) & sl.padding(lengths=[2900, 2600])
    canvas = Canvas(2, 1, 3, 3001, 2500)
    np.testing.assert_array_equal(canvas.unpack(canvas.words(mask)), oracle(mask, 3, 3001, 2500))
    assert find(mask.dense(3, 3001, 2500), 2500) == mask


@given(data=st.data())
def test_families_offer_what_they_promise(data: Any) -> None:
    """Candidates above hold the region, those below miss it: a wrong one would only cost time."""
    rng = np.random.default_rng(data.draw(st.integers(0, 2**16)))
    shape = data.draw(st.sampled_from([(1, 1, 8, 8), (2, 1, 6, 9), (1, 2, 12, 12)]))
    array = rng.random(shape) < data.draw(st.sampled_from([0.05, 0.3, 0.8]))
    region = regions(array, data.draw(st.integers(0, 3)) if shape[3] != 8 else 0)
    if not array.any() or array.all():
        return
    other = regions(~array & (rng.random(shape) < 0.3), region.canvas.q_offset)
    for number, family in enumerate(families_for(region)):
        for mask in family.above(region):
            assert region.is_inside(region.canvas.words(mask)), (number, mask)
        if number == GRIDS:
            continue  # its axes are judged by themselves, and what they say together is checked
        for mask in family.below(region):
            assert region.is_outside(region.canvas.words(mask)), (number, mask)
        if not other.empty:
            for mask in family.between(region, other):
                words = region.canvas.words(mask)
                assert region.is_inside(words), (number, mask)
                assert other.is_outside(words), (number, mask)


def test_free_positions_between_needed_ones_are_filled() -> None:
    some = np.array([[1, 0, 0, 1, 0, 1, 0, 0]], dtype=bool)
    others = np.array([[0, 0, 0, 0, 1, 0, 0, 1]], dtype=bool)
    assert filled(some, others).astype(int).tolist() == [[1, 1, 1, 1, 0, 1, 0, 0]]


def test_an_atom_between_two_regions() -> None:
    """What lies in neither region is free, and is used for shorter text."""
    window = sl.window(left=3, right=0)
    need = regions(window.dense(9), 0)
    search = Search(need.canvas, Budget(10**8))

    def found(avoided: sl.Mask) -> sl.Mask | None:
        atom = search.atom(need, regions(avoided.dense(9), 0))
        return None if atom is None else atom.mask

    assert found(~sl.causal()) == sl.causal()
    assert found(~window) == window
    assert found(~window & sl.causal()) == sl.window(left=3)
    assert found(sl.nothing()) == sl.everything()
    assert found(window) is None


def test_groups_are_joined_only_where_no_member_is_kept_apart() -> None:
    need = np.zeros((1, 1, 6, 6), dtype=bool)
    need[0, 0, [0, 2, 4], [0, 2, 4]] = True
    avoid = np.zeros_like(need)
    avoid[0, 0, [0, 1, 5], [4, 4, 5]] = True
    labels = joined(regions(need, 0), regions(avoid, 0), [0])
    assert labels is not None
    # 4 must not meet 0, which is in a group with 2; 1 and 3 go with a neighbour; 5 with none.
    assert labels.tolist() == [0, 0, 0, 0, 1, -1]


def test_a_full_row_of_left_padding_needs_no_total() -> None:
    need = np.zeros((2, 1, 1, 4), dtype=bool)
    need[0, 0, 0, 2:] = need[1, 0, 0, 3] = True
    avoid = np.zeros_like(need)
    avoid[1, 0, 0, 2] = True
    texts = [repr(mask) for mask in between(regions(need, 0), regions(avoid, 0))]
    assert "padding(lengths=[4, 1], side='left')" in texts
