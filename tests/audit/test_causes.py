"""The likely cause of leaks, from what the guilty operation was called with."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import sightline as sl
from sightline.audit.locating.causes import likely_cause
from sightline.audit.locating.facts import Facts

from . import leaking_models as models
from .test_localize import located


@pytest.mark.parametrize("case", models.CASES, ids=lambda case: case.name)
def test_cause_of_a_leak(case: models.Case) -> None:
    found = located(case.make, case.training)
    assert found is not None
    said = likely_cause(found.place, found.facts, sl.causal(), None)
    assert case.cause in said
    assert bool(said) == bool(case.cause), said


Q, K = 11, 13


def cause(name: str, declared: Any = None, measured: Any = None, **facts: Any) -> str:
    if "scores" in facts:
        facts["scores"] = np.asarray(facts["scores"], dtype=np.float32)
    return likely_cause(None, Facts(name, **facts), declared, measured)


def added(mask: sl.Mask, hidden: float = -np.inf, q_len: int = Q, kv_len: int = K) -> np.ndarray:
    return np.where(mask.dense(q_len, kv_len), 0.0, hidden)


def to_kernel(mask: sl.Mask, declared: sl.Mask, kind: str = "bool", **options: Any) -> str:
    scores = added(mask, **options)
    return cause("scaled_dot_product_attention", declared, scores=scores, mask=kind)


def test_masks_that_reach_the_kernel() -> None:
    window = sl.window(left=3, right=0)
    documents = sl.documents(lengths=[[5, 8], [6, 7]]) & sl.causal()
    assert "off by one" in to_kernel(sl.window(left=4, right=0), window)
    assert "W - 1" in to_kernel(sl.window(left=4, right=0), window)
    assert "off by two" in to_kernel(sl.window(right=2), sl.causal())
    assert "first 3 keys are visible to everybody" in to_kernel(
        sl.causal() | sl.prefix(3), sl.causal()
    )
    assert "first key is visible" in to_kernel(window | sl.prefix(1), window)
    assert "documents(" in to_kernel(sl.causal(), documents)
    assert "does not reach attention" in to_kernel(sl.causal(), documents)
    assert "first batch row" in to_kernel(sl.documents(lengths=[5, 8]) & sl.causal(), documents)
    assert "buffer of size 7" in to_kernel(sl.causal() | ~sl.prefix(7), sl.causal(), kv_len=Q)
    assert "lets query 0 see key 2" in to_kernel(sl.causal() | sl.keys([2, 9, 10]), sl.causal())
    assert "transposed" in to_kernel(
        sl.causal() & sl.window(left=2), (sl.causal() & sl.window(left=2)).T, kv_len=Q
    )


def test_a_right_mask_is_not_blamed() -> None:
    for mask in (sl.causal(), sl.window(left=3, right=0), sl.causal() | sl.prefix(2)):
        assert to_kernel(mask, mask) == ""
        assert to_kernel(mask, mask, "float", hidden=-1e9) == ""
        assert cause("softmax", mask, scores=added(mask, -1e9), mask="in scores") == ""


def test_padding_on_the_axis_of_the_queries() -> None:
    padding = sl.padding(lengths=[11, 6, 9])
    said = to_kernel(padding.T, padding, kv_len=Q)
    assert "axis of the queries" in said


def test_soft_masks() -> None:
    numbers = np.random.default_rng(0).standard_normal((3, 2, Q, K))
    allowed = sl.causal().dense(Q, K)
    say = lambda scores: cause("softmax", sl.causal(), scores=scores, mask="in scores")  # noqa: E731
    assert "0 and 1" in say(numbers + allowed)
    assert "too weak: forbidden scores are about 10" in say(numbers - 10.0 * ~allowed)
    assert "multiplied" in say(numbers * allowed)
    assert "no mask reaches" in say(numbers)
    assert "0 and 1" in to_kernel(sl.causal(), sl.causal(), "float", hidden=1.0)


def test_rows_that_may_see_nothing() -> None:
    strict = sl.causal(strict=True)
    scores = added(strict, -3e38)
    assert "uniform" in cause("softmax", strict, scores=scores, mask="in scores")
    assert "uniform" not in cause("softmax", strict, scores=added(strict), mask="in scores")


def test_torch_s_layer_that_takes_the_hint_for_the_mask() -> None:
    facts = {
        "values": {"is_causal": True, "need_weights": False},
        "shapes": {"query": (Q, 3, 8), "attn_mask": (Q, Q)},
        "scores": added(sl.window(left=2, right=0), kv_len=Q),
        "mask": "bool",
    }
    declared = sl.window(left=2, right=0)
    assert "is_causal=True" in cause("multi_head_attention_forward", declared, **facts)
    facts["values"] = {"is_causal": True, "need_weights": True}
    assert cause("multi_head_attention_forward", declared, **facts) == ""


@pytest.mark.parametrize(
    ("padding", "kernel", "dilation", "says"),
    [
        ((2,), 5, (1,), "2 positions ahead"),
        ((1,), 3, (1,), "1 position ahead"),
        (4, 5, 1, "keep the first ones ([..., :-4])"),
        ("same", 4, (2,), "3 positions ahead"),
        (0, 3, 2, "padded by 4"),
        (0, 1, 1, ""),
    ],
)
def test_convolutions(padding: Any, kernel: int, dilation: Any, says: str) -> None:
    said = cause(
        "conv1d",
        values={"padding": padding, "dilation": dilation},
        shapes={"input": (3, 8, 13), "weight": (8, 8, kernel)},
    )
    assert says in said
    assert bool(said) == bool(says)


def test_what_was_measured_speaks_where_no_operation_does() -> None:
    measured = lambda mask: likely_cause(None, None, sl.causal(), mask)  # noqa: E731
    assert "first 3 positions" in measured(sl.causal() | sl.prefix(3))
    assert "1 after itself" in measured(sl.window(right=1))
    assert measured(sl.everything()) == ""
    assert measured(sl.causal()) == ""
    strict = sl.causal(strict=True)
    assert "shifted by one" in likely_cause(None, None, strict, sl.causal())
    assert likely_cause(None, None, None, None) == ""
