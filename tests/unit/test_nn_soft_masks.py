"""Learned masks: the papers' formulas, the identity when frozen, gradients, padding left out."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from padded_batches import VALID, B, D, L, assert_padding_is_harmless, bits, poisoned, sequences
from torch import nn
from torch.nn import functional

import sightline as sl
from sightline.nn import adaptive_span
from sightline.nn.adaptive_span import AdaptiveSpan
from sightline.nn.feature_masks import CBAM, ChannelMask, SpatialMask
from sightline.nn.soft_masks import HeadGates, LearnedScale, ResidualMask

C, HEIGHT, WIDTH = 8, 5, 3
IMAGES = sequences(B, C, HEIGHT, WIDTH)


def drawn(module: Any, seed: int = 11) -> Any:
    """Draw the parameters anew."""
    for number, parameter in enumerate(module.parameters()):
        parameter.data = sequences(*parameter.shape, seed=seed + number)
    return module


MODULES: dict[str, Callable[[], Any]] = {
    "scale": lambda: drawn(LearnedScale((C, 1, 1))),
    "gates": lambda: drawn(HeadGates(C)),
    "hard gates": lambda: HeadGates(C, kind="hard_concrete", start=0.5),
    "channels": lambda: drawn(ChannelMask(C, reduction=2)),
    "places": lambda: drawn(SpatialMask(3)),
    "cbam": lambda: drawn(CBAM(C, 4, 3)),
    "residual": lambda: drawn(ResidualMask(nn.Conv2d(C, C, 1))),
}
each_module = pytest.mark.parametrize("name", MODULES)


@pytest.fixture(autouse=True)
def _same_draws() -> None:
    """Hard gates are drawn: all may happen to be open."""
    torch.manual_seed(3)


@each_module
def test_frozen_it_is_the_identity(name: str) -> None:
    module = MODULES[name]()
    assert not torch.equal(module(IMAGES), IMAGES)
    assert module.freeze() is module
    assert module(IMAGES) is IMAGES
    assert not torch.equal(module.freeze(False)(IMAGES), IMAGES)
    assert "frozen" not in "".join(module.state_dict())


def test_parts_are_frozen_with_the_whole() -> None:
    block = CBAM(C).freeze()
    assert block.channel.frozen
    assert block.spatial.frozen
    assert (block.channel.mask(IMAGES) == 1.0).all()
    assert (block.spatial.mask(IMAGES) == 1.0).all()


@each_module
def test_gradients_are_right(name: str) -> None:
    module = MODULES[name]().double().eval()
    x = IMAGES[:2].double().requires_grad_()
    leaves = list(module.parameters())

    def run(x: torch.Tensor, *_: torch.Tensor) -> torch.Tensor:
        return module(x)

    assert torch.autograd.gradcheck(run, (x, *leaves), fast_mode=True)


# -- a scale, gates, the residual ---------------------------------------------------------------


@pytest.mark.parametrize("shape", [D, (1, D), (L, 1), (B, 1, D)])
def test_a_learned_scale(shape: Any) -> None:
    scale = drawn(LearnedScale(shape))
    x = sequences(B, L, D)
    mask = 1 / (1 + torch.exp(-scale.logits))
    torch.testing.assert_close(scale(x), x * mask)
    torch.testing.assert_close(scale.mask, mask)
    assert ((mask > 0) & (mask < 1)).all()
    assert (copy.deepcopy(scale).freeze().mask == 1.0).all()


def test_a_learned_scale_starts_where_it_is_told() -> None:
    torch.testing.assert_close(LearnedScale(3, start=0.9).mask, torch.full((3,), 0.9))


def test_a_scale_learns_which_features_count() -> None:
    """The target is the sum of the first two of five features; the others are noise."""
    torch.manual_seed(0)
    model = nn.Sequential(LearnedScale(D), nn.Linear(D, 1, bias=False))
    model[1].weight.data.fill_(1.0)
    model[1].weight.requires_grad_(False)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.2)
    for _ in range(100):
        x = torch.randn(64, D)
        loss = (model(x)[:, 0] - x[:, :2].sum(1)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    mask = model[0].mask
    assert (mask[:2] > 0.9).all()
    assert (mask[2:] < 0.1).all()


def test_gates_of_heads() -> None:
    gates = drawn(HeadGates(C))
    wanted = torch.sigmoid(gates.logits)
    torch.testing.assert_close(gates(IMAGES), IMAGES * wanted[None, :, None, None])
    torch.testing.assert_close(gates.penalty(), wanted.sum())


def test_hard_concrete_gates_are_the_papers() -> None:
    """Louizos et al. 2018: equation 10 with beta = 2/3, 11 with (-0.1, 1.1), 12 and 13."""
    gates = drawn(HeadGates(C, kind="hard_concrete"))
    torch.manual_seed(4)
    got = gates.gates()
    torch.manual_seed(4)
    u = torch.rand(C).clamp(1e-6, 1 - 1e-6)
    s = torch.sigmoid((torch.log(u) - torch.log(1 - u) + gates.logits) * 1.5)
    torch.testing.assert_close(got, torch.clamp(s * 1.2 - 0.1, 0, 1))
    gates.eval()
    middle = torch.clamp(torch.sigmoid(gates.logits) * 1.2 - 0.1, 0, 1)
    torch.testing.assert_close(gates.gates(), middle)
    opened = torch.sigmoid(gates.logits - torch.log(torch.tensor(0.1 / 1.1)) / 1.5)
    torch.testing.assert_close(gates.penalty(), opened.sum())


def test_the_penalty_counts_open_hard_concrete_gates() -> None:
    gates = HeadGates(1, kind="hard_concrete", start=0.3)
    torch.manual_seed(1)
    many = torch.stack([gates.gates() for _ in range(4000)]).detach()
    assert (many > 0).float().mean().item() == pytest.approx(gates.penalty().item(), abs=0.03)
    assert (many == 0).any()
    assert (many == 1).any()


def test_the_residual_form() -> None:
    branch = nn.Conv2d(C, 1, 1)
    wanted = (1 + torch.sigmoid(branch(IMAGES))) * IMAGES
    torch.testing.assert_close(ResidualMask(branch)(IMAGES), wanted)
    features = sequences(B, 2, HEIGHT, WIDTH)
    wanted = (1 + torch.sigmoid(branch(IMAGES))) * features
    torch.testing.assert_close(ResidualMask(branch)(IMAGES, features), wanted)


# -- masks of channels and places ---------------------------------------------------------------


def test_squeeze_and_excitation_is_transformers_own() -> None:
    regnet = pytest.importorskip("transformers.models.regnet.modeling_regnet")
    theirs = drawn(regnet.RegNetSELayer(C, C // 2))
    ours = ChannelMask(C, reduction=2)
    ours.load_state_dict(theirs.state_dict())
    theirs.load_state_dict(ours.state_dict())
    torch.testing.assert_close(ours(IMAGES), theirs(IMAGES), rtol=1e-6, atol=1e-6)


def plain_channel_mask(block: ChannelMask, x: torch.Tensor) -> torch.Tensor:
    """CBAM, equation 2: sigmoid(MLP(avg) + MLP(max))."""
    first, _, second, _ = block.attention
    w1, b1, w2, b2 = first.weight[..., 0, 0], first.bias, second.weight[..., 0, 0], second.bias

    def mlp(f: torch.Tensor) -> torch.Tensor:
        return torch.relu(f @ w1.T + b1) @ w2.T + b2

    return torch.sigmoid(mlp(x.mean((2, 3))) + mlp(x.amax((2, 3))))[..., None, None]


def plain_spatial_mask(block: SpatialMask, x: torch.Tensor) -> torch.Tensor:
    """CBAM, equation 3: sigmoid(conv7x7([avg; max]))."""
    both = torch.cat([x.mean(1, keepdim=True), x.max(1, keepdim=True).values], dim=1)
    return torch.sigmoid(functional.conv2d(both, block.conv.weight, padding=3))


def test_cbam_is_the_papers() -> None:
    block = drawn(CBAM(C, reduction=4))
    assert block.spatial.conv.weight.shape == (1, 2, 7, 7)
    channel = plain_channel_mask(block.channel, IMAGES)
    spatial = plain_spatial_mask(block.spatial, channel * IMAGES)
    torch.testing.assert_close(block.channel.mask(IMAGES), channel)
    torch.testing.assert_close(block.spatial.mask(channel * IMAGES), spatial)
    torch.testing.assert_close(block(IMAGES), spatial * (channel * IMAGES))
    for mask in (channel, spatial):
        assert ((mask > 0) & (mask < 1)).all()


SEQUENCE_MASKS: dict[str, Callable[[], Any]] = {
    "channels": lambda: ChannelMask(D, 2),
    "both pools": lambda: ChannelMask(D, 2, ("mean", "max")),
    "places": lambda: SpatialMask(3, dims=1),
    "cbam": lambda: CBAM(D, 2, 3, dims=1),
}


@pytest.mark.parametrize("name", SEQUENCE_MASKS)
def test_each_sequence_as_if_alone(name: str) -> None:
    module = drawn(SEQUENCE_MASKS[name]())
    valid = torch.from_numpy(sl.padding(lengths=[3, L, 0, 5]).dense(1, L)[:, 0, 0])
    x = sequences(B, L, D)
    output = module(poisoned(x, valid).transpose(1, 2), valid).transpose(1, 2)
    same = module(poisoned(x, valid).transpose(1, 2), sl.padding(lengths=[3, L, 0, 5]))
    assert torch.equal(same.transpose(1, 2), output)
    assert not output[~valid].any()
    for row, real, got in zip(x, valid, output, strict=True):
        if real.any():
            wanted = module(row[real].T[None])[0].T
            torch.testing.assert_close(got[real], wanted, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", SEQUENCE_MASKS)
def test_padding_is_harmless(name: str) -> None:
    module = drawn(SEQUENCE_MASKS[name]())

    def run(x: torch.Tensor) -> torch.Tensor:
        return module(x.transpose(1, 2), VALID).transpose(1, 2)

    assert_padding_is_harmless(run, sequences(B, L, D), VALID, list(module.parameters()))


@pytest.mark.parametrize("name", ["channels", "places", "cbam"])
def test_padded_images(name: str) -> None:
    """A smaller image in the corner of a larger canvas."""
    module = MODULES[name]()
    valid = torch.zeros(B, HEIGHT, WIDTH, dtype=torch.bool)
    valid[:, :4, :2] = True
    canvas = IMAGES.masked_fill(~valid[:, None], torch.nan)
    output = module(canvas, valid)
    torch.testing.assert_close(output[:, :, :4, :2], module(IMAGES[:, :, :4, :2]))
    assert not output.masked_fill(valid[:, None], 0.0).any()


# -- adaptive span ------------------------------------------------------------------------------

HEADS, KV_HEADS, Q, K, DIM = 4, 2, 5, 9, 8
QUERY = sequences(3, HEADS, Q, DIM)
KEY, VALUE = (sequences(3, KV_HEADS, K, width, seed=width) for width in (DIM, 6))


def span_of(*fractions: float, max_span: int = 5, ramp: int = 3) -> AdaptiveSpan:
    span = AdaptiveSpan(len(fractions), max_span, ramp)
    span.fractions.data = torch.tensor(fractions)
    return span


def plain_adaptive_span(
    span: AdaptiveSpan, q: Any, k: Any, v: Any, allowed: torch.Tensor, offset: int
) -> torch.Tensor:
    """Equations 6 and 7: a = m exp(s) / sum m exp(s)."""
    k, v = (t.repeat_interleave(HEADS // KV_HEADS, 1) for t in (k, v))
    distance = (torch.arange(q.shape[2])[:, None] + offset - torch.arange(k.shape[2])).abs()
    z = span.fractions * span.max_span
    m = torch.clamp((span.ramp + z[:, None, None] - distance) / span.ramp, 0, 1) * allowed
    scores = torch.exp(q @ k.transpose(2, 3) / q.shape[3] ** 0.5)
    return m * scores / (m * scores).sum(-1, keepdim=True).clamp(min=1e-30) @ v


@pytest.mark.parametrize("mask", [sl.causal(), sl.everything(), sl.causal(strict=True)], ids=repr)
def test_adaptive_span_is_the_papers(mask: Any) -> None:
    span = span_of(0.0, 0.3, 0.55, 1.0)
    offset = 4 if mask != sl.everything() else 0
    allowed = torch.from_numpy(mask.dense(Q, K, offset))
    wanted = plain_adaptive_span(span, QUERY, KEY, VALUE, allowed, offset)
    torch.testing.assert_close(span(QUERY, KEY, VALUE, mask, q_offset=offset), wanted)


def test_the_window_holds_what_the_bias_leaves() -> None:
    for z in (0.0, 0.1, 0.2, 0.55, 1.0):
        span = span_of(z, z / 2)
        seen = (span.bias(12) > -torch.inf).any(0)
        widest = (torch.arange(12)[:, None] - torch.arange(12)).abs()[seen].max()
        assert widest == span.reach()
        assert span.window() == sl.window(left=span.reach(), right=span.reach())
        allowed = torch.from_numpy(span.window().dense(12))[0, 0]
        assert (allowed | ~seen).all()


def test_what_no_head_reaches_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def attend(query: Any, key: Any, value: Any, mask: Any, **options: Any) -> Any:
        asked.append(mask)
        return sl.attend(query, key, value, mask, **options)

    monkeypatch.setattr(adaptive_span, "attend", attend)
    span_of(0.0, 0.2, 0.2, 0.0)(QUERY, KEY, VALUE, sl.causal())
    assert asked == [sl.causal() & sl.window(left=3, right=3)]


def test_adaptive_span_beside_a_bias() -> None:
    span = span_of(0.1, 0.3, 0.5, 0.7)
    bias = sequences(HEADS, Q, K, seed=5)
    got = span(QUERY, KEY, VALUE, sl.everything(), bias=bias)
    wanted = sl.attend(QUERY, KEY, VALUE, sl.everything(), bias=bias + span.bias(Q, K))
    torch.testing.assert_close(got, wanted)
    assert not torch.allclose(got, span(QUERY, KEY, VALUE, sl.everything()))


def test_a_full_or_frozen_span_changes_no_bit() -> None:
    plain = sl.attend(QUERY, KEY, VALUE, sl.causal(), q_offset=4)
    frozen = span_of(0.0, 0.3, 0.55, 1.0).freeze()
    assert bits(frozen(QUERY, KEY, VALUE, sl.causal(), q_offset=4)) == bits(plain)
    assert frozen.window() == sl.everything()
    assert not frozen.bias(Q, K).any()
    full = span_of(*[1.0] * HEADS, max_span=9)
    torch.testing.assert_close(full(QUERY, KEY, VALUE, sl.causal(), q_offset=4), plain)


def test_what_no_span_reaches_is_not_seen() -> None:
    span = span_of(*[0.0] * HEADS, ramp=2)
    value = VALUE.clone()
    value[:, :, :3] = torch.nan  # queries from position 4 on reach back to 3
    output = span(QUERY, KEY, value, sl.causal(), q_offset=4)
    assert bits(output) == bits(span(QUERY, KEY, VALUE, sl.causal(), q_offset=4))


def test_gradients_of_a_span_are_right() -> None:
    span = span_of(0.07, 0.33, 0.55, 0.81).double()
    tensors = [t.double().requires_grad_() for t in (QUERY, KEY, VALUE)]

    def run(fractions: torch.Tensor, *tensors: torch.Tensor) -> torch.Tensor:
        return span(*tensors, sl.causal(), q_offset=4)

    assert torch.autograd.gradcheck(run, (span.fractions, *tensors), fast_mode=True)


def test_where_a_ramp_ends_on_a_key_the_gradient_is_a_number() -> None:
    span = AdaptiveSpan(HEADS, max_span=5, ramp=3)  # weights reach 0 at distance 3
    span(QUERY, KEY, VALUE, sl.causal(), q_offset=4).square().sum().backward()
    assert span.fractions.grad is not None
    assert span.fractions.grad.isfinite().all()
    assert span.fractions.grad.any()


def test_a_span_grows_where_it_is_needed() -> None:
    """The value wanted stands 6 back; the penalty alone would close the span."""
    torch.manual_seed(0)
    span = AdaptiveSpan(1, max_span=8, ramp=2, start=0.6)
    query = torch.zeros(1, 1, 1, 4)
    key = torch.zeros(1, 1, 10, 4)
    value = torch.zeros(1, 1, 10, 1)
    value[0, 0, 3] = 8.0
    optimizer = torch.optim.SGD(span.parameters(), lr=0.05)
    before = span.penalty().item()
    for _ in range(30):
        output = span(query, key, value, sl.causal(), q_offset=9)
        loss = (output.sum() - 1.0).square() + 1e-3 * span.penalty()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        span.clamp_()
    assert span.penalty().item() > before
    assert loss.item() < 0.1
    assert 0.0 <= span.fractions.item() <= 1.0


# -- refusals -----------------------------------------------------------------------------------


def test_refusals() -> None:
    refused = sl.errors.InvalidArgument
    for start in (0.0, 1.0, -1.0):
        with pytest.raises(refused, match=r"both excluded.*freeze\(\)"):
            LearnedScale(3, start=start)
    with pytest.raises(sl.ShapeMismatch, match=r"a scale of shape \[4\]"):
        LearnedScale(4)(torch.zeros(2, 3))
    with pytest.raises(sl.ShapeMismatch, match=r"a scale of shape \[2, 1\]"):
        LearnedScale((2, 1))(torch.zeros(2))
    with pytest.raises(refused, match=r"kind='soft'"):
        HeadGates(2, kind="soft")  # type: ignore[arg-type]
    with pytest.raises(sl.ShapeMismatch, match=r"wanted \[batch, 2, q_len, value_dim\]"):
        HeadGates(2)(torch.zeros(2, 3, 4, 5))
    with pytest.raises(refused, match=r"pools=\('min',\)"):
        ChannelMask(C, pools=("min",))  # type: ignore[arg-type]
    with pytest.raises(sl.ShapeMismatch, match=r"wanted \[batch, 8, \.\.\.\]"):
        ChannelMask(C)(torch.zeros(2, 3, 4, 5))
    with pytest.raises(refused, match=r"kernel_size=4"):
        SpatialMask(4)
    with pytest.raises(sl.ShapeMismatch, match=r"and 1 more axes"):
        SpatialMask(3, dims=1)(IMAGES)
    with pytest.raises(sl.ShapeMismatch, match=r"in a sequence only"):
        SpatialMask(3)(IMAGES, sl.padding(lengths=[1] * B))
    with pytest.raises(sl.ShapeMismatch, match=r"wanted \[4, 5, 3\]"):
        ChannelMask(C)(IMAGES, torch.ones(B, 3, 5).bool())
    with pytest.raises(refused, match=r"start=2\.0"):
        AdaptiveSpan(2, 8, start=2.0)
    with pytest.raises(refused, match=r"ramp=0"):
        AdaptiveSpan(2, 8, ramp=0)
    with pytest.raises(sl.ShapeMismatch, match=r"bias of shape \[3, 5, 9\]"):
        span_of(0.1, 0.2, 0.3)(QUERY, KEY, VALUE, sl.causal())
