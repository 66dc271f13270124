"""sl.nn.MultiheadAttention against torch.nn.MultiheadAttention, same weights, where torch is right.

What torch gets wrong (empty rows, is_causal) is checked against what should come out.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

import sightline as sl
from sightline.nn import attention
from sightline.nn.torch_masks import Sizes, read_masks
from sightline.recognize.sources import torch_mha as recognition

B, Q, K, E, HEADS = 3, 5, 7, 12, 4
OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "no bias": {"bias": False},
    "other sizes": {"kdim": 6, "vdim": 10},
    "bias_kv": {"add_bias_kv": True},
    "zero_attn": {"add_zero_attn": True},
    "both added": {"add_bias_kv": True, "add_zero_attn": True, "kdim": 6, "vdim": 10},
}


def layers(batch_first: bool = True, **options: Any) -> tuple[Any, Any]:
    """Return torch's layer and ours with the same weights, none of them 0."""
    torch.manual_seed(3)
    theirs = torch.nn.MultiheadAttention(E, HEADS, batch_first=batch_first, **options)
    for parameter in theirs.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    options.pop("dropout", None)
    ours = sl.nn.MultiheadAttention(E, HEADS, batch_first=batch_first, **options)
    ours.load_state_dict(theirs.state_dict())
    return theirs, ours


def inputs(layer: Any, q_len: int = Q) -> list[torch.Tensor]:
    torch.manual_seed(4)
    sizes = ((q_len, E), (K, layer.kdim), (K, layer.vdim))
    found = [torch.randn(B, length, features) for length, features in sizes]
    if not layer.batch_first:
        found = [each.transpose(0, 1).contiguous() for each in found]
    return [each.requires_grad_() for each in found]


def pairs(*leading: int) -> torch.Tensor:
    """Bool [..., Q, K], True = ignore; every query sees key 0 and 6."""
    torch.manual_seed(5)
    found = torch.rand(*leading, Q, K) < 0.5
    found[..., [0, 6]] = False
    return found


def padded(lengths: tuple[int, ...] = (7, 1, 4)) -> torch.Tensor:
    return torch.arange(K) >= torch.tensor(lengths)[:, None]


def added(forbidden: torch.Tensor) -> torch.Tensor:
    return torch.zeros(forbidden.shape).masked_fill(forbidden, -torch.inf)


MASKS: dict[str, dict[str, Any]] = {
    "none": {},
    "attn_mask": {"attn_mask": pairs()},
    "attn_mask per head": {"attn_mask": pairs(B * HEADS)},
    "padding": {"key_padding_mask": padded()},
    "both": {"attn_mask": pairs(B * HEADS), "key_padding_mask": padded()},
    "-inf": {"attn_mask": added(pairs()), "key_padding_mask": added(padded())},
    "bias": {"attn_mask": torch.linspace(-2, 2, Q * K).view(Q, K) + added(pairs())},
    "bias per head": {
        "attn_mask": torch.linspace(-2, 2, B * HEADS * Q * K).view(-1, Q, K),
        "key_padding_mask": added(padded()),
    },
    "bias of keys": {"key_padding_mask": torch.linspace(-3, 3, B * K).view(B, K)},
}


def close(got: Any, wanted: Any) -> None:
    """Compare to one millionth, of the largest number where that is above 1."""
    assert (got is None) == (wanted is None)
    if got is not None:
        size = max(1.0, float(wanted.detach().abs().max()))
        torch.testing.assert_close(got, wanted, rtol=0.0, atol=1e-6 * size)


def close_gradients(got: Any, wanted: Any) -> None:
    """The same, with room for sums in another order."""
    for one, other in zip(got, wanted, strict=True):
        size = max(1.0, float(other.abs().max()))
        torch.testing.assert_close(one, other, rtol=0.0, atol=1e-5 * size)


@pytest.mark.parametrize(("need_weights", "picking"), [(False, True), (True, False)])
@pytest.mark.parametrize("masks", MASKS)
@pytest.mark.parametrize("options", OPTIONS)
def test_outputs_weights_and_gradients(
    options: str, masks: str, need_weights: bool, picking: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if picking:
        monkeypatch.setattr(attention, "LEAST_WORK", 0)
    batch_first = masks != "both"  # the other layout once for each of the options
    theirs, ours = layers(batch_first, **OPTIONS[options])
    given = inputs(theirs)
    results = []
    for layer in (theirs, ours):
        output, weights = layer(*given, need_weights=need_weights, **MASKS[masks])
        torch.manual_seed(6)
        loss = (output * torch.randn(output.shape)).sum()
        if weights is not None:
            loss = loss + (weights * torch.randn(weights.shape)).sum()
        leaves = [*given, *layer.parameters()]
        results.append((output, weights, torch.autograd.grad(loss, leaves)))
    (output, weights, grads), (our_output, our_weights, our_grads) = results
    close(our_output, output)
    close(our_weights, weights)
    close_gradients(our_grads, grads)


@pytest.mark.parametrize("batch_first", [False, True])
def test_self_attention_is_one_product(batch_first: bool) -> None:
    theirs, ours = layers(batch_first)
    x = inputs(theirs, K)[0]
    masks = {"key_padding_mask": padded(), "average_attn_weights": False}
    for got, wanted in zip(ours(x, **masks), theirs(x, x, x, **masks), strict=True):
        close(got, wanted)
    grads = [
        torch.autograd.grad(layer(x, x, x, **masks)[0].square().sum(), layer.parameters())
        for layer in (ours, theirs)
    ]
    close_gradients(*grads)


def test_one_sequence_without_a_batch() -> None:
    theirs, ours = layers(False)
    query, key, value = (each[:, 0].detach() for each in inputs(theirs))
    masks = {"attn_mask": pairs(HEADS), "key_padding_mask": padded()[2]}
    for average in (True, False):
        wanted = theirs(query, key, value, average_attn_weights=average, **masks)
        got = ours(query, key, value, average_attn_weights=average, **masks)
        for one, other in zip(got, wanted, strict=True):
            close(one, other)


@pytest.mark.parametrize("options", OPTIONS)
def test_parameters_have_torchs_names_first_values_and_go_both_ways(options: str) -> None:
    made = []
    for kind in (torch.nn.MultiheadAttention, sl.nn.MultiheadAttention):
        torch.manual_seed(0)
        made.append(kind(E, HEADS, **OPTIONS[options]))
    theirs, ours = made
    assert list(ours.state_dict()) == list(theirs.state_dict())
    for name, parameter in theirs.state_dict().items():
        assert torch.equal(ours.state_dict()[name], parameter), name
    _, other = layers(**OPTIONS[options])
    theirs.load_state_dict(other.state_dict())
    for name, parameter in other.state_dict().items():
        assert torch.equal(theirs.state_dict()[name], parameter), name


def test_a_learned_bias_gets_torchs_gradient() -> None:
    theirs, ours = layers()
    given = inputs(theirs)
    bias = torch.zeros(Q, K, requires_grad=True)  # all 0, and yet more than a mask
    for need_weights in (False, True):
        grads = []
        for layer in (theirs, ours):
            output, _ = layer(*given, attn_mask=bias, need_weights=need_weights)
            grads += torch.autograd.grad(output.square().sum(), bias)
        assert grads[0].abs().max() > 1e-3
        close_gradients(*([grad] for grad in grads))


# -- where torch is wrong ---------------------------------------------------------------------


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("need_weights", [False, True])
@pytest.mark.parametrize("floats", [False, True])
def test_a_query_that_sees_nothing(training: bool, need_weights: bool, floats: bool) -> None:
    """torch issues 41508 and others: NaN in the output or in the gradients."""
    _, ours = layers()
    ours.dropout = 0.3
    ours.train(training)
    given = inputs(ours)
    forbidden = pairs()
    forbidden[2] = True
    mask = added(forbidden) if floats else forbidden
    output, weights = ours(*given, attn_mask=mask, need_weights=need_weights)
    assert torch.equal(output[:, 2], ours.out_proj.bias.expand(B, E))
    assert not torch.equal(output[:, 1], output[:, 2])
    if need_weights:
        assert (weights[:, 2] == 0).all()
    grads = torch.autograd.grad(output.square().sum(), [*given, *ours.parameters()])
    assert all(grad.isfinite().all() for grad in grads)
    assert (grads[0][:, 2] == 0).all()


def test_torch_is_still_wrong_there() -> None:
    """The reason why the test above has no torch in it; if this fails, add torch to it."""
    theirs, _ = layers()
    forbidden = pairs()
    forbidden[2] = True
    assert theirs(*inputs(theirs), attn_mask=forbidden)[0][:, 2].isnan().all()


@pytest.mark.parametrize("need_weights", [False, True])
def test_is_causal_holds_together_with_the_masks(need_weights: bool) -> None:
    theirs, ours = layers()
    given = inputs(theirs)
    later = ~torch.ones(Q, K, dtype=torch.bool).tril()
    options: dict[str, Any] = {"need_weights": need_weights}
    for masks in ({}, {"attn_mask": pairs()}, {"attn_mask": added(pairs())}):
        whole = later if not masks else later | pairs()
        wanted = theirs(*given, attn_mask=whole, key_padding_mask=padded(), **options)
        got = ours(*given, is_causal=True, key_padding_mask=padded(), **masks, **options)
        for one, other in zip(got, wanted, strict=True):
            close(one, other)


# -- conversion -------------------------------------------------------------------------------


def test_masks_are_read_as_recognition_reads_them() -> None:
    rng = np.random.default_rng(0)
    for case in range(60):
        shape = (Q, K) if case % 2 else (B * HEADS, Q, K)
        given: dict[str, Any] = {"attn_mask": rng.random(shape) < rng.random()}
        if case % 3:
            given["key_padding_mask"] = rng.random((B, K)) < 0.4
        wanted = recognition.read(given, num_heads=HEADS).allowed
        tensors = {name: torch.from_numpy(array) for name, array in given.items()}
        sight = read_masks(Sizes(B, HEADS, Q, K), **tensors)
        assert sight.bias is None
        whole = (B, HEADS, Q, K)
        got = np.broadcast_to(sight.mask.dense(Q, K), whole)
        assert (got == np.broadcast_to(wanted, whole)).all()


def test_what_is_common_becomes_what_it_is_called() -> None:
    sizes = Sizes(B, HEADS, K, K)
    later = torch.ones(K, K).triu(1).bool()
    assert read_masks(sizes, attn_mask=later).mask == sl.causal()
    assert read_masks(sizes, attn_mask=later.repeat(B * HEADS, 1, 1)).mask == sl.causal()
    assert read_masks(sizes, attn_mask=added(later)).mask == sl.causal()
    assert read_masks(sizes, key_padding_mask=padded()).mask == sl.padding(lengths=[7, 1, 4])
    assert read_masks(sizes, attn_mask=torch.zeros(K, K)).mask == sl.everything()
    at = read_masks(sizes._replace(q_offset=2), attn_mask=later).mask
    assert (at.dense(K, K, 2)[0, 0] == ~later.numpy()).all()


def test_a_changed_tensor_is_a_new_mask() -> None:
    """What is kept goes by content: writing into a tensor, even behind torch's back, is seen."""
    mask = pairs()
    sizes = Sizes(B, HEADS, Q, K)
    before = read_masks(sizes, attn_mask=mask).mask
    mask.numpy()[1, 0] = True
    after = read_masks(sizes, attn_mask=mask).mask
    assert before.dense(Q, K)[0, 0, 1, 0]
    assert not after.dense(Q, K)[0, 0, 1, 0]


def test_dropout_drops_weights_in_training_alone() -> None:
    _, ours = layers()
    ours.dropout = 0.4
    x = inputs(ours, K)[0].detach()
    torch.manual_seed(8)
    got = ours(x, mask=sl.causal())[0]
    torch.manual_seed(8)
    q, k, v = (
        each.unflatten(2, (HEADS, -1)).transpose(1, 2)
        for each in functional.linear(x, ours.in_proj_weight, ours.in_proj_bias).chunk(3, dim=2)
    )
    heads = sl.attend(q, k, v, sl.causal(), dropout=0.4)
    close(got, ours.out_proj(heads.transpose(1, 2).flatten(2)))
    assert not torch.equal(ours(x)[0], ours(x)[0])
    ours.eval()
    assert torch.equal(ours(x)[0], ours(x)[0])
