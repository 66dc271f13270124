"""Masked norms: equal to torch's on what is real alone; padding never counts and gives 0."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from padded_batches import (
    VALID,
    B,
    L,
    assert_padding_is_harmless,
    poisoned,
    sequences,
    valid_tables,
)
from torch import nn

import sightline as sl
from sightline.nn.norms import (
    MaskedBatchNorm1d,
    MaskedGroupNorm,
    MaskedInstanceNorm1d,
    MaskedLayerNorm,
)

D = 6


def randomised(module: nn.Module, seed: int = 5) -> nn.Module:
    """Draw the parameters anew: at their start, weights of 1 hide mistakes."""
    for number, parameter in enumerate(module.parameters()):
        parameter.data = sequences(*parameter.shape, seed=seed + number)
    return module


def same_parameters(module: nn.Module, other: nn.Module) -> nn.Module:
    """Return ``module`` with the parameters of ``other``, loaded both ways."""
    module.load_state_dict(other.state_dict())
    other.load_state_dict(module.state_dict())
    return module


# Each with torch's layer and how that is run on one sequence [n, D] without padding.
PER_SEQUENCE: dict[str, tuple[Callable[[], nn.Module], Callable[[], nn.Module]]] = {
    "group": (lambda: MaskedGroupNorm(3, D), lambda: nn.GroupNorm(3, D)),
    "one group": (
        lambda: MaskedGroupNorm(1, D, affine=False),
        lambda: nn.GroupNorm(1, D, affine=False),
    ),
    "instance": (
        lambda: MaskedInstanceNorm1d(D, affine=True),
        lambda: nn.InstanceNorm1d(D, affine=True),
    ),
    "layer": (lambda: MaskedLayerNorm(D), lambda: nn.GroupNorm(1, D)),
    "layer, features": (lambda: MaskedLayerNorm(D, over="features"), lambda: nn.LayerNorm(D)),
}
each_norm = pytest.mark.parametrize("name", PER_SEQUENCE)


def run_alone(norm: nn.Module, row: torch.Tensor) -> torch.Tensor:
    """Return torch's layer on one sequence [n, D]."""
    if isinstance(norm, nn.LayerNorm):
        return norm(row)
    # Its instance norm refuses one position, of which any norm makes 0.
    if isinstance(norm, nn.InstanceNorm1d) and len(row) == 1:
        return norm.bias[None]
    return norm(row.T[None])[0].T


@each_norm
@given(valid=valid_tables())
def test_each_sequence_as_if_alone(name: str, valid: torch.Tensor) -> None:
    ours, theirs = (make() for make in PER_SEQUENCE[name])
    same_parameters(ours, randomised(theirs))
    x = sequences(*valid.shape, D) * 3 + 2
    output = ours(poisoned(x, valid), valid)
    assert not output[~valid].any()
    for row, real, got in zip(x, valid, output, strict=True):
        if real.any():
            torch.testing.assert_close(
                got[real], run_alone(theirs, row[real]), rtol=1e-5, atol=1e-5
            )


@each_norm
def test_padding_is_harmless(name: str) -> None:
    norm = randomised(PER_SEQUENCE[name][0]())
    x = sequences(B, L, D)
    parameters = list(norm.parameters())
    assert_padding_is_harmless(lambda x: norm(x, VALID), x, VALID, parameters)


@each_norm
def test_gradients_are_right(name: str) -> None:
    norm = randomised(PER_SEQUENCE[name][0]()).double()
    x = sequences(B, L, D).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: norm(x, VALID), x, fast_mode=True)


@each_norm
def test_without_valid_all_is_real(name: str) -> None:
    norm = randomised(PER_SEQUENCE[name][0]())
    x = sequences(B, L, D)
    assert torch.equal(norm(x), norm(x, sl.everything()))


def test_layer_norm_over_time_is_torchs_over_both_axes() -> None:
    x = sequences(B, L, D) * 3 + 2
    wanted = nn.LayerNorm([L, D], elementwise_affine=False)(x)
    torch.testing.assert_close(MaskedLayerNorm(D, elementwise_affine=False)(x), wanted)


@pytest.mark.parametrize(
    "make",
    [
        lambda **k: MaskedGroupNorm(2, D, **k),
        lambda **k: MaskedInstanceNorm1d(D, **k),
        lambda **k: MaskedBatchNorm1d(D, **k),
    ],
)
def test_channels_before_time(make: Callable[..., nn.Module]) -> None:
    x = sequences(B, L, D)
    first, last = (randomised(make(layout=layout)) for layout in ("BDL", "BLD"))
    assert torch.equal(first(x.transpose(1, 2), VALID).transpose(1, 2), last(x, VALID))


def test_half_precision_is_computed_in_single() -> None:
    x = sequences(B, L, D) * 100
    norm = MaskedGroupNorm(1, D, affine=False)
    torch.testing.assert_close(
        norm(x.half(), VALID), norm(x.half().float(), VALID).half(), rtol=0, atol=0
    )


# -- batch norm -------------------------------------------------------------------------------


def batch_norms(**options: object) -> tuple[MaskedBatchNorm1d, nn.BatchNorm1d]:
    theirs = nn.BatchNorm1d(D, **options)  # type: ignore[arg-type]
    ours = MaskedBatchNorm1d(D, **options)  # type: ignore[arg-type]
    same_parameters(ours, randomised(theirs))
    return ours, theirs


@pytest.mark.parametrize("options", [{}, {"momentum": None}, {"track_running_stats": False}])
def test_batch_norm_is_torchs_on_the_real_tokens(options: dict[str, object]) -> None:
    ours, theirs = batch_norms(**options)
    for step in range(3):
        x = sequences(B, L, D, seed=step) * 3 + step
        output = ours(poisoned(x, VALID), VALID)
        assert torch.equal(output[VALID], theirs(x[VALID]))
        assert not output[~VALID].any()
    for name, value in theirs.state_dict().items():
        assert torch.equal(ours.state_dict()[name], value), name
    ours.eval()
    theirs.eval()
    assert torch.equal(ours(poisoned(x, VALID), VALID)[VALID], theirs(x[VALID]))


@pytest.mark.parametrize("training", [True, False])
def test_padding_is_harmless_in_batch_norm(training: bool) -> None:
    norm = batch_norms()[0].train(training)
    x = sequences(B, L, D)
    assert_padding_is_harmless(lambda x: norm(x, VALID), x, VALID, list(norm.parameters()))


def test_more_padding_changes_no_bit_of_batch_norm() -> None:
    norm = batch_norms()[0]
    x = sequences(B, L, D)
    longer, more = (nn.functional.pad(t, p) for t, p in ((x, (0, 0, 2, 3)), (VALID, (2, 3))))
    assert torch.equal(norm(longer, more)[:, 2:-3], norm(x, VALID))


def test_batch_norm_gradients_are_right() -> None:
    norm = batch_norms()[0].double()
    x = sequences(B, L, D).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: norm(x, VALID), x, fast_mode=True)


def test_a_batch_without_real_tokens() -> None:
    norm = batch_norms()[0]
    before = {name: value.clone() for name, value in norm.state_dict().items()}
    x = torch.full((2, 3, D), torch.nan, requires_grad=True)
    output = norm(x, sl.nothing())
    assert output.tolist() == torch.zeros(2, 3, D).tolist()
    assert torch.autograd.grad(output.sum(), x)[0].tolist() == torch.zeros(2, 3, D).tolist()
    assert all(torch.equal(before[name], value) for name, value in norm.state_dict().items())


def test_one_real_token_has_no_variance() -> None:
    norm = batch_norms()[0]
    x = sequences(2, 3, D)
    with pytest.raises(sl.ShapeMismatch, match=r"one real token.*\.eval\(\)"):
        norm(x, sl.padding(lengths=[1, 0]))
    assert norm.eval()(x, sl.padding(lengths=[1, 0]))[0, 0].any()


# -- refusals ---------------------------------------------------------------------------------


def test_refusals() -> None:
    with pytest.raises(sl.ShapeMismatch, match=r"shape \[2, 3, 5\]; wanted \[batch, length, 6\]"):
        MaskedGroupNorm(2, D)(torch.zeros(2, 3, 5))
    with pytest.raises(sl.ShapeMismatch, match=r"shape \[2, 3, 4, 6\]"):
        MaskedLayerNorm(D)(torch.zeros(2, 3, 4, D))
    with pytest.raises(sl.errors.InvalidArgument, match=r"layout='channels'; wanted 'BLD'"):
        MaskedBatchNorm1d(D, layout="channels")  # type: ignore[arg-type]
    with pytest.raises(sl.errors.InvalidArgument, match=r"over='sequence'; wanted 'time'"):
        MaskedLayerNorm(D, over="sequence")  # type: ignore[arg-type]
