"""Masked losses: means over what is real, whatever stands at padding."""

from __future__ import annotations

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
from torch.nn import functional

import sightline as sl
from sightline.nn.losses import masked_cross_entropy, masked_loss_mean


@given(valid=valid_tables())
def test_means_over_what_is_real(valid: torch.Tensor) -> None:
    losses = sequences(*valid.shape, 3)
    wanted = losses[valid].mean() if valid.any() else torch.tensor(0.0)
    torch.testing.assert_close(masked_loss_mean(poisoned(losses, valid), valid), wanted)


@given(valid=valid_tables())
def test_cross_entropy_is_torchs_on_what_is_real(valid: torch.Tensor) -> None:
    logits = sequences(*valid.shape, D)
    targets = torch.arange(valid.numel()).reshape(valid.shape) % D
    wanted = torch.tensor(0.0)
    if valid.any():
        wanted = functional.cross_entropy(logits[valid], targets[valid], label_smoothing=0.1)
    targets[~valid] = -100
    loss = masked_cross_entropy(poisoned(logits, valid), targets, valid, label_smoothing=0.1)
    assert loss.item() == wanted.item()


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
def test_padding_is_harmless(label_smoothing: float) -> None:
    targets = torch.arange(B * L).reshape(B, L) % D
    logits = sequences(B, L, D)

    def losses(x: torch.Tensor) -> torch.Tensor:
        entropy = masked_cross_entropy(x, targets, VALID, label_smoothing=label_smoothing)
        return torch.stack([entropy, masked_loss_mean(x, VALID)])

    assert_padding_is_harmless(losses, logits, VALID)


def test_nothing_real_at_all() -> None:
    x = torch.full((2, 3, D), torch.nan, requires_grad=True)
    targets = torch.full((2, 3), -100)
    for loss in (masked_cross_entropy(x, targets, sl.nothing()), masked_loss_mean(x, sl.nothing())):
        assert loss.item() == 0.0
        assert not torch.autograd.grad(loss, x)[0].any()
    assert masked_loss_mean(torch.zeros(2, 0), sl.everything()).item() == 0.0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_the_mean_of_many_half_precision_losses(dtype: torch.dtype) -> None:
    losses = torch.full((3, 1000), 100.0, dtype=dtype)
    assert masked_loss_mean(losses, sl.padding(lengths=[1000, 7, 3])).item() == 100.0


def test_refusals() -> None:
    logits, targets = torch.zeros(2, 3, D), torch.zeros(2, 3).long()
    with pytest.raises(sl.ShapeMismatch, match=r"targets of shape \[3, 2\]"):
        masked_cross_entropy(logits, targets.T, sl.everything())
    with pytest.raises(sl.errors.InvalidArgument, match=r"targets of dtype torch\.float32"):
        masked_cross_entropy(logits, targets.float(), sl.everything())
    for wrong in (-100, D):
        with pytest.raises(sl.errors.InvalidArgument, match=rf"target {wrong} at a real position"):
            masked_cross_entropy(logits, targets + wrong, sl.everything())
    with pytest.raises(sl.errors.InvalidArgument, match=r"losses of type torch\.int64"):
        masked_loss_mean(targets, sl.everything())
