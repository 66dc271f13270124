"""Small encoder-decoders: what the decoder may see of its labels, and what of the source.

Written by hand, and on nn.Transformer with its eight masks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

import sightline as sl

from .fault import ALWAYS, Claim, Condition, Fault, Inputs, PadInvariant, Sees
from .parts import (
    BATCH,
    HEADS,
    VOCAB,
    WIDTH,
    drawn,
    merge_heads,
    seeded,
    sinusoids,
    split_heads,
    triangle,
    valid,
)

INF = float("-inf")
TARGET = 7  # the source is longer, so that a swapped axis shows
LAG = 3


class Cross(nn.Module):
    """Attention of x to memory, under bool [.., Q, K] (True = may attend)."""

    def __init__(self) -> None:
        super().__init__()
        self.query = nn.Linear(WIDTH, WIDTH)
        self.key_value = nn.Linear(WIDTH, 2 * WIDTH)
        self.out = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor, memory: Tensor, allowed: Tensor) -> Tensor:
        query = split_heads(self.query(x))
        key, value = (split_heads(part) for part in self.key_value(memory).chunk(2, dim=-1))
        scores = query @ key.mT / query.shape[-1] ** 0.5
        weights = scores.masked_fill(~allowed, INF).softmax(dim=-1)
        return self.out(merge_heads(weights @ value))


class DecoderBlock(nn.Module):
    """Self-attention, cross-attention, feed-forward."""

    def __init__(self) -> None:
        super().__init__()
        self.itself, self.across = Cross(), Cross()
        self.norms = nn.ModuleList(nn.LayerNorm(WIDTH) for _ in range(3))
        self.think = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor, memory: Tensor, own: Tensor, cross: Tensor) -> Tensor:
        y = self.norms[0](x)
        x = x + self.itself(y, y, own)
        x = x + self.across(self.norms[1](x), memory, cross)
        return x + self.think(self.norms[2](x)).relu()


class Encode(nn.Module):
    """Bidirectional self-attention under the source's padding."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.mix = nn.LayerNorm(WIDTH), Cross()

    def forward(self, x: Tensor, keep: Tensor) -> Tensor:
        y = self.norm(x)
        return x + self.mix(y, y, keep[:, None, None, :])


class Translator(nn.Module):
    """Source and labels in, a prediction of each label out; it shifts the labels itself."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Embedding(VOCAB, WIDTH)
        self.encode = Encode()
        self.blocks = nn.ModuleList([DecoderBlock(), DecoderBlock()])
        self.head = nn.Linear(WIDTH, VOCAB)

    def shifted(self, labels: Tensor) -> Tensor:
        return nn.functional.pad(labels[:, :-1], (1, 0), value=1)

    def own(self, length: int) -> Tensor:
        return triangle(length)

    def cross(self, keep: Tensor, length: int) -> Tensor:
        return keep[:, None, None, :]

    def memory(self, source: Tensor, keep: Tensor, target: Tensor) -> Tensor:
        return self.encode(self.embed(source), keep)

    def embed(self, tokens: Tensor) -> Tensor:
        x = self.tokens(tokens)
        return x + sinusoids(x.shape[1], WIDTH, x.dtype)

    def forward(
        self, input_ids: Tensor, labels: Tensor, attention_mask: Tensor | None = None
    ) -> Tensor:
        given = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        keep = given.bool()
        memory = self.memory(input_ids, keep, labels)
        x = self.embed(self.shifted(labels))
        for block in self.blocks:
            x = block(x, memory, self.own(x.shape[1]), self.cross(keep, x.shape[1]))
        return self.head(x)


class Unshifted(Translator):
    """The labels themselves are what the decoder reads."""

    def shifted(self, labels: Tensor) -> Tensor:
        return labels


class Rolled(Translator):
    """`roll` brings the last label to the front."""

    def shifted(self, labels: Tensor) -> Tensor:
        return labels.roll(1, dims=1)


class ShiftedForward(Translator):
    """The next label instead of the last one."""

    def shifted(self, labels: Tensor) -> Tensor:
        return nn.functional.pad(labels[:, 1:], (0, 1), value=1)


class FreeDecoder(Translator):
    def own(self, length: int) -> Tensor:
        return torch.ones(length, length, dtype=torch.bool)


class LabelsInEncoder(Translator):
    """The source is encoded beside the target, as a shared encoder might be called."""

    def memory(self, source: Tensor, keep: Tensor, target: Tensor) -> Tensor:
        both = torch.cat([source, target], dim=1)
        all_kept = torch.cat([keep, torch.ones_like(target).bool()], dim=1)
        return self.encode(self.embed(both), all_kept)[:, : source.shape[1]]


class MemoryUnmasked(Translator):
    """The encoder hides padding; the decoder is not told of it."""

    def cross(self, keep: Tensor, length: int) -> Tensor:
        return torch.ones_like(keep)[:, None, None, :]


class EncoderUnmasked(Translator):
    """The decoder hides padding; the encoder is not told of it."""

    def memory(self, source: Tensor, keep: Tensor, target: Tensor) -> Tensor:
        return self.encode(self.embed(source), torch.ones_like(keep))


class FirstSource(Translator):
    """The padding of the first source for all of them."""

    def cross(self, keep: Tensor, length: int) -> Tensor:
        first = keep[:1].expand_as(keep)
        return first[:, None, None, :]


class Streaming(Translator):
    """Reads LAG source tokens ahead of what it writes; the encoder is causal."""

    lag = LAG

    def memory(self, source: Tensor, keep: Tensor, target: Tensor) -> Tensor:
        x = self.embed(source)
        y = self.encode.norm(x)
        return x + self.encode.mix(y, y, triangle(source.shape[1]))

    def cross(self, keep: Tensor, length: int) -> Tensor:
        written = torch.arange(length)[:, None]
        return torch.arange(keep.shape[1])[None, :] < written + self.lag


class StreamingOneAhead(Streaming):
    lag = LAG + 1


class StreamingFreeEncoder(Streaming):
    """Waits in the decoder, but its encoder has read the whole source."""

    def memory(self, source: Tensor, keep: Tensor, target: Tensor) -> Tensor:
        return self.encode(self.embed(source), keep)


class Torch(nn.Module):
    """nn.Transformer, told everything it wants to know."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Embedding(VOCAB, WIDTH)
        self.transformer = nn.Transformer(
            WIDTH, HEADS, 1, 2, 3 * WIDTH, dropout=0.1, batch_first=True
        )
        self.head = nn.Linear(WIDTH, VOCAB)

    def masks(self, hidden: Tensor, length: int) -> dict[str, Any]:
        return {
            "tgt_mask": ~triangle(length),
            "src_key_padding_mask": hidden,
            "memory_key_padding_mask": hidden,
        }

    def embed(self, tokens: Tensor) -> Tensor:
        x = self.tokens(tokens)
        return x + sinusoids(x.shape[1], WIDTH, x.dtype)

    def forward(
        self, input_ids: Tensor, decoder_input_ids: Tensor, attention_mask: Tensor | None = None
    ) -> Tensor:
        given = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        target = self.embed(decoder_input_ids)
        masks = self.masks(given == 0, target.shape[1])
        return self.head(self.transformer(self.embed(input_ids), target, **masks))


class TorchNoTarget(Torch):
    def masks(self, hidden: Tensor, length: int) -> dict[str, Any]:
        return {**super().masks(hidden, length), "tgt_mask": None}


class TorchNoMemory(Torch):
    def masks(self, hidden: Tensor, length: int) -> dict[str, Any]:
        return {**super().masks(hidden, length), "memory_key_padding_mask": None}


class TorchNoSource(Torch):
    def masks(self, hidden: Tensor, length: int) -> dict[str, Any]:
        return {**super().masks(hidden, length), "src_key_padding_mask": None}


class TorchOnesAdded(Torch):
    """The triangle of floats, where 1 was meant to forbid."""

    def masks(self, hidden: Tensor, length: int) -> dict[str, Any]:
        triangle_of_ones = torch.ones(length, length).triu(diagonal=1)
        return {
            "tgt_mask": triangle_of_ones.to(self.head.weight.dtype),
            "src_key_padding_mask": hidden,
            "memory_key_padding_mask": hidden,
        }


def labelled(length: int) -> dict[str, Tensor]:
    """Return a source and labels, without padding."""
    return {"input_ids": drawn(BATCH, length), "labels": drawn(BATCH, TARGET, seed=4)}


def source_padded(length: int) -> dict[str, Tensor]:
    """Return a padded source; labels are complete."""
    keep = valid(length)
    return {
        "input_ids": drawn(BATCH, length) * keep,
        "labels": drawn(BATCH, TARGET, seed=4),
        "attention_mask": keep.long(),
    }


def _renamed(inputs: Inputs) -> Inputs:
    """Return inputs for a model that wants its decoder's input ready."""

    def given(length: int) -> dict[str, Any]:
        made = inputs(length)
        made["decoder_input_ids"] = made.pop("labels")
        return made

    return given


STRICT = Sees({"labels": sl.causal(strict=True), "input_ids": sl.everything()})
CAUSAL = Sees({"decoder_input_ids": sl.causal(), "input_ids": sl.everything()})
WAIT = Sees({"input_ids": sl.window(right=LAG - 1), "labels": sl.causal(strict=True)})


def _row(
    name: str,
    wrong: Callable[[], nn.Module],
    right: Callable[[], nn.Module],
    module: str,
    cause: tuple[str, ...],
    *,
    claim: Claim = STRICT,
    inputs: Inputs = labelled,
    when: Condition = ALWAYS,
) -> Fault:
    return Fault(
        name=name,
        family="encoder-decoder",
        wrong=seeded(wrong),
        right=seeded(right),
        claim=claim,
        inputs=inputs,
        module=module,
        cause=cause,
        when=when,
    )


PADS = PadInvariant()
OWN, ACROSS = "blocks.0.itself", "blocks.0.across"

FAULTS = (
    _row("labels not shifted", Unshifted, Translator, "", ("label", "shift")),
    _row("labels rolled around", Rolled, Translator, "", ("label", "roll", "shift")),
    _row("labels shifted forward", ShiftedForward, Translator, "", ("label", "shift")),
    _row("decoder without a triangle", FreeDecoder, Translator, OWN, ("mask",)),
    _row("labels in the encoder", LabelsInEncoder, Translator, "encode.mix", ("label", "encoder")),
    _row("memory padding unmasked", MemoryUnmasked, Translator, ACROSS, ("memory", "cross"),
         claim=PADS, inputs=source_padded),
    _row("source padding unmasked", EncoderUnmasked, Translator, "encode.mix", ("padding",),
         claim=PADS, inputs=source_padded),
    _row("the first source's padding", FirstSource, Translator, "", ("batch", "cross"),
         claim=PADS, inputs=source_padded),
    _row("reads one source token early", StreamingOneAhead, Streaming, ACROSS, ("off by one",),
         claim=WAIT),
    _row("streams over a free encoder", StreamingFreeEncoder, Streaming, "encode.mix",
         ("encoder", "mask"), claim=WAIT),
    _row("nn.Transformer without tgt_mask", TorchNoTarget, Torch,
         "transformer.decoder.layers.0.self_attn", ("mask",), claim=CAUSAL,
         inputs=_renamed(labelled)),
    _row("nn.Transformer without memory padding", TorchNoMemory, Torch,
         "transformer.decoder.layers.0.multihead_attn", ("memory", "cross"), claim=PADS,
         inputs=_renamed(source_padded)),
    _row("nn.Transformer without source padding", TorchNoSource, Torch,
         "transformer.encoder.layers.0", ("padding",), claim=PADS,
         inputs=_renamed(source_padded)),
    _row("nn.Transformer under ones", TorchOnesAdded, Torch,
         "transformer.decoder.layers.0.self_attn", ("added", "mask"), claim=CAUSAL,
         inputs=_renamed(labelled)),
)  # fmt: skip
