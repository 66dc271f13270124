"""Padding that leaks although attention hides it: pooling, positions, convolution, norms, GRU."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .bert import Attention
from .fault import ALWAYS, Condition, Fault, Inputs, PadInvariant
from .parts import VOCAB, WIDTH, Block, left_padded, padded, seeded, sinusoids

INF = float("-inf")
KERNEL = 3


class Positions(nn.Module):
    """Adds positions; what a subclass counts."""

    def places(self, keep: Tensor) -> Tensor:
        """Count over real tokens, so that padding on the left shifts nothing."""
        return (keep.cumsum(1) - 1).clamp_min(0)

    def forward(self, x: Tensor, keep: Tensor) -> Tensor:
        return x + sinusoids(x.shape[1] + 2, WIDTH, x.dtype)[self.places(keep)]


class PositionsOfColumns(Positions):
    def places(self, keep: Tensor) -> Tensor:
        return torch.arange(keep.shape[1]).expand(keep.shape)


class PositionsAfterPads(Positions):
    """Left padding is taken to be as long in every row."""

    def places(self, keep: Tensor) -> Tensor:
        pads = (~keep).sum(1).amax()
        return (torch.arange(keep.shape[1]) - pads).clamp_min(0).expand(keep.shape)


class Mean(nn.Module):
    """The mean of what is real."""

    def forward(self, x: Tensor, keep: Tensor) -> Tensor:
        return (x * keep[..., None]).sum(1) / keep.sum(1, keepdim=True)


class MeanOfAll(Mean):
    def forward(self, x: Tensor, keep: Tensor) -> Tensor:
        return x.mean(dim=1)


class MeanByLength(Mean):
    """The sum leaves pads out; the divisor counts them."""

    def forward(self, x: Tensor, keep: Tensor) -> Tensor:
        return (x * keep[..., None]).sum(1) / x.shape[1]


class Greatest(nn.Module):
    """The greatest log-probability of what is real."""

    def forward(self, x: Tensor, keep: Tensor) -> Tensor:
        return self.greatest(nn.functional.logsigmoid(x), keep[..., None])

    def greatest(self, x: Tensor, keep: Tensor) -> Tensor:
        return x.masked_fill(~keep, INF).amax(dim=1)


class GreatestOfAll(Greatest):
    def greatest(self, x: Tensor, keep: Tensor) -> Tensor:
        return x.amax(dim=1)


class GreatestOfZeroed(Greatest):
    """Pads are set to zero first, and zero is greater than any logarithm of a probability."""

    def greatest(self, x: Tensor, keep: Tensor) -> Tensor:
        return (x * keep).amax(dim=1)


class Last(nn.Module):
    """The last real token."""

    def forward(self, x: Tensor, keep: Tensor) -> Tensor:
        return x[torch.arange(len(x)), keep.sum(1) - 1]


class LastColumn(Last):
    def forward(self, x: Tensor, keep: Tensor) -> Tensor:
        return x[:, -1]


class LastOneOff(Last):
    """`lengths` is taken for the last index, and cut where it is too large."""

    def forward(self, x: Tensor, keep: Tensor) -> Tensor:
        return x[torch.arange(len(x)), keep.sum(1).clamp_max(x.shape[1] - 1)]


class Attentive(nn.Module):
    """A learned weight for each real token."""

    def __init__(self) -> None:
        super().__init__()
        self.score = nn.Linear(WIDTH, 1)

    def forward(self, x: Tensor, keep: Tensor) -> Tensor:
        return self.weights(self.score(x)[..., 0], keep)[:, None, :].matmul(x)[:, 0]

    def weights(self, scores: Tensor, keep: Tensor) -> Tensor:
        return scores.masked_fill(~keep, INF).softmax(dim=1)


class AttentiveToAll(Attentive):
    """A softmax over all time; pads are cut out of the weights afterwards."""

    def weights(self, scores: Tensor, keep: Tensor) -> Tensor:
        return scores.softmax(dim=1) * keep


class Convolution(nn.Module):
    """A convolution to both sides, which sees zeros where padding is."""

    def __init__(self) -> None:
        super().__init__()
        self.filter = nn.Conv1d(WIDTH, WIDTH, KERNEL, padding=KERNEL // 2)

    def forward(self, x: Tensor, keep: Tensor) -> Tensor:
        return self.filter((x * keep[..., None]).mT).mT


class ConvolutionOverPads(Convolution):
    def forward(self, x: Tensor, keep: Tensor) -> Tensor:
        return self.filter(x.mT).mT


class MaskedNorm(nn.Module):
    """Each feature normed over the real time of its sample."""

    def forward(self, x: Tensor, keep: Tensor) -> Tensor:
        count = keep.sum(1)[:, None, None]
        real = keep[..., None]
        mean = (x * real).sum(1, keepdim=True) / count
        variance = ((x - mean) ** 2 * real).sum(1, keepdim=True) / count
        return (x - mean) / (variance + 1e-5).sqrt()


class InstanceNorm(MaskedNorm):
    """The same over all time, padding included."""

    def forward(self, x: Tensor, keep: Tensor) -> Tensor:
        return nn.functional.instance_norm(x.mT).mT


class Squeeze(nn.Module):
    """Features gated by their mean over real time."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Linear(WIDTH, WIDTH)

    def mean(self, x: Tensor, keep: Tensor) -> Tensor:
        return (x * keep[..., None]).sum(1) / keep.sum(1, keepdim=True)

    def forward(self, x: Tensor, keep: Tensor) -> Tensor:
        return x * self.gate(self.mean(x, keep)).sigmoid()[:, None]


class SqueezeAll(Squeeze):
    def mean(self, x: Tensor, keep: Tensor) -> Tensor:
        return x.mean(1)


class BothWays(nn.Module):
    """A GRU in both directions, which is told of lengths."""

    def __init__(self) -> None:
        super().__init__()
        self.recur = nn.GRU(WIDTH, WIDTH // 2, batch_first=True, bidirectional=True)

    def forward(self, x: Tensor, keep: Tensor) -> Tensor:
        lengths = keep.sum(1)
        packed = nn.utils.rnn.pack_padded_sequence(
            x, lengths, batch_first=True, enforce_sorted=False
        )
        output, _ = nn.utils.rnn.pad_packed_sequence(
            self.recur(packed)[0], batch_first=True, total_length=x.shape[1]
        )
        return output


class BothWaysOverPads(BothWays):
    """The backward direction begins in the padding."""

    def forward(self, x: Tensor, keep: Tensor) -> Tensor:
        return self.recur(x)[0]


class Reader(nn.Module):
    """Tokens, positions, one layer, and a vector for each token."""

    def __init__(self, layer: nn.Module, positions: nn.Module | None = None) -> None:
        super().__init__()
        self.tokens = nn.Embedding(VOCAB, WIDTH)
        self.positions = positions or Positions()
        self.blocks = nn.ModuleList([Block(Attention()), Block(layer)])
        self.leave = nn.Linear(WIDTH, WIDTH + 1)

    def encode(self, input_ids: Tensor, keep: Tensor) -> Tensor:
        x = self.positions(self.tokens(input_ids), keep)
        for block in self.blocks:
            x = block(x, keep)
        return x

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        return self.leave(self.encode(input_ids, attention_mask.bool()))


class Classifier(Reader):
    """One vector a text."""

    def __init__(self, pool: nn.Module) -> None:
        super().__init__(Attention())
        self.pool = pool

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        keep = attention_mask.bool()
        return self.leave(self.pool(self.encode(input_ids, keep), keep))


def _row(
    name: str,
    wrong: type[nn.Module],
    right: type[nn.Module],
    cause: tuple[str, ...],
    *,
    part: str,
    inner: str = "",
    side: str = "right",
    inputs: Inputs = padded,
    when: Condition = ALWAYS,
) -> Fault:
    """Return the row of a fault in the pool, the positions, or the layer."""
    build = {
        "pool": Classifier,
        "positions": lambda made: Reader(Attention(), made),
        "blocks.1.mix": Reader,
    }[part]
    return Fault(
        name=name,
        family="padding beside attention",
        wrong=seeded(lambda: build(wrong())),
        right=seeded(lambda: build(right())),
        claim=PadInvariant(side),
        inputs=inputs,
        module=part + inner,
        cause=cause,
        when=when,
    )


def _left(name: str, wrong: type[Positions], cause: tuple[str, ...]) -> Fault:
    return _row(name, wrong, Positions, cause, part="positions", side="left", inputs=left_padded)


LAYER = "blocks.1.mix"

FAULTS = (
    _left("positions of columns, padded left", PositionsOfColumns, ("position",)),
    _left("positions after the most pads", PositionsAfterPads, ("position", "batch")),
    _row("mean over padding", MeanOfAll, Mean, ("mean", "pool"), part="pool"),
    _row("mean divided by the width", MeanByLength, Mean, ("mean", "length"), part="pool"),
    _row("greatest over padding", GreatestOfAll, Greatest, ("max", "pool"), part="pool"),
    _row("greatest of zeroed padding", GreatestOfZeroed, Greatest, ("max", "pool"), part="pool"),
    _row("last column for last token", LastColumn, Last, ("last", "pool"), part="pool"),
    _row("last token off by one", LastOneOff, Last, ("last", "off by one"), part="pool"),
    _row("softmax over padded time", AttentiveToAll, Attentive, ("softmax",), part="pool"),
    _row("convolution over padding", ConvolutionOverPads, Convolution, ("conv",), part=LAYER,
         inner=".filter"),
    _row("norm over padded time", InstanceNorm, MaskedNorm, ("norm",), part=LAYER),
    _row("squeeze over padding", SqueezeAll, Squeeze, ("mean", "squeeze"), part=LAYER),
    _row("backward GRU over padding", BothWaysOverPads, BothWays, ("GRU", "recur"), part=LAYER,
         inner=".recur"),
)  # fmt: skip
