"""The front door of lower, and the numpy destinations."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

import sightline as sl
from sightline.errors import InvalidArgument
from sightline.lower.destinations import NAMES
from sightline.reference.dense import dense as oracle

Q, K, OFFSET = 4, 6, 2
MASKS = [
    sl.everything(),
    sl.nothing(),
    sl.causal() & sl.padding(lengths=[6, 0, 3]),
    sl.per_head([sl.causal(), sl.window(1, 1)]),
    sl.documents(lengths=[[3, 3], [6]]) | sl.per_head([sl.sinks(1), sl.nothing(), sl.keys([4])]),
]


@pytest.mark.parametrize("mask", MASKS, ids=str)
def test_bool_is_what_the_oracle_says(mask: sl.Mask) -> None:
    got = sl.lower(mask, to="numpy.bool", q_len=Q, kv_len=K, q_offset=OFFSET)
    assert got.dtype == np.bool_
    np.testing.assert_array_equal(got, oracle(mask, Q, K, OFFSET))
    square = sl.lower(mask, "numpy.bool", Q)
    np.testing.assert_array_equal(square, oracle(mask, Q, Q))


@pytest.mark.parametrize("dtype", ["float16", np.float32, np.dtype(np.float64)])
@pytest.mark.parametrize("mask", MASKS, ids=str)
def test_additive_is_0_or_minus_infinity(mask: sl.Mask, dtype: Any) -> None:
    got = sl.lower(mask, to="numpy.additive", q_len=Q, kv_len=K, q_offset=OFFSET, dtype=dtype)
    allowed = oracle(mask, Q, K, OFFSET)
    assert got.dtype == np.dtype(dtype)
    assert got.shape == allowed.shape
    assert (got[allowed] == 0).all()
    assert np.isneginf(got[~allowed]).all()


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_additive_with_the_smallest_number(dtype: Any) -> None:
    mask = sl.causal() & sl.padding(lengths=[4, 3])
    got = sl.lower(mask, to="numpy.additive", q_len=4, dtype=dtype, constant="min")
    allowed = oracle(mask, 4)
    assert (got[allowed] == 0).all()
    assert (got[~allowed] == np.finfo(dtype).min).all()
    assert np.isfinite(got).all()


def test_additive_with_the_smallest_number_refuses_empty_rows() -> None:
    mask = sl.causal() & sl.padding(lengths=[4, 3], side="left", total=4)
    with pytest.raises(sl.CannotExpress, match=r"batch 1, head 0, query 0.*sl\.attend") as caught:
        sl.lower(mask, to="numpy.additive", q_len=4, constant="min")
    assert caught.value.destination == 'numpy.additive with constant="min"'
    assert "1 of 8" in caught.value.part


def test_additive_refuses_other_dtypes_and_constants() -> None:
    for dtype in (np.int32, bool, "float8", object):
        with pytest.raises(InvalidArgument, match="wanted float16, float32 or float64"):
            sl.lower(sl.causal(), to="numpy.additive", q_len=2, dtype=dtype)
    for constant in (-1e9, "-1e9", None):
        with pytest.raises(InvalidArgument, match='wanted "-inf" or "min"'):
            sl.lower(sl.causal(), to="numpy.additive", q_len=2, constant=constant)


def test_an_unknown_destination() -> None:
    with pytest.raises(sl.UnknownBackend, match=r"Did you mean 'torch\.sdpa'\?"):
        sl.lower(sl.causal(), to="torch.spda", q_len=2)
    with pytest.raises(sl.UnknownBackend, match=r"wanted one of numpy\.bool, numpy\.additive"):
        sl.lower(sl.causal(), to="", q_len=2)


@pytest.mark.parametrize("mask", [None, np.ones((2, 2)), [[1]], "causal()", 3])
def test_not_a_mask(mask: Any) -> None:
    with pytest.raises(sl.InvalidMask, match="wanted a sightline mask"):
        sl.lower(mask, to="numpy.bool", q_len=2)


@pytest.mark.parametrize(
    "lengths", [{"q_len": -1}, {"q_len": 2, "kv_len": -3}, {"q_len": 2, "q_offset": -1},
                {"q_len": 2.0}, {"q_len": True}, {"q_len": None}]
)  # fmt: skip
def test_lengths_that_are_none(lengths: dict[str, Any]) -> None:
    with pytest.raises(sl.ShapeMismatch, match="wanted an integer of at least 0"):
        sl.lower(sl.causal(), to="numpy.bool", **lengths)


def test_data_bound_to_another_length() -> None:
    mask = sl.dense(np.eye(3), means="attend")
    with pytest.raises(sl.ShapeMismatch):
        sl.lower(mask, to="numpy.bool", q_len=4)


@pytest.mark.parametrize("to", NAMES)
def test_unknown_options(to: str) -> None:
    takes = next(row.takes for row in sl.backends() if row.name == to)
    mask = sl.causal() if len(takes) == 1 else (sl.causal(),) * len(takes)
    with pytest.raises(InvalidArgument, match=rf"got option colour for {to}; it has"):
        sl.lower(mask, to=to, q_len=2, colour="red")


def test_backends_say_what_they_give_take_and_refuse() -> None:
    assert [row.name for row in sl.backends()] == list(NAMES)
    for row in sl.backends():
        assert row.gives
        assert row.expresses
        assert row.refuses
        assert row.in_principle


def test_sizes_of_zero() -> None:
    for q_len, kv_len in ((0, 3), (3, 0), (0, 0)):
        assert sl.lower(sl.causal(), "numpy.bool", q_len, kv_len).shape == (1, 1, q_len, kv_len)
        assert sl.lower(sl.causal(), "numpy.additive", q_len, kv_len).shape[2:] == (q_len, kv_len)


def test_numpy_destinations_and_the_list_load_no_torch() -> None:
    program = (
        "import sys, sightline as sl; sl.backends(); import sightline.lower.lower\n"
        "sl.lower(sl.causal(), to='numpy.bool', q_len=2)\n"
        "sl.lower(sl.causal(), to='numpy.additive', q_len=2)\n"
        "import sightline.engines\n"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
