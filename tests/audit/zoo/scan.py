"""Causal models that carry a state: linear attention, state spaces, GRU, transforms over time."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .fault import Condition, Fault, Isolated
from .gpt import CAUSAL
from .parts import VOCAB, WIDTH, Block, Decoder, ids, merge_heads, seeded, split_heads, triangle
from .patterns import packed

CHUNK = 4


class Linear(nn.Module):
    """Linear attention: sums of key times value up to each query."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH)
        self.out = nn.Linear(WIDTH, WIDTH)

    def sums(self, x: Tensor) -> Tensor:
        """Sum over time (axis 2) up to each position."""
        return x.cumsum(dim=2)

    def below(self, keys: Tensor) -> Tensor:
        return keys.cumsum(dim=2)

    def features(self, x: Tensor) -> Tensor:
        return nn.functional.elu(x) + 1

    def mixed(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        states = self.sums(key[..., :, None] * value[..., None, :])
        above = torch.einsum("bhtd,bhtde->bhte", query, states)
        return above / (query * self.below(key)).sum(-1, keepdim=True)

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = (split_heads(part) for part in self.qkv(x).chunk(3, dim=-1))
        return self.out(merge_heads(self.mixed(self.features(query), self.features(key), value)))


class LinearOverAll(Linear):
    """The sum over all time, as in an encoder."""

    def sums(self, x: Tensor) -> Tensor:
        return x.sum(dim=2, keepdim=True).expand_as(x)

    def below(self, keys: Tensor) -> Tensor:
        return keys.sum(dim=2, keepdim=True)


class NormaliserOverAll(Linear):
    """Causal above, and divided by the sum over all time."""

    def below(self, keys: Tensor) -> Tensor:
        return keys.sum(dim=2, keepdim=True)


class FlippedSums(Linear):
    """Sums from the end: flip, cumsum, flip."""

    def sums(self, x: Tensor) -> Tensor:
        return x.flip(2).cumsum(dim=2).flip(2)


class KeysNormedOverTime(Linear):
    """Keys become a softmax over time, as efficient attention has it for encoders."""

    def mixed(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        return super().mixed(query, key.softmax(dim=2), value)


class Chunked(Linear):
    """In chunks: a triangle inside each, and the state carried from those before."""

    cut = True
    carry_own = False

    def mixed(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        value = torch.cat([value, torch.ones_like(value[..., :1])], dim=-1)
        pieces = []
        state = torch.zeros(*query.shape[:2], query.shape[-1], value.shape[-1], dtype=query.dtype)
        for q, k, v in zip(*(x.split(CHUNK, dim=2) for x in (query, key, value)), strict=True):
            scores = q @ k.mT
            inside = (scores * triangle(q.shape[2]) if self.cut else scores) @ v
            new = state + k.mT @ v
            pieces.append(inside + q @ (new if self.carry_own else state))
            state = new
        total = torch.cat(pieces, dim=2)
        return total[..., :-1] / total[..., -1:]


class ChunkedUncut(Chunked):
    cut = False


class ChunkedCarriesItself(Chunked):
    """The carried state already holds the chunk that is read with it."""

    carry_own = True


class Scan(nn.Module):
    """A diagonal state space: each feature decays, and takes in what comes."""

    def __init__(self) -> None:
        super().__init__()
        self.decay = nn.Parameter(torch.linspace(0.5, 0.95, WIDTH))
        self.enter = nn.Linear(WIDTH, WIDTH)

    def scanned(self, x: Tensor) -> Tensor:
        state, states = torch.zeros_like(x[:, 0]), []
        for step in x.unbind(1):
            state = self.decay * state + step
            states.append(state)
        return torch.stack(states, dim=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.scanned(self.enter(x))


class ScanBothWays(Scan):
    """Adds the scan of the reversed sequence, as an encoder does."""

    def scanned(self, x: Tensor) -> Tensor:
        return super().scanned(x) + super().scanned(x.flip(1)).flip(1)


class ScanFromTheEnd(Scan):
    def scanned(self, x: Tensor) -> Tensor:
        return super().scanned(x.flip(1)).flip(1)


class LongConvolution(nn.Module):
    """A filter as long as the text, by Fourier transforms of twice its length."""

    times = 2

    def __init__(self) -> None:
        super().__init__()
        self.filter = nn.Parameter(torch.randn(64, WIDTH) * torch.linspace(1, 0.1, 64)[:, None])

    def forward(self, x: Tensor) -> Tensor:
        length = x.shape[1]
        size = self.times * length
        transformed = torch.fft.rfft(x, n=size, dim=1)
        transformed = transformed * torch.fft.rfft(self.filter[:length], n=size, dim=0)
        return torch.fft.irfft(transformed, n=size, dim=1)[:, :length]


class LongConvolutionWraps(LongConvolution):
    """Without room behind the text its end wraps around to its beginning."""

    times = 1


class Fourier(nn.Module):
    """FNet's mixing: a Fourier transform over time."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.fft.fft2(x, dim=(1, 2)).real


class FourierOfFeatures(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.fft.fft(x, dim=2).real


class Recurrent(nn.Module):
    """A GRU, forwards."""

    both = False

    def __init__(self) -> None:
        super().__init__()
        size = WIDTH // 2 if self.both else WIDTH
        self.recur = nn.GRU(WIDTH, size, batch_first=True, bidirectional=self.both)

    def forward(self, x: Tensor) -> Tensor:
        return self.recur(x)[0]


class RecurrentBothWays(Recurrent):
    both = True


class PackedScan(nn.Module):
    """A scan whose state begins anew with every document."""

    resets = True

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.GRUCell(WIDTH, WIDTH)

    def forward(self, x: Tensor, segments: Tensor) -> Tensor:
        state, states = torch.zeros_like(x[:, 0]), []
        for place, step in enumerate(x.unbind(1)):
            if self.resets and place:
                same = segments[:, place] == segments[:, place - 1]
                state = state * same[:, None]
            state = self.cell(step, state)
            states.append(state)
        return torch.stack(states, dim=1)


class PackedScanCarries(PackedScan):
    resets = False


class PackedConvolution(nn.Module):
    """A causal convolution that reads zeros where another document stands."""

    separate = True

    def __init__(self) -> None:
        super().__init__()
        self.taps = nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(3))

    def forward(self, x: Tensor, segments: Tensor) -> Tensor:
        total = self.taps[0](x)
        for back, tap in enumerate(list(self.taps)[1:], start=1):
            before = nn.functional.pad(x, (0, 0, back, 0))[:, : x.shape[1]]
            numbers = nn.functional.pad(segments, (back, 0), value=-1)[:, : x.shape[1]]
            same = (numbers == segments)[..., None] if self.separate else 1
            total = total + tap(before) * same
        return total


class PackedConvolutionCrosses(PackedConvolution):
    separate = False


class Packed(nn.Module):
    """Packed documents through one layer that is told of them."""

    def __init__(self, mix: nn.Module) -> None:
        super().__init__()
        self.tokens = nn.Embedding(VOCAB, WIDTH)
        self.blocks = nn.ModuleList([Block(mix)])
        self.head = nn.Linear(WIDTH, VOCAB)

    def forward(self, input_ids: Tensor, segment_ids: Tensor) -> Tensor:
        x = self.tokens(input_ids)
        for block in self.blocks:
            x = block(x, segment_ids)
        return self.head(x)


def _mix(name: str, wrong: type[nn.Module], right: type[nn.Module], cause: tuple[str, ...],
         *, layer: int = 0, inner: str = "", when: Condition | None = None) -> Fault:  # fmt: skip
    """Return the row of a fault in the mixing part of one of two layers."""

    def twin(kind: type[nn.Module]) -> nn.Module:
        return Decoder(*((kind if at == layer else right)() for at in range(2)))

    return Fault(
        name=name,
        family="state",
        wrong=seeded(lambda: twin(wrong)),
        right=seeded(lambda: twin(right)),
        claim=CAUSAL,
        inputs=ids,
        module=f"blocks.{layer}.mix{inner}",
        cause=cause,
        when=when or Condition(),
    )


def _packed(name: str, wrong: type[nn.Module], right: type[nn.Module], cause: tuple[str, ...],
            ) -> Fault:  # fmt: skip
    return Fault(
        name=name,
        family="packed documents",
        wrong=seeded(lambda: Packed(wrong())),
        right=seeded(lambda: Packed(right())),
        claim=Isolated(),
        inputs=packed,
        module="blocks.0.mix",
        cause=cause,
    )


FAULTS = (
    _mix("linear attention over all time", LinearOverAll, Linear, ("sum", "cumsum"), layer=1),
    _mix("normaliser over all time", NormaliserOverAll, Linear, ("sum", "normal")),
    _mix("sums from the end", FlippedSums, Linear, ("flip", "revers"), layer=1),
    _mix("keys normed over time", KeysNormedOverTime, Linear, ("softmax",)),
    _mix("chunk without its triangle", ChunkedUncut, Chunked, ("chunk",), layer=1),
    _mix("chunk carries itself", ChunkedCarriesItself, Chunked, ("chunk",)),
    _mix("scan both ways", ScanBothWays, Scan, ("flip", "revers", "both")),
    _mix("scan from the end", ScanFromTheEnd, Scan, ("flip", "revers"), layer=1),
    _mix("long convolution wraps around", LongConvolutionWraps, LongConvolution, ("fft", "wrap")),
    _mix("Fourier transform of time", Fourier, FourierOfFeatures, ("fft", "Fourier"), layer=1),
    _mix("GRU both ways", RecurrentBothWays, Recurrent, ("GRU", "both"), inner=".recur"),
    _packed("state carried over documents", PackedScanCarries, PackedScan, ("state", "document")),
    _packed("convolution across documents", PackedConvolutionCrosses, PackedConvolution,
            ("conv", "document")),
)  # fmt: skip
