"""Right models that look wrong: an audit has to be silent about every one of them.

Some sum in another order when something forbidden changes, or depend on lengths, or give outputs
beside the one that the contract speaks of.
"""

from __future__ import annotations

import math
from typing import Any, cast

import torch
from torch import Tensor, nn

import sightline as sl

from .bert import Attention as Bidirectional
from .bert import Encoder
from .decode import Attention as Rotary
from .decode import Generator
from .fault import Claim, Condition, PadInvariant, Right, Sees
from .gpt import CAUSAL, Attention
from .parts import (
    HEADS,
    VOCAB,
    WIDTH,
    Block,
    Decoder,
    ids,
    merge_heads,
    padded,
    seeded,
    split_heads,
    triangle,
)
from .patterns import TimeMixer
from .sequence_attention import Attends

INF = float("-inf")


class GreatestOfAllSubtracted(Attention):
    """For a stable exponential, subtracts the greatest score of all queries from each."""

    def weights(self, scores: Tensor) -> Tensor:
        raised = (scores - scores.amax(dim=(-2, -1), keepdim=True)).exp()
        return raised / raised.sum(dim=-1, keepdim=True)


class MinusBillion(Attention):
    """Forbids by adding -1e9, which is enough in float32 and float64."""

    def masked(self, scores: Tensor) -> Tensor:
        return scores - 1e9 * (~triangle(scores.shape[-1])).to(scores.dtype)


class SmallestNumber(Attention):
    def masked(self, scores: Tensor) -> Tensor:
        return scores.masked_fill(~triangle(scores.shape[-1]), torch.finfo(scores.dtype).min)


class LinearBias(Attention):
    """ALiBi: scores fall with distance, in each head at its own rate."""

    def masked(self, scores: Tensor) -> Tensor:
        place = torch.arange(scores.shape[-1])
        distance = (place[:, None] - place[None, :]).to(scores.dtype)
        slopes = torch.tensor([0.5, 0.125], dtype=scores.dtype)[:, None, None]
        return super().masked(scores - slopes * distance)


class RelativeBias(Attention):
    """A learned bias of each distance, forwards too; the mask cuts those off."""

    def __init__(self) -> None:
        super().__init__()
        self.bias = nn.Embedding(129, HEADS)

    def masked(self, scores: Tensor) -> Tensor:
        place = torch.arange(scores.shape[-1])
        distance = (place[:, None] - place[None, :]).clamp(-64, 64) + 64
        return super().masked(scores + self.bias(distance).permute(2, 0, 1))


class Grouped(nn.Module):
    """Two query heads share one head of keys and values."""

    def __init__(self) -> None:
        super().__init__()
        self.query = nn.Linear(WIDTH, WIDTH)
        self.key_value = nn.Linear(WIDTH, 2 * WIDTH // HEADS)

    def forward(self, x: Tensor) -> Tensor:
        query = split_heads(self.query(x))
        key, value = (
            part[:, None].expand(-1, HEADS, -1, -1) for part in self.key_value(x).chunk(2, -1)
        )
        mixed = nn.functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        return merge_heads(mixed)


class WindowAndGlobal(Attends):
    """Two keys back, and the first two of all."""

    def allowed(self, query: Tensor, key: Tensor) -> Tensor:
        return (key <= query) & ((query - key <= 2) | (key < 2))


class Streamed(Attention):
    """Softmax over blocks of keys with a running maximum: sums in another order."""

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = (self.heads(part) for part in self.qkv(x).chunk(3, dim=-1))
        scores = self.masked(self.scores(query, key))
        total = torch.zeros_like(value)
        weight = torch.zeros_like(scores[..., :1])
        top = torch.full_like(weight, INF)
        for at in range(0, scores.shape[-1], 4):
            part = scores[..., at : at + 4]
            new = torch.maximum(top, part.amax(-1, keepdim=True))
            raised, shrink = (part - new).exp(), (top - new).exp()
            total = total * shrink + raised @ value[..., at : at + 4, :]
            weight = weight * shrink + raised.sum(-1, keepdim=True)
            top = new
        return self.out(self.merged(total / weight))


class Both(nn.Module):
    """Attention and feed-forward beside each other, as PaLM has them."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = Attention()
        self.think = nn.Sequential(
            nn.Linear(WIDTH, 2 * WIDTH), nn.SiLU(), nn.Linear(2 * WIDTH, WIDTH)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.attention(x) + self.think(x)


class ZeroOut(Attention):
    """A projection that begins at zero."""

    def __init__(self) -> None:
        super().__init__()
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)


class Dropped(Attention):
    """Dropout of weights and of outputs, while training."""

    def weights(self, scores: Tensor) -> Tensor:
        return nn.functional.dropout(super().weights(scores), 0.3, self.training)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.dropout(super().forward(x), 0.3, self.training)


class SkippedAtTimes(Attention):
    """Stochastic depth: a sample's layer is left out at random, while training."""

    def forward(self, x: Tensor) -> Tensor:
        y = super().forward(x)
        if not self.training:
            return y
        return y * (torch.rand(len(x), 1, 1) < 0.7)


class RunningNorm(nn.Module):
    """Normed by mean and variance of all that came up to now."""

    def forward(self, x: Tensor) -> Tensor:
        count = torch.arange(1, x.shape[1] + 1, dtype=x.dtype)[:, None]
        mean = x.cumsum(1) / count
        variance = x.square().cumsum(1) / count - mean.square()
        return (x - mean) / (variance + 1e-3).clamp_min(1e-3).sqrt()


class Tied(Decoder):
    """Logits by the token embedding itself."""

    def __init__(self, *blocks: nn.Module) -> None:
        super().__init__(*blocks)
        self.head.weight = self.tokens.weight


class FromTheEnd(Decoder):
    """Positions are counted from the end: outputs depend on the length, not on what comes."""

    def embed(self, input_ids: Tensor) -> Tensor:
        x = self.tokens(input_ids)
        table = torch.linspace(0, 1, 64, dtype=x.dtype)[: x.shape[1]].flip(0)
        return x + table[:, None]


class WithLoss(Decoder):
    """Gives the loss beside the logits, as soon as there are labels; and the weights."""

    def forward(self, input_ids: Tensor, labels: Tensor | None = None) -> dict[str, Any]:
        logits = super().forward(input_ids)
        states = self.embed(input_ids)
        given = {"logits": logits, "hidden_states": (states, states * 2)}
        if labels is None:
            return given
        loss = nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())
        return {"loss": loss, **given}


class ShowsWeights(Attention):
    """Keeps the weights that it used."""

    seen: Tensor | None = None

    def weights(self, scores: Tensor) -> Tensor:
        self.seen = super().weights(scores)
        return self.seen


class Explained(Decoder):
    """Logits, and the weights of each layer [B, H, T, T]."""

    def forward(self, input_ids: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        logits = super().forward(input_ids)
        return logits, tuple(cast(Any, block).mix.seen for block in self.blocks)


class Described(Encoder):
    """Token vectors, and one vector of the first token; masks may be left away."""

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> dict[str, Tensor]:
        if attention_mask is None:
            attention_mask = torch.ones_like(input_ids)
        x, keep = self.embed(input_ids, attention_mask)
        for block in self.blocks:
            x = block(x, keep)
        # Padding is set to zero, which other models leave as it comes.
        states = self.leave(x) * keep[..., None]
        return {"last_hidden_state": states, "pooler_output": states[:, 0].tanh()}


class Frozen(nn.Module):
    """BatchNorm that stays with its running statistics, in training too."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(WIDTH)

    def train(self, mode: bool = True) -> Frozen:
        super().train(mode)
        self.norm.eval()
        return self

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x.mT).mT


class Checked(Decoder):
    """Refuses tokens that it does not know, and texts that are too long."""

    def forward(self, input_ids: Tensor) -> Tensor:
        if int(input_ids.max()) >= VOCAB or input_ids.shape[1] > 64:
            raise ValueError(f"got tokens up to {int(input_ids.max())} in {input_ids.shape}")
        return super().forward(input_ids)


class Residual(nn.Module):
    """Features divided by their own length in each layer; large inputs stay large."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = Attention()
        self.scale = nn.Parameter(torch.full((WIDTH,), math.sqrt(WIDTH)))

    def forward(self, x: Tensor) -> Tensor:
        return self.attention(nn.functional.normalize(x, dim=-1) * self.scale)


def _decoder(name: str, *layers: type[nn.Module], kind: type[Decoder] = Decoder,
             claim: Claim = CAUSAL, training: bool = False) -> Right:  # fmt: skip
    return Right(
        name,
        seeded(lambda: kind(*(layer() for layer in layers))),
        claim,
        ids,
        Condition(training=training),
    )


NEAR_AND_FIRST = sl.causal() & (sl.window(left=2) | sl.prefix(2))

RIGHTS = (
    _decoder("the greatest score of all subtracted", Attention, GreatestOfAllSubtracted),
    _decoder("minus a billion", MinusBillion, MinusBillion),
    _decoder("the smallest number", SmallestNumber, SmallestNumber),
    _decoder("linear bias", LinearBias, LinearBias),
    _decoder("relative bias", RelativeBias, RelativeBias),
    _decoder("grouped heads", Grouped, Grouped),
    _decoder("window and global", WindowAndGlobal, claim=Sees({"input_ids": NEAR_AND_FIRST})),
    _decoder("blocks of keys", Streamed, Streamed),
    _decoder("attention beside feed-forward", Both, Both),
    _decoder("projections of zero", ZeroOut, ZeroOut),
    _decoder("dropout", Dropped, Dropped, training=True),
    _decoder("stochastic depth", SkippedAtTimes, SkippedAtTimes, training=True),
    _decoder("tied embeddings", Attention, kind=Tied),
    _decoder("positions from the end", Attention, Attention, kind=FromTheEnd),
    _decoder("loss and states beside logits", Attention, Attention, kind=WithLoss),
    _decoder("weights beside logits", ShowsWeights, ShowsWeights, kind=Explained),
    _decoder("unit features", Residual, Residual),
    _decoder("a model that checks its tokens", Attention, kind=Checked),
    _decoder("triangular time mixer", TimeMixer, Attention),
    Right("running norm", seeded(lambda: Decoder(Block(Attention(), RunningNorm()))), CAUSAL, ids),
    Right("frozen batch norm", seeded(lambda: Decoder(Block(Attention(), Frozen()))), CAUSAL, ids,
          Condition(training=True)),
    Right("rotary with a cache", seeded(lambda: Generator(Rotary(), Rotary())), CAUSAL, ids),
    Right("optional mask, pooled output",
          seeded(lambda: Described(Bidirectional(), Bidirectional())), PadInvariant(), padded),
)  # fmt: skip
