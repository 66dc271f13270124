"""Every engine against the oracle: output, logsumexp and all gradients, in every dtype.

Batch, heads, kv heads, query and key lengths, head_dim and value_dim all differ, so that a wrong
broadcast crashes or shows.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from poisoning import (
    HEADS,
    KV_HEADS,
    MASKS,
    OFFSET,
    TESTED,
    B,
    K,
    Q,
    available,
    combinations,
    skip_refused,
    takes,
)

import sightline as sl
from sightline.engines.dense_masks import STORE
from sightline.engines.registry import Engine
from sightline.reference.attention import attention, attention_gradients

DIM, VALUE_DIM = 8, 6
# Absolute, for inputs from a normal distribution: some roundings of the largest gradients.
TOLERANCE = {"float64": 1e-13, "float32": 1e-5, "float16": 1e-2, "bfloat16": 8e-2}
BIAS_SHAPES = [(), (K,), (Q, K), (1, HEADS, 1, 1), (B, 1, 1, K), (1, 1, Q, 1), (B, HEADS, Q, K)]


@pytest.fixture(params=TESTED)
def engine(request: pytest.FixtureRequest) -> Engine:
    return available(request.param)


def tensors(
    dtype: torch.dtype = torch.float32,
    *,
    sizes: tuple[int, int] = (Q, K),
    value_dim: int = VALUE_DIM,
    kv_heads: int = KV_HEADS,
    seed: int = 0,
) -> dict[str, torch.Tensor]:
    rng = torch.Generator().manual_seed(seed)
    shapes = {
        "query": (B, HEADS, sizes[0], DIM),
        "key": (B, kv_heads, sizes[1], DIM),
        "value": (B, kv_heads, sizes[1], value_dim),
    }
    drawn = {n: torch.randn(s, generator=rng, dtype=torch.float64) for n, s in shapes.items()}
    return {name: tensor.to(dtype).requires_grad_() for name, tensor in drawn.items()}


def numbers(tensor: Any) -> Any:
    return tensor.detach().double().numpy() if isinstance(tensor, torch.Tensor) else tensor


def compare(
    engine: Engine,
    inputs: dict[str, torch.Tensor],
    mask: sl.Mask,
    *,
    q_offset: int = OFFSET,
    tolerance: float | None = None,
    relative: float = 0.0,
    **options: Any,
) -> None:
    """Run the engine and the oracle, forwards and backwards, and compare all that they give."""
    q_len, kv_len = inputs["query"].shape[2], inputs["key"].shape[2]
    skip_refused(engine, mask, kv_len, inputs["query"], q_offset, options.get("bias"))
    allowed = mask.dense(q_len, kv_len, q_offset)
    given = {n: numbers(t) for n, t in (inputs | options).items()}
    wanted = attention(given.pop("query"), given.pop("key"), given.pop("value"), allowed, **given)
    got = sl.attend(
        **inputs,
        mask=mask,
        q_offset=q_offset,
        engine=engine.name,
        return_lse=engine.logsumexp,
        **options,
    )
    output, logsumexp = got if engine.logsumexp else (got, None)
    rng = torch.Generator().manual_seed(7)
    upstream = torch.randn(output.shape, generator=rng, dtype=torch.float64).to(output.dtype)
    pairs = [("output", output, wanted.output)]
    loss, upstream_lse = (output * upstream).sum(), None
    if logsumexp is not None:
        pairs.append(("logsumexp", logsumexp, wanted.logsumexp))
        upstream_lse = torch.randn(logsumexp.shape, generator=rng, dtype=logsumexp.dtype)
        loss = loss + (logsumexp * upstream_lse).masked_fill(logsumexp.isneginf(), 0).sum()
    leaves = {n: t for n, t in (inputs | options).items() if getattr(t, "requires_grad", False)}
    grads = dict(zip(leaves, torch.autograd.grad(loss, list(leaves.values())), strict=True))
    expected = attention_gradients(
        *(numbers(inputs[name]) for name in ("query", "key", "value")),
        allowed,
        numbers(upstream),
        grad_logsumexp=numbers(upstream_lse),
        **given,
    )
    pairs += [(f"grad of {n}", grad, getattr(expected, n)) for n, grad in grads.items()]
    if tolerance is None:
        tolerance = TOLERANCE[str(output.dtype).removeprefix("torch.")]
    for name, ours, theirs in pairs:
        assert name.startswith("grad") or ours.shape == theirs.shape
        np.testing.assert_allclose(
            numbers(ours), theirs, rtol=relative, atol=tolerance, err_msg=name
        )


@pytest.mark.parametrize("name", MASKS)
@pytest.mark.parametrize(("engine_name", "dtype_name"), combinations())
@pytest.mark.parametrize("value_dim", [DIM, VALUE_DIM])
def test_values_and_gradients(name: str, engine_name: str, dtype_name: str, value_dim: int) -> None:
    inputs = tensors(getattr(torch, dtype_name), value_dim=value_dim)
    compare(available(engine_name), inputs, MASKS[name])


@pytest.mark.parametrize("kv_heads", [1, 2, 4])
def test_grouped_queries(kv_heads: int, engine: Engine) -> None:
    compare(engine, tensors(kv_heads=kv_heads), MASKS["causal & left padding"])
    compare(engine, tensors(kv_heads=kv_heads, value_dim=DIM), MASKS["per head"])


@pytest.mark.parametrize("shape", BIAS_SHAPES)
@pytest.mark.parametrize(("engine_name", "dtype_name"), combinations())
def test_bias_of_every_shape(shape: tuple[int, ...], engine_name: str, dtype_name: str) -> None:
    engine = available(engine_name)
    inputs = tensors(getattr(torch, dtype_name))
    bias = torch.randn(shape, generator=torch.Generator().manual_seed(5))
    # One number of gradient adds up many: allow for as many roundings.
    tolerance = TOLERANCE[dtype_name] * (10 if dtype_name in ("float32", "float64") else 2)
    if dtype_name == "float64":
        bias = bias.double()
    for frozen in (bias, bias.clone().requires_grad_()):
        compare(engine, inputs, MASKS["causal & left padding"], bias=frozen, tolerance=tolerance)
        compare(engine, inputs, MASKS["dense"], bias=frozen, tolerance=tolerance)


@pytest.mark.parametrize("shape", BIAS_SHAPES)
def test_gradient_of_a_bias_from_rows_with_large_numbers(
    shape: tuple[int, ...], engine: Engine
) -> None:
    inputs = tensors()
    with torch.no_grad():
        inputs["key"][0, 0, 2] *= 1e12
        inputs["key"][2, 1, 1] *= 1e12
    bias = torch.randn(shape, generator=torch.Generator().manual_seed(5), requires_grad=True)
    for mask in (MASKS["causal & left padding"], MASKS["dense"]):
        # Where a huge key gives a huge gradient of the query, all of it is rounding.
        frozen = {name: tensor.detach() for name, tensor in inputs.items()}
        compare(engine, frozen, mask, bias=bias, tolerance=1e-4, relative=1e-5)


def test_bias_of_minus_infinity_forbids(engine: Engine) -> None:
    bias = torch.randn(B, HEADS, Q, K, generator=torch.Generator().manual_seed(5))
    bias[:, :, :, 2] = -torch.inf
    bias[1, 2, 3] = -torch.inf
    bias.requires_grad_()
    for mask in (sl.everything(), MASKS["dense"], sl.keys([2])):
        compare(engine, tensors(), mask, bias=bias)
    output = sl.attend(**tensors(), mask=sl.everything(), bias=bias, engine=engine.name)
    assert not output[1, 2, 3].any()


def test_bias_in_another_precision_than_the_inputs(engine: Engine) -> None:
    for dtype in (torch.float16, torch.bfloat16, torch.float64):
        bias = torch.randn(HEADS, 1, K, dtype=torch.float64).to(dtype).requires_grad_()
        compare(engine, tensors(), MASKS["window"], bias=bias, tolerance=8e-2)


@pytest.mark.parametrize(("engine_name", "dtype_name"), combinations())
def test_empty_rows_are_exactly_zero(engine_name: str, dtype_name: str) -> None:
    engine = available(engine_name)
    for value_dim in (DIM, VALUE_DIM):
        inputs = tensors(getattr(torch, dtype_name), value_dim=value_dim)
        mask = sl.padding(lengths=[6, 0, 3]) & ~sl.queries([OFFSET + 1])
        got = sl.attend(
            **inputs,
            mask=mask,
            q_offset=OFFSET,
            engine=engine.name,
            return_lse=engine.logsumexp,
        )
        output, logsumexp = got if engine.logsumexp else (got, None)
        output.backward(torch.ones_like(output))
        empty = torch.zeros(B, HEADS, Q, dtype=torch.bool)
        empty[1] = empty[:, :, 1] = True
        assert not output[empty].any()
        assert output[~empty].all()
        grads = {name: tensor.grad for name, tensor in inputs.items()}
        assert all(g is not None and g.isfinite().all() for g in grads.values())
        assert not grads["query"][empty].any()
        assert not grads["key"][1].any()
        assert not grads["value"][1].any()
        assert not grads["value"][2, :, 3:].any()
        if logsumexp is not None:
            assert logsumexp[empty].isneginf().all()
            assert logsumexp[~empty].isfinite().all()


@pytest.mark.parametrize("scale", [0.0, -1.5, 0.1, 30.0, 1e-30])
def test_scale(scale: float, engine: Engine) -> None:
    for value_dim in (DIM, VALUE_DIM):
        inputs = tensors(torch.float64, value_dim=value_dim)
        for name in ("window", "causal from the first row on", "everything", "dense"):
            compare(engine, inputs, MASKS[name], scale=scale, tolerance=1e-11)


@pytest.mark.parametrize("scale", [1e7, -1e12])
def test_large_scales(scale: float, engine: Engine) -> None:
    inputs = tensors(value_dim=DIM, sizes=(33, 130))
    for mask in (MASKS["causal"], MASKS["causal & left padding"]):
        compare(engine, inputs, mask, scale=scale, tolerance=2e-2, relative=2e-2)


def test_non_contiguous_inputs(engine: Engine) -> None:
    for mask in (MASKS["causal & left padding"], MASKS["everything"]):
        inputs = tensors(value_dim=DIM)
        swapped = {n: t.detach().transpose(1, 2).contiguous() for n, t in inputs.items()}
        views = {n: t.transpose(1, 2).requires_grad_() for n, t in swapped.items()}
        assert not any(tensor.is_contiguous() for tensor in views.values())
        compare(engine, views, mask)
        apart = {n: t.detach().repeat(1, 1, 1, 2)[..., ::2] for n, t in inputs.items()}
        compare(engine, {n: t.requires_grad_() for n, t in apart.items()}, mask)
        expanded = {n: t.detach()[:1].expand(B, -1, -1, -1) for n, t in inputs.items()}
        compare(engine, {n: t.requires_grad_() for n, t in expanded.items()}, mask)


@pytest.mark.parametrize("name", ["causal", "window", "documents", "causal & left padding"])
def test_a_decode_step_is_a_row_of_the_full_pass(name: str, engine: Engine) -> None:
    inputs = {n: t.detach() for n, t in tensors(sizes=(K, K)).items()}
    full = sl.attend(**inputs, mask=MASKS[name], engine=engine.name)
    for t in range(K):
        now = inputs["query"][:, :, t : t + 1]
        step = sl.attend(
            now, inputs["key"], inputs["value"], MASKS[name], q_offset=t, engine=engine.name
        )
        torch.testing.assert_close(step, full[:, :, t : t + 1], rtol=0, atol=1e-6)


@pytest.mark.parametrize("cached", [1, 3])
def test_a_cache_that_ends_at_the_query(cached: int, engine: Engine) -> None:
    """With keys only up to now, causal allows all of them, and nothing is aligned elsewhere."""
    inputs = {n: t.detach() for n, t in tensors(sizes=(K, K)).items()}
    full = sl.attend(**inputs, mask=sl.causal(), engine=engine.name)
    new = slice(cached, K - 1)
    chunk = sl.attend(
        inputs["query"][:, :, new],
        inputs["key"][:, :, : K - 1],
        inputs["value"][:, :, : K - 1],
        sl.causal(),
        q_offset=cached,
        engine=engine.name,
    )
    torch.testing.assert_close(chunk, full[:, :, new], rtol=0, atol=1e-6)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("what", ["query", "key", "value"])
def test_what_a_row_may_see_counts_as_it_stands(what: str, number: float, engine: Engine) -> None:
    for mask in (MASKS["causal"], MASKS["dense"], MASKS["everything"]):
        inputs = {name: tensor.detach() for name, tensor in tensors().items()}
        inputs[what][0, 1, 3, 2] = number
        inputs[what][2, 0, 1, 0] = number
        if not takes(engine, mask, K, inputs["query"], OFFSET, None):
            continue
        allowed = mask.dense(Q, K, OFFSET)
        wanted = attention(*(numbers(t) for t in inputs.values()), allowed).output
        output = sl.attend(**inputs, mask=mask, q_offset=OFFSET, engine=engine.name)
        assert not np.isfinite(wanted).all()
        np.testing.assert_allclose(numbers(output), wanted, rtol=0, atol=1e-5)


@pytest.mark.parametrize("size", [300.0, 1e5, 1e12, 1e25])
@pytest.mark.parametrize("value_dim", [DIM, VALUE_DIM])
def test_large_numbers(size: float, value_dim: int, engine: Engine) -> None:
    """Scores that saturate softmax: exp of a rounding error must not become Inf on the way back."""
    inputs = tensors(value_dim=value_dim, sizes=(33, 130))
    with torch.no_grad():
        inputs["key"][0, 0, 2:40] *= size
        inputs["query"][1, 1, 2] *= size
        inputs["value"][2, 1, 1] *= size
    for mask in (MASKS["causal"], MASKS["everything"], sl.causal() & ~sl.queries([9, 20])):
        compare(engine, inputs, mask, tolerance=2e-2, relative=2e-2)


@pytest.mark.parametrize("sizes", [(0, 0, Q, K), (B, HEADS, 0, K), (B, HEADS, Q, 0)])
def test_sizes_of_zero(sizes: tuple[int, int, int, int], engine: Engine) -> None:
    batch, heads, q_len, kv_len = sizes
    kv_heads = max(1, heads // 2)
    query = torch.randn(batch, heads, q_len, DIM, requires_grad=True)
    key = torch.randn(batch, kv_heads, kv_len, DIM, requires_grad=True)
    value = torch.randn(batch, kv_heads, kv_len, VALUE_DIM, requires_grad=True)
    got = sl.attend(query, key, value, sl.causal(), engine=engine.name, return_lse=engine.logsumexp)
    output, logsumexp = got if engine.logsumexp else (got, None)
    assert output.shape == (batch, heads, q_len, VALUE_DIM)
    assert not output.any()
    if logsumexp is not None:
        assert logsumexp.shape == (batch, heads, q_len)
        assert logsumexp.isneginf().all()
    output.sum().backward()
    assert all(t.grad is not None and not t.grad.any() for t in (query, key, value))


def test_only_some_inputs_want_gradients(engine: Engine) -> None:
    for wanted in ("query", "key", "value"):
        inputs = {n: t.detach() for n, t in tensors(value_dim=DIM).items()}
        inputs[wanted].requires_grad_()
        compare(engine, inputs, MASKS["causal & left padding"])
        assert all(tensor.grad is None for tensor in inputs.values())
    bias = torch.randn(Q, K, requires_grad=True)
    frozen = {name: tensor.detach() for name, tensor in inputs.items()}
    compare(engine, frozen, MASKS["dense"], bias=bias)


def test_autocast_does_not_reach_in(engine: Engine) -> None:
    inputs = {name: tensor.detach() for name, tensor in tensors().items()}
    plain = sl.attend(**inputs, mask=sl.causal(), engine=engine.name)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        under = sl.attend(**inputs, mask=sl.causal(), engine=engine.name)
    assert under.dtype == torch.float32
    assert torch.equal(plain, under)


def test_inference_mode_before_training(engine: Engine) -> None:
    """What the first call keeps for later must serve a backward pass too."""
    mask = sl.causal() & sl.padding(lengths=[6, 1, 4]) & ~sl.queries([3])
    inputs = tensors(seed=11)
    if not takes(engine, mask, K, inputs["query"], 0, None):
        mask = sl.chunks(3)

    def run() -> list[torch.Tensor]:
        rate = 0.5 if engine.dropout else 0.0
        torch.manual_seed(0)
        return [
            sl.attend(**inputs, mask=mask, engine=engine.name),
            sl.attend(**inputs, mask=mask, engine=engine.name, dropout=rate),
            sl.attention_weights(inputs["query"], inputs["key"], mask),
        ]

    STORE.clear()
    with torch.inference_mode():
        before = run()
    after = run()
    sum(tensor.sum() for tensor in after).backward()
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_backward_twice(engine: Engine) -> None:
    inputs = tensors()
    output = sl.attend(**inputs, mask=sl.causal(), engine=engine.name)
    first = torch.autograd.grad(output.sum(), inputs["key"], retain_graph=True)[0]
    second = torch.autograd.grad(output.sum(), inputs["key"])[0]
    assert torch.equal(first, second)


def test_a_frozen_bias_leaves_the_fused_kernel_in_use() -> None:
    """scaled_dot_product_attention leaves it for a mask that wants a gradient; only then."""
    inputs = tensors(value_dim=DIM)
    bias = torch.randn(Q, K)

    def kernels(bias: torch.Tensor) -> set[str]:
        output = sl.attend(**inputs, mask=sl.everything(), bias=bias, engine="sdpa")
        found, waiting = set(), [output.grad_fn]
        while waiting:
            node = waiting.pop()
            if node is not None and node.name() not in found:
                found.add(node.name())
                waiting += [parent for parent, _ in node.next_functions]
        return {name for name in found if "FlashAttention" in name}

    assert kernels(bias)
    assert not kernels(bias.clone().requires_grad_())
