"""Masks by length and masks read off inputs, against the formulas written out in numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import sightline as sl
from sightline.nn.input_masks import key_mask_from_inputs, mask_inputs, query_mask_from_inputs

B, H, Q, K, D = 3, 2, 4, 5, 6
Q_LENGTHS, K_LENGTHS = (4, 1, 3), (2, 5, 0)


def by_length(lengths: tuple[int, ...], longest: int) -> np.ndarray:
    return (np.arange(longest) < np.array(lengths)[:, None]).astype(np.float64)


@pytest.mark.parametrize("trailing", [(), (D,), (H, D)])
def test_mul_and_add_are_the_formula(trailing: tuple[int, ...]) -> None:
    inputs = torch.randn(B, K, *trailing, dtype=torch.float64)
    mask = by_length(K_LENGTHS, K).reshape(B, K, *(1 for _ in trailing))
    multiplied = inputs.numpy() * mask
    assert (mask_inputs(inputs, torch.tensor(K_LENGTHS), "mul").numpy() == multiplied).all()
    # The source subtracts 1e12; the least finite number stands where that was meant to lead.
    added = np.where(mask == 1, inputs.numpy(), np.finfo(np.float64).min)
    assert (mask_inputs(inputs, K_LENGTHS, "add").numpy() == added).all()
    assert mask_inputs(inputs, None, "add") is inputs


def attention_of_2018(q: Any, k: Any, v: Any) -> np.ndarray:
    """bojone's attention on projected heads [B, H, length, D]: 'add' on keys, 'mul' on queries."""
    scores = q @ k.swapaxes(2, 3) / np.sqrt(q.shape[3])
    scores = scores - (1 - by_length(K_LENGTHS, K))[:, None, None] * 1e12
    weights = np.exp(scores - scores.max(axis=3, keepdims=True))
    weights /= weights.sum(axis=3, keepdims=True)
    return (weights @ v) * by_length(Q_LENGTHS, Q)[:, None, :, None]


def test_the_whole_attention_of_the_source() -> None:
    torch.manual_seed(0)
    q, k, v = (torch.randn(B, H, length, D, dtype=torch.float64) for length in (Q, K, K))
    wanted = attention_of_2018(q.numpy(), k.numpy(), v.numpy())

    # With the helper: scores are turned so that keys stand on axis 1, as the source does it.
    scores = (q @ k.transpose(2, 3) / D**0.5).permute(0, 3, 2, 1)
    weights = mask_inputs(scores, K_LENGTHS, "add").permute(0, 3, 2, 1).softmax(3)
    output = mask_inputs((weights @ v).transpose(1, 2), Q_LENGTHS, "mul").transpose(1, 2)
    np.testing.assert_allclose(output[:2].numpy(), wanted[:2], rtol=1e-12, atol=1e-12)
    # A row of padding alone: equal weights. (The source has them in float32; in float64 a score
    # minus 1e12 still holds four digits of the score.)
    mean = v[2].mean(1, keepdim=True).expand(H, 3, D)
    torch.testing.assert_close(output[2, :, :3], mean, rtol=1e-12, atol=1e-12)
    assert (output[2, :, 3:] == 0).all()

    # With masks; where every key is padding nothing is seen.
    mask = sl.padding(lengths=K_LENGTHS) & sl.padding(lengths=Q_LENGTHS).T
    output = sl.attend(q, k, v, mask).numpy()
    np.testing.assert_allclose(output[:2], wanted[:2], rtol=1e-12, atol=1e-12)
    assert (output[2] == 0).all()
    assert (wanted[2, :, 0] != 0).all()


def test_float16_keeps_an_all_masked_row_finite() -> None:
    """The source's 1e12 is inf there, and the softmax of -inf alone is NaN."""
    scores = torch.zeros(1, K, dtype=torch.float16)
    assert (scores - torch.tensor(1e12, dtype=torch.float16)).softmax(1).isnan().all()
    weights = mask_inputs(scores, [0], "add").softmax(1)
    assert torch.allclose(weights, torch.full_like(weights, 1 / K), atol=1e-3)


def test_what_is_masked_is_gone() -> None:
    inputs = torch.full((B, K), torch.nan)
    assert (mask_inputs(inputs, [0, 0, 0]) == 0).all()
    leaf = torch.randn(B, K, requires_grad=True)
    mask_inputs(leaf, K_LENGTHS).sum().backward()
    assert leaf.grad is not None
    assert (leaf.grad.numpy() == by_length(K_LENGTHS, K)).all()


# -- masks from inputs --------------------------------------------------------------------------


def embedded() -> torch.Tensor:
    """Word vectors of rows with 4, 1 and 3 words; the others are zeros."""
    torch.manual_seed(1)
    table = torch.nn.Embedding(10, D, padding_idx=0)
    words = torch.tensor([[3, 1, 4, 2, 0], [5, 0, 0, 0, 0], [9, 2, 6, 0, 0]])
    return table(words)


def test_masks_of_keys_and_queries() -> None:
    lengths = [4, 1, 3]
    assert key_mask_from_inputs(embedded()) == sl.padding(lengths=lengths)
    assert query_mask_from_inputs(embedded()) == sl.padding(lengths=lengths).T


def test_before_positions_not_after() -> None:
    """The trap of the source's issue 3: with positions added nothing is zero, nothing masked."""
    vectors = embedded()
    positions = torch.linspace(0.1, 1.0, K)[:, None].expand(K, D)
    real = key_mask_from_inputs(vectors)
    trapped = key_mask_from_inputs(vectors + positions)
    assert real.count(1, K) == 4 + 1 + 3
    assert trapped.count(1, K) == B * K  # every padding would be seen

    layer = sl.nn.MultiheadAttention(D, H, batch_first=True)
    placed = (vectors + positions).detach()
    changed = placed.clone()
    changed[1, 2] += 1.0  # padding
    for mask, blind in ((real, True), (trapped, False)):
        before, after = (layer(x, mask=mask)[0][1, 0] for x in (placed, changed))
        assert torch.equal(before, after) == blind


def test_a_vector_whose_numbers_cancel_is_a_word() -> None:
    vectors = embedded().detach()
    vectors[1, 0] = torch.tensor([1.0, -1.0, 2.0, -2.0, 0.0, 0.0])
    assert float(vectors[1, 0].sum()) == 0.0  # the source takes it for padding
    assert key_mask_from_inputs(vectors) == sl.padding(lengths=[4, 1, 3])


def test_weights_are_the_sources() -> None:
    """Masked keys before the softmax, masked queries after it (Kyubyong 2017)."""
    x = embedded().detach().double()
    scores = (x @ x.transpose(1, 2) / D**0.5).numpy()
    seen = np.sign(np.abs(x.numpy()).sum(axis=2))
    scores = np.where(seen[:, None] == 0, -(2.0**32) + 1, scores)
    weights = np.exp(scores - scores.max(axis=2, keepdims=True))
    weights = weights / weights.sum(axis=2, keepdims=True) * seen[:, :, None]
    mask = key_mask_from_inputs(x) & query_mask_from_inputs(x)
    got = sl.attention_weights(x[:, None], x[:, None], mask)[:, 0]
    np.testing.assert_allclose(got.numpy(), weights, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        ({"seq_len": [1, 2]}, sl.ShapeMismatch, "one length for each row"),
        ({"seq_len": [1, 2, 9]}, sl.ShapeMismatch, "from 1 to 9"),
        ({"seq_len": [1.0, 2.0, 1.0]}, sl.InvalidArgument, "wanted integers"),
        ({"mode": "sub"}, sl.InvalidArgument, "mode='sub'"),
        ({"inputs": torch.ones(B, K, dtype=torch.int64)}, sl.InvalidArgument, "floating"),
    ],
)
def test_refusals(given: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        mask_inputs(**{"inputs": torch.ones(B, K), "seq_len": [1, 2, 3], **given})
    with pytest.raises(sl.ShapeMismatch, match="wanted a tensor"):
        key_mask_from_inputs(torch.ones(B, K))
