"""The questions to a mask: rows, count, density, empty rows and extent agree with the picture.

Also sizes of zero, strips, memory, and the promise that every definition serves torch as well.
"""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import sightline as sl
from sightline.masks import bits, data, descent, evaluate
from sightline.masks.arrays import Cells, positive_part
from sightline.masks.intervals import ENDLESS
from sightline.testing.specs import build
from sightline.testing.strategies import ATOMS, Frame, atoms, expressions, frames

# -- against the picture -----------------------------------------------------------------------


def answers_agree(mask: sl.Mask, frame: Frame) -> None:
    picture = mask.dense(*frame.at)
    assert mask.count(*frame.at) == picture.sum()
    assert mask.density(*frame.at) == picture.mean()
    empty = ~picture.any(axis=-1)
    np.testing.assert_array_equal(mask.empty_rows(*frame.at), empty)
    first = np.argmax(picture, axis=-1) + frame.kv_offset
    last = frame.kv_offset + frame.kv_len - 1 - np.argmax(picture[..., ::-1], axis=-1)
    np.testing.assert_array_equal(mask.first_key(*frame.at), np.where(empty, -1, first))
    np.testing.assert_array_equal(mask.last_key(*frame.at), np.where(empty, -1, last))
    seen = evaluate.summarize(mask, evaluate.Frame.of(*frame.at)).seen
    np.testing.assert_array_equal(seen, picture.sum(axis=-1))
    stop = frame.q_offset + frame.q_len
    rows = mask.rows(frame.q_offset, stop, frame.kv_len, frame.kv_offset)
    np.testing.assert_array_equal(rows, picture)


@given(st.data())
def test_the_answers_agree_with_the_picture(draws: st.DataObject) -> None:
    frame = draws.draw(frames())
    answers_agree(build(draws.draw(expressions(frame, depth=2))), frame)


@pytest.mark.parametrize(
    "mask",
    [
        sl.causal() & sl.documents(lengths=[150, 1, 90, 200]),
        sl.keys([70, 130, 300]) & sl.queries(range(5, 290, 7)),
        sl.per_head([sl.window(80, 3), sl.dilated(90)]) & sl.padding(lengths=[290, 66]),
        sl.shifted_window((16, 20), 6, 2) | sl.strided(129),
    ],
    ids=lambda mask: mask.text()[:20],
)
def test_the_answers_agree_with_the_picture_over_several_tiles(mask: sl.Mask) -> None:
    answers_agree(mask, Frame(300, 330, 3, 1, 1, 1))


# How small the pieces may be in which an answer is found: every path is walked at small shapes.
PIECES = [
    {"SIDE": 1},
    {"SIDE": 2, "MOST_AT_ONCE": 3},
    {"SIDE": 3, "MOST_CELLS": 1, "MOST_READ": 1},
    {"SIDE": 4, "FIRST_TILES": 1},
    {"SIDE": 70, "MOST_READ": 8},
]


@given(st.data(), st.sampled_from(PIECES))
def test_the_answers_do_not_depend_on_how_the_work_is_cut(
    draws: st.DataObject, pieces: dict[str, int]
) -> None:
    frame = draws.draw(frames(longest=9))
    mask = build(draws.draw(expressions(frame, depth=3)))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in pieces.items():
            home = next(module for module in (evaluate, descent, bits) if hasattr(module, name))
            patch.setattr(home, name, value)
        answers_agree(mask, frame)


def test_rows_are_those_of_the_picture() -> None:
    mask = sl.causal()
    np.testing.assert_array_equal(mask.rows(2, 4), mask.dense(4)[:, :, 2:])
    assert mask.rows(2, 4).shape == (1, 1, 2, 4)
    assert mask.rows(2, 4, kv_len=3).shape == (1, 1, 2, 3)
    assert mask.rows(2, 4, 3, 1)[0, 0].tolist() == [[True, True, False], [True] * 3]
    assert mask.rows(3, 3).shape == (1, 1, 0, 3)


def test_kv_len_is_q_len_if_it_is_not_given() -> None:
    mask = sl.window(1, 0)
    assert mask.dense(3).shape == (1, 1, 3, 3)
    assert mask.count(3) == mask.count(3, 3) == 5
    assert mask.density(3) == mask.density(3, None, 0, 0) == 5 / 9
    assert mask.empty_rows(3, q_offset=4).tolist() == [[[True, True, True]]]
    assert mask.dense(2, 0).shape == (1, 1, 2, 0)


def test_the_order_of_the_arguments_is_lengths_then_offsets() -> None:
    mask = sl.queries([2]) & sl.keys([3])
    for q_len, kv_len, q_offset, kv_offset in ((1, 2, 2, 3), (2, 1, 2, 3), (1, 2, 2, 2)):
        assert mask.count(q_len, kv_len, q_offset, kv_offset) == 1
        named = mask.count(q_len=q_len, kv_len=kv_len, q_offset=q_offset, kv_offset=kv_offset)
        assert named == 1
    assert mask.count(1, 2, 3, 2) == 0


ZERO = {
    "causal": sl.causal,
    "padding": lambda: sl.padding([1, 2]),
    "heads": lambda: sl.per_head([sl.causal(), sl.chunks(2)]),
    "documents": lambda: sl.documents(lengths=[2, 1]),
    "dense": lambda: sl.dense(np.ones((2, 1, 3, 3)), "attend"),
    "intervals": lambda: sl.intervals([0], [2]),
    "nothing": sl.nothing,
    "predicate": lambda: sl.predicate(lambda b, h, q, k: k <= q),
}


@pytest.mark.parametrize("name", ZERO)
def test_no_queries_or_no_keys_is_a_fair_question(name: str) -> None:
    mask = ZERO[name]()
    lead = (mask.batch, mask.heads)
    for q_len, kv_len in ((0, 3), (3, 0), (0, 0)):
        assert mask.dense(q_len, kv_len).shape == (*lead, q_len, kv_len)
        assert mask.count(q_len, kv_len) == 0
        assert mask.density(q_len, kv_len) == 0.0
        assert isinstance(mask.density(q_len, kv_len), float)
        empty = mask.empty_rows(q_len, kv_len)
        assert empty.shape == (*lead, q_len)
        assert empty.all()
    assert mask.dense(0).shape == (*lead, 0, 0)


def test_answers_have_plain_types() -> None:
    mask = sl.padding([1, 2])
    assert type(mask.count(2, 3)) is int
    assert type(mask.density(2, 3)) is float
    assert mask.dense(2).dtype == np.bool_
    assert mask.empty_rows(2).dtype == np.bool_
    assert mask.dense(np.int64(2), np.int32(3)).shape == (2, 1, 2, 3)


def test_far_positions_are_as_good_as_near_ones() -> None:
    far = 2**47
    assert sl.causal().dense(2, 2, far, far)[0, 0].tolist() == [[True, False], [True, True]]
    assert sl.chunks(2).count(4, 4, far, far) == 8
    assert sl.random_blocks(2, 3, seed=1).count(4, 4, far, far) <= 8
    assert sl.keys(slice(far, None)).count(1, 4, 0, far - 2) == 2
    assert sl.window(left=2**48).count(2, 2) == 4


# -- large shapes ------------------------------------------------------------------------------


def peak_of(call: Callable[[], Any]) -> tuple[Any, float]:
    """The answer, and the largest memory held on the way in megabytes."""
    tracemalloc.start()
    try:
        answer = call()
        return answer, tracemalloc.get_traced_memory()[1] / 1e6
    finally:
        tracemalloc.stop()


def test_counting_a_large_shape_is_exact_and_cheap() -> None:
    n = 2**20
    count, megabytes = peak_of(lambda: sl.causal().count(n))
    assert count == n * (n + 1) // 2
    assert megabytes < 20  # the picture alone would be a million


@pytest.mark.parametrize(
    "mask",
    [
        sl.neighborhood((100, 80), 5),
        sl.random_blocks(64, 4),
        sl.causal() & sl.documents(lengths=[4000, 4000]) | sl.log_sparse(),
    ],
    ids=lambda mask: mask.text()[:14],
)
def test_every_mask_is_asked_piece_by_piece(mask: sl.Mask) -> None:
    empty, megabytes = peak_of(lambda: mask.empty_rows(8000))
    assert not empty.any()
    assert megabytes < 200


def test_a_pack_of_a_million_tokens_is_asked_cheaply() -> None:
    _, megabytes = peak_of(
        lambda: sl.documents(lengths=[2**20, 5]).dense(3, 3, 2**20 - 1, 2**20 - 1)
    )
    assert megabytes < 50


def test_a_few_positions_of_a_pack_of_any_length_are_searched_not_tabled() -> None:
    pack = sl.documents(lengths=[[2**27, 2**28 - 1, 5], [2**28, 7, 2**27]])
    at = 2**27 + 2**28 - 2  # the last of the second document, and the first of the third's
    dense, megabytes = peak_of(lambda: pack.dense(3, 4, at, at - 1))
    assert dense[:, 0].astype(int).tolist() == [
        [[1, 1, 0, 0], [0, 0, 1, 1], [0, 0, 1, 1]],
        [[1, 1, 1, 1], [1, 1, 1, 1], [1, 1, 1, 1]],
    ]
    assert megabytes < 1


def test_a_pack_too_long_to_be_asked_cell_by_cell_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        sl.InvalidMask, match=f"{2**26 + 1} positions are too long.*at most {2**26}"
    ):
        sl.documents(lengths=[2**26 + 1]).dense(2**22 + 1, 1)
    monkeypatch.setattr(data, "MOST_EXPANDED", 6)
    assert sl.documents(lengths=[3, 3]).count(6) == 18
    assert sl.documents(lengths=[[3], [1, 1]]).count(3) == 11
    for too_long in (sl.documents(lengths=[3, 4]), sl.documents(lengths=[[4], [1, 1]])):
        with pytest.raises(
            sl.InvalidMask, match="too long to ask cell by cell; at most 6 positions"
        ):
            too_long.dense(2)


def test_a_pack_may_be_as_long_as_32_bits_say() -> None:
    longest = 2**31 - 1
    assert sl.documents(lengths=[longest]).extent() == (longest, longest)


def test_a_dense_mask_never_allows_a_cell_beyond_its_array() -> None:
    mask = sl.dense(np.ones((2, 1, 2, 3)), "attend")
    rows, queries, keys = np.ix_(np.arange(2), np.arange(5), np.arange(5))
    allowed = mask.allowed(Cells(rows, 0 * rows, queries, keys))
    assert allowed[:, :2, :3].all()
    assert not allowed[:, 2:].any()
    assert not allowed[:, :, 3:].any()


# -- extent ------------------------------------------------------------------------------------

EXTENTS: dict[str, tuple[Callable[[], sl.Mask], tuple[int | None, int | None]]] = {
    "causal": (sl.causal, (None, None)),
    "chunks": (lambda: sl.chunks(3), (None, None)),
    "prefix": (lambda: sl.prefix(3), (None, 3)),
    "keys": (lambda: sl.keys([1, 4]), (None, 5)),
    "queries": (lambda: sl.queries([1, 4]), (5, None)),
    "endless keys": (lambda: sl.keys(slice(4, None)), (None, 5)),
    "padding": (lambda: sl.padding([2, 5]), (None, 5)),
    "padding on the left": (lambda: sl.padding([2, 3], side="left", total=7), (None, 7)),
    "padding with gaps": (lambda: sl.padding(valid=[[1, 0, 1, 0]]), (None, 3)),
    "padded queries": (lambda: sl.padding([2, 5]).T, (5, None)),
    "documents": (lambda: sl.documents(lengths=[[2, 2], [3]]), (4, 4)),
    "spans": (lambda: sl.spans([0, -1, 0, -1]), (3, 3)),
    "prefix_lm": (lambda: sl.prefix_lm([2, 3]), (None, 3)),
    "permutation": (lambda: sl.permutation([1, 0, 2]), (3, 3)),
    "tree": (lambda: sl.tree([-1, 0]), (2, 2)),
    "dense": (lambda: sl.dense(np.ones((2, 5)), "attend"), (2, 5)),
    "transposed dense": (lambda: sl.dense(np.ones((2, 5)), "attend").T, (5, 2)),
    "intervals": (lambda: sl.intervals([0, 1, 0], [4, 2, 0]), (2, 4)),
    "shifted_window": (lambda: sl.shifted_window((2, 6), 2, 1), (12, 12)),
    "neighborhood": (lambda: sl.neighborhood((2, 6), 2), (12, 12)),
    "axial": (lambda: sl.axial((2, 6), 0), (12, 12)),
    "block_diffusion": (lambda: sl.block_diffusion(4, 2), (8, 8)),
    "log_sparse_row_mask": (lambda: sl.log_sparse_row_mask(4, 9), (9, 9)),
    "and": (lambda: sl.padding([2, 5]) & sl.queries([2]), (3, 5)),
    "or": (lambda: sl.padding([2, 5]) | sl.prefix(9) | sl.chunks(2), (None, 9)),
    "not": (lambda: ~sl.documents(lengths=[2]), (2, 2)),
    "shifted": (lambda: sl.tree([-1, 0]).shift(query=3, key=1), (5, 3)),
    "shifted out of sight": (lambda: sl.tree([-1, 0]).shift(query=-1, key=-9), (1, 0)),
    "per_head": (lambda: sl.per_head([sl.prefix(2), sl.queries([4])]), (5, 2)),
    "predicate": (lambda: sl.predicate(lambda b, h, q, k: k <= q), (None, None)),
    "everything": (sl.everything, (None, None)),
}


@pytest.mark.parametrize("name", EXTENTS)
def test_extent_says_how_far_the_data_reach(name: str) -> None:
    make, extent = EXTENTS[name]
    assert make().extent() == extent


# -- torch -------------------------------------------------------------------------------------


def cells_of(frame: Frame, mask: sl.Mask) -> Cells:
    import torch

    def axis(start: int, length: int, at: int) -> Any:
        shape = [1, 1, 1, 1]
        shape[at] = length
        return torch.arange(start, start + length).reshape(shape)

    return Cells(
        batch=axis(0, mask.batch, 0),
        head=axis(0, mask.heads, 1),
        query=axis(frame.q_offset, frame.q_len, 2),
        key=axis(frame.kv_offset, frame.kv_len, 3),
        place=lambda array: torch.tensor(array),  # a copy: the data of masks are read-only
    )


def same_in_torch(mask: sl.Mask, frame: Frame) -> None:
    import torch

    answer = mask.allowed(cells_of(frame, mask))
    assert isinstance(answer, torch.Tensor)
    assert answer.dtype == torch.bool
    wanted = mask.dense(*frame.at)
    spread = torch.broadcast_to(answer, wanted.shape).numpy()
    np.testing.assert_array_equal(spread, wanted, mask.text())


@pytest.mark.parametrize("name", sorted(ATOMS))
@given(data=st.data())
def test_every_definition_serves_torch_as_it_serves_numpy(name: str, data: st.DataObject) -> None:
    pytest.importorskip("torch")
    frame = data.draw(frames())
    mask = build(data.draw(atoms(name, frame)))
    same_in_torch(mask, frame)
    same_in_torch(~mask.T.shift(query=1, key=2), frame)


@given(data=st.data())
def test_expressions_serve_torch_too(data: st.DataObject) -> None:
    pytest.importorskip("torch")
    frame = data.draw(frames())
    same_in_torch(build(data.draw(expressions(frame, depth=2))), frame)


def test_positions_count_the_same_in_both_libraries() -> None:
    torch = pytest.importorskip("torch")
    bounds = np.array([0, 2, 5, ENDLESS])
    numpy_cells = Cells(*[np.arange(7)] * 4)
    torch_cells = Cells(*[torch.arange(7)] * 4)
    wanted = [1, 1, 2, 2, 2, 3, 3]
    assert numpy_cells.count_at_or_before(bounds, np.arange(7)).tolist() == wanted
    assert torch_cells.count_at_or_before(bounds, torch.arange(7)).tolist() == wanted
    assert numpy_cells.count_at_or_before(bounds, np.int64(5)) == 3


def test_positive_part() -> None:
    assert positive_part(np.array([-3, 0, 4])).tolist() == [0, 0, 4]


def test_a_table_is_looked_up_by_batch_row_and_never_outside() -> None:
    rows, positions = np.array([[0], [1]]), np.array([[0, 1, 2, 9]])
    cells = Cells(rows, rows, positions, positions)
    value, inside = cells.lookup(np.array([[5, 6, 7], [8, 9, 10]]), positions)
    assert value.tolist() == [[5, 6, 7, 5], [8, 9, 10, 8]]
    assert inside.tolist() == [[True, True, True, False]]
    shared, _ = cells.lookup(np.array([[5, 6, 7]]), positions)
    assert shared.tolist() == [[5, 6, 7, 5]]
    assert cells.per_row(np.array([3, 4])).tolist() == [[3], [4]]
    assert cells.per_row(np.array([3])) == 3
    moved = cells.at(query=positions + 1, key=positions + 2)
    assert (moved.batch is rows, moved.head is rows) == (True, True)
    assert (moved.query[0, 0], moved.key[0, 0]) == (1, 2)
