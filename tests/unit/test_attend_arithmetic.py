"""The guarded arithmetic by itself: sums over allowed pairs, with NaN and Inf among the numbers."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sightline.engines.guarded.arithmetic import (
    drop_forbidding,
    gather_heads,
    guarded_matmul,
    spread_heads,
    weigh,
)

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize("seed", range(40))
def test_guarded_matmul_is_the_sum_over_allowed_pairs(seed: int) -> None:
    rng = np.random.default_rng(seed)
    q_len, kv_len, dim = (int(n) for n in rng.integers(1, 6, 3))
    allowed = rng.random((q_len, kv_len)) < 0.6
    weights = np.where(allowed, rng.choice([0.0, 0.5, -2.0, 1.0, NAN], allowed.shape), 0.0)
    values = rng.choice([1.0, -3.0, 0.0, 1e300, NAN, INF, -INF], (kv_len, dim))
    wanted = np.zeros((q_len, dim))
    with np.errstate(invalid="ignore"):
        for i in range(q_len):
            for j in np.flatnonzero(allowed[i]):
                wanted[i] += weights[i, j] * values[j]
    tensors = (torch.from_numpy(array) for array in (weights, allowed, values))
    np.testing.assert_allclose(guarded_matmul(*tensors).numpy(), wanted, rtol=1e-12)


@pytest.mark.parametrize("shape", [(3, 1, 4), (1, 5, 4), (2, 2, 4)])
def test_not_even_the_sign_of_a_forbidden_product_is_left(shape: tuple[int, int, int]) -> None:
    """A product over one key gives -0 for 0 * -1, and so tells the sign of what it may not see."""
    q_len, kv_len, dim = shape
    nothing = torch.zeros(q_len, kv_len)
    for first, second in ((nothing, -torch.ones(kv_len, dim)), (nothing.mT, -torch.ones(q_len, 4))):
        product = guarded_matmul(first, first > 0, second)
        assert not torch.signbit(product).any()


def test_rows_of_weights() -> None:
    query = torch.tensor([[1.0], [1.0], [1.0], [NAN]])
    key = torch.tensor([[0.0], [NAN], [1e38], [-INF]])
    allowed = torch.tensor([[1, 0, 0, 1], [0, 1, 0, 0], [0, 0, 0, 1], [0, 0, 0, 0]]) > 0
    result = weigh(query, key, allowed, None, 1.0)
    assert result.weights[0].tolist() == [1.0, 0.0, 0.0, 0.0]
    assert result.weights[1].isnan().tolist() == [False, True, False, False]
    assert result.weights[2].isnan().tolist() == [False, False, False, True]  # exp(-inf + inf)
    assert result.weights[3].tolist() == [0.0] * 4
    assert result.logsumexp.tolist()[0] == 0.0
    assert result.logsumexp.tolist()[3] == -INF


def test_heads_are_spread_and_gathered_in_groups() -> None:
    tensor = torch.arange(2.0).view(1, 2, 1, 1)
    assert spread_heads(tensor, 6).flatten().tolist() == [0, 0, 0, 1, 1, 1]
    assert gather_heads(torch.arange(6.0).view(1, 6, 1, 1), 2).flatten().tolist() == [3, 12]
    assert spread_heads(tensor, 2) is tensor
    assert gather_heads(tensor, 2) is tensor


def test_only_minus_infinity_forbids() -> None:
    allowed = torch.tensor([True, True, True, False])
    bias = torch.tensor([-INF, -1e38, NAN, 0.0])
    assert drop_forbidding(allowed, bias).tolist() == [False, True, True, False]
    assert drop_forbidding(allowed, None) is allowed
