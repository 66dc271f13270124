"""What the families share: sizes, inputs, and a decoder made of blocks with any mixing layer."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

# All different, so that a wrong broadcast or a swapped axis shows.
BATCH, HEADS, WIDTH, VOCAB = 3, 2, 8, 23
PAD = 0  # real tokens are drawn from 2 on; 1 begins a sequence
PADDED_BY = (0, 3, 5)  # how much of each row is padding


def seeded(make: Callable[[], nn.Module], seed: int = 0) -> Callable[[], nn.Module]:
    """Return ``make`` with the same weights on every call; torch's own state is left alone."""

    def build() -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return make().eval()

    return build


def drawn(*shape: int, low: int = 2, high: int = VOCAB, seed: int = 7) -> Tensor:
    """Return tokens of this shape."""
    return torch.randint(low, high, shape, generator=torch.Generator().manual_seed(seed))


def numbers(*shape: int, seed: int = 8) -> Tensor:
    """Return normally distributed numbers of this shape."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def ids(length: int) -> dict[str, Tensor]:
    """Return a batch of tokens without padding."""
    return {"input_ids": drawn(BATCH, length)}


def frames(length: int) -> dict[str, Tensor]:
    """Return a batch of features [B, T, WIDTH]."""
    return {"features": numbers(BATCH, length, WIDTH)}


def valid(length: int, side: str = "right") -> Tensor:
    """Return which positions of each row are real, bool [B, T]."""
    places = torch.arange(length).expand(BATCH, length)
    padded = torch.tensor(PADDED_BY)[:, None]
    return places >= padded if side == "left" else places < length - padded


def padded(length: int) -> dict[str, Tensor]:
    """Return a batch padded on the right, with its mask (1 = keep)."""
    keep = valid(length)
    return {"input_ids": drawn(BATCH, length) * keep, "attention_mask": keep.long()}


def full(length: int) -> dict[str, Tensor]:
    """Return other tokens than `padded`, without padding, and the mask that says so."""
    return {"input_ids": drawn(BATCH, length, seed=9), **all_ones(length)}


def left_padded(length: int) -> dict[str, Tensor]:
    """Return a batch padded on the left, with its mask (1 = keep)."""
    keep = valid(length, "left")
    return {"input_ids": drawn(BATCH, length) * keep, "attention_mask": keep.long()}


def all_ones(length: int) -> dict[str, Tensor]:
    """Return the mask of a batch without padding."""
    return {"attention_mask": torch.ones(BATCH, length, dtype=torch.long)}


def with_weights(length: int) -> dict[str, bool]:
    """Ask for the attention weights."""
    return {"output_attentions": True}


def split_heads(x: Tensor, heads: int = HEADS) -> Tensor:
    """[B, T, H * D] -> [B, H, T, D]."""
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def merge_heads(x: Tensor) -> Tensor:
    """[B, H, T, D] -> [B, T, H * D]."""
    return x.transpose(1, 2).flatten(2)


def triangle(length: int) -> Tensor:
    """Return bool [T, T], True where the key is not after the query."""
    return torch.ones(length, length, dtype=torch.bool).tril()


def sinusoids(length: int, width: int, dtype: torch.dtype) -> Tensor:
    """Return positions as sines and cosines, [T, width]."""
    rates = torch.exp(torch.arange(0, width, 2, dtype=dtype) * (-math.log(1e4) / width))
    angles = torch.arange(length, dtype=dtype)[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], dim=-1)


class Block(nn.Module):
    """Mix over time, then think at each position; both beside a shortcut."""

    def __init__(self, mix: nn.Module, norm: nn.Module | None = None) -> None:
        super().__init__()
        self.norm1 = norm or nn.LayerNorm(WIDTH)
        self.mix = mix
        self.norm2 = nn.LayerNorm(WIDTH)
        self.think = nn.Sequential(
            nn.Linear(WIDTH, 3 * WIDTH), nn.GELU(), nn.Linear(3 * WIDTH, WIDTH)
        )

    def forward(self, x: Tensor, *given: Tensor | None) -> Tensor:
        x = x + self.mix(self.norm1(x), *given)
        return x + self.think(self.norm2(x))


class Decoder(nn.Module):
    """Tokens in, logits out; position by position all mixing is done by the blocks."""

    def __init__(self, *blocks: nn.Module) -> None:
        super().__init__()
        self.tokens = nn.Embedding(VOCAB, WIDTH)
        self.blocks = nn.ModuleList(
            block if isinstance(block, Block) else Block(block) for block in blocks
        )
        self.norm = nn.LayerNorm(WIDTH)
        self.head = nn.Linear(WIDTH, VOCAB)

    def embed(self, input_ids: Tensor) -> Tensor:
        x = self.tokens(input_ids)
        return x + sinusoids(x.shape[1], WIDTH, x.dtype)

    def forward(self, input_ids: Tensor) -> Tensor:
        x = self.embed(input_ids)
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


class FrameDecoder(nn.Module):
    """Features in, features out, through the same blocks."""

    def __init__(self, *blocks: nn.Module) -> None:
        super().__init__()
        self.enter = nn.Linear(WIDTH, WIDTH)
        self.blocks = nn.ModuleList(
            block if isinstance(block, Block) else Block(block) for block in blocks
        )
        self.leave = nn.Linear(WIDTH, WIDTH + 1)

    def forward(self, features: Tensor) -> Tensor:
        x = self.enter(features)
        for block in self.blocks:
            x = block(x)
        return self.leave(x)
