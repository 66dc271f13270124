"""The laws of the mask algebra: what holds for sets holds for masks.

In structure (``==`` of canonical forms) where rewrite.py promises it, in meaning (every cell)
everywhere. What single masks mean is the oracle's part, in test_masks_against_oracle.py.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sightline as sl
from sightline.masks import mask
from sightline.masks.moves import Shifted
from sightline.testing.specs import build
from sightline.testing.strategies import Frame, expressions, frames

EVERYTHING, NOTHING = sl.everything(), sl.nothing()

# A few masks that meet again and again, so that merging and absorbing happen all the time.
ALPHABET: list[Callable[[], sl.Mask]] = [
    sl.causal,
    lambda: sl.causal(strict=True),
    lambda: sl.window(left=2),
    lambda: sl.window(left=2, right=0),
    lambda: sl.window(left=1, right=3),
    lambda: sl.window(0, 0),
    lambda: sl.window(0, 1).shift(query=-2),
    lambda: sl.prefix(2),
    lambda: sl.keys([1, 4]),
    lambda: sl.keys(slice(3, None)),
    lambda: sl.queries([0, 1, 5]),
    lambda: sl.queries(slice(2, 5)),
    lambda: sl.chunks(2),
    lambda: sl.chunks(3),
    lambda: sl.block_causal(2),
    lambda: sl.dilated(3, phase=1),
    lambda: sl.padding(lengths=[3, 5]),
    lambda: sl.padding(valid=[[1, 0, 1, 1], [0, 1, 1, 0]]),
    lambda: sl.documents(lengths=[2, 3]),
    lambda: sl.documents(lengths=[[1, 3, 1], [2, 2]]),
    lambda: sl.prefix_lm([4, 2]),
    lambda: sl.per_head([sl.causal(), sl.chunks(2), sl.prefix(1)]),
]


def compounds(leaf: st.SearchStrategy[sl.Mask]) -> st.SearchStrategy[sl.Mask]:
    pairs = st.tuples(st.sampled_from([operator.and_, operator.or_]), leaf, leaf)
    return st.one_of(
        pairs.map(lambda each: each[0](each[1], each[2])),
        leaf.map(operator.invert),
        leaf.map(lambda mask: mask.T),
        st.tuples(leaf, st.integers(-2, 2), st.integers(-2, 2)).map(
            lambda each: each[0].shift(query=each[1], key=each[2])
        ),
    )


letters = st.sampled_from(ALPHABET).map(lambda make: make())
words = st.recursive(letters, compounds, max_leaves=5)
anything = st.builds(build, expressions(Frame(4, 6, 0, 0, 2, 3), depth=1))
masks = st.one_of(words, words, anything)


FRAME = Frame(6, 9, 0, 0, 2, 3)


def cells(mask: sl.Mask, frame: Frame = FRAME) -> np.ndarray:
    """All cells of the mask in the frame, spread over its batch rows and heads."""
    shape = (frame.batch, frame.heads, frame.q_len, frame.kv_len)
    return np.broadcast_to(mask.dense(*frame.at), shape)


def assert_same(left: sl.Mask, right: sl.Mask) -> None:
    """Equal in structure, hence in hash and text; and, in case ``==`` is wrong, in meaning."""
    assert left == right
    assert not (left != right)  # noqa: SIM202 - the other operator
    assert hash(left) == hash(right)
    assert left.text() == right.text()


# What random search found once, and must never find again: a, b and c of the laws below.
TRICKY: list[tuple[Callable[[], sl.Mask], ...]] = [
    (sl.causal, lambda: sl.causal() | sl.chunks(3), lambda: sl.window(left=5)),
    (lambda: sl.window(left=5), lambda: sl.window(right=3), lambda: sl.window(0, 0)),
    (lambda: sl.chunks(3) & sl.dilated(5), lambda: sl.prefix(2), sl.causal),
    (lambda: sl.causal(strict=True) | sl.chunks(3), lambda: sl.window(0, 0), sl.causal),
    (sl.causal, lambda: sl.everything().shift(query=1), lambda: sl.prefix(1)),
    (lambda: ~sl.dilated(3) | sl.prefix(2), lambda: ~sl.prefix(3), sl.causal),
    (lambda: sl.window(right=5) & ~sl.prefix(1), lambda: sl.window(right=2), sl.causal),
    (lambda: ~sl.window(right=1) & ~sl.prefix(2) | ~sl.prefix(4), sl.causal, sl.nothing),
    (lambda: ~sl.causal() & ~sl.prefix(1), lambda: sl.keys([1, 4]), lambda: sl.prefix(1)),
    (
        lambda: sl.window(left=0) | sl.prefix(1) | sl.queries([0]),
        lambda: sl.causal(strict=True) & ~sl.prefix(1) & sl.queries(slice(1, None)),
        lambda: ~sl.keys([3, 6]),
    ),
    (lambda: sl.window(left=2), lambda: ~sl.block_causal(3), lambda: sl.block_causal(3).T),
    (lambda: sl.prefix_lm(3), lambda: sl.keys([0, 5]) - sl.prefix_lm(4).T, sl.causal),
    (lambda: sl.chunks(3), lambda: sl.window(0, 0), lambda: sl.documents(lengths=[2, 3])),
    (
        lambda: sl.documents(lengths=[4, 4]),
        lambda: sl.documents(lengths=[3, 5]),
        lambda: sl.chunks(2),
    ),
    (
        lambda: sl.padding([1]),
        lambda: sl.padding(valid=[0, 1]),
        lambda: sl.padding([2, 2]),
    ),
    (lambda: sl.block_causal(2), lambda: sl.window(2, 0), lambda: sl.window(0, 3)),
    (lambda: sl.prefix(3), lambda: sl.prefix_lm([5, 5]), lambda: sl.prefix_lm([1, 7])),
]

triples = st.one_of(
    st.tuples(masks, masks, masks),
    st.sampled_from(TRICKY).flatmap(lambda each: st.permutations([make() for make in each])),
)
often = settings(max_examples=4 * settings().max_examples)


# -- laws in structure -------------------------------------------------------------------------


@often
@given(triples)
def test_and_or_and_xor_are_commutative(each: tuple[sl.Mask, ...]) -> None:
    a, b, _ = each
    assert_same(a & b, b & a)
    assert_same(a | b, b | a)
    assert_same(a ^ b, b ^ a)


@often
@given(triples)
def test_and_and_or_are_associative(each: tuple[sl.Mask, ...]) -> None:
    a, b, c = each
    assert_same((a & b) & c, a & (b & c))
    assert_same((a | b) | c, a | (b | c))


@given(
    st.lists(masks, min_size=2, max_size=5).flatmap(
        lambda m: st.tuples(st.just(m), st.permutations(m))
    )
)
def test_the_order_of_operands_does_not_matter(orders: tuple[list[sl.Mask], list[sl.Mask]]) -> None:
    one, other = orders
    for combine in (operator.and_, operator.or_):
        assert_same(functools.reduce(combine, one), functools.reduce(combine, other))


@given(masks)
def test_and_and_or_are_idempotent(a: sl.Mask) -> None:
    assert_same(a & a, a)
    assert_same(a | a, a)


@often
@given(triples)
def test_absorption(each: tuple[sl.Mask, ...]) -> None:
    a, b, _ = each
    assert_same(a & (a | b), a)
    assert_same(a | (a & b), a)


@often
@given(triples)
def test_a_mask_and_its_complement(each: tuple[sl.Mask, ...]) -> None:
    a = each[0]
    assert_same(a & ~a, NOTHING)
    assert_same(a | ~a, EVERYTHING)
    assert_same(a - a, NOTHING)
    assert_same(a ^ a, NOTHING)
    assert_same(a ^ ~a, EVERYTHING)


@given(masks)
def test_double_negation(a: sl.Mask) -> None:
    assert_same(~~a, a)


@often
@given(triples)
def test_de_morgan(each: tuple[sl.Mask, ...]) -> None:
    a, b, _ = each
    assert_same(~(a & b), ~a | ~b)
    assert_same(~(a | b), ~a & ~b)


@given(masks)
def test_the_constants(a: sl.Mask) -> None:
    assert_same(a & EVERYTHING, a)
    assert_same(a | NOTHING, a)
    assert_same(a & NOTHING, NOTHING)
    assert_same(a | EVERYTHING, EVERYTHING)
    assert_same(a - NOTHING, a)
    assert_same(a - EVERYTHING, NOTHING)
    assert_same(EVERYTHING - a, ~a)
    assert_same(a ^ NOTHING, a)
    assert_same(a ^ EVERYTHING, ~a)


def test_the_constants_are_each_others_complement_and_stay_put() -> None:
    assert ~EVERYTHING == NOTHING
    assert ~NOTHING == EVERYTHING
    assert EVERYTHING != NOTHING
    for constant in (EVERYTHING, NOTHING):
        assert_same(constant.T, constant)
        assert_same(constant.shift(query=-1, key=-2), constant)
    assert NOTHING.shift(query=1, key=2) == NOTHING


@given(masks, masks)
def test_difference_and_xor_are_what_they_abbreviate(a: sl.Mask, b: sl.Mask) -> None:
    assert_same(a - b, a & ~b)
    assert_same(a ^ b, (a - b) | (b - a))


@given(masks)
def test_transposing_twice_gives_the_mask_back(a: sl.Mask) -> None:
    assert_same(a.T.T, a)


@given(masks, masks)
def test_transposing_goes_through_the_operators(a: sl.Mask, b: sl.Mask) -> None:
    assert_same((a & b).T, a.T & b.T)
    assert_same((a | b).T, a.T | b.T)
    assert_same((~a).T, ~(a.T))


shifts = st.integers(0, 4)


def holds_shifted(mask: sl.Mask) -> bool:
    """Return whether a part is kept as a move of another: there the laws do not look inside."""
    inside = [*getattr(mask, "parts", ()), *getattr(mask, "masks", ())]
    if hasattr(mask, "part"):
        inside.append(mask.part)
    return isinstance(mask, Shifted) or any(holds_shifted(part) for part in inside)


@given(masks, shifts, shifts)
def test_shifting_down_or_right_and_back_gives_the_mask_back(
    a: sl.Mask, rows: int, columns: int
) -> None:
    back = a.shift(query=rows, key=columns).shift(query=-rows, key=-columns)
    if holds_shifted(a):
        np.testing.assert_array_equal(cells(back), cells(a))
    else:
        assert_same(back, a)


@given(masks)
def test_shifting_by_nothing_gives_the_mask_itself(a: sl.Mask) -> None:
    assert a.shift() is a
    assert a.shift(query=0, key=0) is a


@given(masks, st.integers(-4, 4), st.integers(-4, 4))
def test_transposing_swaps_the_amounts_of_a_shift(a: sl.Mask, rows: int, columns: int) -> None:
    assert_same(a.shift(query=rows, key=columns).T, a.T.shift(query=columns, key=rows))


# -- laws of one kind of mask ------------------------------------------------------------------

distances = st.one_of(st.none(), st.integers(0, 6))


def smallest(*values: int | None) -> int | None:
    return min((v for v in values if v is not None), default=None)


@given(distances, distances, distances, distances)
def test_two_windows_together_are_the_narrower_window(
    a: int | None, b: int | None, c: int | None, d: int | None
) -> None:
    both = sl.window(a, b) & sl.window(c, d)
    assert_same(both, sl.window(smallest(a, c), smallest(b, d)))


def test_causal_masks_are_windows() -> None:
    assert_same(sl.causal(), sl.window(left=None, right=0))
    assert_same(sl.causal().T, sl.window(left=0))
    assert_same(sl.causal(strict=True), ~sl.causal().T)
    assert_same(sl.causal() & sl.causal().T, sl.window(0, 0))
    assert_same(sl.causal() | sl.causal().T, EVERYTHING)
    assert_same(sl.causal() & sl.window(left=3), sl.window(left=3, right=0))
    assert_same(sl.causal(strict=True) | sl.window(0, 0), sl.causal())
    assert_same(sl.window(), EVERYTHING)


def test_windows_that_touch_or_overlap_are_joined_and_others_are_not() -> None:
    assert_same(sl.window(3, 0) | sl.window(0, 2), sl.window(3, 2))
    assert_same(sl.window(3, 0) | sl.window(0, 1).shift(query=-1), sl.window(3, 2))
    apart = sl.window(3, 0) | sl.window(0, 1).shift(query=-2)
    assert apart != sl.window(3, 3)
    assert_same(apart | sl.window(0, 0).shift(query=-1), sl.window(3, 3))


points = st.sets(st.integers(0, 8))


@given(points, points)
def test_keys_and_queries_follow_the_algebra_of_sets(p: set[int], r: set[int]) -> None:
    for made_of in (sl.keys, sl.queries):
        a, b, first_nine = made_of(list(p)), made_of(list(r)), made_of(range(9))
        assert_same(a & b, made_of(list(p & r)))
        assert_same(a | b, made_of(list(p | r)))
        assert_same(a - b, made_of(list(p - r)))
        assert_same(a ^ b, made_of(list(p ^ r)))
        assert_same(first_nine - a, made_of(list(set(range(9)) - p)))


@given(points)
def test_queries_are_keys_transposed(p: set[int]) -> None:
    assert_same(sl.keys(list(p)).T, sl.queries(list(p)))


def test_ways_to_say_the_same_positions() -> None:
    assert_same(sl.keys(3), sl.keys([3]))
    assert_same(sl.keys([2, 1, 2]), sl.keys(range(1, 3)))
    assert_same(sl.keys(slice(1, 6, 2)), sl.keys([1, 3, 5]))
    assert_same(sl.keys(range(5, 0, -2)), sl.keys([1, 3, 5]))
    assert_same(sl.keys(np.array([4, 0], dtype=np.uint8)), sl.keys([0, 4]))
    assert_same(sl.keys({4, 0}), sl.keys([0, 4]))
    assert_same(sl.keys(slice(None)), EVERYTHING)
    assert_same(sl.keys([]), NOTHING)
    assert_same(sl.keys(slice(4, 2)), NOTHING)
    assert_same(sl.keys(slice(3)), sl.prefix(3))
    assert_same(sl.sinks(3), sl.prefix(3))
    assert_same(sl.prefix(0), NOTHING)
    assert_same(~sl.keys(slice(2, None)), sl.prefix(2))


def test_masks_that_mean_the_same_are_equal_however_they_are_said() -> None:
    assert_same(sl.chunks(1), sl.window(0, 0))
    assert_same(sl.block_causal(1), sl.causal())
    assert_same(sl.dilated(1), EVERYTHING)
    assert_same(sl.dilated(3, phase=4), sl.dilated(3, phase=-2))
    assert_same(sl.dilated(3, phase=1).T, sl.dilated(3, phase=2))
    assert_same(sl.dilated(3).shift(query=3), sl.dilated(3) & sl.queries(slice(3, None)))
    assert_same(sl.strided(1), sl.causal())
    assert_same(sl.fixed(3, 3), sl.causal())
    assert_same(sl.axial((2, 3), axis=-1), sl.axial((2, 3), axis=1))
    assert_same(sl.padding([2, 1], total=5), sl.padding([2, 1]))
    assert_same(sl.padding([2, 2], side="left"), sl.padding([2, 2]))
    assert_same(sl.padding(valid=[[True, False]]), sl.padding(1))
    assert_same(sl.padding(valid=[[1, 1, 0], [0, 0, 0]]), sl.padding([2, 0]))
    gaps, none = [1, 0, 1], [0, 0, 0]
    assert_same(sl.padding(valid=[[*gaps, 0], [*none, 0]]), sl.padding(valid=[gaps, none]))
    assert_same(sl.documents(ids=[7, 7, 9]), sl.documents(lengths=[2, 1]))
    assert_same(sl.documents(cu_seqlens=[0, 2, 2, 3]), sl.documents(lengths=[2, 1]))
    assert_same(sl.documents(ids=[3, 1, 3]), sl.spans([0, 5, 0]))
    assert_same(sl.spans([-4, 2, 2, -1]), sl.spans([-1, 0, 0]))
    assert_same(sl.seq2seq([2, 3]), sl.prefix_lm([2, 3]))
    assert_same(sl.per_batch([sl.causal()]), sl.causal())
    assert_same(sl.dense([[1, 0]], "attend"), sl.dense([[0, 1]], "ignore"))
    assert_same(sl.dense([[1, 0]], "attend"), sl.dense([[[[0.0, -np.inf]]]], "additive"))
    assert_same(sl.intervals([[2, 0]], [[4, 2]]), sl.intervals([0, 5], [4, 5]))


def test_shifts_of_a_mask_that_has_lost_nothing_add_up_in_structure() -> None:
    for a in (
        sl.block_causal(2),
        sl.block_causal(2).T,
        sl.tree([1, -1]),
        sl.causal(),
        sl.prefix(3),
    ):
        both = a.shift(query=1, key=2)
        assert_same(a.shift(query=1).shift(key=2), both)
        assert_same(a.shift(key=2).shift(query=1), both)
        assert_same(a.shift(key=1).shift(query=1, key=1), both)
        assert_same(a.shift(query=3, key=3).shift(query=-2, key=-1), both)


def test_the_masks_of_rows_obey_operators_one_by_one() -> None:
    a, b = sl.causal(), sl.chunks(2)
    for rows in (sl.per_batch, sl.per_head):
        assert_same(~rows([a, b]), rows([~a, ~b]))
        assert_same(rows([a, b]).T, rows([a.T, b.T]))
        assert_same(rows([a, b]).shift(key=2), rows([a.shift(key=2), b.shift(key=2)]))
        assert rows([a, b]) != rows([b, a])
    assert sl.per_batch([a, b]) != sl.per_head([a, b])


DIFFERENT = [
    lambda: sl.causal(),
    lambda: sl.causal(strict=True),
    lambda: sl.window(2, 3),
    lambda: sl.window(3, 2),
    lambda: sl.keys([1]),
    lambda: sl.queries([1]),
    lambda: sl.chunks(2),
    lambda: sl.block_causal(2),
    lambda: sl.dilated(2),
    lambda: sl.dilated(2, phase=1),
    lambda: sl.strided(2),
    lambda: sl.log_sparse(),
    lambda: sl.log_sparse(local=2),
    lambda: sl.log_sparse(restart=2),
    lambda: sl.random_blocks(2, 2, seed=1),
    lambda: sl.random_blocks(2, 2, seed=2),
    lambda: sl.padding([1, 2]),
    lambda: sl.padding([1, 2], side="left"),
    lambda: sl.padding([1, 2], side="left", total=3),
    lambda: sl.documents(lengths=[1, 2]),
    lambda: sl.documents(lengths=[[1, 2], [1, 2]]),
    lambda: sl.prefix_lm([1, 2]),
    lambda: sl.permutation([1, 0, 2]),
    lambda: sl.permutation([1, 0, 2], stream="query"),
    lambda: sl.tree([-1, 0, 0]),
    lambda: sl.tree([-1, 0, 1]),
    lambda: sl.dense([[1, 0]], "attend"),
    lambda: sl.dense([[1], [0]], "attend"),
    lambda: sl.intervals([0], [2]),
    lambda: sl.shifted_window((4, 4), 2, 1),
    lambda: sl.shifted_window((4, 4), 2, 0),
    lambda: sl.neighborhood((4, 4), 2),
    lambda: sl.axial((4, 4), 0),
]


def test_different_masks_are_different() -> None:
    one, again = [make() for make in DIFFERENT], [make() for make in DIFFERENT]
    for i, a in enumerate(one):
        assert [a == b for b in again] == [i == j for j in range(len(again))]
    assert len(set(one + again)) == len(DIFFERENT)
    assert len({mask.text() for mask in one}) == len(DIFFERENT)


def test_a_mask_equals_no_other_thing() -> None:
    for other in (None, True, "causal()", np.ones((2, 2), dtype=bool), ("causal", {}), object()):
        assert sl.causal() != other
        assert not (sl.causal() == other)  # noqa: SIM201 - the other operator


# -- laws in meaning ---------------------------------------------------------------------------


@given(st.data())
def test_the_operators_mean_what_they_mean_for_sets(data: st.DataObject) -> None:
    frame = data.draw(frames(longest=5))
    each = st.builds(build, expressions(frame, depth=1))
    a, b, c = (data.draw(each) for _ in range(3))

    def at(mask: sl.Mask) -> np.ndarray:
        return cells(mask, frame)

    pairs: list[tuple[Any, Any]] = [
        (at(a & b), at(a) & at(b)),
        (at(a | b), at(a) | at(b)),
        (at(~a), ~at(a)),
        (at(a - b), at(a) & ~at(b)),
        (at(a ^ b), at(a) ^ at(b)),
        (at((a ^ b) ^ c), at(a ^ (b ^ c))),
        (at(a & (b | c)), at((a & b) | (a & c))),
        (at(a | (b & c)), at((a | b) & (a | c))),
        (at(a - (b | c)), at((a - b) & (a - c))),
        (at(a & (b ^ c)), at((a & b) ^ (a & c))),
    ]
    for number, (left, right) in enumerate(pairs):
        np.testing.assert_array_equal(left, right, f"law {number} of {a!r}, {b!r}, {c!r}")


@given(words, words, st.integers(-3, 3), st.integers(-3, 3))
def test_shift_goes_through_and_and_or_and_through_not_inside_the_picture(
    a: sl.Mask, b: sl.Mask, rows: int, columns: int
) -> None:
    by = {"query": rows, "key": columns}
    visible = EVERYTHING.shift(**by)
    np.testing.assert_array_equal(cells((a & b).shift(**by)), cells(a.shift(**by) & b.shift(**by)))
    np.testing.assert_array_equal(cells((a | b).shift(**by)), cells(a.shift(**by) | b.shift(**by)))
    np.testing.assert_array_equal(cells((~a).shift(**by)), cells(visible - a.shift(**by)))


@given(words, st.integers(-3, 3), st.integers(-3, 3))
def test_a_shift_moves_the_picture_and_forbids_what_it_uncovers(
    a: sl.Mask, rows: int, columns: int
) -> None:
    wide = cells(a, Frame(16, 16, 0, 0, 2, 3))
    wanted = np.zeros((2, 3, 8, 8), dtype=bool)
    for q in range(8):
        for k in range(8):
            if q >= rows and k >= columns:
                wanted[:, :, q, k] = wide[:, :, q - rows, k - columns]
    moved = a.shift(query=rows, key=columns)
    np.testing.assert_array_equal(cells(moved, Frame(8, 8, 0, 0, 2, 3)), wanted)


@given(words, shifts, shifts, shifts, shifts)
def test_shifts_in_one_direction_add_up(a: sl.Mask, r: int, c: int, rr: int, cc: int) -> None:
    down = a.shift(query=r, key=c).shift(query=rr, key=cc)
    np.testing.assert_array_equal(cells(down), cells(a.shift(query=r + rr, key=c + cc)))
    up = a.shift(query=-r, key=-c).shift(query=-rr, key=-cc)
    np.testing.assert_array_equal(cells(up), cells(a.shift(query=-r - rr, key=-c - cc)))


@given(words)
def test_transposing_swaps_the_axes_of_the_picture(a: sl.Mask) -> None:
    picture, swapped = cells(a, Frame(5, 8, 2, 1, 2, 3)), cells(a.T, Frame(8, 5, 1, 2, 2, 3))
    np.testing.assert_array_equal(swapped, picture.swapaxes(-1, -2))


@given(words, words)
def test_equal_masks_mean_the_same(a: sl.Mask, b: sl.Mask) -> None:
    for left, right in ((a & b, b & a), (a | (a & b), a), (~(a | b), ~a & ~b)):
        np.testing.assert_array_equal(cells(left), cells(right))


# -- sizes -------------------------------------------------------------------------------------


def test_batch_and_heads_broadcast_as_one_or_the_full_size() -> None:
    rows, heads = sl.padding(lengths=[1, 2]), sl.per_head([sl.causal()] * 2 + [sl.chunks(2)])
    assert (sl.causal().batch, sl.causal().heads) == (1, 1)
    assert (rows.batch, rows.heads) == (2, 1)
    assert (heads.batch, heads.heads) == (1, 3)
    for both in (rows & heads, rows | heads, ~(rows & heads).T.shift(query=1)):
        assert (both.batch, both.heads) == (2, 3)
        assert both.dense(4, 5).shape == (2, 3, 4, 5)


COMBINATIONS: dict[str, Callable[[Any, Any], Any]] = {
    "&": operator.and_,
    "|": operator.or_,
    "-": operator.sub,
    "^": operator.xor,
}


@pytest.mark.parametrize("sign", COMBINATIONS)
def test_masks_of_different_batch_sizes_do_not_combine(sign: str) -> None:
    with pytest.raises(
        sl.ShapeMismatch, match=r"of 2 and 3 batch rows cannot be combined; .*equal, or 1"
    ):
        COMBINATIONS[sign](sl.padding([1, 2]), sl.causal() | sl.padding([1, 2, 3]))


@pytest.mark.parametrize("sign", COMBINATIONS)
def test_masks_of_different_heads_do_not_combine(sign: str) -> None:
    three = sl.per_head([sl.causal(), sl.chunks(2), sl.chunks(3)])
    two = sl.per_head([sl.causal(), sl.chunks(2)])
    with pytest.raises(
        sl.ShapeMismatch, match=r"of 2 and 3 heads cannot be combined; .*equal, or 1"
    ):
        COMBINATIONS[sign](three, two)


# -- limits ------------------------------------------------------------------------------------


def test_an_expression_counts_its_masks_and_connectives() -> None:
    a, b, c = sl.chunks(2), sl.chunks(3), sl.chunks(5)
    assert [m.node_count() for m in (a, ~a, a & b, a & b & c, a & b | c)] == [1, 1, 3, 4, 5]


def test_xor_is_refused_where_it_would_grow_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b, c, d, e = (sl.chunks(n) for n in (2, 3, 5, 7, 11))
    monkeypatch.setattr(mask, "MOST_XOR_NODES", 6)
    assert (a & b) ^ (c & d) == (c & d) ^ (a & b)
    with pytest.raises(sl.InvalidMask, match=r"\^ of expressions of 3 and 4 masks .* predicate"):
        (a & b) ^ (c & d & e)


@given(words, st.integers(1, 4))
def test_what_asks_for_distances_alone_looks_the_same_everywhere(a: sl.Mask, by: int) -> None:
    if a.asks_distance_alone:
        dense = a.dense(6 + by, 7 + by)
        np.testing.assert_array_equal(dense[..., by:, by:], dense[..., :6, :7])


def test_which_masks_are_known_to_ask_for_distances_alone() -> None:
    alone = [EVERYTHING, NOTHING, sl.causal(), sl.window(2, 1), sl.dilated(3), ~sl.dilated(3)]
    alone += [sl.causal() & sl.dilated(2), sl.window(left=1) | ~sl.causal()]
    assert all(each.asks_distance_alone for each in alone)
    others = [sl.prefix(2), sl.chunks(2), sl.causal() & sl.chunks(2), sl.documents(lengths=[2, 3])]
    assert not any(each.asks_distance_alone for each in others)
