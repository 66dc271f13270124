"""A small GPT on torch's own attention: the function, the layer, the encoder stack.

Faults of how torch's arguments combine: senses, `is_causal`, layouts. Padding stands in bert.py.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

import sightline as sl

from .fault import BatchInvariant, Claim, Condition, Fault, Inputs, Sees
from .gpt import CAUSAL, Attention
from .parts import (
    HEADS,
    VOCAB,
    WIDTH,
    Decoder,
    all_ones,
    frames,
    ids,
    seeded,
    sinusoids,
    triangle,
)


class Fused(Attention):
    """Causal attention through the fused function."""

    def fused(self, query: Tensor, key: Tensor, value: Tensor, keep: Tensor | None) -> Tensor:
        if keep is None:
            return scaled_dot_product_attention(query, key, value, is_causal=True)
        allowed = keep[:, None, None, :].bool() & triangle(query.shape[-2])
        return scaled_dot_product_attention(query, key, value, attn_mask=allowed)

    def forward(self, x: Tensor, keep: Tensor | None = None) -> Tensor:
        query, key, value = (self.heads(part) for part in self.qkv(x).chunk(3, dim=-1))
        return self.out(self.merged(self.fused(query, key, value, keep)))


class IgnoreSense(Fused):
    """Passes the mask of nn.MultiheadAttention, where True means "ignore"."""

    def fused(self, query: Tensor, key: Tensor, value: Tensor, keep: Tensor | None) -> Tensor:
        ignored = torch.triu(torch.ones(query.shape[-2], query.shape[-2]), diagonal=1).bool()
        return scaled_dot_product_attention(query, key, value, attn_mask=ignored)


class FloatTriangle(Fused):
    """Passes 0 and 1 as floats, which are added to the scores."""

    def fused(self, query: Tensor, key: Tensor, value: Tensor, keep: Tensor | None) -> Tensor:
        ones = torch.ones(query.shape[-2], query.shape[-2], dtype=query.dtype)
        return scaled_dot_product_attention(query, key, value, attn_mask=ones.tril())


class CausalDropped(Fused):
    """With a padding mask at hand, forgets that it was causal too."""

    def fused(self, query: Tensor, key: Tensor, value: Tensor, keep: Tensor | None) -> Tensor:
        allowed = None if keep is None else keep[:, None, None, :].bool()
        return scaled_dot_product_attention(
            query, key, value, attn_mask=allowed, is_causal=allowed is None
        )


class CausalInTraining(Fused):
    """`is_causal=self.training`, as if generation needed no mask."""

    def fused(self, query: Tensor, key: Tensor, value: Tensor, keep: Tensor | None) -> Tensor:
        return scaled_dot_product_attention(query, key, value, is_causal=self.training)


class KeepDecoder(Decoder):
    """A decoder that passes its padding mask to every layer."""

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        x = self.embed(input_ids)
        for block in self.blocks:
            x = block(x, attention_mask)
        return self.head(self.norm(x))


class Layer(nn.Module):
    """nn.MultiheadAttention with the mask that a subclass makes (True = ignore)."""

    def __init__(self, batch_first: bool = True) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(WIDTH, HEADS, batch_first=batch_first)

    def masks(self, x: Tensor) -> dict[str, Any]:
        return {"attn_mask": ~triangle(x.shape[1])}

    def forward(self, x: Tensor) -> Tensor:
        return self.attention(x, x, x, need_weights=False, **self.masks(x))[0]


class Transposed(Layer):
    """A True/False mask made as [key, query]."""

    def masks(self, x: Tensor) -> dict[str, Any]:
        return {"attn_mask": (~triangle(x.shape[1])).T}


class FutureAdded(Layer):
    """A float mask whose -inf are where they belong, but multiplied: 0 * -inf was to be avoided."""

    def masks(self, x: Tensor) -> dict[str, Any]:
        return {"attn_mask": (~triangle(x.shape[1])).to(x.dtype)}


class Windowed(Layer):
    """Three keys and oneself."""

    def masks(self, x: Tensor) -> dict[str, Any]:
        allowed = triangle(x.shape[1]) & ~triangle(x.shape[1]).tril(diagonal=-4)
        return {"attn_mask": ~allowed}


class CausalOverWindow(Windowed):
    """The hint `is_causal` replaces the window that stands beside it."""

    def masks(self, x: Tensor) -> dict[str, Any]:
        return {**super().masks(x), "is_causal": True}


class Bidirectional(Layer):
    """No mask at all; `batch_first` says which axis is time."""

    def masks(self, x: Tensor) -> dict[str, Any]:
        return {}


class Looking(nn.Module):
    """Features through one layer of attention without a shortcut."""

    def __init__(self, mix: nn.Module) -> None:
        super().__init__()
        self.enter = nn.Linear(WIDTH, WIDTH)
        self.mix = mix
        self.leave = nn.Linear(WIDTH, WIDTH + 1)

    def forward(self, features: Tensor) -> Tensor:
        return self.leave(self.mix(self.enter(features)))


class Stack(nn.Module):
    """Tokens through nn.TransformerEncoder under a mask, as PyTorch's own tutorial does it."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Embedding(VOCAB, WIDTH)
        layer = nn.TransformerEncoderLayer(WIDTH, HEADS, 3 * WIDTH, 0.1, batch_first=True)
        self.stack = nn.TransformerEncoder(layer, 2)
        self.head = nn.Linear(WIDTH, VOCAB)

    def masks(self, length: int) -> dict[str, Any]:
        return {"mask": ~triangle(length), "is_causal": True}

    def forward(self, input_ids: Tensor) -> Tensor:
        x = self.tokens(input_ids)
        x = x + sinusoids(x.shape[1], WIDTH, x.dtype)
        return self.head(self.stack(x, **self.masks(x.shape[1])))


class StackWithoutMask(Stack):
    def masks(self, length: int) -> dict[str, Any]:
        return {}


class StackOfTheFuture(Stack):
    """tril where True means "ignore"; its diagonal is free, so that no row is empty."""

    def masks(self, length: int) -> dict[str, Any]:
        return {"mask": triangle(length).tril(diagonal=-1)}


class StackOffByOne(Stack):
    """The ignored triangle starts one too far to the right."""

    def masks(self, length: int) -> dict[str, Any]:
        return {"mask": torch.ones(length, length).triu(diagonal=2).bool()}


def _fault(
    name: str,
    wrong: type[nn.Module],
    right: type[nn.Module],
    cause: tuple[str, ...],
    *,
    layer: int = 0,
    inner: str = "",
    when: Condition | None = None,
) -> Fault:
    """Return the row of a fault in one of two layers of a decoder."""

    def twin(kind: type[nn.Module]) -> nn.Module:
        return KeepDecoder(*((kind if at == layer else Fused)() for at in range(2)))

    if inner:
        build = {kind: lambda kind=kind: Decoder(kind(), kind()) for kind in (wrong, right)}
    else:
        build = {kind: lambda kind=kind: twin(kind) for kind in (wrong, right)}
    return Fault(
        name=name,
        family="gpt on torch's attention",
        wrong=seeded(build[wrong]),
        right=seeded(build[right]),
        claim=CAUSAL,
        inputs=ids,
        module=f"blocks.{layer}.mix{inner}",
        cause=cause,
        when=when or Condition(),
    )


def _stack(name: str, wrong: type[Stack], cause: tuple[str, ...], when: Condition) -> Fault:
    return Fault(
        name=name,
        family="nn.TransformerEncoder",
        wrong=seeded(wrong),
        right=seeded(Stack),
        claim=CAUSAL,
        inputs=ids,
        # The layer's fast path in evaluation calls none of its parts.
        module="stack.layers.0",
        cause=cause,
        when=when,
    )


def _layer(
    name: str,
    wrong: Layer | Any,
    right: Any,
    claim: Claim,
    cause: tuple[str, ...],
    inputs: Inputs = frames,
) -> Fault:
    return Fault(
        name=name,
        family="nn.MultiheadAttention",
        wrong=seeded(lambda: Looking(wrong())),
        right=seeded(lambda: Looking(right())),
        claim=claim,
        inputs=inputs,
        module="mix.attention",
        cause=cause,
    )


WINDOW = Sees({"features": sl.causal() & sl.window(left=3)})

FAULTS = (
    _fault("the layer's sense in the function", IgnoreSense, Fused, ("inverted", "polarity")),
    _fault("float triangle added", FloatTriangle, Fused, ("added", "mask"), layer=1),
    _fault(
        "causal dropped beside a mask",
        CausalDropped,
        Fused,
        ("mask",),
        layer=1,
        when=Condition(extra=all_ones),
    ),
    _fault("causal in training only", CausalInTraining, Fused, ("eval", "train"), layer=0),
    _fault("mask transposed", Transposed, Layer, ("inverted", "transposed"), inner=".attention"),
    _fault("float mask of ones", FutureAdded, Layer, ("added", "mask"), inner=".attention"),
    _layer("is_causal over a window", CausalOverWindow, Windowed, WINDOW, ("window", "is_causal")),
    _layer(
        "batch_first forgotten",
        lambda: Bidirectional(batch_first=False),
        Bidirectional,
        BatchInvariant(),
        ("batch",),
    ),
    _stack("stack without a mask", StackWithoutMask, ("mask",), Condition()),
    _stack("stack under the other triangle", StackOfTheFuture, ("inverted",), Condition()),
    _stack("stack off by one", StackOffByOne, ("off by one",), Condition(gradients=False)),
)
