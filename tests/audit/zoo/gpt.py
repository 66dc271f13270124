"""A small GPT with attention written out: scores, mask, softmax. Faults of the mask itself.

Attention through torch's own functions stands in gpt_torch.py; windows, prefixes and documents in
patterns.py.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

import sightline as sl

from .fault import Condition, Fault, Sees
from .parts import (
    HEADS,
    WIDTH,
    Decoder,
    frames,
    ids,
    merge_heads,
    seeded,
    split_heads,
    triangle,
    with_weights,
)

CAUSAL = Sees({"input_ids": sl.causal()})
INF = float("-inf")


class Attention(nn.Module):
    """Causal self-attention; what people get wrong is one method each."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH)
        self.out = nn.Linear(WIDTH, WIDTH)

    def heads(self, x: Tensor) -> Tensor:
        return split_heads(x)

    def merged(self, x: Tensor) -> Tensor:
        return merge_heads(x)

    def scores(self, query: Tensor, key: Tensor) -> Tensor:
        return query @ key.transpose(-2, -1) / math.sqrt(query.shape[-1])

    def masked(self, scores: Tensor) -> Tensor:
        return scores.masked_fill(~triangle(scores.shape[-1]), INF)

    def weights(self, scores: Tensor) -> Tensor:
        return scores.softmax(dim=-1)

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = (self.heads(part) for part in self.qkv(x).chunk(3, dim=-1))
        weights = self.weights(self.masked(self.scores(query, key)))
        return self.out(self.merged(weights @ value))


class UpperTriangle(Attention):
    def masked(self, scores: Tensor) -> Tensor:
        allowed = torch.ones_like(scores, dtype=torch.bool).triu()
        return scores.masked_fill(~allowed, INF)


class DiagonalOne(Attention):
    def masked(self, scores: Tensor) -> Tensor:
        allowed = torch.ones_like(scores, dtype=torch.bool).tril(diagonal=1)
        return scores.masked_fill(~allowed, INF)


class Discarded(Attention):
    def masked(self, scores: Tensor) -> Tensor:
        scores.masked_fill(~triangle(scores.shape[-1]), INF)
        return scores


class AddedZeroOne(Attention):
    def masked(self, scores: Tensor) -> Tensor:
        return scores + triangle(scores.shape[-1]).to(scores.dtype)


class Multiplied(Attention):
    def masked(self, scores: Tensor) -> Tensor:
        return scores * triangle(scores.shape[-1])


class OneHeadFree(Attention):
    def masked(self, scores: Tensor) -> Tensor:
        allowed = triangle(scores.shape[-1]).repeat(HEADS, 1, 1)
        allowed[-1] = True
        return scores.masked_fill(~allowed, INF)


class Unmasked(Attention):
    def masked(self, scores: Tensor) -> Tensor:
        return scores


class MaskedAfterSoftmax(Attention):
    def masked(self, scores: Tensor) -> Tensor:
        return scores

    def weights(self, scores: Tensor) -> Tensor:
        return scores.softmax(dim=-1) * triangle(scores.shape[-1])


class SoftmaxOverQueries(Attention):
    def weights(self, scores: Tensor) -> Tensor:
        return scores.softmax(dim=-2)


class ViewForTranspose(Attention):
    def heads(self, x: Tensor) -> Tensor:
        return x.reshape(x.shape[0], HEADS, x.shape[1], -1)


class MergedWithoutTranspose(Attention):
    def merged(self, x: Tensor) -> Tensor:
        return x.reshape(x.shape[0], x.shape[2], -1)


class ScaledByDeviation(Attention):
    def scores(self, query: Tensor, key: Tensor) -> Tensor:
        scores = query @ key.transpose(-2, -1)
        return scores / scores.std(dim=(-2, -1), keepdim=True)


class MaskedInEvaluation(Attention):
    def masked(self, scores: Tensor) -> Tensor:
        return scores if self.training else super().masked(scores)


class MaskedInTraining(Attention):
    def masked(self, scores: Tensor) -> Tensor:
        return super().masked(scores) if self.training else scores


class MaskedWithGradients(Attention):
    def masked(self, scores: Tensor) -> Tensor:
        return super().masked(scores) if scores.requires_grad else scores


class ShortBuffer(Attention):
    """A mask made once for at most ``context`` tokens; the rest of the table is False = keep."""

    context = 16
    hidden: Tensor

    def __init__(self) -> None:
        super().__init__()
        hidden = torch.ones(self.context, self.context, dtype=torch.bool).triu(diagonal=1)
        self.register_buffer("hidden", hidden, persistent=False)

    def masked(self, scores: Tensor) -> Tensor:
        beyond = max(0, scores.shape[-1] - self.context)
        hidden = nn.functional.pad(self.hidden, (0, beyond, 0, beyond), value=False)
        length = scores.shape[-1]
        return scores.masked_fill(hidden[:length, :length], INF)


class LongBuffer(ShortBuffer):
    context = 512


class CosineScores(Attention):
    """Cosines times a hundred, as scaled cosine attention may learn; -inf forbids."""

    def scores(self, query: Tensor, key: Tensor) -> Tensor:
        query, key = (nn.functional.normalize(x, dim=-1) for x in (query, key))
        return 100.0 * (query @ key.transpose(-2, -1))


class WeakConstant(CosineScores):
    """As above, but -100 is meant to forbid, and a score may be smaller."""

    def masked(self, scores: Tensor) -> Tensor:
        return scores - 100.0 * ~triangle(scores.shape[-1])


class StrictlyBefore(Attention):
    """Sees only what stands before; the first position sees nothing and gets zeros."""

    def masked(self, scores: Tensor) -> Tensor:
        allowed = triangle(scores.shape[-1]).tril(diagonal=-1)
        return scores.masked_fill(~allowed, torch.finfo(scores.dtype).min)

    def weights(self, scores: Tensor) -> Tensor:
        allowed = triangle(scores.shape[-1]).tril(diagonal=-1)
        return scores.softmax(dim=-1) * allowed


class UniformEmptyRow(StrictlyBefore):
    """The first position sees nothing: all its scores are equal, so it gets the mean of all."""

    def weights(self, scores: Tensor) -> Tensor:
        return scores.softmax(dim=-1)


class WithWeights(Attention):
    """Attention with a second path for those who want to look at the weights."""

    free = False

    def forward(self, x: Tensor, output_attentions: bool = False) -> Tensor:
        query, key, value = (self.heads(part) for part in self.qkv(x).chunk(3, dim=-1))
        if not output_attentions:
            mixed = nn.functional.scaled_dot_product_attention(query, key, value, is_causal=True)
            return self.out(self.merged(mixed))
        scores = self.scores(query, key)
        weights = self.weights(scores if self.free else self.masked(scores))
        return self.out(self.merged(weights @ value))


class FreeWithWeights(WithWeights):
    free = True


class WeightsDecoder(Decoder):
    """A decoder that passes the question for weights on."""

    def forward(self, input_ids: Tensor, output_attentions: bool = False) -> Tensor:
        x = self.embed(input_ids)
        for block in self.blocks:
            x = block(x, output_attentions)
        return self.head(self.norm(x))


class Strict(nn.Module):
    """Features attended to strictly before each position, without a shortcut around it."""

    def __init__(self, attention: type[Attention]) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(WIDTH)
        self.attention = attention()
        self.leave = nn.Linear(WIDTH, WIDTH + 1)

    def forward(self, features: Tensor) -> Tensor:
        return self.leave(self.attention(self.norm(features)))


def _fault(
    name: str,
    wrong: type[Attention],
    cause: tuple[str, ...],
    *,
    layer: int = 0,
    right: type[Attention] = Attention,
    when: Condition | None = None,
) -> Fault:
    """Return the row of a fault in one of three layers, the others being right."""

    def twin(kind: type[Attention]) -> Decoder:
        return Decoder(*((kind if at == layer else Attention)() for at in range(3)))

    return Fault(
        name=name,
        family="gpt",
        wrong=seeded(lambda: twin(wrong)),
        right=seeded(lambda: twin(right)),
        claim=CAUSAL,
        inputs=ids,
        module=f"blocks.{layer}.mix",
        cause=cause,
        when=when or Condition(),
    )


def _with_weights(kind: type[WithWeights]) -> WeightsDecoder:
    return WeightsDecoder(kind(), kind())


def _plain(attention: type[Attention]) -> Decoder:
    return Decoder(*(attention() for _ in range(2)))


FAULTS = (
    _fault("upper triangle for lower", UpperTriangle, ("inverted", "anti-causal", "polarity")),
    _fault("diagonal off by one", DiagonalOne, ("off by one", "diagonal"), layer=1),
    _fault("masked_fill discarded", Discarded, ("mask",), layer=0),
    _fault("zeros and ones added", AddedZeroOne, ("mask", "added"), layer=2),
    _fault("mask multiplied into scores", Multiplied, ("mask",), layer=1),
    _fault("mask missing in one head", OneHeadFree, ("head", "mask"), layer=1),
    _fault("mask missing in one layer", Unmasked, ("mask",), layer=2),
    _fault("mask after the softmax", MaskedAfterSoftmax, ("softmax", "normal"), layer=1),
    _fault("softmax over queries", SoftmaxOverQueries, ("softmax", "axis"), layer=0),
    _fault("view for transpose", ViewForTranspose, ("view", "layout", "reshape"), layer=0),
    _fault(
        "heads merged without transpose",
        MergedWithoutTranspose,
        ("view", "reshape", "axis"),
        layer=1,
    ),
    _fault("scores scaled by their deviation", ScaledByDeviation, ("norm", "statistic"), layer=1),
    _fault(
        "masked in evaluation only",
        MaskedInEvaluation,
        ("train",),
        layer=1,
        when=Condition(training=True),
    ),
    _fault("masked in training only", MaskedInTraining, ("eval", "mask"), layer=0),
    _fault(
        "fast path without a mask",
        MaskedWithGradients,
        ("grad",),
        layer=1,
        when=Condition(gradients=False),
    ),
    _fault(
        "buffer shorter than the text",
        ShortBuffer,
        ("length", "beyond"),
        layer=1,
        right=LongBuffer,
        when=Condition(length=20),
    ),
    _fault("constant too weak", WeakConstant, ("weak", "constant"), layer=1, right=CosineScores),
    Fault(
        name="empty row becomes uniform",
        family="gpt",
        wrong=seeded(lambda: Strict(UniformEmptyRow)),
        right=seeded(lambda: Strict(StrictlyBefore)),
        claim=Sees({"features": sl.causal()}),
        inputs=frames,
        module="attention",
        cause=("empty row", "sees nothing", "uniform"),
    ),
    Fault(
        name="weights requested, mask gone",
        family="gpt",
        wrong=seeded(lambda: _with_weights(FreeWithWeights)),
        right=seeded(lambda: _with_weights(WithWeights)),
        claim=CAUSAL,
        inputs=ids,
        module="blocks.0.mix",
        cause=("weights", "output_attentions"),
        when=Condition(extra=with_weights),
    ),
)
