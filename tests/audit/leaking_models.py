"""Small models that leak, each in one place, with the place and the line; and right models.

A line that is to blame ends in the comment `# LEAK`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

VOCAB, WIDTH, HEADS = 23, 12, 2


class Attention(nn.Module):
    """Causal attention, written out."""

    def __init__(self, fault: str = "") -> None:
        super().__init__()
        self.fault = fault
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH)
        self.out = nn.Linear(WIDTH, WIDTH)
        self.drop = nn.Dropout(0.3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        B, L, D = x.shape
        q, k, v = (
            t.view(B, L, HEADS, D // HEADS).transpose(1, 2) for t in self.qkv(x).chunk(3, -1)
        )
        scores = q @ k.transpose(-2, -1) / (D // HEADS) ** 0.5
        future = torch.ones(L, L, dtype=torch.bool).triu(self._diagonal())
        if self.fault == "discarded":
            scores.masked_fill(future, -torch.inf)
        elif self.fault == "one head":
            scores[:, 1:] = scores[:, 1:].masked_fill(future, -torch.inf)
        elif self.fault == "zero-one floats":
            scores = scores + (~future).to(scores.dtype)
        elif self.fault == "weak":
            scores = scores + future * -9.0
        elif self.fault == "inverted":
            scores = scores.masked_fill(~future, -1e9)
        else:
            scores = scores.masked_fill(future, -torch.inf)
        weights = scores.softmax(dim=2 if self.fault == "axis" else -1)  # LEAK attention
        weights = self.drop(weights)
        return self.out((weights @ v).transpose(1, 2).reshape(B, L, D))

    def _diagonal(self) -> int:
        return {"next": 2, "inverted": 1}.get(self.fault, 1)


class Kernel(nn.Module):
    """Attention by torch's kernel."""

    def __init__(self, causal: bool, fault: str = "") -> None:
        super().__init__()
        self.causal, self.fault = causal, fault
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        B, L, D = x.shape
        q, k, v = (
            t.view(B, L, HEADS, D // HEADS).transpose(1, 2) for t in self.qkv(x).chunk(3, -1)
        )
        mask = None
        if self.fault == "next":
            mask = torch.ones(L, L, dtype=torch.bool).tril(1)
        if self.fault == "ignore":
            mask = torch.ones(L, L, dtype=torch.bool).triu(1)
        y = F.scaled_dot_product_attention(q, k, v, mask, is_causal=self.causal)  # LEAK kernel
        return y.transpose(1, 2).reshape(B, L, D)


class Block(nn.Module):
    def __init__(self, mixer: nn.Module) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.mixer = mixer
        self.mlp = nn.Sequential(nn.Linear(WIDTH, 19), nn.GELU(), nn.Linear(19, WIDTH))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.mixer(self.norm1(x))  # LEAK block
        return x + self.mlp(self.norm2(x))


class Stack(nn.Module):
    """A decoder: a right first block, then the mixers that are given."""

    def __init__(self, *mixers: nn.Module, shared: bool = False) -> None:
        super().__init__()
        self.embed = nn.Embedding(VOCAB, WIDTH)
        blocks = [Block(mixer) for mixer in (Attention(), *mixers)]
        self.blocks = nn.ModuleList([*blocks, blocks[-1]] if shared else blocks)
        self.head = nn.Linear(WIDTH, VOCAB)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = self.embed(tokens)
        for block in self.blocks:
            x = block(x)
        return self.head(x)


class Own(nn.Module):
    """A mixer whose forward is a function of its own."""

    def __init__(self, function: Callable[[nn.Module, torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.function = function
        self.linear = nn.Linear(WIDTH, WIDTH)
        self.gate = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.function(self, x)


class Called(nn.Module):
    """A mixer that is one of torch's layers, called with time as its last axis if it is wanted."""

    def __init__(self, layer: nn.Module, swap: bool = False, cut: slice = slice(None)) -> None:
        super().__init__()
        self.layer, self.swap, self.cut = layer, swap, cut

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.swap:
            return self.layer(x.transpose(1, 2))[..., self.cut].transpose(1, 2)  # LEAK swapped
        y = self.layer(x)  # LEAK layer
        return y[0][..., :WIDTH] if isinstance(y, tuple) else y


class TorchAttention(nn.Module):
    def __init__(self, fault: str, weights: bool = False) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)
        self.fault, self.weights = fault, weights

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        L = x.shape[1]
        mask = None if self.fault == "none" else torch.ones(L, L, dtype=torch.bool).triu(1)
        if self.fault == "inverted":
            mask = torch.ones(L, L, dtype=torch.bool).tril()
        y, _ = self.attention(x, x, x, attn_mask=mask, need_weights=self.weights)  # LEAK torch
        return y


class FirstChunk(nn.Module):
    """torch's layer in time-first layout."""

    def __init__(self, right: bool) -> None:
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(WIDTH, HEADS, 17, dropout=0.0)
        self.right = right

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x.transpose(0, 1)
        L = len(x)
        mask = torch.ones(L, L, dtype=torch.bool).triu(1) if self.right else None
        return self.layer(x, src_mask=mask).transpose(0, 1)  # LEAK first


class Folded(nn.Module):
    """Attention with heads folded into the batch."""

    def __init__(self, right: bool) -> None:
        super().__init__()
        self.right = right
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        B, L, D = x.shape
        q, k, v = (
            t.view(B, L, HEADS, -1).transpose(1, 2).reshape(B * HEADS, L, -1)
            for t in self.qkv(x).chunk(3, -1)
        )
        scores = torch.bmm(q, k.transpose(1, 2))
        if self.right:
            scores = scores.masked_fill(torch.ones(L, L, dtype=torch.bool).triu(1), -torch.inf)
        weights = F.softmax(scores, dim=-1)  # LEAK folded
        y = torch.bmm(weights, v)
        return y.view(B, HEADS, L, -1).transpose(1, 2).reshape(B, L, D)


class Seq2Seq(nn.Module):
    """An encoder and a decoder; what is padding in the source must not matter."""

    def __init__(self, fault: str) -> None:
        super().__init__()
        self.source, self.target = nn.Embedding(VOCAB, WIDTH), nn.Embedding(VOCAB, WIDTH)
        self.encoder = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)
        self.decoder = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)
        self.cross = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)
        self.head = nn.Linear(WIDTH, VOCAB)
        self.fault = fault

    def forward(
        self, source: torch.Tensor, target: torch.Tensor, padding: torch.Tensor
    ) -> torch.Tensor:
        x, y = self.source(source), self.target(target)
        given = None if self.fault == "encoder" else padding
        x = x + self.encoder(x, x, x, key_padding_mask=given)[0]  # LEAK encoder
        L = target.shape[1]
        future = torch.ones(L, L, dtype=torch.bool).triu(1)
        y = y + self.decoder(y, y, y, attn_mask=future)[0]
        given = None if self.fault == "memory" else padding
        y = y + self.cross(y, x, x, key_padding_mask=given)[0]  # LEAK memory
        return self.head(y)


def pooled(self: Any, x: torch.Tensor) -> torch.Tensor:
    mean = x.mean(dim=1)  # LEAK pooled
    gate = torch.sigmoid(self.gate(mean))
    return self.linear(x) * gate[:, None]


def linear_attention(self: Any, x: torch.Tensor) -> torch.Tensor:
    q, k = F.elu(self.linear(x)) + 1, F.elu(self.gate(x)) + 1
    state = torch.einsum("bnd,bne->bde", k, x)  # LEAK linear_attention
    return torch.einsum("bnd,bde->bne", q, state)


def linear_attention_right(self: Any, x: torch.Tensor) -> torch.Tensor:
    q, k = F.elu(self.linear(x)) + 1, F.elu(self.gate(x)) + 1
    state = torch.einsum("bnd,bne->bnde", k, x).cumsum(dim=1)
    return torch.einsum("bnd,bnde->bne", q, state)


def backwards(self: Any, x: torch.Tensor) -> torch.Tensor:
    turned = x.flip(1)  # LEAK backwards
    return self.linear(turned.cumsum(dim=1).flip(1))


def twice_turned(self: Any, x: torch.Tensor) -> torch.Tensor:
    return self.linear(x.flip(1).flip(1)).cumsum(dim=1)


def spectrum(self: Any, x: torch.Tensor) -> torch.Tensor:
    mixed = torch.fft.fft(x, dim=1)  # LEAK spectrum
    return mixed.real


def rolled(self: Any, x: torch.Tensor) -> torch.Tensor:
    before = torch.roll(x, 1, dims=1)  # LEAK rolled
    return self.linear(before)


def rolled_right(self: Any, x: torch.Tensor) -> torch.Tensor:
    before = torch.roll(x, 1, dims=1)
    before[:, 0] = 0
    return self.linear(before)


def choosing(self: Any, x: torch.Tensor) -> torch.Tensor:
    scores = self.linear(x)[..., 0]
    best, where = scores.topk(6, dim=1)  # LEAK choosing
    out = torch.zeros_like(x)
    taken = x.gather(1, where[..., None].expand(-1, -1, x.shape[-1]))
    return out.scatter(1, where[..., None].expand_as(taken), taken * best[..., None])


def in_place(self: Any, x: torch.Tensor) -> torch.Tensor:
    y = self.linear(x)
    y[:, 0] += y[:, -1]  # LEAK in_place
    return y


def view_written(self: Any, x: torch.Tensor) -> torch.Tensor:
    y = self.linear(x)
    first = y[:, 0]
    first.add_(y.amax(dim=1))  # LEAK view_written
    return y


def last_added(self: Any, x: torch.Tensor) -> torch.Tensor:
    last = x[:, -1:]  # LEAK last_added
    return self.linear(x) + last


def over_time(self: Any, x: torch.Tensor) -> torch.Tensor:
    return F.layer_norm(x, x.shape[1:])  # LEAK over_time


def drift_first(self: Any, x: torch.Tensor) -> torch.Tensor:
    x = (x + x.amax(dim=1, keepdim=True)) - x.amax(dim=1, keepdim=True)
    mean = x.mean(dim=1, keepdim=True)  # LEAK drift_first
    return self.linear(x) + mean


def stepwise(self: Any, x: torch.Tensor) -> torch.Tensor:
    state = torch.zeros_like(x[:, 0])
    states = []
    for step in x.unbind(1):
        state = 0.9 * state + self.linear(step)
        states.append(state)
    return torch.stack(states, 1)


def windows(self: Any, x: torch.Tensor) -> torch.Tensor:
    """Windows of 4 (the length is 13, so padded to 16), each of which may read itself."""
    B, L, D = x.shape
    y = F.pad(x, (0, 0, 0, 3)).view(B, 4, 4, D)
    scores = self.linear(y) @ y.transpose(-2, -1)
    weights = scores.softmax(dim=-1)  # LEAK windows
    return (weights @ y).reshape(B, 16, D)[:, :L]


@dataclass(frozen=True)
class Case:
    """A model that leaks when it should be causal, and where.

    Attributes:
        name: of the case.
        make: makes the model.
        module: its guilty module.
        operation: the operation there.
        mark: what stands after `# LEAK` in the line.
        cause: a part of the likely cause.
        training: whether it is run in training mode.
    """

    name: str
    make: Callable[[], nn.Module]
    module: str
    operation: str
    mark: str
    cause: str = ""
    training: bool = False


def _own(function: Any) -> Callable[[], nn.Module]:
    return lambda: Stack(Own(function), Attention())


def _called(*args: Any, **options: Any) -> Callable[[], nn.Module]:
    return lambda: Stack(Called(*args, **options), Attention())


MIXER = "blocks.1.mixer"
SDPA = "torch.nn.functional.scaled_dot_product_attention"
MHA = "torch.nn.functional.multi_head_attention_forward"

CASES = [
    *(
        Case(name, lambda f=name: Stack(Attention(f)), MIXER, "Tensor.softmax", "attention", cause)
        for name, cause in {
            "discarded": "no mask reaches",
            "one head": "1 of 2 heads",
            "zero-one floats": "0 and 1",
            "weak": "weak",
            "inverted": "inverted",
            "next": "off by one",
            "axis": "not over the keys",
        }.items()
    ),
    Case("training", lambda: Stack(Attention("next")), MIXER, "Tensor.softmax", "attention",
         "off by one", training=True),
    Case("kernel", lambda: Stack(Kernel(False)), MIXER, SDPA, "kernel", "is_causal"),
    Case("kernel next", lambda: Stack(Kernel(False, "next")), MIXER, SDPA, "kernel",
         "off by one"),
    Case("kernel ignore", lambda: Stack(Kernel(False, "ignore")), MIXER, SDPA, "kernel",
         "inverted"),
    Case("shared", lambda: Stack(Kernel(False), shared=True), MIXER, SDPA, "kernel", "is_causal"),
    Case("torch", lambda: Stack(TorchAttention("none")), f"{MIXER}.attention", MHA, "torch",
         "attn_mask"),
    Case("torch inverted", lambda: Stack(TorchAttention("inverted", True)), f"{MIXER}.attention",
         MHA, "torch", "inverted"),
    Case("folded", lambda: Stack(Folded(False)), MIXER, "torch.nn.functional.softmax", "folded",
         "no mask reaches"),
    Case("pooled", _own(pooled), MIXER, "Tensor.mean", "pooled", "over the sequence"),
    Case("linear attention", _own(linear_attention), MIXER, "torch.einsum", "linear_attention",
         "positions of the sequence"),
    Case("backwards", _own(backwards), MIXER, "Tensor.flip", "backwards", "backwards"),
    Case("spectrum", _own(spectrum), MIXER, "torch.fft.fft", "spectrum", "Fourier"),
    Case("rolled", _own(rolled), MIXER, "torch.roll", "rolled", "come back"),
    Case("choosing", _own(choosing), MIXER, "Tensor.topk", "choosing", "compete"),
    Case("in place", _own(in_place), MIXER, "Tensor.__getitem__", "in_place"),
    Case("view written", _own(view_written), MIXER, "Tensor.amax", "view_written",
         "over the sequence"),
    Case("last added", _own(last_added), MIXER, "Tensor.__getitem__", "last_added"),
    Case("over time", _own(over_time), MIXER, "torch.nn.functional.layer_norm", "over_time",
         "sequence axis"),
    Case("drift first", _own(drift_first), MIXER, "Tensor.mean", "drift_first",
         "over the sequence"),
    Case("windows", _own(windows), MIXER, "Tensor.softmax", "windows", "no mask reaches"),
    Case("conv", _called(nn.Conv1d(WIDTH, WIDTH, 5, padding=2), swap=True), f"{MIXER}.layer",
         "torch.nn.functional.conv1d", "swapped", "2 positions ahead"),
    Case("conv dilated", _called(nn.Conv1d(WIDTH, WIDTH, 3, padding="same", dilation=2), swap=True),
         f"{MIXER}.layer", "torch.nn.functional.conv1d", "swapped", "2 positions ahead"),
    Case("conv cut", _called(nn.Conv1d(WIDTH, WIDTH, 3, padding=2), swap=True, cut=slice(2, None)),
         MIXER, "torch.nn.functional.conv1d", "swapped", "keep the first ones"),
    Case("group norm", _called(nn.GroupNorm(3, WIDTH), swap=True), f"{MIXER}.layer",
         "torch.nn.functional.group_norm", "swapped", "sequence axis"),
    Case("batch norm", _called(nn.BatchNorm1d(WIDTH), swap=True), f"{MIXER}.layer",
         "torch.nn.functional.batch_norm", "swapped", "training", training=True),
    Case("gru", _called(nn.GRU(WIDTH, 7, bidirectional=True, batch_first=True)), f"{MIXER}.layer",
         "torch.gru", "layer", "bidirectional"),
]  # fmt: skip

RIGHT: dict[str, Callable[[], nn.Module]] = {
    "attention": lambda: Stack(Attention()),
    "kernel": lambda: Stack(Kernel(True)),
    "torch": lambda: Stack(TorchAttention("")),
    "folded": lambda: Stack(Folded(True)),
    "linear attention": lambda: Stack(Own(linear_attention_right)),
    "rolled": lambda: Stack(Own(rolled_right)),
    "stepwise": lambda: Stack(Own(stepwise)),
    "twice turned": lambda: Stack(Own(twice_turned)),
    "time first": lambda: Stack(FirstChunk(True)),
    "conv": lambda: Stack(
        Called(nn.Conv1d(WIDTH, WIDTH, 3, padding=2), swap=True, cut=slice(None, -2))
    ),
    "gru": lambda: Stack(Called(nn.GRU(WIDTH, WIDTH, batch_first=True))),
}
