"""xformers' biases, drawn out by their documentation, by xformers itself, and by the oracle."""

from __future__ import annotations

import sys
import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import sightline as sl
from sightline.reference.dense import dense as oracle
from sightline.testing.expanders import xformers as expander
from sightline.testing.expanders.tokens import unpacked
from sightline.testing.specs import build
from sightline.testing.strategies import Frame, expressions, frames

with warnings.catch_warnings():  # xformers without its kernels says so
    warnings.simplefilter("ignore")
    pytest.importorskip("xformers.ops.fmha.attn_bias")


def drawn(packed: Any) -> np.ndarray:
    """Write out the bias as [batch, 1, q_len, kv_len]; xformers' own picture must be the same."""
    bias, rows = packed.keywords["attn_bias"], packed.leading
    queries, keys = packed.query_index.tolist(), packed.key_index.tolist()
    sizes = len(queries) // rows, len(keys) // rows
    seen = expander.expand(bias, rows, *sizes)
    if bias is not None:
        theirs = bias.materialize((rows, *sizes)).exp().numpy().astype(bool)
        own = np.arange(rows)
        table = seen.reshape(rows, sizes[0], rows, sizes[1])[own, :, own]
        np.testing.assert_array_equal(table, theirs)
        assert table.sum() == seen.sum()
    return unpacked(seen, queries, keys, (packed.batch, packed.q_len, packed.kv_len))


def causal_or_all(mask: sl.Mask, frame: Frame, at: dict[str, Any]) -> bool:
    """Return whether flash_attn says it with a window that every sort of bias has."""
    try:
        packed = sl.lower(mask, "flash_attn", frame.q_len, frame.kv_len, **at)
    except sl.CannotExpress:
        return False
    left, right = packed.keywords["window_size"]
    return right == 0 or (left, right) == (-1, -1)


@given(st.data())
def test_exact_or_refused(data: st.DataObject) -> None:
    frame = data.draw(frames())
    mask = build(data.draw(expressions(frame, 2)))
    allowed = oracle(mask, frame.q_len, frame.kv_len, frame.q_offset)
    batch = data.draw(st.sampled_from([None, frame.batch])) if mask.batch == 1 else None
    at = {"q_offset": frame.q_offset, "batch": batch}
    try:
        packed = sl.lower(mask, "xformers", frame.q_len, frame.kv_len, **at)
    except sl.CannotExpress:
        assert not causal_or_all(mask, frame, at)
    else:
        wanted = np.repeat(allowed, batch, axis=0) if batch else allowed
        np.testing.assert_array_equal(*np.broadcast_arrays(drawn(packed), wanted))


PAIRED = sl.documents(lengths=[3, 2])


@pytest.mark.parametrize(
    ("mask", "lengths", "name", "leading"),
    [
        (sl.everything(), (3, 5, 0), "NoneType", 1),
        (sl.causal(), (5, 5, 0), "LowerTriangularMask", 1),
        (sl.causal(), (3, 7, 4), "LowerTriangularFromBottomRightMask", 1),
        (sl.causal(), (1, 7, 6), "NoneType", 1),
        (sl.window(2, 0), (5, 5, 0), "LowerTriangularFromBottomRightLocalAttentionMask", 1),
        (sl.window(1, 2), (5, 5, 0), "LocalAttentionFromBottomRightMask", 1),
        (sl.causal().T, (5, 5, 0), "LocalAttentionFromBottomRightMask", 1),
        (sl.window(None, 1), (5, 5, 0), "LocalAttentionFromBottomRightMask", 1),
        (sl.documents(lengths=[2, 2, 2]), (6, 6, 0), "NoneType", 3),
        (sl.documents(ids=[0, 1, 0, 1]) & sl.causal(), (4, 4, 0), "LowerTriangularMask", 2),
        (PAIRED, (5, 5, 0), "BlockDiagonalMask", 1),
        (PAIRED & sl.causal(), (5, 5, 0), "BlockDiagonalCausalMask", 1),
        (PAIRED & sl.causal(), (4, 5, 1), "BlockDiagonalCausalFromBottomRightMask", 1),
        (
            PAIRED & sl.window(1, 0),
            (5, 5, 0),
            "BlockDiagonalCausalLocalAttentionFromBottomRightMask",
            1,
        ),
    ],
)
def test_the_fitting_class(
    mask: sl.Mask, lengths: tuple[int, int, int], name: str, leading: int
) -> None:
    packed = sl.lower(mask, "xformers", *lengths)
    assert type(packed.keywords["attn_bias"]).__name__ == name
    assert packed.leading == leading
    np.testing.assert_array_equal(drawn(packed), oracle(mask, *lengths))


def test_windows_count_as_xformers_does() -> None:
    causal = sl.lower(sl.window(2, 0), "xformers", 6).keywords["attn_bias"]
    assert causal._window_size == 3
    both = sl.lower(sl.window(2, 1), "xformers", 6).keywords["attn_bias"]
    assert (both.window_left, both.window_right) == (2, 1)


def test_more_queries_than_keys_without_a_limit_to_the_right() -> None:
    drawing = np.array([[1, 1, 1]] * 3 + [[0, 1, 1], [0, 0, 1]], dtype=bool)
    packed = sl.lower(sl.dense(drawing, means="attend"), "xformers", 5, 3)
    np.testing.assert_array_equal(drawn(packed)[0, 0], drawing)


def test_batch_rows_and_padding() -> None:
    got = sl.lower(sl.causal(), "xformers", 4, batch=3)
    assert got.leading == 3
    np.testing.assert_array_equal(drawn(got), np.repeat(oracle(sl.causal(), 4), 3, axis=0))
    padding = sl.padding(lengths=[4, 2, 0])
    mask = sl.causal() & padding & padding.T
    np.testing.assert_array_equal(drawn(sl.lower(mask, "xformers", 4)), oracle(mask, 4))


def test_tensors_have_tokens_before_heads() -> None:
    torch = pytest.importorskip("torch")
    mask = sl.documents(ids=[0, 1, 0, 1]) & sl.causal()
    packed = sl.lower(mask, "xformers", 4, batch=3)
    query = torch.arange(3 * 2 * 4 * 5.0).reshape(3, 2, 4, 5)
    tokens = packed.pack_queries(query)
    assert tokens.shape == (6, 2, 2, 5)
    assert torch.equal(tokens[1, 0], query[0, :, 1])
    assert torch.equal(packed.unpack(tokens), query)


def test_refusals() -> None:
    with pytest.raises(sl.CannotExpress, match=r"a window of 1 keys to the left and 1 .*several"):
        sl.lower(PAIRED & sl.window(1, 1), "xformers", 5)
    long = sl.dense(np.array([[1, 0], *[[1, 1]] * 9], dtype=bool), means="attend")
    with pytest.raises(sl.CannotExpress, match=r"8 keys to the right over sequences of 2 keys"):
        sl.lower(long, "xformers", 10, 2)


def test_without_xformers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "xformers.ops.fmha.attn_bias", None)
    with pytest.raises(sl.MissingExtra, match=r"needs xformers.*sightline\[xformers\]"):
        sl.lower(sl.causal(), "xformers", 4)
