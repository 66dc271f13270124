"""equivalent and implies: the answer is the oracle's, a witness is one, a proof is for ever."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import sightline as sl
from sightline import reference
from sightline.masks import bits
from sightline.plan import compare
from sightline.plan.compare import Answer
from sightline.testing.specs import build
from sightline.testing.strategies import Frame, expressions, frames

DOCS = sl.documents(lengths=[5, 3, 4])


def judge(left: tuple, right: tuple, frame: Frame) -> None:
    a, b = reference.dense(left, *frame.at), reference.dense(right, *frame.at)
    masks = build(left), build(right)
    names = ("q_len", "kv_len", "q_offset", "kv_offset")
    at: dict[str, Any] = dict(zip(names, frame.at, strict=True))
    check(sl.equivalent(*masks, **at), a ^ b, frame)
    check(sl.implies(*masks, **at), a & ~b, frame)


def check(answer: Answer, failing: np.ndarray, frame: Frame) -> None:
    assert bool(answer) == answer.holds == (not failing.any())
    assert (answer.witness is None) == answer.holds
    if answer.witness is not None:
        batch, head, query, key = answer.witness
        at = query - frame.q_offset, key - frame.kv_offset
        assert failing[(batch % failing.shape[0], head % failing.shape[1], *at)]
        assert answer.proved_for == "this shape"


@pytest.mark.parametrize("side", [2, 128])
@given(data=st.data())
def test_random_pairs(side: int, data: st.DataObject) -> None:
    frame = data.draw(frames(longest=9))
    left = data.draw(expressions(frame, depth=2))
    right = data.draw(expressions(frame, depth=2))
    # A pair drawn apart is hardly ever related; these are, by a law or by a hair.
    pairs = [(left, right), (("and", left, right), right), (left, ("or", right, left))]
    pairs.append((left, ("or", ("and", left, right), ("minus", left, right))))
    pairs.append((left, ("xor", left, ("and", ("queries", {"positions": 3}), right))))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compare, "SIDE", side)
        patch.setattr(bits, "MOST_READ", data.draw(st.sampled_from([1, 2**16])))
        for one, other in pairs:
            judge(one, other, frame)


SINGLE_RUNS: list[tuple] = [
    ("causal", {}),
    ("and", ("causal", {}), ("documents", {"lengths": [3, 4, 2]})),
    ("window", {"left": 2, "right": 1}),
    ("padding", {"lengths": [4, 0, 9]}),
    ("prefix_lm", {"lengths": [2, 0, 7]}),
    ("intervals", {"start": [0, 0, 0, 3, 3], "end": [1, 2, 3, 4, 5]}),
    ("intervals", {"start": [0, 0, 0, 3, 3, 3, 3], "end": [1, 2, 3, 4, 5, 6, 7]}),
    ("and", ("chunks", {"size": 3}), ("queries", {"positions": range(4)})),
    ("nothing", {}),
    ("everything", {}),
]


@pytest.mark.parametrize("left", SINGLE_RUNS, ids=str)
@pytest.mark.parametrize("rows", [1, 2**15])
def test_masks_of_one_run_a_row(left: tuple, rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compare, "ROWS_AT_ONCE", rows)
    monkeypatch.setattr(compare, "SIDE", 3)
    for right in SINGLE_RUNS:
        judge(left, right, Frame(7, 6, 1, 0, 3, 1))
        judge(left, right, Frame(5, 8, 0, 2, 3, 1))


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (sl.causal() & DOCS, DOCS & sl.window(right=0)),
        (~(sl.chunks(3) | ~sl.causal()), sl.causal() - sl.chunks(3)),
        (sl.causal() & sl.block_causal(4), sl.causal()),
    ],
)
def test_equal_canonical_forms_prove_it_for_every_shape(a: sl.Mask, b: sl.Mask) -> None:
    for answer in (sl.equivalent(a, b), sl.implies(a, b), sl.equivalent(a, b, 7)):
        assert answer == Answer(True, "every shape")


def test_what_is_true_at_one_shape_is_not_called_a_proof_for_all() -> None:
    answer = sl.equivalent(sl.window(left=9, right=0), sl.causal(), q_len=10)
    assert answer == Answer(True, "this shape")
    assert not sl.equivalent(sl.window(left=9, right=0), sl.causal(), q_len=11)
    assert sl.equivalent(sl.causal(), sl.nothing(), q_len=0)


def test_implications_are_proved_one_way() -> None:
    narrow, wide = sl.window(left=2, right=0) & DOCS, sl.causal()
    assert sl.implies(narrow, wide) == Answer(True, "every shape")
    with pytest.raises(sl.InvalidArgument, match="proves nothing either way; say at which shape"):
        sl.implies(wide, narrow)
    with pytest.raises(sl.InvalidArgument, match="whether equivalent holds"):
        sl.equivalent(wide, narrow)


def test_only_masks_of_fitting_sizes_are_compared() -> None:
    with pytest.raises(sl.ShapeMismatch, match="2 and 3 batch rows"):
        sl.equivalent(sl.padding([1, 2]), sl.padding([1, 2, 3]), 4)
    with pytest.raises(sl.InvalidArgument, match="the second is True"):
        sl.implies(sl.causal(), True, 4)  # pyright: ignore[reportArgumentType]
    with pytest.raises(sl.ShapeMismatch, match="asked for queries up to 5"):
        sl.equivalent(sl.dense(np.ones((4, 4)), "attend"), sl.causal(), 5)


def test_two_ways_to_pack_a_million_tokens_are_compared() -> None:
    lengths = np.random.default_rng(0).multinomial(2**20 - 64, np.ones(64) / 64) + 1
    start = np.repeat(np.cumsum(lengths) - lengths, lengths)
    packed = sl.causal() & sl.documents(lengths=lengths)
    by_hand = sl.intervals(start, np.arange(2**20) + 1)
    assert sl.equivalent(packed, by_hand, 2**20) == Answer(True, "this shape")
    start[700_000] += 1
    answer = sl.equivalent(packed, sl.intervals(start, np.arange(2**20) + 1), 2**20)
    assert answer.witness == (0, 0, 700_000, start[700_000] - 1)
