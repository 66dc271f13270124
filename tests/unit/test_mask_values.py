"""Masks as values: they never change, compare and copy well, and have no truth.

Also what they say when they are mixed with what is not a mask.
"""

from __future__ import annotations

import copy
import operator
import pickle
import re
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import sightline as sl
from sightline.masks.arrays import Data
from sightline.testing.specs import build
from sightline.testing.strategies import Frame, expressions

FRAME = Frame(4, 6, 0, 0, 2, 3)
transparent = st.builds(build, expressions(FRAME, depth=2, opaque=False))

WITH_DATA: dict[str, Callable[[], sl.Mask]] = {
    "keys": lambda: sl.keys(np.array([1, 3])),
    "padding": lambda: sl.padding(np.array([2, 1])),
    "padding, valid": lambda: sl.padding(valid=np.array([[1, 0, 1]])),
    "documents": lambda: sl.documents(ids=np.array([0, 0, 1])),
    "prefix_lm": lambda: sl.prefix_lm(np.array([2, 1])),
    "permutation": lambda: sl.permutation(np.array([2, 0, 1])),
    "tree": lambda: sl.tree(np.array([-1, 0, 0])),
    "dense": lambda: sl.dense(np.eye(3), "attend"),
    "intervals": lambda: sl.intervals(np.array([0, 1]), np.array([1, 2])),
}


def arrays_of(mask: sl.Mask) -> list[Data]:
    return [v for f in fields(mask) if isinstance(v := getattr(mask, f.name), Data)]  # type: ignore[arg-type]


# -- nothing changes a mask --------------------------------------------------------------------


@pytest.mark.parametrize(
    "mask",
    [sl.causal(), sl.everything(), sl.padding([1, 2]), sl.causal() & sl.chunks(2), ~sl.chunks(2)],
    ids=repr,
)
def test_no_attribute_can_be_set_or_deleted(mask: sl.Mask) -> None:
    text = mask.text()
    # TypeError: what Python's own frozen classes with slots raise for names they do not know.
    with pytest.raises((AttributeError, TypeError)):
        mask.anything = 1  # type: ignore[attr-defined]
    for field in fields(mask):  # type: ignore[arg-type]
        with pytest.raises(AttributeError):
            setattr(mask, field.name, None)
        with pytest.raises(AttributeError):
            delattr(mask, field.name)
    for name in ("batch", "heads", "T"):
        with pytest.raises((AttributeError, TypeError)):
            setattr(mask, name, 7)
    assert mask.text() == text


@pytest.mark.parametrize("name", WITH_DATA)
def test_the_data_of_a_mask_cannot_be_written(name: str) -> None:
    held = arrays_of(WITH_DATA[name]())
    assert held
    for data in held:
        with pytest.raises(ValueError, match="read-only"):
            data.array[...] = 0
        with pytest.raises(ValueError, match="WRITEABLE"):
            data.array.setflags(write=True)
        with pytest.raises(AttributeError, match="cannot be changed"):
            data.array = np.zeros(3)


TAKES_ARRAYS: dict[str, tuple[Callable[[np.ndarray], sl.Mask], np.ndarray]] = {
    "keys": (sl.keys, np.array([1, 3])),
    "queries": (sl.queries, np.array([1, 3])),
    "padding, lengths": (sl.padding, np.array([2, 1])),
    "padding, valid": (lambda a: sl.padding(valid=a), np.array([[1, 0, 1]])),
    "padding, bools": (lambda a: sl.padding(valid=a), np.array([[True, False, True]])),
    "documents, lengths": (lambda a: sl.documents(lengths=a), np.array([2, 1])),
    "documents, ids": (lambda a: sl.documents(ids=a), np.array([1, 1, 0])),
    "documents, cu_seqlens": (lambda a: sl.documents(cu_seqlens=a), np.array([0, 1, 3])),
    "spans": (sl.spans, np.array([0, -1, 0])),
    "prefix_lm": (sl.prefix_lm, np.array([2, 1])),
    "seq2seq": (sl.seq2seq, np.array([2, 1])),
    "permutation": (sl.permutation, np.array([2, 0, 1])),
    "tree": (sl.tree, np.array([-1, 0, 0])),
    "dense": (lambda a: sl.dense(a, "attend"), np.eye(3, dtype=bool)),
    "dense, four axes": (lambda a: sl.dense(a, "ignore"), np.ones((1, 2, 3, 3), dtype=bool)),
    "dense, additive": (lambda a: sl.dense(a, "additive"), np.array([[0.0, -np.inf]])),
    "intervals, start": (lambda a: sl.intervals(a, np.array([5, 5])), np.array([1, 2])),
    "intervals, end": (lambda a: sl.intervals(np.array([0, 0]), a), np.array([1, 2])),
}


@pytest.mark.parametrize("name", TAKES_ARRAYS)
def test_changing_the_array_afterwards_does_not_change_the_mask(name: str) -> None:
    make, array = TAKES_ARRAYS[name]
    given, untouched = array.copy(), make(array.copy())
    mask = make(given)
    given[...] = given.flat[0]
    assert mask == untouched
    np.testing.assert_array_equal(mask.dense(1, 2), untouched.dense(1, 2))


@pytest.mark.parametrize("name", TAKES_ARRAYS)
def test_an_array_and_a_list_make_the_same_mask(name: str) -> None:
    make, array = TAKES_ARRAYS[name]
    assert make(array.tolist()) == make(array)
    assert make(np.asfortranarray(array)) == make(array)


@pytest.mark.parametrize("name", TAKES_ARRAYS)
def test_an_array_and_a_tensor_make_the_same_mask(name: str) -> None:
    torch = pytest.importorskip("torch")
    make, array = TAKES_ARRAYS[name]
    assert make(torch.tensor(array)) == make(array)


def test_a_tensor_of_one_number_is_a_number() -> None:
    torch = pytest.importorskip("torch")
    assert sl.chunks(torch.tensor(3)) == sl.chunks(3)
    assert sl.padding([torch.tensor(3), torch.tensor(1)]) == sl.padding([3, 1])


def test_integers_of_every_width_make_the_same_mask() -> None:
    for dtype in (np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64):
        assert sl.padding(np.array([3, 1], dtype=dtype)) == sl.padding([3, 1])
        assert sl.chunks(dtype(3)) == sl.chunks(3)
        assert sl.dense(np.array([[1, 0]], dtype=dtype), "attend") == sl.dense([[1, 0]], "attend")


def test_answers_are_the_callers_own() -> None:
    mask = sl.causal()
    first = mask.dense(3)
    first[...] = True
    assert mask.dense(3).sum() == 6


def test_a_mask_of_no_kind_answers_nothing() -> None:
    nameless = sl.Mask()
    for ask in (
        lambda: nameless.allowed(None),  # type: ignore[arg-type]
        nameless.spec,
        nameless.transposed,
        lambda: nameless.moved(1, 1),
        nameless.complement,
        nameless.order_key,
    ):
        with pytest.raises(NotImplementedError):
            ask()


# -- copies ------------------------------------------------------------------------------------


@given(transparent)
def test_pickled_and_copied_masks_are_equal(mask: sl.Mask) -> None:
    before = mask.dense(3, 4)  # fills what a mask may keep
    again: list[sl.Mask] = [pickle.loads(pickle.dumps(mask, p)) for p in (2, 4, 5)]  # noqa: S301
    for other in (*again, copy.copy(mask), copy.deepcopy(mask)):
        assert other == mask
        assert hash(other) == hash(mask)
        assert other.text() == mask.text()
        assert (other.batch, other.heads) == (mask.batch, mask.heads)
        np.testing.assert_array_equal(other.dense(3, 4), before)


@pytest.mark.parametrize("name", WITH_DATA)
def test_the_data_of_a_copy_cannot_be_written(name: str) -> None:
    mask = WITH_DATA[name]()
    for other in (pickle.loads(pickle.dumps(mask)), copy.deepcopy(mask)):  # noqa: S301
        for data in arrays_of(other):
            with pytest.raises(ValueError, match="read-only"):
                data.array[...] = 0


def test_masks_work_as_keys_of_dicts_and_sets() -> None:
    plans = {sl.causal() & sl.padding([1, 2]): "a", sl.chunks(2): "b"}
    assert plans[sl.padding([1, 2]) & sl.causal()] == "a"
    assert sl.window(right=0) in {sl.causal()}
    assert sl.padding([2, 1]) not in plans


def test_data_know_their_dtype_and_shape() -> None:
    ones = np.ones(8, dtype=np.int64)
    assert Data(ones) == Data(ones.copy())
    assert hash(Data(ones)) == hash(Data(ones.copy()))
    assert Data(ones) != Data(ones.reshape(2, 4))
    assert Data(ones) != Data(ones.astype(np.int32))
    assert Data(ones) != Data(ones.astype(np.uint64))
    assert Data(ones) != Data(2 * ones)
    assert Data(ones) != "Data"
    assert "int64[8]" in repr(Data(ones))


# -- no truth ----------------------------------------------------------------------------------

UNTRUE: dict[str, Callable[[sl.Mask, sl.Mask], Any]] = {
    "bool": lambda a, b: bool(a),
    "if": lambda a, b: 1 if a else 2,
    "and": lambda a, b: a and b,
    "or": lambda a, b: a or b,
    "not": lambda a, b: not a,
    "while": lambda a, b: next(iter(()), None) if not bool(a) else None,
    "any": lambda a, b: any([a, b]),
    "all": lambda a, b: all([a, b]),
    "filter": lambda a, b: list(filter(None, [a, b])),
}


@pytest.mark.parametrize("name", UNTRUE)
@pytest.mark.parametrize(
    "mask", [sl.causal(), sl.nothing(), ~sl.chunks(2) & sl.prefix(1)], ids=repr
)
def test_a_mask_has_no_truth_value(name: str, mask: sl.Mask) -> None:
    with pytest.raises(sl.NoTruthValue, match=r"no truth value.*& \| ~.*and/or/not"):
        UNTRUE[name](mask, sl.prefix(2))


def test_no_truth_value_is_a_type_error_too() -> None:
    with pytest.raises(TypeError):
        bool(sl.causal())
    with pytest.raises(sl.SightlineError):
        bool(sl.causal())


@pytest.mark.parametrize("compare", [operator.lt, operator.le, operator.gt, operator.ge])
def test_masks_have_no_order(compare: Callable[[Any, Any], Any]) -> None:
    with pytest.raises(TypeError):
        compare(sl.causal(), sl.chunks(2))
    with pytest.raises(TypeError):
        assert 0 <= sl.causal() <= 1  # type: ignore[operator]


def test_comparing_for_equality_gives_a_plain_bool() -> None:
    assert (sl.causal() == sl.window(right=0)) is True
    assert (sl.causal() == sl.chunks(2)) is False
    assert sl.causal() in [sl.chunks(2), sl.window(right=0)]


# -- what is not a mask ------------------------------------------------------------------------

SIGNS = {"&": operator.and_, "|": operator.or_, "-": operator.sub, "^": operator.xor}
STRANGERS: dict[str, Any] = {
    "array": np.ones((2, 2), dtype=bool),
    "scalar": np.bool_(True),
    "bool": True,
    "int": 3,
    "text": "causal()",
    "list": [sl.causal()],
    "class": sl.causal,
}


@pytest.mark.parametrize("stranger", STRANGERS)
@pytest.mark.parametrize("sign", SIGNS)
def test_only_masks_combine_with_masks(sign: str, stranger: str) -> None:
    other = STRANGERS[stranger]
    wanted = rf"^{re.escape(sign)} wants two masks, got .*(sl\.dense\(array, means=|sl\.parse)"
    with pytest.raises(sl.InvalidMask, match=wanted):
        SIGNS[sign](sl.causal(), other)
    with pytest.raises(sl.InvalidMask, match=wanted):
        SIGNS[sign](other, sl.causal())


@pytest.mark.parametrize("sign", SIGNS)
def test_tensors_are_no_masks_on_either_side(sign: str) -> None:
    torch = pytest.importorskip("torch")
    tensor = torch.ones(2, 2, dtype=torch.bool)
    for left, right in ((sl.causal(), tensor), (tensor, sl.causal())):
        with pytest.raises(sl.InvalidMask, match=r"Tensor of shape \[2, 2\]; wrap an array as sl"):
            SIGNS[sign](left, right)


@pytest.mark.parametrize("sign", SIGNS)
def test_none_is_no_mask_and_the_message_names_the_two_constants(sign: str) -> None:
    for left, right in ((sl.causal(), None), (None, sl.causal())):
        with pytest.raises(sl.InvalidMask, match=r"None.*sl\.everything\(\).*sl\.nothing\(\)"):
            SIGNS[sign](left, right)


def test_the_message_shows_what_was_met() -> None:
    with pytest.raises(sl.InvalidMask, match=r"ndarray of shape \[2, 3\]"):
        sl.causal() & np.ones((2, 3))  # type: ignore[operator]
    with pytest.raises(sl.InvalidMask, match=r"'causal' \(str\)"):
        sl.causal() | "causal"  # type: ignore[operator]


# -- text --------------------------------------------------------------------------------------


def test_repr_shortens_long_data_and_text_does_not() -> None:
    for count, whole in ((512, True), (513, False)):
        mask = sl.padding([1] * (count - 1) + [2])
        assert (repr(mask) == mask.text()) is whole
    assert repr(mask) == "padding(lengths=[1, ... 513 values])"
    assert mask.text().count("1, ") == 512
    assert sl.parse(mask.text()) == mask
    with pytest.raises(sl.ParseError):
        sl.parse(repr(mask))


LONG: dict[str, Callable[[], sl.Mask]] = {
    "rows": lambda: sl.dense(np.eye(40), "attend"),
    "ragged": lambda: sl.documents(lengths=[[], [1] * 600]),
    "masks": lambda: sl.per_batch([sl.chunks(i + 2) for i in range(1000)]),
    "nested": lambda: sl.causal() & ~sl.permutation(np.arange(600)).T.shift(query=1),
    "in rows": lambda: sl.per_head([sl.causal(), sl.permutation(np.arange(600))]),
}


@pytest.mark.parametrize("name", LONG)
def test_repr_stays_short_and_says_how_many_values_there_are(name: str) -> None:
    mask = LONG[name]()
    assert len(repr(mask)) < 200
    assert " values]" in repr(mask)
    assert len(mask.text()) > 1000
    assert "..." not in mask.text()
    assert sl.parse(mask.text()) == mask


TEXTS = {
    "everything()": sl.everything,
    "nothing()": sl.nothing,
    "causal()": sl.causal,
    "causal(strict=True)": lambda: sl.causal(strict=True),
    "~causal()": lambda: ~sl.causal(),
    "window(left=3)": lambda: sl.window(left=3),
    "window(right=3)": lambda: sl.window(right=3),
    "window(left=3, right=0)": lambda: sl.window(3, 0),
    "~window(left=3)": lambda: ~sl.window(left=3),
    "~window(left=3, right=1)": lambda: ~sl.window(3, 1),
    "window(left=0, right=2).shift(query=-1)": lambda: sl.window(0, 2).shift(query=-1),
    "window(left=2, right=0).shift(key=-1)": lambda: sl.window(2, 0).shift(key=-1),
    "prefix(3)": lambda: sl.sinks(3),
    "~prefix(3)": lambda: sl.keys(slice(3, None)),
    "keys([1, 4])": lambda: sl.keys([4, 1]),
    "keys(range(2, 9))": lambda: sl.keys(slice(2, 9)),
    "queries([1])": lambda: sl.queries(1),
    "queries(slice(3, None))": lambda: sl.queries(slice(3, None)),
    "chunks(4)": lambda: sl.chunks(4),
    "dilated(4)": lambda: sl.dilated(4),
    "dilated(4, phase=1)": lambda: sl.dilated(4, -3),
    "fixed(4, summary=1)": lambda: sl.fixed(4, 1),
    "log_sparse()": sl.log_sparse,
    "log_sparse(local=2, restart=8)": lambda: sl.log_sparse(2, 8),
    "log_sparse_row_mask(sub_len=4, win_len=9)": lambda: sl.log_sparse_row_mask(4, 9),
    "random_blocks(block=2, per_row=3)": lambda: sl.random_blocks(2, 3),
    "random_blocks(block=2, per_row=3, seed=1)": lambda: sl.random_blocks(2, 3, 1),
    "block_diffusion(length=4, block=2)": lambda: sl.block_diffusion(4, 2),
    "shifted_window(grid=(4, 6), window=(2, 2), shift=(1, 1))": lambda: sl.shifted_window(
        (4, 6), 2, 1
    ),
    "axial(grid=(2, 3), axis=1)": lambda: sl.axial([2, 3], -1),
    "padding(lengths=[2, 1])": lambda: sl.padding([2, 1]),
    "padding(lengths=[2, 1], side='left')": lambda: sl.padding([2, 1], side="left"),
    "padding(lengths=[2, 1], side='left', total=4)": lambda: sl.padding(
        [2, 1], side="left", total=4
    ),
    "padding(lengths=[0, 2], side='left', total=3)": lambda: sl.padding(
        [0, 2], side="left", total=3
    ),
    "padding(valid=[[1, 0], [0, 1]])": lambda: sl.padding(valid=[[1, 0], [0, 1]]),
    "padding(valid=[[1, 0, 1]])": lambda: sl.padding(valid=[1, 0, 1, 0]),
    "documents(lengths=[2, 1])": lambda: sl.documents(ids=[3, 3, 1]),
    "documents(lengths=[[2, 1], [3]])": lambda: sl.documents(lengths=[[2, 0, 1], [3]]),
    "spans([-1, 0, -1, 0])": lambda: sl.spans([-2, 9, -1, 9, -1]),
    "prefix_lm(lengths=[2])": lambda: sl.prefix_lm(2),
    "permutation([1, 0])": lambda: sl.permutation([1, 0], stream="con" + "tent"),
    "permutation([1, 0], stream='query')": lambda: sl.permutation([1, 0], stream=np.str_("query")),
    "tree([-1, 0])": lambda: sl.tree([-1, 0]),
    "tree([[-1, 0], [1, -1]])": lambda: sl.tree([[-1, 0], [1, -1]]),
    "dense([[1, 0]], means='attend')": lambda: sl.dense([[0, 1]], "ignore"),
    "intervals(start=[0, 1], end=[1, 3])": lambda: sl.intervals([[2, 0], [2, 1]], [[2, 1], [3, 2]]),
    "intervals(start=[[[0]], [[1]]], end=[[[1]], [[2]]])": lambda: sl.intervals(
        [[[0]], [[1]]], [[[1]], [[2]]]
    ),
    "per_batch([causal(), chunks(2) | prefix(1)])": lambda: sl.per_batch(
        [sl.causal(), sl.chunks(2) | sl.prefix(1)]
    ),
    "block_causal(2).T": lambda: sl.block_causal(2).T,
    "~block_causal(2).T": lambda: ~sl.block_causal(2).T,
    "block_causal(2).shift(query=1)": lambda: sl.block_causal(2).shift(query=1),
    "block_causal(2).T.shift(query=-1, key=2)": lambda: sl.block_causal(2).T.shift(query=-1, key=2),
    "chunks(2) & (causal() | prefix(1))": lambda: sl.chunks(2) & (sl.causal() | sl.prefix(1)),
    "causal() & chunks(2) | prefix(1)": lambda: sl.prefix(1) | (sl.chunks(2) & sl.causal()),
}


@pytest.mark.parametrize("text", TEXTS)
def test_text_of_a_mask(text: str) -> None:
    mask = TEXTS[text]()
    assert mask.text() == text
    assert repr(mask) == text
    assert sl.parse(text) == mask


def test_the_text_of_a_predicate_says_that_it_is_opaque() -> None:
    def mine(b: Any, h: Any, q: Any, k: Any) -> Any:
        return k <= q

    mask = sl.predicate(mine, batch=2)
    assert repr(mask).startswith("predicate(<opaque ")
    assert "mine" in repr(mask)
    assert repr(mask).endswith("batch=2)")
    with pytest.raises(sl.ParseError):
        sl.parse(mask.text())
