"""Layers: what a mask forbids changes no bit of an output or a gradient, parameters' included.

The poison goes into the inputs of the layers, so that it meets every linear map and every norm.
Rows that hold poison themselves are left out of the loss: as those of padding are.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from poisoning import bits

import sightline as sl
from sightline.nn import attention

B, L, M, E, HEADS = 3, 6, 5, 12, 4
LENGTHS, MEMORY_LENGTHS = (6, 2, 4), (3, 5, 1)
POISONS = (torch.nan, -torch.inf)

keys_only = sl.padding(lengths=LENGTHS)
both_sides = keys_only & keys_only.T
MASKS = {
    "keys": keys_only,
    "keys, causal": keys_only & sl.causal(),
    "both sides": both_sides,
    "both sides, window": both_sides & sl.window(left=1, right=0),
}


def real(lengths: tuple[int, ...], longest: int) -> torch.Tensor:
    """Bool [batch, length]."""
    return torch.arange(longest) < torch.tensor(lengths)[:, None]


def inputs(seed: int, length: int) -> torch.Tensor:
    return torch.randn(B, length, E, generator=torch.Generator().manual_seed(seed))


def poisoned(tensor: torch.Tensor, lengths: tuple[int, ...], number: float) -> torch.Tensor:
    """Return the tensor with its padding poisoned: a whole row, and one feature of another."""
    found = tensor.clone()
    padding = ~real(lengths, tensor.shape[1])
    found[padding] = number
    row, place = padding.nonzero()[0]
    found[row, place] = tensor[row, place]
    found[row, place, 3] = number
    return found


def run(
    layer: torch.nn.Module, call: Any, given: list[torch.Tensor]
) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Return the real rows of the output, and the gradients of inputs and parameters."""
    leaves = [each.clone().requires_grad_() for each in given]
    torch.manual_seed(0)  # dropout draws from here
    output = call(*leaves)
    upstream = inputs(9, output.shape[1]) * real(LENGTHS, output.shape[1])[..., None]
    grads = torch.autograd.grad(output, [*leaves, *layer.parameters()], upstream)
    return output.detach()[real(LENGTHS, output.shape[1])], list(grads)


def check(layer: torch.nn.Module, call: Any, clean: list[Any], spoiled: list[Any]) -> None:
    names = [*(f"input {place}" for place in range(len(clean))), *layer.state_dict()]
    output, grads = run(layer, call, clean)
    spoiled_output, spoiled_grads = run(layer, call, spoiled)
    assert (bits(output) == bits(spoiled_output)).all()
    held = [(one != other) | other.isnan() for one, other in zip(clean, spoiled, strict=True)]
    for place, (name, before, after) in enumerate(zip(names, grads, spoiled_grads, strict=True)):
        same = bits(before) == bits(after)
        if place < len(held):  # the poison's own gradient is 0, of either sign
            same |= held[place].any(2, keepdim=True) & (before == 0) & (after == 0)
        assert same.all(), name
        assert before.abs().max() > 0, f"{name} is not reached at all"


@pytest.fixture(params=[False, True], ids=["all rows", "picked rows"])
def picking(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param:
        monkeypatch.setattr(attention, "LEAST_WORK", 0)


def randomized(layer: torch.nn.Module) -> torch.nn.Module:
    torch.manual_seed(1)
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return layer


@pytest.mark.usefixtures("picking")
@pytest.mark.parametrize("number", POISONS)
@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("options", [{}, {"kdim": E, "kv_heads": 2, "dropout": 0.3}])
def test_self_attention(mask: str, number: float, options: dict[str, Any]) -> None:
    layer = randomized(sl.nn.MultiheadAttention(E, HEADS, batch_first=True, **options))
    clean = inputs(0, L)

    def call(x: torch.Tensor) -> torch.Tensor:
        return layer(x, mask=MASKS[mask], need_weights=False)[0]

    check(layer, call, [clean], [poisoned(clean, LENGTHS, number)])


@pytest.mark.usefixtures("picking")
@pytest.mark.parametrize("number", POISONS)
@pytest.mark.parametrize("need_weights", [False, True])
@pytest.mark.parametrize("one", [False, True], ids=["key and value apart", "key is value"])
def test_cross_attention(number: float, need_weights: bool, one: bool) -> None:
    layer = randomized(sl.nn.MultiheadAttention(E, HEADS, batch_first=True))
    query, memory, values = inputs(0, L), inputs(1, M), inputs(2, M)
    mask = sl.padding(lengths=MEMORY_LENGTHS)

    def call(query: torch.Tensor, key: torch.Tensor, *value: torch.Tensor) -> torch.Tensor:
        output, weights = layer(query, key, *value, mask=mask, need_weights=need_weights)
        return output if weights is None else output + weights.square().sum(2, keepdim=True)

    clean = [query, memory] if one else [query, memory, values]
    spoiled = [query, *(poisoned(each, MEMORY_LENGTHS, number) for each in clean[1:])]
    check(layer, call, clean, spoiled)


def test_torchs_padding_mask_and_query_mask() -> None:
    layer = randomized(sl.nn.MultiheadAttention(E, HEADS))
    valid = real(LENGTHS, L)
    clean = inputs(0, L)

    def call(x: torch.Tensor) -> torch.Tensor:
        masks = {"key_padding_mask": ~valid, "query_mask": valid}
        return layer(x.transpose(0, 1), **masks)[0].transpose(0, 1)

    check(layer, call, [clean], [poisoned(clean, LENGTHS, torch.nan)])


@pytest.mark.parametrize("number", POISONS)
@pytest.mark.parametrize(("norm_first", "activation"), [(True, "relu"), (False, "gelu")])
@pytest.mark.parametrize("mask", ["keys", "both sides"])
def test_encoder(number: float, norm_first: bool, activation: str, mask: str) -> None:
    layer = sl.nn.TransformerEncoderLayer(
        E, HEADS, 20, 0.2, activation, batch_first=True, norm_first=norm_first
    )
    encoder = randomized(sl.nn.TransformerEncoder(layer, 2, torch.nn.LayerNorm(E)))
    clean = inputs(0, L)

    def call(x: torch.Tensor) -> torch.Tensor:
        return encoder(x, MASKS[mask])

    check(encoder, call, [clean], [poisoned(clean, LENGTHS, number)])


@pytest.mark.parametrize("number", [*POISONS, torch.inf, 3e38])
@pytest.mark.parametrize("norm_first", [False, True])
def test_encoder_and_decoder(number: float, norm_first: bool) -> None:
    model = randomized(
        sl.nn.Transformer(E, HEADS, 1, 2, 20, 0.0, batch_first=True, norm_first=norm_first)
    )
    source, target = inputs(0, M), inputs(1, L)
    read = sl.padding(lengths=MEMORY_LENGTHS)

    def call(source: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        masks = {"src_mask": read, "memory_mask": read, "tgt_is_causal": True}
        return model(source, target, tgt_key_padding_mask=keys_only, **masks)

    spoiled = [poisoned(source, MEMORY_LENGTHS, number), poisoned(target, LENGTHS, number)]
    check(model, call, [source, target], spoiled)


def test_the_check_can_see() -> None:
    """torch's own layer lets a NaN at a masked key into the gradients of its weights."""
    layer = randomized(torch.nn.MultiheadAttention(E, HEADS, batch_first=True))
    clean = inputs(0, L)

    def call(x: torch.Tensor) -> torch.Tensor:
        return layer(x, x, x, key_padding_mask=~real(LENGTHS, L), need_weights=False)[0]

    with pytest.raises(AssertionError):
        check(layer, call, [clean], [poisoned(clean, LENGTHS, torch.nan)])
