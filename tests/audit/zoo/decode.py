"""A small GPT that decodes with a cache: where a step differs from a pass over everything."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .fault import CacheParity, Fault
from .parts import VOCAB, WIDTH, ids, merge_heads, seeded, split_heads

INF = float("-inf")
WINDOW = 5


def rotated(x: Tensor, places: Tensor) -> Tensor:
    """Turn [B, H, T, D] by the angles of its positions [T]."""
    half = x.shape[-1] // 2
    rates = 100.0 ** (-torch.arange(half, dtype=x.dtype) / half)
    angles = places.to(x.dtype)[:, None] * rates
    one, other = x[..., :half], x[..., half:]
    return torch.cat(
        [one * angles.cos() - other * angles.sin(), one * angles.sin() + other * angles.cos()], -1
    )


class Attention(nn.Module):
    """Rotary causal attention over the cache and what is new."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH)
        self.out = nn.Linear(WIDTH, WIDTH)

    def start(self, past: tuple[Tensor, Tensor] | None) -> int:
        """Return the position of the first new token."""
        return 0 if past is None else past[0].shape[2]

    def kept(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        return key, value

    def allowed(self, query: Tensor, key: Tensor) -> Tensor:
        return key <= query

    def joined(self, past: Tensor, new: Tensor) -> Tensor:
        return torch.cat([past, new], dim=2)

    def forward(
        self, x: Tensor, past: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        query, key, value = (split_heads(part) for part in self.qkv(x).chunk(3, dim=-1))
        places = self.start(past) + torch.arange(x.shape[1])
        query, key = rotated(query, places), rotated(key, places)
        if past is not None:
            key, value = (self.joined(a, b) for a, b in zip(past, (key, value), strict=True))
        allowed = self.mask(x.shape[1], key.shape[2])
        scores = (query @ key.mT / query.shape[-1] ** 0.5).masked_fill(~allowed, INF)
        return self.out(merge_heads(scores.softmax(-1) @ value)), self.kept(key, value)

    def mask(self, new: int, total: int) -> Tensor:
        query = total - new + torch.arange(new)
        return self.allowed(query[:, None], torch.arange(total)[None, :])


class RestartsAtZero(Attention):
    """Every step's first token stands at position 0."""

    def start(self, past: tuple[Tensor, Tensor] | None) -> int:
        return 0


class OnePositionBack(Attention):
    """The length of the cache is taken for the last position."""

    def start(self, past: tuple[Tensor, Tensor] | None) -> int:
        return max(0, super().start(past) - 1)


class TopLeft(Attention):
    """The triangle starts at the first key, whatever the cache holds."""

    def mask(self, new: int, total: int) -> Tensor:
        return torch.ones(new, total, dtype=torch.bool).tril()


class OverwritesLast(Attention):
    """Writes one place too early, and once more where it should: the newest entry is lost."""

    def joined(self, past: Tensor, new: Tensor) -> Tensor:
        return torch.cat([past[:, :, :-1], new, new[:, :, -1:]], dim=2)


class Rolling(nn.Module):
    """A window of WINDOW keys, and a cache of as many; keys carry their positions along."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH)
        self.out = nn.Linear(WIDTH, WIDTH)

    def shortened(self, x: Tensor) -> Tensor:
        return x[:, :, -WINDOW:]

    def forward(
        self, x: Tensor, past: tuple[Tensor, Tensor, Tensor] | None = None
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        query, key, value = (split_heads(part) for part in self.qkv(x).chunk(3, dim=-1))
        start = 0 if past is None else int(past[2].max()) + 1
        places = start + torch.arange(x.shape[1])
        query, key = rotated(query, places), rotated(key, places)
        where = places.expand(*key.shape[:2], -1)
        held: tuple[Tensor, ...] = (key, value, where)
        if past is not None:
            held = tuple(torch.cat(pair, dim=2) for pair in zip(past, held, strict=True))
        gap = places[:, None] - held[2][:, :, None, :]
        allowed = (gap >= 0) & (gap < WINDOW)
        scores = (query @ held[0].mT / query.shape[-1] ** 0.5).masked_fill(~allowed, INF)
        mixed = merge_heads(scores.softmax(-1) @ held[1])
        return self.out(mixed), tuple(self.shortened(each) for each in held)


class RollingDropsNewest(Rolling):
    """Once full, the cache keeps its oldest but for the last entry."""

    def shortened(self, x: Tensor) -> Tensor:
        if x.shape[2] <= WINDOW:
            return x
        return torch.cat([x[:, :, : WINDOW - 2], x[:, :, -2:]], dim=2)


class RollingTooShort(Rolling):
    """Holds one key less than the window reads."""

    def shortened(self, x: Tensor) -> Tensor:
        return x[:, :, -(WINDOW - 2) :]


class Generator(nn.Module):
    """Tokens in; logits and, if asked for, the cache out."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.tokens = nn.Embedding(VOCAB, WIDTH)
        self.layers = nn.ModuleList(layers)
        self.norms = nn.ModuleList(nn.LayerNorm(WIDTH) for _ in layers)
        self.head = nn.Linear(WIDTH, VOCAB)

    def forward(
        self,
        input_ids: Tensor,
        past_key_values: list[tuple[Tensor, ...]] | None = None,
        use_cache: bool = False,
    ) -> tuple[Tensor, list[tuple[Tensor, ...]] | None]:
        x, new = self.tokens(input_ids), []
        for at, (layer, norm) in enumerate(zip(self.layers, self.norms, strict=True)):
            mixed, held = layer(norm(x), past_key_values[at] if past_key_values else None)
            x = x + mixed
            new.append(held)
        return self.head(x), new if use_cache else None


class LearnedRestart(Generator):
    """Learned positions are counted from the start of each call."""

    counts = False

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__(*layers)
        self.places = nn.Embedding(64, WIDTH)

    def forward(
        self,
        input_ids: Tensor,
        past_key_values: list[tuple[Tensor, ...]] | None = None,
        use_cache: bool = False,
    ) -> tuple[Tensor, list[tuple[Tensor, ...]] | None]:
        start = past_key_values[0][0].shape[2] if past_key_values and self.counts else 0
        places = start + torch.arange(input_ids.shape[1])
        x, new = self.tokens(input_ids) + self.places(places), []
        for at, (layer, norm) in enumerate(zip(self.layers, self.norms, strict=True)):
            mixed, held = layer(norm(x), past_key_values[at] if past_key_values else None)
            x = x + mixed
            new.append(held)
        return self.head(x), new if use_cache else None


class LearnedPlaces(LearnedRestart):
    counts = True


def _row(
    name: str,
    wrong: type[nn.Module],
    right: type[nn.Module],
    cause: tuple[str, ...],
    *,
    layer: int = 1,
) -> Fault:
    def twin(kind: type[nn.Module]) -> nn.Module:
        return Generator(*((kind if at == layer else right)() for at in range(2)))

    return Fault(
        name=name,
        family="decoding",
        wrong=seeded(lambda: twin(wrong)),
        right=seeded(lambda: twin(right)),
        claim=CacheParity(),
        inputs=ids,
        module=f"layers.{layer}",
        cause=cause,
    )


FAULTS = (
    _row("rotary positions restart", RestartsAtZero, Attention, ("position", "rotary")),
    _row("positions one back in decoding", OnePositionBack, Attention, ("position",), layer=0),
    _row("triangle from the top left", TopLeft, Attention, ("mask", "top-left")),
    _row("cache overwrites its newest", OverwritesLast, Attention, ("cache",)),
    _row("rolling cache drops the wrong one", RollingDropsNewest, Rolling, ("cache", "window")),
    _row("rolling cache too short", RollingTooShort, Rolling, ("cache", "window"), layer=0),
    Fault(
        name="learned positions restart",
        family="decoding",
        wrong=seeded(lambda: LearnedRestart(Attention(), Attention())),
        right=seeded(lambda: LearnedPlaces(Attention(), Attention())),
        claim=CacheParity(),
        inputs=ids,
        module="",
        cause=("position",),
    ),
)
