"""Dropout in engine ``cpu``: how much is dropped, where, and that both passes drop the same.

The weights are read off the kernels: with one-hot values the output is the weights.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from poisoning import DTYPES, available

import sightline as sl
from sightline.engines.cpu_parts.kernels import Call, Tensors, run_backward, run_forward
from sightline.engines.cpu_parts.plans import native_plan

B, HEADS, KV_HEADS, Q, K = 2, 4, 2, 110, 150
MASK = sl.window(70, 40)


@pytest.fixture(autouse=True)
def kernels() -> None:
    available("cpu")


def call(rate: float, seed: int = 1) -> Call:
    return Call(native_plan(MASK, Q, K, 10), 0.4, rate, seed)


def tensors(dtype: torch.dtype = torch.float64) -> Tensors:
    """Values are one-hot: number j of value j is 1."""
    rng = torch.Generator().manual_seed(0)
    query = torch.randn(B, HEADS, Q, 6, generator=rng, dtype=torch.float64)
    key = torch.randn(B, KV_HEADS, K, 6, generator=rng, dtype=torch.float64)
    value = torch.eye(K, dtype=torch.float64).expand(B, KV_HEADS, K, K).contiguous()
    return Tensors(query.to(dtype), key.to(dtype), value.to(dtype), None)


def weights(rate: float, seed: int = 1, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    """Return [B, HEADS, Q, K]."""
    return run_forward(tensors(dtype), call(rate, seed), stats=False, logsumexp=False).output


def kept(rate: float, seed: int = 1) -> np.ndarray:
    """Return which weights are kept, as [rows, K] with NaN where nothing could be dropped."""
    allowed = torch.from_numpy(MASK.dense(Q, K, 10).copy()).expand(B, HEADS, Q, K)
    found = (weights(rate, seed) != 0).double().masked_fill(~allowed, torch.nan)
    return found.numpy()


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    both = ~(np.isnan(a) | np.isnan(b))
    return float(np.corrcoef(a[both], b[both])[0, 1])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rate", [1e-9, 0.1, 0.5, 0.9, 0.999])
def test_kept_weights_are_scaled_and_the_others_are_zero(rate: float, dtype: str) -> None:
    plain, dropped = weights(0.0, dtype=DTYPES[dtype]), weights(rate, dtype=DTYPES[dtype])
    left = dropped != 0
    tolerance = 1e-6 if dtype == "float32" else 1e-14
    torch.testing.assert_close(dropped[left], plain[left] / (1 - rate), rtol=tolerance, atol=0)
    assert not dropped[plain == 0].any()
    if rate < 1e-6:
        assert torch.equal(left, plain != 0)


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_the_share_that_is_dropped(rate: float) -> None:
    """Six standard deviations of as many independent draws."""
    for seed in (0, 1, 2**63 - 1):
        found = kept(rate, seed)
        for axes in ((0, 1, 2, 3), (2, 3), (0, 1, 2), (0, 1, 3)):  # in all, by head, key and query
            share = 1 - np.nanmean(found, axis=axes)
            count = (~np.isnan(found)).sum(axis=axes)
            assert (np.abs(share - rate) < 6 * np.sqrt(rate * (1 - rate) / count)).all(), axes


def test_draws_are_independent_of_their_neighbours() -> None:
    found = kept(0.5)
    limit = 6 / np.sqrt(found[..., 1:].size / 2)
    pairs = {
        "key": (found[..., 1:], found[..., :-1]),
        "query": (found[:, :, 1:], found[:, :, :-1]),
        "head": (found[:, 1:], found[:, :-1]),
        "batch": (found[1:], found[:-1]),
        "query and key": (found[:, :, 1:, 1:], found[:, :, :-1, :-1]),
        "tile": (found[..., 64:], found[..., :-64]),
        "seed": (found, kept(0.5, 2)),
    }
    for name, (a, b) in pairs.items():
        assert abs(correlation(a, b)) < 2 * limit, name


@pytest.mark.parametrize("dtype", DTYPES)
def test_both_passes_drop_the_same_weights(dtype: str) -> None:
    """The gradient of the values, for one query at a time, is the row of weights."""
    given, how = tensors(DTYPES[dtype]), call(0.3, 7)
    result = run_forward(given, how, stats=True, logsumexp=False)
    assert result.stats is not None
    for query in (0, 23, 24, 95, 96, 109):
        upstream = torch.zeros_like(result.output)
        upstream[:, ::2, query, 0] = 1  # one query head of each key/value head
        grads = run_backward(
            given, how, result.output, result.stats, upstream, None, (False, False, True, False)
        )
        assert grads[2] is not None
        forwards, backwards = result.output[:, ::2, query], grads[2][..., 0]
        assert torch.equal(forwards == 0, backwards == 0)
        tolerance = 4 * torch.finfo(DTYPES[dtype]).eps
        torch.testing.assert_close(backwards, forwards, rtol=tolerance, atol=0)


def test_gradients_are_those_of_finite_differences() -> None:
    rng = torch.Generator().manual_seed(4)
    given = Tensors(
        torch.randn(1, 2, 100, 5, generator=rng, dtype=torch.float64),
        torch.randn(1, 1, 130, 5, generator=rng, dtype=torch.float64),
        torch.randn(1, 1, 130, 4, generator=rng, dtype=torch.float64),
        torch.randn(2, 1, 130, generator=rng, dtype=torch.float64),
    )
    how = Call(native_plan(sl.causal(), 100, 130, 20), 0.5, 0.4, 9)
    result = run_forward(given, how, stats=True, logsumexp=True)
    assert result.stats is not None
    upstream = torch.randn(result.output.shape, generator=rng, dtype=torch.float64)
    upstream_lse = torch.randn(1, 2, 100, generator=rng, dtype=torch.float64)
    after = result.output, result.stats, upstream, upstream_lse
    grads = run_backward(given, how, *after, (True,) * 4)

    def loss(moved: Tensors) -> float:
        output, _, logsumexp = run_forward(moved, how, stats=False, logsumexp=True)
        assert logsumexp is not None
        return float((output * upstream).sum() + (logsumexp * upstream_lse).sum())

    step = 1e-5
    for name, grad in zip(Tensors._fields, grads, strict=True):
        tensor = getattr(given, name)
        way = torch.randn(tensor.shape, generator=rng, dtype=torch.float64)
        moved = [given._replace(**{name: tensor + s * step * way}) for s in (1, -1)]
        slope = (loss(moved[0]) - loss(moved[1])) / (2 * step)
        assert grad is not None
        assert abs(slope - float((grad * way).sum())) < 1e-6, name
