"""The oracle of attention: numbers by hand, a second formula, finite differences, poison.

Every axis has its own size, so that a wrong broadcast crashes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sightline.errors import InvalidMask, ShapeMismatch
from sightline.reference import attention, attention_gradients

BATCH, HEADS, KV_HEADS, Q_LEN, KV_LEN, HEAD_DIM, VALUE_DIM = 2, 6, 3, 4, 5, 7, 8
FULL = (BATCH, HEADS, Q_LEN, KV_LEN)
BIAS_SHAPES = [FULL, (1, HEADS, 1, KV_LEN), (BATCH, 1, Q_LEN, 1), (Q_LEN, KV_LEN), (KV_LEN,), ()]


def random_inputs(seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        "query": rng.normal(size=(BATCH, HEADS, Q_LEN, HEAD_DIM)),
        "key": rng.normal(size=(BATCH, KV_HEADS, KV_LEN, HEAD_DIM)),
        "value": rng.normal(size=(BATCH, KV_HEADS, KV_LEN, VALUE_DIM)),
    }


def random_allowed(seed: int = 0, shape: tuple[int, ...] = FULL) -> np.ndarray:
    """Some pairs at random, every row with a key of its own."""
    allowed = np.random.default_rng(seed).random(shape) < 0.5
    for q in range(Q_LEN):
        allowed[:, :, q, (q + 1) % KV_LEN] = True
    return allowed


def four(*rows: Any) -> np.ndarray:
    """Give a small matrix a batch and a head axis."""
    return np.array(rows)[None, None]


def by_full_matrices(
    query: np.ndarray,
    key: np.ndarray,
    value: np.ndarray,
    allowed: np.ndarray,
    bias: Any,
    scale: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The textbook way, for masks without an empty row: -inf, then exp over whole matrices."""
    key, value = (np.repeat(x, HEADS // KV_HEADS, axis=1) for x in (key, value))
    scores = np.einsum("bhqd,bhkd->bhqk", query, key) * scale + bias
    scores = np.where(allowed, scores, -np.inf)
    exponentials = np.exp(scores)
    total = exponentials.sum(axis=-1, keepdims=True)
    weights = exponentials / total
    return weights @ value, weights, np.log(total[..., 0])


def test_by_hand() -> None:
    """Scores 0 and log 3, so weights 1/4 and 3/4, and logsumexp log 4."""
    key = four([0.0], [np.log(3)])
    result = attention(four([1.0]), key, four([4.0], [8.0]), four([True, True]), scale=1.0)
    np.testing.assert_allclose(result.weights, four([0.25, 0.75]), rtol=1e-15)
    np.testing.assert_allclose(result.output, four([7.0]), rtol=1e-15)
    np.testing.assert_allclose(result.logsumexp, [[[np.log(4)]]], rtol=1e-15)


def test_gradients_by_hand() -> None:
    """The same row, gradient 1 of the output: p = (4, 8), mean 7, so scores (-3/4, 3/4)."""
    key = four([0.0], [np.log(3)])
    grads = attention_gradients(
        four([1.0]), key, four([4.0], [8.0]), four([True, True]), four([1.0]), scale=1.0, bias=0.0
    )
    np.testing.assert_allclose(grads.value, four([0.25], [0.75]), rtol=1e-14)
    np.testing.assert_allclose(grads.key, four([-0.75], [0.75]), rtol=1e-14)
    np.testing.assert_allclose(grads.query, four([0.75 * np.log(3)]), rtol=1e-14)
    np.testing.assert_allclose(grads.bias, 0.0, atol=1e-15)


def test_gradient_of_logsumexp_by_hand() -> None:
    """It is the weights: (1/4, 3/4) for the keys, and their mean key for the query."""
    key = four([0.0], [np.log(3)])
    grads = attention_gradients(
        four([2.0]), key / 2, four([4.0], [8.0]), four([True, True]), four([0.0]),
        grad_logsumexp=[[[10.0]]], scale=1.0, bias=four([0.0, 0.0]),
    )  # fmt: skip
    assert grads.bias is not None
    np.testing.assert_allclose(grads.bias, four([2.5, 7.5]), rtol=1e-14)
    np.testing.assert_allclose(grads.key, four([5.0], [15.0]), rtol=1e-14)
    np.testing.assert_allclose(grads.query, four([7.5 * np.log(3) / 2]), rtol=1e-14)
    assert not grads.value.any()


def test_scale_defaults_to_one_over_the_root_of_head_dim() -> None:
    """Scores 2 * 2 * 4 / sqrt(4) = 8 and 0: logsumexp log(e^8 + 1)."""
    key = four([2.0] * 4, [0.0] * 4)
    result = attention(four([2.0] * 4), key, four([1.0], [0.0]), four([True, True]))
    np.testing.assert_allclose(result.logsumexp, [[[np.log(np.exp(8.0) + 1)]]], rtol=1e-15)


def test_large_scores_do_not_overflow() -> None:
    result = attention(four([1000.0]), four([1.0], [1.0]), four([1.0], [3.0]), four([True, True]))
    assert result.output.item() == 2.0
    assert result.logsumexp.item() == 1000.0 + np.log(2.0)


@pytest.mark.parametrize("bias_shape", [None, *BIAS_SHAPES])
@pytest.mark.parametrize("scale", [None, 0.3])
@pytest.mark.parametrize("sizes", [(BATCH, HEADS), (1, HEADS), (BATCH, 1), (1, 1)])
def test_against_full_matrices(
    sizes: tuple[int, int], scale: float | None, bias_shape: tuple[int, ...] | None
) -> None:
    inputs, allowed = random_inputs(), random_allowed(1, (*sizes, Q_LEN, KV_LEN))
    bias = None if bias_shape is None else np.random.default_rng(2).normal(size=bias_shape)
    result = attention(**inputs, allowed=allowed, scale=scale, bias=bias)
    assert result.output.shape == (BATCH, HEADS, Q_LEN, VALUE_DIM)
    wanted_scale = HEAD_DIM**-0.5 if scale is None else scale
    wanted = by_full_matrices(
        **inputs, allowed=allowed, bias=0.0 if bias is None else bias, scale=wanted_scale
    )
    found = (result.output, result.weights, result.logsumexp)
    for mine, theirs in zip(found, wanted, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-12, atol=1e-14)


def loss(inputs: dict[str, Any], grad_output: np.ndarray, grad_logsumexp: np.ndarray) -> float:
    """A number whose gradients by output and logsumexp are those given; empty rows are apart."""
    result = attention(**inputs)
    lse = np.where(np.isneginf(result.logsumexp), 0.0, result.logsumexp)
    return float((result.output * grad_output).sum() + (lse * grad_logsumexp).sum())


def central_differences(name: str, inputs: dict[str, Any], *grads: np.ndarray) -> np.ndarray:
    step = 1e-5
    result = np.zeros(np.shape(inputs[name]))
    for cell in np.ndindex(*result.shape):
        ahead, behind = np.array(inputs[name]), np.array(inputs[name])
        ahead[cell] += step
        behind[cell] -= step
        rise = loss({**inputs, name: ahead}, *grads) - loss({**inputs, name: behind}, *grads)
        result[cell] = rise / (2 * step)
    return result


def gradient_case(
    bias_shape: tuple[int, ...] = FULL,
) -> tuple[dict[str, Any], np.ndarray, np.ndarray]:
    """Random inputs with two empty rows, and the gradients to pass in."""
    rng = np.random.default_rng(3)
    allowed = random_allowed(4)
    allowed[0, 1, 2] = allowed[1, 5, 0] = False
    inputs = {**random_inputs(5), "allowed": allowed, "scale": 0.6}
    inputs["bias"] = rng.normal(size=bias_shape)
    grad_output = rng.normal(size=(BATCH, HEADS, Q_LEN, VALUE_DIM))
    return inputs, grad_output, rng.normal(size=(BATCH, HEADS, Q_LEN))


@pytest.mark.parametrize("name", ["query", "key", "value"])
def test_gradients_against_central_differences(name: str) -> None:
    inputs, grad_output, grad_lse = gradient_case()
    grads = attention_gradients(**inputs, grad_output=grad_output, grad_logsumexp=grad_lse)
    wanted = central_differences(name, inputs, grad_output, grad_lse)
    np.testing.assert_allclose(getattr(grads, name), wanted, rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("bias_shape", BIAS_SHAPES)
def test_bias_gradient_has_the_bias_own_shape(bias_shape: tuple[int, ...]) -> None:
    inputs, grad_output, grad_lse = gradient_case(bias_shape)
    grads = attention_gradients(**inputs, grad_output=grad_output, grad_logsumexp=grad_lse)
    assert isinstance(grads.bias, np.ndarray)
    assert grads.bias.shape == bias_shape
    wanted = central_differences("bias", inputs, grad_output, grad_lse)
    np.testing.assert_allclose(grads.bias, wanted, rtol=1e-7, atol=1e-8)


def test_no_gradient_of_logsumexp_means_zero_and_no_bias_means_none() -> None:
    inputs, grad_output, _ = gradient_case()
    del inputs["bias"]
    left = attention_gradients(**inputs, grad_output=grad_output)
    zeros = np.zeros((BATCH, HEADS, Q_LEN))
    right = attention_gradients(**inputs, grad_output=grad_output, grad_logsumexp=zeros)
    assert left.bias is None
    for name in ("query", "key", "value"):
        np.testing.assert_array_equal(getattr(left, name), getattr(right, name))


def test_empty_rows_are_zero_and_pass_nothing_on() -> None:
    inputs, grad_output, grad_lse = gradient_case()
    result = attention(**inputs)
    for row in ((0, 1, 2), (1, 5, 0)):
        assert not result.output[row].any()
        assert not result.weights[row].any()
        assert result.logsumexp[row] == -np.inf
    assert np.isfinite(result.logsumexp).sum() == BATCH * HEADS * Q_LEN - 2
    grads = attention_gradients(**inputs, grad_output=grad_output, grad_logsumexp=grad_lse)
    # What comes in at an empty row must not matter at all, NaN included.
    grad_output[0, 1, 2], grad_lse[0, 1, 2] = np.nan, np.inf
    again = attention_gradients(**inputs, grad_output=grad_output, grad_logsumexp=grad_lse)
    for name in ("query", "key", "value", "bias"):
        np.testing.assert_array_equal(getattr(grads, name), getattr(again, name))
    for row in ((0, 1, 2), (1, 5, 0)):
        assert grads.bias is not None
        assert not grads.query[row].any()
        assert not grads.bias[row].any()


def test_everything_empty() -> None:
    inputs = {**random_inputs(), "allowed": np.zeros((1, 1, Q_LEN, KV_LEN), dtype=bool)}
    result = attention(**inputs)
    assert not result.output.any()
    assert not result.weights.any()
    assert np.isneginf(result.logsumexp).all()
    ones = np.ones(result.output.shape)
    grads = attention_gradients(**inputs, grad_output=ones, bias=np.zeros(FULL))
    for name in ("query", "key", "value", "bias"):
        assert not getattr(grads, name).any()


def test_bias_of_minus_infinity_is_the_same_as_forbidden() -> None:
    inputs, grad_output, grad_lse = gradient_case()
    grads = {"grad_output": grad_output, "grad_logsumexp": grad_lse}
    wanted, wanted_grads = attention(**inputs), attention_gradients(**inputs, **grads)
    closed = np.where(inputs["allowed"], inputs["bias"], -np.inf)
    everything = np.ones((1, 1, Q_LEN, KV_LEN), dtype=bool)
    inputs = {**inputs, "allowed": everything, "bias": closed}
    result, result_grads = attention(**inputs), attention_gradients(**inputs, **grads)
    for name in ("output", "weights", "logsumexp"):
        np.testing.assert_array_equal(getattr(result, name), getattr(wanted, name))
    for name in ("query", "key", "value", "bias"):
        np.testing.assert_array_equal(getattr(result_grads, name), getattr(wanted_grads, name))


@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf, 1e308])
def test_forbidden_keys_and_values_do_not_change_a_bit(poison: float) -> None:
    """Keys 0 and 3 are forbidden to all, the others to some; two rows are empty besides."""
    inputs, grad_output, grad_lse = gradient_case()
    grads = {"grad_output": grad_output, "grad_logsumexp": grad_lse}
    inputs["allowed"][..., [0, 3]] = False
    clean, clean_grads = attention(**inputs), attention_gradients(**inputs, **grads)
    poisoned = {name: np.array(inputs[name]) for name in ("key", "value", "bias")}
    poisoned["key"][:, :, [0, 3]] = poison
    poisoned["value"][:, :, [0, 3]] = poison
    poisoned["bias"][..., [0, 3]] = poison
    result = attention(**{**inputs, **poisoned})
    result_grads = attention_gradients(**{**inputs, **poisoned}, **grads)
    for name in ("output", "weights", "logsumexp"):
        assert getattr(result, name).tobytes() == getattr(clean, name).tobytes()
    for name in ("query", "key", "value", "bias"):
        assert getattr(result_grads, name).tobytes() == getattr(clean_grads, name).tobytes()
    assert not result_grads.key[:, :, [0, 3]].any()


@pytest.mark.parametrize("name", ["key", "value"])
def test_a_key_poisons_the_rows_that_see_it_and_no_others(name: str) -> None:
    inputs, *_ = gradient_case()
    inputs["allowed"] = np.ones((1, 1, Q_LEN, KV_LEN), dtype=bool)
    inputs["allowed"][:, :, 1, 2] = False
    clean = attention(**inputs)
    inputs[name] = np.array(inputs[name])
    inputs[name][:, :, 2] = np.nan
    result = attention(**inputs)
    assert result.output[:, :, 1].tobytes() == clean.output[:, :, 1].tobytes()
    assert np.isnan(result.output[:, :, [0, 2, 3]]).all()


def test_length_of_the_padding_does_not_change_a_bit() -> None:
    inputs, *_ = gradient_case(bias_shape=())
    inputs["allowed"][..., 3:] = False
    long = attention(**inputs)
    short = {name: inputs[name][:, :, :3] for name in ("key", "value")}
    short["allowed"] = inputs["allowed"][..., :3]
    assert attention(**{**inputs, **short}).output.tobytes() == long.output.tobytes()


def test_infinities_that_may_be_seen() -> None:
    """As the docstring says: +inf makes a row NaN, -inf weighs nothing, alone it makes NaN."""
    seen, value = four([True, True]), four([1.0], [2.0])
    for keys in ([[np.inf], [0.0]], [[np.inf], [np.inf]], [[-np.inf], [-np.inf]]):
        assert np.isnan(attention(four([1.0]), four(*keys), value, seen).output).all()
    result = attention(four([1.0]), four([-np.inf], [0.0]), value, seen)
    assert (result.output.item(), result.weights.ravel().tolist()) == (2.0, [0.0, 1.0])


def test_query_heads_share_kv_heads_in_order() -> None:
    """Six query heads on three kv heads: 0 1 | 2 3 | 4 5."""
    value = np.arange(KV_HEADS, dtype=float).reshape(1, KV_HEADS, 1, 1)
    ones = np.ones((1, HEADS, 1, 1))
    result = attention(ones, np.ones((1, KV_HEADS, 1, 1)), value, np.ones((1, 1, 1, 1), dtype=bool))
    assert result.output.ravel().tolist() == [0.0, 0.0, 1.0, 1.0, 2.0, 2.0]


def test_integers_and_float32_are_computed_in_float64() -> None:
    inputs = {name: x.astype(np.float32) for name, x in random_inputs().items()}
    result = attention(**inputs, allowed=random_allowed())
    assert {x.dtype for x in (result.output, result.weights, result.logsumexp)} == {np.dtype("f8")}


def test_no_queries_or_no_keys() -> None:
    inputs = random_inputs()
    none = {**inputs, "query": inputs["query"][:, :, :0]}
    result = attention(**none, allowed=np.ones((1, 1, 0, KV_LEN), dtype=bool))
    assert result.output.shape == (BATCH, HEADS, 0, VALUE_DIM)
    none = {**inputs, "key": inputs["key"][:, :, :0], "value": inputs["value"][:, :, :0]}
    result = attention(**none, allowed=np.ones((1, 1, Q_LEN, 0), dtype=bool))
    assert not result.output.any()
    assert np.isneginf(result.logsumexp).all()


WRONG_SHAPES: dict[str, tuple[str, tuple[int, ...]]] = {
    "query of three axes": ("query", (BATCH, Q_LEN, HEAD_DIM)),
    "query batch": ("query", (3, HEADS, Q_LEN, HEAD_DIM)),
    "query batch of 1": ("query", (1, HEADS, Q_LEN, HEAD_DIM)),
    "heads that do not divide": ("query", (BATCH, 4, Q_LEN, HEAD_DIM)),
    "no kv head": ("kv", (BATCH, 0, KV_LEN)),
    "head_dim": ("key", (BATCH, KV_HEADS, KV_LEN, HEAD_DIM + 1)),
    "key and value lengths": ("value", (BATCH, KV_HEADS, KV_LEN + 1, VALUE_DIM)),
    "key and value heads": ("value", (BATCH, 1, KV_LEN, VALUE_DIM)),
    "allowed of two axes": ("allowed", (Q_LEN, KV_LEN)),
    "allowed transposed": ("allowed", (BATCH, HEADS, KV_LEN, Q_LEN)),
    "allowed heads": ("allowed", (BATCH, KV_HEADS, Q_LEN, KV_LEN)),
    "allowed one query for all": ("allowed", (1, 1, 1, KV_LEN)),
    "bias": ("bias", (KV_HEADS, Q_LEN, KV_LEN)),
    "bias of five axes": ("bias", (1, *FULL)),
    "grad_output": ("grad_output", (BATCH, HEADS, Q_LEN, HEAD_DIM)),
    "grad_output that would broadcast": ("grad_output", (1, HEADS, Q_LEN, VALUE_DIM)),
    "grad_logsumexp": ("grad_logsumexp", (BATCH, HEADS, Q_LEN, 1)),
}


@pytest.mark.parametrize("name", WRONG_SHAPES)
def test_sizes_that_do_not_fit(name: str) -> None:
    which, shape = WRONG_SHAPES[name]
    inputs, grad_output, grad_lse = gradient_case(bias_shape=())
    # A mask and a bias that fit any batch and heads, so that nothing else can be what is refused.
    given = {**inputs, "allowed": np.ones((1, 1, Q_LEN, KV_LEN), dtype=bool)}
    if which == "kv":
        given |= {"key": np.zeros((*shape, HEAD_DIM)), "value": np.zeros((*shape, VALUE_DIM))}
    else:
        given[which] = np.zeros(shape, dtype=bool if which == "allowed" else float)
    if which.startswith("grad_"):
        grads = {"grad_output": grad_output, "grad_logsumexp": grad_lse, which: given.pop(which)}
        with pytest.raises(ShapeMismatch, match=which):
            attention_gradients(**given, **grads)
        return
    with pytest.raises(ShapeMismatch, match="wanted"):
        attention(**given)


@pytest.mark.parametrize("dtype", [int, float])
def test_allowed_must_be_bool(dtype: type) -> None:
    with pytest.raises(InvalidMask, match="dtype"):
        attention(**random_inputs(), allowed=np.ones(FULL, dtype=dtype))


def test_bias_must_not_be_bool() -> None:
    with pytest.raises(InvalidMask, match="bias"):
        attention(**random_inputs(), allowed=random_allowed(), bias=random_allowed())


@pytest.mark.parametrize("wrong", ["weights", "scale"])
def test_the_comparison_can_fail(wrong: str) -> None:
    inputs, allowed = random_inputs(), random_allowed()
    scale = HEAD_DIM**-0.5
    wanted = by_full_matrices(**inputs, allowed=allowed, bias=0.0, scale=scale)[1]
    found = attention(**inputs, allowed=allowed, scale=scale * (1.01 if wrong == "scale" else 1.0))
    weights = found.weights + (1e-6 if wrong == "weights" else 0.0)
    with pytest.raises(AssertionError):
        np.testing.assert_allclose(weights, wanted, rtol=1e-12, atol=1e-14)
