"""Small torch models for the tests of the audit's core: one place in each that can be wrong."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional


class Attention(nn.Module):
    """Causal attention; ``fault`` names the way in which it is not."""

    def __init__(self, width: int, heads: int, fault: str) -> None:
        super().__init__()
        self.heads, self.fault = heads, fault
        self.project = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def allowed(self, length: int) -> torch.Tensor:
        allowed = torch.ones(length, length, dtype=torch.bool).tril()
        if self.fault == "next":
            allowed = torch.ones(length, length, dtype=torch.bool).tril(1)
        if self.fault == "prefix":
            allowed[:, :4] = True
        if self.fault == "all" or (self.fault == "train" and self.training):
            allowed[:] = True
        if self.fault == "gradients" and torch.is_grad_enabled():
            allowed[:] = True
        if self.fault == "long" and length > 50:
            allowed[50:] = True
        return allowed

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, length, width = x.shape
        split = self.project(x).view(batch, length, 3, self.heads, -1)
        q, k, v = split.permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask=self.allowed(length))
        return self.out(mixed.transpose(1, 2).reshape(batch, length, width))


class Block(nn.Module):
    def __init__(self, width: int, heads: int, fault: str) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.attention = Attention(width, heads, fault)
        self.drop = nn.Dropout(0.2)
        self.mix = nn.Sequential(
            nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.drop(self.attention(self.norm(x)))
        return x + self.mix(x)


class GPT(nn.Module):
    """A causal language model of a few layers, one of which may be wrong."""

    def __init__(
        self, fault: str = "", *, layers: int = 3, at: int = 1, vocab: int = 53, longest: int = 512
    ) -> None:
        super().__init__()
        torch.manual_seed(0)
        width, heads = 24, 4
        self.tokens = nn.Embedding(vocab, width)
        self.places = nn.Embedding(longest, width)
        faults = [fault if layer == at else "" for layer in range(layers)]
        self.blocks = nn.ModuleList(Block(width, heads, each) for each in faults)
        self.head = nn.Linear(width, vocab)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = self.tokens(tokens) + self.places(torch.arange(tokens.shape[1]))
        for block in self.blocks:
            x = block(x)
        return self.head(x)


class Translator(nn.Module):
    """An encoder and a decoder of torch; without ``causal`` the decoder sees the future."""

    def __init__(self, *, causal: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.causal = causal
        self.embed = nn.Embedding(29, 16)
        self.body = nn.Transformer(16, 4, 1, 1, 32, batch_first=True)

    def forward(self, src: torch.Tensor, tgt: torch.Tensor) -> torch.Tensor:
        length, dtype = tgt.shape[1], self.embed.weight.dtype
        square = nn.Transformer.generate_square_subsequent_mask(length, dtype=dtype)
        mask = square if self.causal else None
        return self.body(self.embed(src), self.embed(tgt), tgt_mask=mask)


class Convolution(nn.Module):
    """A causal convolution by Fourier transforms: rounding everywhere, and a leak if it wraps."""

    def __init__(self, *, wraps: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.wraps = wraps
        self.embed = nn.Embedding(31, 16)
        self.kernel = nn.Parameter(0.1 * torch.randn(16, 400))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = self.embed(tokens).transpose(1, 2)
        length = x.shape[-1]
        size = length if self.wraps else 2 * length
        made = torch.fft.rfft(x, n=size) * torch.fft.rfft(self.kernel[:, :length], n=size)
        return torch.fft.irfft(made, n=size)[..., :length].transpose(1, 2)
