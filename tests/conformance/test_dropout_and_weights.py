"""Dropout, and the attention weights themselves: against the oracle and against arithmetic."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from poisoning import DTYPES, HEADS, KV_HEADS, MASKS, OFFSET, B, K, Q, available

import sightline as sl
from sightline.engines.registry import ENGINES, Engine
from sightline.reference.attention import attention

DIM = 8
DROPPING = [name for name, engine in ENGINES.items() if engine.dropout]


@pytest.fixture(params=DROPPING)
def engine(request: pytest.FixtureRequest) -> Engine:
    return available(request.param)


def tensors(dtype: torch.dtype = torch.float64, value_dim: int = 6) -> list[torch.Tensor]:
    rng = torch.Generator().manual_seed(0)
    shapes = [(B, HEADS, Q, DIM), (B, KV_HEADS, K, DIM), (B, KV_HEADS, K, value_dim)]
    drawn = [torch.randn(shape, generator=rng, dtype=torch.float64) for shape in shapes]
    return [tensor.to(dtype).requires_grad_() for tensor in drawn]


def test_dropout_is_inverted_dropout_of_the_weights(engine: Engine) -> None:
    """With the identity as value, the output is the weights: each is 0 or scaled up."""
    query, key, _ = (tensor.detach() for tensor in tensors())
    value = torch.eye(K, dtype=torch.float64).expand(B, KV_HEADS, K, K)
    mask = MASKS["causal & left padding"]
    weights = sl.attention_weights(query, key, mask, q_offset=OFFSET)
    kept, runs = torch.zeros_like(weights), 400
    torch.manual_seed(0)
    for _ in range(runs):
        output = sl.attend(
            query, key, value, mask, q_offset=OFFSET, dropout=0.25, engine=engine.name
        )
        ratio = output / weights.masked_fill(weights == 0, 1)
        assert ((ratio == 0) | ((ratio - 1 / 0.75).abs() < 1e-9)).all()
        kept += ratio != 0
    rates = kept[weights > 0] / runs
    assert rates.min() > 0.65
    assert rates.max() < 0.85
    assert abs(float(rates.mean()) - 0.75) < 0.01


def test_dropout_repeats_with_the_seed_and_differs_without(engine: Engine) -> None:
    inputs = tensors(torch.float32)

    def run(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return sl.attend(*inputs, sl.causal(), q_offset=2, dropout=0.5, engine=engine.name)

    assert torch.equal(run(1), run(1))
    assert not torch.equal(run(1), run(2))


def test_dropout_of_zero_draws_nothing(engine: Engine) -> None:
    inputs = tensors(torch.float32)
    torch.manual_seed(0)
    state = torch.random.get_rng_state()
    sl.attend(*inputs, sl.causal(), dropout=0.0, engine=engine.name)
    assert torch.equal(state, torch.random.get_rng_state())


@pytest.mark.parametrize("name", ["causal & left padding", "dense", "per head"])
def test_gradients_under_dropout(name: str, engine: Engine) -> None:
    bias = torch.randn(HEADS, 1, K, dtype=torch.float64, requires_grad=True)

    def run(*inputs: torch.Tensor) -> torch.Tensor:
        torch.manual_seed(3)
        *main, added = inputs
        return sl.attend(
            *main, MASKS[name], q_offset=OFFSET, bias=added, dropout=0.3, engine=engine.name
        )

    assert torch.autograd.gradcheck(run, [*tensors(), bias], fast_mode=True)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_empty_rows_under_dropout(dtype: str, engine: Engine) -> None:
    inputs = tensors(DTYPES[dtype])
    mask = sl.padding(lengths=[6, 0, 3])
    output = sl.attend(*inputs, mask, dropout=0.3, engine=engine.name)
    output.backward(torch.ones_like(output))
    assert output.dtype == inputs[0].dtype
    assert not output[1].any()
    assert all(t.grad is not None and t.grad.isfinite().all() for t in inputs)
    assert all(t.grad is not None and not t.grad[1].any() for t in inputs)


@pytest.mark.parametrize("name", MASKS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_weights(name: str, dtype: str) -> None:
    query, key, value = tensors(DTYPES[dtype])
    bias = torch.randn(HEADS, 1, K, generator=torch.Generator().manual_seed(1))
    mask = MASKS[name]
    weights = sl.attention_weights(query, key, mask, q_offset=OFFSET, bias=bias, scale=0.7)
    arrays = (tensor.detach().double().numpy() for tensor in (query, key, value))
    allowed = mask.dense(Q, K, OFFSET)
    wanted = attention(*arrays, allowed, scale=0.7, bias=bias.double().numpy()).weights
    assert weights.dtype == query.dtype
    tolerance = {"float64": 1e-6, "float32": 1e-6, "float16": 1e-3, "bfloat16": 8e-3}[dtype]
    found = weights.detach().double().numpy()
    np.testing.assert_allclose(found, wanted, rtol=0, atol=tolerance)
    assert not found[~np.broadcast_to(allowed, found.shape)].any()


def test_weights_are_zero_where_forbidden_even_in_a_spoiled_row() -> None:
    query, key, _ = (tensor.detach() for tensor in tensors())
    key[:, :, 1] = float("nan")
    weights = sl.attention_weights(query, key, sl.causal())
    allowed = torch.from_numpy(sl.causal().dense(Q, K)).expand_as(weights)
    assert not weights[~allowed].any()
    assert weights[allowed].isnan().any()
    assert not weights[:, :, 0].isnan().any()


def test_gradients_of_weights() -> None:
    query, key, _ = tensors()
    bias = torch.randn(B, 1, Q, K, dtype=torch.float64)
    bias[1, 0, 2] = -torch.inf  # a row that the bias empties
    fixed = torch.isneginf(bias)
    bias = bias.masked_fill(fixed, 0).requires_grad_()

    def run(query: torch.Tensor, key: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        bias = bias.masked_fill(fixed, -torch.inf)
        return sl.attention_weights(query, key, MASKS["dense"], q_offset=OFFSET, bias=bias)

    assert torch.autograd.gradcheck(run, [query, key, bias], fast_mode=True)


@pytest.mark.parametrize("sizes", [(0, HEADS, Q, K), (B, HEADS, 0, K), (B, HEADS, Q, 0)])
def test_weights_of_size_zero(sizes: tuple[int, int, int, int]) -> None:
    batch, heads, q_len, kv_len = sizes
    query = torch.randn(batch, heads, q_len, DIM, requires_grad=True)
    key = torch.randn(batch, heads, kv_len, DIM)
    weights = sl.attention_weights(query, key, sl.causal())
    assert weights.shape == sizes
    weights.sum().backward()
    assert query.grad is not None
