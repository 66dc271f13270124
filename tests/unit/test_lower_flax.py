"""The flax destination, run on the CPU by flax.linen and flax.nnx, against the oracle."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lowered import DIM, EMPTY_ROWS, FULL_ROWS, HEADS, OFFSET, B, K, Q

import sightline as sl
from sightline.reference.attention import attention, attention_gradients
from sightline.reference.dense import dense as oracle
from sightline.testing.specs import build
from sightline.testing.strategies import expressions, frames

jax = pytest.importorskip("jax")
pytest.importorskip("flax")

from flax import linen, nnx  # noqa: E402

FUNCTIONS = [linen.dot_product_attention, nnx.dot_product_attention]
by_package = pytest.mark.parametrize("function", FUNCTIONS, ids=["linen", "nnx"])


def turned(array: Any) -> np.ndarray:
    return np.swapaxes(np.asarray(array), 1, 2)


def tensors() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    sizes = [(Q, DIM), (K, DIM), (K, DIM), (Q, DIM)]
    return [rng.normal(size=(B, HEADS, *size)).astype(np.float32) for size in sizes]


@by_package
@pytest.mark.parametrize("name", FULL_ROWS)
def test_functions_forwards_and_backwards(name: str, function: Callable[..., Any]) -> None:
    mask = FULL_ROWS[name]
    keywords = sl.lower(mask, "flax", Q, K, OFFSET)
    assert set(keywords) == {"mask"}
    query, key, value, upstream = tensors()

    def run(*inputs: Any) -> Any:
        return function(*inputs, **keywords)

    output, back = jax.vjp(run, turned(query), turned(key), turned(value))
    allowed = oracle(mask, Q, K, OFFSET)
    wanted = attention(query, key, value, allowed).output
    np.testing.assert_allclose(turned(output), wanted, rtol=0, atol=1e-5)
    rights = attention_gradients(query, key, value, allowed, upstream)
    for got, right in zip(
        back(turned(upstream)), (rights.query, rights.key, rights.value), strict=True
    ):
        np.testing.assert_allclose(turned(got), right, rtol=0, atol=2e-5)


def linen_layer(target: np.ndarray, memory: np.ndarray, mask: np.ndarray) -> tuple[Any, Any]:
    """Return the output of a layer without projections' biases, and its weights by name."""
    layer = linen.MultiHeadDotProductAttention(num_heads=HEADS, use_bias=False)
    variables = layer.init(jax.random.key(0), target, memory)
    parts = variables["params"]
    return layer.apply(variables, target, memory, mask=mask), {
        name: np.asarray(parts[name]["kernel"], dtype=np.float64)
        for name in ("query", "key", "value", "out")
    }


def nnx_layer(target: np.ndarray, memory: np.ndarray, mask: np.ndarray) -> tuple[Any, Any]:
    layer = nnx.MultiHeadAttention(
        num_heads=HEADS, in_features=DIM, use_bias=False, decode=False, rngs=nnx.Rngs(0)
    )
    return layer(target, memory, mask=mask), {
        name: np.asarray(getattr(layer, name).kernel[...], dtype=np.float64)
        for name in ("query", "key", "value", "out")
    }


@pytest.mark.parametrize("layer", [linen_layer, nnx_layer])
@pytest.mark.parametrize("name", ["padding", "per head and batch"])
def test_layers(name: str, layer: Callable[..., Any]) -> None:
    rng = np.random.default_rng(0)
    target, memory = (rng.normal(size=(B, n, DIM)).astype(np.float32) for n in (Q, K))
    mask = FULL_ROWS[name]
    output, kernels = layer(target, memory, **sl.lower(mask, "flax", Q, K, OFFSET))
    heads = [
        np.einsum("bsd,dhe->bhse", source, kernels[part])
        for source, part in ((target, "query"), (memory, "key"), (memory, "value"))
    ]
    attended = attention(*heads, oracle(mask, Q, K, OFFSET)).output
    wanted = np.einsum("bhse,hed->bsd", attended, kernels["out"])
    np.testing.assert_allclose(np.asarray(output), wanted, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", EMPTY_ROWS)
def test_empty_rows_are_refused(name: str) -> None:
    with pytest.raises(sl.CannotExpress, match=r"may see nothing.*jax\.dot_product_attention"):
        sl.lower(EMPTY_ROWS[name], "flax", Q, K, OFFSET)


@by_package
def test_flax_really_spoils_the_rows_that_are_refused(function: Callable[..., Any]) -> None:
    query, key, value, _ = tensors()
    mask = oracle(sl.nothing(), Q, K)
    output = function(turned(query), turned(key), turned(value), mask=mask)
    mean = np.broadcast_to(value.mean(axis=2, keepdims=True), (B, HEADS, Q, DIM))
    np.testing.assert_allclose(turned(output), mean, rtol=0, atol=1e-5)


@given(st.data())
def test_expressions(data: st.DataObject) -> None:
    frame = data.draw(frames())
    spec = data.draw(expressions(frame, 2))
    at = (frame.q_len, frame.kv_len, frame.q_offset)
    allowed = oracle(spec, *at)
    try:
        got = sl.lower(build(spec), "flax", *at)["mask"]
    except sl.CannotExpress:
        assert not allowed.any(axis=-1).all()
        return
    assert allowed.any(axis=-1).all()
    assert got.dtype == np.bool_
    np.testing.assert_array_equal(*np.broadcast_arrays(got, allowed))
