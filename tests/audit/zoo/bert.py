"""A small BERT over padded batches: masks that do not arrive, arrive turned, or come too late."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from .fault import (
    ALWAYS,
    BatchInvariant,
    Claim,
    Condition,
    Fault,
    Inputs,
    MaskSensitive,
    PadInvariant,
)
from .parts import (
    BATCH,
    HEADS,
    PAD,
    VOCAB,
    WIDTH,
    Block,
    full,
    merge_heads,
    numbers,
    padded,
    seeded,
    sinusoids,
    split_heads,
    valid,
)

INF = float("-inf")


class Attention(nn.Module):
    """Bidirectional attention under a keep mask [B, T]; faults override one method."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH)
        self.out = nn.Linear(WIDTH, WIDTH)

    def masked(self, scores: Tensor, keep: Tensor) -> Tensor:
        return scores.masked_fill(~keep[:, None, None, :], INF)

    def forward(self, x: Tensor, keep: Tensor) -> Tensor:
        query, key, value = (split_heads(part) for part in self.qkv(x).chunk(3, dim=-1))
        scores = query @ key.mT / query.shape[-1] ** 0.5
        weights = self.masked(scores, keep).softmax(dim=-1)
        return self.out(merge_heads(weights @ value))


class Discarded(Attention):
    def masked(self, scores: Tensor, keep: Tensor) -> Tensor:
        scores.masked_fill(~keep[:, None, None, :], INF)
        return scores


class QueryAxis(Attention):
    """The mask runs along the queries; finfo.min spares the empty rows."""

    def masked(self, scores: Tensor, keep: Tensor) -> Tensor:
        return scores.masked_fill(~keep[:, None, :, None], torch.finfo(scores.dtype).min)


class FirstSample(Attention):
    def masked(self, scores: Tensor, keep: Tensor) -> Tensor:
        return scores.masked_fill(~keep[0], INF)


class Inverted(Attention):
    """Hides the real tokens; where nothing is left all scores are equal."""

    def masked(self, scores: Tensor, keep: Tensor) -> Tensor:
        return scores.masked_fill(keep[:, None, None, :], torch.finfo(scores.dtype).min)


class AddedOnes(Attention):
    def masked(self, scores: Tensor, keep: Tensor) -> Tensor:
        return scores + keep[:, None, None, :].to(scores.dtype)


class TooWeak(Attention):
    """-10 hides a token from the eye, not from the softmax."""

    def masked(self, scores: Tensor, keep: Tensor) -> Tensor:
        return scores - 10.0 * ~keep[:, None, None, :]


class MadeOnce(Attention):
    """Keeps the mask of the first batch for all that follow."""

    kept: Tensor | None = None

    def masked(self, scores: Tensor, keep: Tensor) -> Tensor:
        if self.kept is None or self.kept.shape != keep.shape:
            self.kept = keep
        return super().masked(scores, self.kept)


class TorchLayer(nn.Module):
    """nn.MultiheadAttention over a padded batch."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)

    def masks(self, keep: Tensor) -> dict[str, Any]:
        return {"key_padding_mask": ~keep}

    def forward(self, x: Tensor, keep: Tensor) -> Tensor:
        return self.attention(x, x, x, need_weights=False, **self.masks(keep))[0]


class TorchInverted(TorchLayer):
    """The keep mask where True means "ignore"."""

    def masks(self, keep: Tensor) -> dict[str, Any]:
        hidden = keep.index_fill(1, torch.tensor([0]), False)  # or rows without padding were NaN
        return {"key_padding_mask": hidden}


class TorchPerHead(TorchLayer):
    """One mask of [batch * heads, T, T]: samples outside, heads inside."""

    def masks(self, keep: Tensor) -> dict[str, Any]:
        hidden = ~keep[:, None, :].expand(-1, keep.shape[1], -1)
        return {"attn_mask": hidden.repeat_interleave(HEADS, dim=0)}


class TorchHeadsOutside(TorchLayer):
    def masks(self, keep: Tensor) -> dict[str, Any]:
        hidden = ~keep[:, None, :].expand(-1, keep.shape[1], -1)
        return {"attn_mask": hidden.repeat(HEADS, 1, 1)}


class FusedLayer(Attention):
    """The fused function, which wants True = may attend."""

    def forward(self, x: Tensor, keep: Tensor) -> Tensor:
        query, key, value = (split_heads(part) for part in self.qkv(x).chunk(3, dim=-1))
        allowed = self.given(keep)
        mixed = scaled_dot_product_attention(query, key, value, attn_mask=allowed)
        return self.out(merge_heads(mixed))

    def given(self, keep: Tensor) -> Tensor:
        return keep[:, None, None, :]


class FusedFloat(FusedLayer):
    """A 0/1 mask of numbers is added, not obeyed."""

    def given(self, keep: Tensor) -> Tensor:
        return keep[:, None, None, :].to(self.out.weight.dtype)


class Encoder(nn.Module):
    """Tokens and their mask in, a vector for each token out."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.tokens = nn.Embedding(VOCAB, WIDTH)
        self.blocks = nn.ModuleList(map(Block, layers))
        self.leave = nn.Linear(WIDTH, WIDTH + 1)

    def embed(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        x = self.tokens(input_ids)
        return x + sinusoids(x.shape[1], WIDTH, x.dtype), attention_mask.bool()

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        x, keep = self.embed(input_ids, attention_mask)
        for block in self.blocks:
            x = block(x, keep)
        return self.leave(x)


class MaskUnused(Encoder):
    def embed(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        return super().embed(input_ids, torch.ones_like(attention_mask))


class MaskFromTokens(Encoder):
    """Pads are found by their number; another number at padding is read."""

    def embed(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        return super().embed(input_ids, (input_ids != PAD).long())


class MaskOfFeatures(nn.Module):
    """Features at padding are set to zero, and padding is known by that ever after."""

    late = False

    def __init__(self) -> None:
        super().__init__()
        self.enter = nn.Linear(WIDTH, WIDTH)
        self.blocks = nn.ModuleList([Block(Attention()), Block(Attention())])
        self.leave = nn.Linear(WIDTH, WIDTH + 1)

    def forward(self, features: Tensor, attention_mask: Tensor) -> Tensor:
        x = self.enter(features) * attention_mask[..., None]
        placed = x + sinusoids(x.shape[1], WIDTH, x.dtype)
        keep = (placed if self.late else x).abs().sum(-1) != 0
        x = placed
        for block in self.blocks:
            x = block(x, keep)
        return self.leave(x)


class MaskAfterPositions(MaskOfFeatures):
    """Looks for zeros once positions have been added: there are none."""

    late = True


class BatchCentred(Encoder):
    """Subtracts the mean of the batch."""

    def embed(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        x, keep = super().embed(input_ids, attention_mask)
        return x - x.mean(dim=0, keepdim=True), keep


def features_padded(length: int) -> dict[str, Tensor]:
    """Return features padded on the right, with their mask."""
    return {"features": numbers(BATCH, length, WIDTH), "attention_mask": valid(length).long()}


def _encoder(layer: type[nn.Module], at: int, rest: type[nn.Module]) -> Encoder:
    return Encoder(*((layer if place == at else rest)() for place in range(2)))


def _layer(
    name: str,
    wrong: type[nn.Module],
    cause: tuple[str, ...],
    *,
    right: type[nn.Module] = Attention,
    at: int = 0,
    inner: str = "",
    when: Condition = ALWAYS,
) -> Fault:
    """Return the row of a fault in one layer."""
    return Fault(
        name=name,
        family="bert",
        wrong=seeded(lambda: _encoder(wrong, at, right)),
        right=seeded(lambda: _encoder(right, at, right)),
        claim=PadInvariant(),
        inputs=padded,
        module=f"blocks.{at}.mix{inner}",
        cause=cause,
        when=when,
    )


def _model(
    name: str,
    wrong: Callable[[], nn.Module],
    right: Callable[[], nn.Module],
    module: str,
    cause: tuple[str, ...],
    *,
    claim: Claim | None = None,
    inputs: Inputs = padded,
) -> Fault:
    """Return the row of a fault in the model itself."""
    return Fault(
        name=name,
        family="bert",
        wrong=seeded(wrong),
        right=seeded(right),
        claim=claim or PadInvariant(),
        inputs=inputs,
        module=module,
        cause=cause,
    )


def two(kind: type[Encoder]) -> Callable[[], nn.Module]:
    """Return how to build an encoder of two layers."""
    return lambda: kind(Attention(), Attention())


FAULTS = (
    _layer("padding mask discarded", Discarded, ("mask", "padding")),
    _layer("padding mask on the query axis", QueryAxis, ("axis", "padding"), at=1),
    _layer("the first sample's padding", FirstSample, ("batch", "sample"), at=1),
    _layer("padding mask inverted", Inverted, ("inverted", "polarity")),
    _layer("padding mask added as ones", AddedOnes, ("added", "padding")),
    _layer("padding hidden by -10", TooWeak, ("weak", "constant"), at=1),
    _layer(
        "mask of the first batch kept",
        MadeOnce,
        ("state", "kept", "earlier"),
        when=Condition(before=full),
    ),
    _layer(
        "key_padding_mask inverted",
        TorchInverted,
        ("inverted",),
        right=TorchLayer,
        inner=".attention",
    ),
    _layer(
        "heads outside samples",
        TorchHeadsOutside,
        ("head", "repeat"),
        right=TorchPerHead,
        inner=".attention",
        at=1,
    ),
    _layer("padding as floats of 0 and 1", FusedFloat, ("added",), right=FusedLayer),
    _model(
        "mask accepted, not used",
        two(MaskUnused),
        two(Encoder),
        "",
        ("unused", "mask"),
        claim=MaskSensitive(),
    ),
    _model(
        "pads known by their number",
        two(MaskFromTokens),
        two(Encoder),
        "blocks.0.mix",
        ("pad id", "pad"),
    ),
    _model(
        "mask after positions",
        MaskAfterPositions,
        MaskOfFeatures,
        "blocks.0.mix",
        ("mask", "position"),
        inputs=features_padded,
    ),
    _model(
        "centred over the batch",
        two(BatchCentred),
        two(Encoder),
        "",
        ("batch",),
        claim=BatchInvariant(),
    ),
)
