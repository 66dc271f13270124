"""Masked pooling: equal to pooling each sequence alone; padding never counts, empty gives 0."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from padded_batches import (
    VALID,
    B,
    D,
    L,
    assert_padding_is_harmless,
    poisoned,
    sequences,
    valid_tables,
)

import sightline as sl
from sightline.nn.valid import clear, read_documents, read_valid

CPU = torch.device("cpu")
# Each with what it means for one sequence without padding, [n, ...] -> [...].
POOLS: dict[str, tuple[Callable[..., torch.Tensor], Callable[[torch.Tensor], torch.Tensor]]] = {
    "sum": (sl.nn.masked_sum, lambda x: x.sum(0)),
    "mean": (sl.nn.masked_mean, lambda x: x.mean(0)),
    "max": (sl.nn.masked_max, lambda x: x.amax(0)),
    "min": (sl.nn.masked_min, lambda x: x.amin(0)),
    "first": (sl.nn.masked_first, lambda x: x[0]),
    "last": (sl.nn.masked_last, lambda x: x[-1]),
    "softmax": (
        lambda x, valid: sl.nn.masked_softmax_pool(x, clear(x, valid) ** 2, valid),
        lambda x: ((x * x).softmax(0) * x).sum(0),
    ),
}
each_pool = pytest.mark.parametrize("name", POOLS)


@each_pool
@given(valid=valid_tables())
def test_each_sequence_as_if_alone(name: str, valid: torch.Tensor) -> None:
    pool, alone = POOLS[name]
    x = sequences(*valid.shape, D)
    pooled = pool(poisoned(x, valid), valid)
    for row, real, got in zip(x, valid, pooled, strict=True):
        wanted = alone(row[real]) if real.any() else torch.zeros(D)
        torch.testing.assert_close(got, wanted, rtol=1e-6, atol=1e-6)


@each_pool
@pytest.mark.parametrize("trailing", [(), (D,), (3, D)])
def test_padding_is_harmless(name: str, trailing: tuple[int, ...]) -> None:
    pool, _ = POOLS[name]
    x = sequences(B, L, *trailing)
    assert pool(x, VALID).shape == (B, *trailing)
    assert_padding_is_harmless(lambda x: pool(x, VALID), x, VALID)


@each_pool
def test_gradients_are_right(name: str) -> None:
    pool, _ = POOLS[name]
    x = sequences(B, L, 2).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: pool(x, VALID), x, fast_mode=True)


@each_pool
def test_no_positions_at_all(name: str) -> None:
    pool, _ = POOLS[name]
    assert (
        pool(torch.zeros(3, 0, D), torch.zeros(3, 0, dtype=torch.bool)).tolist() == [[0.0] * D] * 3
    )


def test_real_values_that_are_infinite_are_found() -> None:
    x = torch.tensor([[torch.nan, -torch.inf, -torch.inf]], requires_grad=True)
    valid = torch.tensor([[False, True, True]])
    largest = sl.nn.masked_max(x, valid)
    assert largest.item() == -torch.inf
    assert torch.autograd.grad(largest.sum(), x)[0].tolist() == [[0.0, 1.0, 0.0]]
    assert sl.nn.masked_min(-x.detach(), valid).item() == torch.inf


def test_a_real_nan_stays() -> None:
    x = torch.tensor([[1.0, torch.nan, 2.0]])
    for pool, _ in (POOLS[name] for name in ("sum", "mean", "max", "min", "softmax")):
        assert pool(x, torch.ones(1, 3, dtype=torch.bool)).isnan().all()


def test_the_sign_of_zero_stays() -> None:
    x = torch.tensor([[-0.0, 1.0]])
    assert sl.nn.masked_min(x, sl.everything()).signbit().item()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_the_mean_of_many_half_precision_numbers(dtype: torch.dtype) -> None:
    x = torch.full((2, 1000, 3), 100.0, dtype=dtype)  # their sum is beyond float16
    pooled = sl.nn.masked_mean(x, sl.padding(lengths=[1000, 999]))
    assert pooled.dtype == dtype
    assert (pooled == 100.0).all()


@given(valid=valid_tables())
def test_softmax_weights(valid: torch.Tensor) -> None:
    scores = sequences(*valid.shape, 3, seed=3)
    weights = sl.nn.masked_softmax(poisoned(scores, valid), valid)
    assert not weights[~valid].any()
    wanted = valid.any(1)[:, None].expand(-1, 3).float()
    torch.testing.assert_close(weights.sum(1), wanted, rtol=0, atol=1e-6)


def test_scores_at_padding_are_harmless() -> None:
    scores = sequences(B, L, D)
    assert_padding_is_harmless(lambda x: sl.nn.masked_softmax(x, VALID), scores, VALID)


def test_a_score_of_minus_infinity_forbids() -> None:
    x = torch.tensor([[torch.nan, 2.0], [torch.nan, torch.inf]])
    scores = torch.tensor([[-torch.inf, 0.0], [-torch.inf, -torch.inf]], requires_grad=True)
    pooled = sl.nn.masked_softmax_pool(x, scores, sl.everything())
    assert pooled.tolist() == [2.0, 0.0]
    assert torch.autograd.grad(pooled.sum(), scores)[0].tolist() == [[0.0, 0.0], [0.0, 0.0]]


# -- how ``valid`` may be given ---------------------------------------------------------------


@pytest.mark.parametrize(
    "given_as",
    [
        sl.padding(lengths=[2, 3], side="left", total=4),
        sl.padding(valid=[[0, 0, 1, 1], [0, 1, 1, 1]]),
        sl.padding(lengths=[4, 4]) & ~(sl.prefix(1) | sl.padding(lengths=[2, 0])),
        torch.tensor([[0, 0, 1, 1], [0, 1, 1, 1]]),
        torch.tensor([[0.0, 0.0, 1.0, 1.0], [0.0, 1.0, 1.0, 1.0]]),
        np.array([[0, 0, 1, 1], [0, 1, 1, 1]], dtype=bool),
        [[False, False, True, True], [False, True, True, True]],
    ],
    ids=repr,
)
def test_ways_to_say_valid(given_as: object) -> None:
    wanted = [[False, False, True, True], [False, True, True, True]]
    assert read_valid(given_as, 2, 4, CPU).tolist() == wanted


def test_a_mask_of_one_row_serves_all() -> None:
    assert read_valid(sl.padding(lengths=[1]), 3, 2, CPU).tolist() == [[True, False]] * 3
    assert read_valid(sl.everything(), 2, 0, CPU).shape == (2, 0)
    assert read_valid(sl.padding(lengths=[9]), 1, 2, CPU).tolist() == [[True, True]]


def test_one_mask_at_two_lengths() -> None:
    mask = sl.padding(lengths=[2, 3])
    assert read_valid(mask, 2, 3, CPU).sum().item() == 5
    assert read_valid(mask, 2, 5, CPU).shape == (2, 5)


@pytest.mark.parametrize(
    ("valid", "error", "says"),
    [
        (None, sl.errors.InvalidArgument, r"valid=None.*sl\.everything\(\)"),
        ([2, 3], sl.ShapeMismatch, r"shape \[2\].*\[2, 4\].*sl\.padding\(lengths="),
        (torch.ones(4, 2).bool(), sl.ShapeMismatch, r"shape \[4, 2\]"),
        (torch.full((2, 4), 2), sl.errors.InvalidArgument, r"other than 0 and 1"),
        (torch.full((2, 4), -torch.inf), sl.errors.InvalidArgument, r"other than 0 and 1"),
        ("right", sl.errors.InvalidArgument, r"type str"),
        (sl.causal(), sl.InvalidMask, r"same for all queries"),
        (sl.causal() & sl.padding(lengths=[2, 3]), sl.InvalidMask, r"padding alone"),
        (sl.per_head([sl.everything(), sl.nothing()]), sl.InvalidMask, r"queries and heads"),
        (sl.padding(lengths=[1, 2, 3]), sl.ShapeMismatch, r"3 batch rows and a tensor with 2"),
    ],
)
def test_valid_refused(valid: object, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        sl.nn.masked_mean(torch.zeros(2, 4, 3), valid)


def test_features_refused() -> None:
    with pytest.raises(sl.errors.InvalidArgument, match=r"torch\.int64"):
        sl.nn.masked_mean(torch.zeros(2, 4).long(), sl.everything())
    with pytest.raises(sl.errors.InvalidArgument, match="type list"):
        sl.nn.masked_mean([[1.0]], sl.everything())  # type: ignore[arg-type]
    with pytest.raises(sl.ShapeMismatch, match=r"\[batch, length, \.\.\.\]"):
        sl.nn.masked_mean(torch.zeros(4), sl.everything())
    with pytest.raises(sl.ShapeMismatch, match=r"scores of shape \[2, 3\].*wanted \[2, 4\]"):
        sl.nn.masked_softmax_pool(torch.zeros(2, 4, 5), torch.zeros(2, 3), sl.everything())


# -- how documents may be given ----------------------------------------------------------------


def test_ways_to_say_documents() -> None:
    wanted = [[0, 0, 1, -1]]
    assert read_documents(sl.documents(lengths=[2, 1]), 3, 4, CPU).tolist() == wanted
    assert read_documents(sl.spans([0, 0, 1, -1, -1]), 3, 4, CPU).tolist() == wanted
    assert read_documents([5, 5, 9, -3], 3, 4, CPU).tolist() == [[5, 5, 9, -3]]
    assert read_documents(torch.zeros(3, 4).int(), 3, 4, CPU).shape == (3, 4)


@pytest.mark.parametrize(
    ("documents", "error", "says"),
    [
        ([2, 2], sl.ShapeMismatch, r"shape \[2\].*lengths go in as"),
        (torch.zeros(2, 4).int(), sl.ShapeMismatch, r"2 batch rows and a tensor with 3"),
        (torch.zeros(4), sl.errors.InvalidArgument, r"torch\.float32"),
        ("docs", sl.errors.InvalidArgument, r"type str"),
        (sl.causal(), sl.InvalidMask, r"sl\.documents\(\.\.\.\)"),
    ],
)
def test_documents_refused(documents: object, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        read_documents(documents, 3, 4, CPU)
