"""jax.dot_product_attention, run on the CPU: what comes out against the oracle, gradients too."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lowered import DIM, FULL_ROWS, HEADS, OFFSET, B, K, Q

import sightline as sl
from sightline.errors import InvalidArgument
from sightline.lower import jax_dot_product_attention as destination
from sightline.reference.attention import attention, attention_gradients
from sightline.reference.dense import dense as oracle
from sightline.testing.specs import build
from sightline.testing.strategies import expressions, frames

jax = pytest.importorskip("jax")

NAME = "jax.dot_product_attention"
KEYWORDS = {
    "mask",
    "is_causal",
    "query_seq_lengths",
    "key_value_seq_lengths",
    "local_window_size",
}
LAST_ROWS_EMPTY = {
    "padded queries": sl.causal() & sl.padding(lengths=[6, 4, 3]).T,
    "a batch row without keys": sl.padding(lengths=[6, 0, 3]),
    "per head, padded queries": sl.per_head([sl.causal(), sl.window(1, 1)])
    & sl.padding(lengths=[6, 3, 2]).T,
    "the same for every batch row": sl.causal() & ~sl.queries([4, 5]),
    "nothing": sl.nothing(),
}
OTHERS_EMPTY = {
    "left padding": sl.causal() & sl.padding(lengths=[6, 2, 3], side="left", total=6),
    "one head": sl.per_head([sl.causal(), sl.nothing()]),
    "a row in the middle": ~sl.queries([3]),
    "the end of one head": sl.per_head([sl.causal(), ~sl.queries([5])]),
}


def tensors(q_len: int, kv_len: int, value_dim: int = DIM) -> list[np.ndarray]:
    """Return query, key, value and an upstream gradient, [batch, heads, length, dim] float32."""
    rng = np.random.default_rng(0)
    sizes = [(q_len, DIM), (kv_len, DIM), (kv_len, value_dim), (q_len, value_dim)]
    return [rng.normal(size=(B, HEADS, *size)).astype(np.float32) for size in sizes]


def turned(array: Any) -> np.ndarray:
    return np.swapaxes(np.asarray(array), 1, 2)


def check(mask: sl.Mask, keywords: dict[str, Any], allowed: np.ndarray) -> None:
    """Run forwards and backwards, and compare with the oracle."""
    assert set(keywords) == KEYWORDS
    query, key, value, upstream = tensors(*allowed.shape[2:])

    def run(*inputs: Any) -> Any:
        return jax.nn.dot_product_attention(*inputs, **keywords)

    output, back = jax.vjp(run, turned(query), turned(key), turned(value))
    wanted = attention(query, key, value, allowed).output
    np.testing.assert_allclose(turned(output), wanted, rtol=0, atol=1e-5, err_msg=repr(mask))
    rights = attention_gradients(query, key, value, allowed, upstream)
    for got, right in zip(
        back(turned(upstream)), (rights.query, rights.key, rights.value), strict=True
    ):
        np.testing.assert_allclose(turned(got), right, rtol=0, atol=2e-5, err_msg=repr(mask))


def skip_where_jax_spoils_last_rows() -> None:
    if not destination.keeps_last_rows():
        pytest.skip("this jax does not give 0 for queries beyond query_seq_lengths")


@pytest.mark.parametrize("name", [*FULL_ROWS, *LAST_ROWS_EMPTY])
def test_forwards_and_backwards(name: str) -> None:
    if name in LAST_ROWS_EMPTY:
        skip_where_jax_spoils_last_rows()
    mask = {**FULL_ROWS, **LAST_ROWS_EMPTY}[name]
    keywords = sl.lower(mask, NAME, Q, K, OFFSET, batch=B)
    assert (keywords["query_seq_lengths"] is not None) == (name in LAST_ROWS_EMPTY)
    check(mask, keywords, oracle(mask, Q, K, OFFSET))


def test_last_rows_are_refused_where_jax_spoils_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(destination, "keeps_last_rows", lambda: False)
    for mask in LAST_ROWS_EMPTY.values():
        with pytest.raises(sl.CannotExpress, match=r"may see nothing.*query_seq_lengths"):
            sl.lower(mask, NAME, Q, K, OFFSET, batch=B)
    sl.lower(FULL_ROWS["padding"], NAME, Q, K, OFFSET)


def test_the_trial_sees_a_jax_that_spoils_last_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    real = jax.nn.dot_product_attention

    def deaf(*inputs: Any, query_seq_lengths: Any) -> Any:
        return real(*inputs)

    destination.keeps_last_rows.cache_clear()
    with monkeypatch.context() as patch:
        patch.setattr(jax.nn, "dot_product_attention", deaf)
        assert not destination.keeps_last_rows()
    destination.keeps_last_rows.cache_clear()


@pytest.mark.parametrize("name", OTHERS_EMPTY)
def test_other_empty_rows_are_refused(name: str) -> None:
    with pytest.raises(sl.CannotExpress, match=r"may see nothing.*mean of all values") as caught:
        sl.lower(OTHERS_EMPTY[name], NAME, Q, K, OFFSET, batch=B)
    assert caught.value.destination == NAME


def test_jax_really_spoils_the_rows_that_are_refused() -> None:
    query, key, value, _ = tensors(Q, K)
    allowed = oracle(OTHERS_EMPTY["a row in the middle"], Q, K, OFFSET)
    inputs = (turned(query), turned(key), turned(value))
    output = turned(jax.nn.dot_product_attention(*inputs, mask=allowed))
    row = np.flatnonzero(~allowed[0, 0].any(axis=-1))[0]
    np.testing.assert_allclose(output[:, :, row], value.mean(axis=2), rtol=0, atol=1e-5)


@given(st.data())
def test_expressions(data: st.DataObject) -> None:
    frame = replace(data.draw(frames()), q_len=Q, kv_len=K, kv_offset=0, batch=B, heads=HEADS)
    spec, at = data.draw(expressions(frame, 2)), (Q, K, frame.q_offset)
    mask, allowed = build(spec), oracle(spec, *at)
    empty = ~allowed.any(axis=-1)
    try:
        keywords = sl.lower(mask, NAME, *at, batch=B)
    except sl.CannotExpress:
        if not destination.keeps_last_rows():
            assert empty.any()
            return
        # Somewhere a row that sees something comes after one that does not, or heads differ.
        assert (empty != empty[:, :1]).any() or (empty[..., :-1] & ~empty[..., 1:]).any()
        return
    shape = (B, HEADS, Q, K)
    said = np.ones(shape, dtype=bool)
    if keywords["mask"] is not None:
        said &= keywords["mask"]
    if keywords["is_causal"]:
        said &= np.tri(Q, K, dtype=bool)
    np.testing.assert_array_equal(said, np.broadcast_to(allowed, shape))
    lengths = np.full(B, Q)
    if keywords["query_seq_lengths"] is not None:
        assert keywords["query_seq_lengths"].dtype == np.int32
        lengths = keywords["query_seq_lengths"]
    rows = (np.arange(Q) >= lengths[:, None])[:, None]
    np.testing.assert_array_equal(*np.broadcast_arrays(rows, empty, said[..., 0])[:2])


@pytest.mark.parametrize(
    ("mask", "lengths", "form"),
    [
        (sl.causal(), (4, 4, 0), (None, True)),
        (sl.causal(), (4, 6, 0), (None, True)),
        (sl.causal(), (6, 4, 0), (None, True)),
        (sl.causal(), (1, 4, 3), (None, False)),  # a decode step sees its whole cache
        (sl.window(100, 100), (4, 4, 0), (None, False)),
    ],
)
def test_short_forms_are_used_only_where_they_say_the_same(
    mask: sl.Mask, lengths: tuple[int, int, int], form: tuple[Any, bool]
) -> None:
    got = sl.lower(mask, NAME, *lengths)
    assert (got["mask"], got["is_causal"]) == form
    if lengths[:2] == (Q, K):  # another shape would be compiled anew
        check(mask, got, oracle(mask, *lengths))


def test_the_mask_stays_where_is_causal_would_be_aligned_elsewhere() -> None:
    got = sl.lower(sl.causal(), NAME, Q, K, K - Q)
    assert not got["is_causal"]
    assert got["mask"][0, 0, 0].astype(int).tolist() == [1, 1, 1, 0, 0, 0]
    check(sl.causal(), got, oracle(sl.causal(), Q, K, K - Q))


def test_the_batch_size_is_asked_for_where_it_is_needed() -> None:
    skip_where_jax_spoils_last_rows()
    with pytest.raises(InvalidArgument, match=r"got no batch .*pass batch=\."):
        sl.lower(~sl.queries([3]), NAME, 4)
    with pytest.raises(sl.ShapeMismatch, match=r"got batch=2 .* a mask with 3"):
        sl.lower(FULL_ROWS["padding"], NAME, Q, batch=2)
    with pytest.raises(sl.CannotExpress, match="may see nothing"):
        sl.lower(sl.causal(), NAME, 4, 0, batch=2)  # the softmax of no keys at all


def test_faults_are_seen() -> None:
    skip_where_jax_spoils_last_rows()
    mask = LAST_ROWS_EMPTY["padded queries"]
    good, allowed = sl.lower(mask, NAME, Q, K, OFFSET), oracle(mask, Q, K, OFFSET)
    check(mask, good, allowed)
    for fault in (
        {"query_seq_lengths": None},
        {"mask": ~good["mask"]},
        {"is_causal": True},
        {"local_window_size": 1},
    ):
        with pytest.raises(AssertionError):
            check(mask, {**good, **fault}, allowed)
