"""Causal models without attention in the wrong place: convolutions, and norms that mix time."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

import sightline as sl

from .fault import ALWAYS, BatchInvariant, Claim, Condition, Fault, Inputs, Sees
from .gpt import CAUSAL, Attention
from .parts import WIDTH, Block, Decoder, FrameDecoder, frames, ids, seeded

KERNEL, DILATION = 4, 2


class Convolution(nn.Module):
    """A causal convolution over time: zeros before the beginning."""

    dilation = 1
    groups = 1

    def __init__(self) -> None:
        super().__init__()
        self.filter = nn.Conv1d(WIDTH, WIDTH, KERNEL, dilation=self.dilation, groups=self.groups)

    def padded(self, x: Tensor) -> Tensor:
        return nn.functional.pad(x, ((KERNEL - 1) * self.dilation, 0))

    def forward(self, x: Tensor) -> Tensor:
        return self.filter(self.padded(x.mT)).mT


class Same(Convolution):
    """`padding="same"`: as much of the future as of the past."""

    def padded(self, x: Tensor) -> Tensor:
        return nn.functional.pad(x, (KERNEL // 2, (KERNEL - 1) // 2))


class PaddedOneShort(Convolution):
    """Counted `kernel - 2` zeros before, and one behind to keep the length."""

    def padded(self, x: Tensor) -> Tensor:
        return nn.functional.pad(x, (KERNEL - 2, 1))


class Dilated(Convolution):
    dilation = DILATION


class DilationForgotten(Dilated):
    """Pads as if there were no dilation; the rest goes behind."""

    def padded(self, x: Tensor) -> Tensor:
        return nn.functional.pad(x, (KERNEL - 1, (KERNEL - 1) * (self.dilation - 1)))


class Cut(nn.Module):
    """Pads both sides with kernel - 1, then cuts the end that reads the future."""

    def __init__(self) -> None:
        super().__init__()
        self.filter = nn.Conv1d(WIDTH, WIDTH, KERNEL, padding=KERNEL - 1, groups=WIDTH)

    def cut(self, x: Tensor, length: int) -> Tensor:
        return x[..., :length]

    def forward(self, x: Tensor) -> Tensor:
        return self.cut(self.filter(x.mT), x.shape[1]).mT


class CutWrongEnd(Cut):
    def cut(self, x: Tensor, length: int) -> Tensor:
        return x[..., -length:]


class CutInTheMiddle(Cut):
    def cut(self, x: Tensor, length: int) -> Tensor:
        return x[..., 1 : length + 1]


class TokenShift(nn.Module):
    """Half of the features come from the token before."""

    amount = 1

    def forward(self, x: Tensor) -> Tensor:
        now, before = x.chunk(2, dim=-1)
        before = nn.functional.pad(before, (0, 0, self.amount, -self.amount))
        return torch.cat([now, before], dim=-1)


class TokenShiftForward(TokenShift):
    amount = -1


class Hourglass(nn.Module):
    """Means of pairs, a linear map, and back to full length; a pair is read when it is over."""

    late = 1

    def __init__(self) -> None:
        super().__init__()
        self.map = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        length = x.shape[1]
        even = nn.functional.pad(x, (0, 0, self.late, (length + self.late) % 2))
        pairs = self.map(even.unflatten(1, (-1, 2)).mean(2))
        return pairs.repeat_interleave(2, dim=1)[:, :length]


class HourglassUnshifted(Hourglass):
    """A pair's first token sees its second."""

    late = 0


class ChannelNorm(nn.Module):
    """The norm of each position's features, in the convolution's layout."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.layer_norm(x, (WIDTH,), self.gain)


class GroupNormOverTime(ChannelNorm):
    """GroupNorm takes all that is behind the features together: time."""

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.group_norm(x.mT, 2, self.gain).mT


class InstanceNormOverTime(ChannelNorm):
    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.instance_norm(x.mT, weight=self.gain).mT


class LayerNormOverAll(ChannelNorm):
    """LayerNorm of [T, D] instead of [D]."""

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.layer_norm(x, x.shape[1:]) * self.gain


class RootMeanSquare(ChannelNorm):
    dims: tuple[int, ...] = (-1,)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gain / (x.square().mean(self.dims, keepdim=True) + 1e-6).sqrt()


class RootMeanSquareOfAll(RootMeanSquare):
    dims = (-2, -1)


class ScaledByGreatest(ChannelNorm):
    """Divides by the greatest size there is at any time."""

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gain / x.abs().amax(dim=(1, 2), keepdim=True)


class ScaledByOwnGreatest(ChannelNorm):
    def forward(self, x: Tensor) -> Tensor:
        return x * self.gain / x.abs().amax(dim=2, keepdim=True)


class BatchNorm(nn.Module):
    """Normed over batch and time while training; fixed numbers afterwards."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x.mT).mT


class Pointwise(nn.Module):
    """A linear map of each position."""

    def __init__(self) -> None:
        super().__init__()
        self.map = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        return self.map(x) + self.summary(x)

    def summary(self, x: Tensor) -> Tensor:
        steps = torch.arange(1, x.shape[1] + 1, dtype=x.dtype)[:, None]
        return x.cumsum(1) / steps


class MeanOfAll(Pointwise):
    """Adds the mean over all time to every token."""

    def summary(self, x: Tensor) -> Tensor:
        return x.mean(1, keepdim=True)


class Gated(nn.Module):
    """Squeeze-and-excite with a running mean."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Linear(WIDTH, WIDTH)

    def mean(self, x: Tensor) -> Tensor:
        return x.cumsum(1) / torch.arange(1, x.shape[1] + 1, dtype=x.dtype)[:, None]

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gate(self.mean(x)).sigmoid()


class GatedByAll(Gated):
    def mean(self, x: Tensor) -> Tensor:
        return x.mean(1, keepdim=True)


class Series(FrameDecoder):
    """A forecaster of a series that is centred and scaled by its first values."""

    seen = 4

    def forward(self, features: Tensor) -> Tensor:
        first = features[:, : self.seen] if self.seen else features
        mean = first.mean(1, keepdim=True)
        return super().forward((features - mean) / (first.std(1, keepdim=True) + 1e-5))


class SeriesOfAll(Series):
    """Centred and scaled by the whole series, its future included."""

    seen = 0


def _mix(name: str, wrong: type[nn.Module], right: type[nn.Module], cause: tuple[str, ...],
         *, layer: int = 0) -> Fault:  # fmt: skip
    """Return the row of a fault in the mixing part of one of two layers."""

    def twin(kind: type[nn.Module]) -> nn.Module:
        return Decoder(*((kind if at == layer else right)() for at in range(2)))

    return Fault(
        name=name,
        family="convolution",
        wrong=seeded(lambda: twin(wrong)),
        right=seeded(lambda: twin(right)),
        claim=CAUSAL,
        inputs=ids,
        module=f"blocks.{layer}.mix",
        cause=cause,
    )


def _norm(
    name: str,
    wrong: Callable[[], nn.Module],
    right: Callable[[], nn.Module],
    cause: tuple[str, ...],
    *,
    claim: Claim = CAUSAL,
    module: str = "blocks.1.norm1",
    inputs: Inputs = ids,
    when: Condition = ALWAYS,
) -> Fault:
    """Return the row of a fault in the norm before the second layer's attention."""

    def twin(norm: Callable[[], nn.Module]) -> nn.Module:
        return Decoder(Attention(), Block(Attention(), norm()))

    return Fault(
        name=name,
        family="norms",
        wrong=seeded(lambda: twin(wrong)),
        right=seeded(lambda: twin(right)),
        claim=claim,
        inputs=inputs,
        module=module,
        cause=cause,
        when=when,
    )


TRAINING = Condition(training=True)

FAULTS = (
    _mix("convolution with same padding", Same, Convolution, ("conv", "padding")),
    _mix("convolution padded one short", PaddedOneShort, Convolution, ("conv", "off by one"),
         layer=1),
    _mix("dilation forgotten", DilationForgotten, Dilated, ("conv", "dilat")),
    _mix("convolution cut at the wrong end", CutWrongEnd, Cut, ("conv",), layer=1),
    _mix("convolution cut one off", CutInTheMiddle, Cut, ("conv", "off by one")),
    _mix("token shift forward", TokenShiftForward, TokenShift, ("shift", "off by one"), layer=1),
    _mix("hourglass not shifted", HourglassUnshifted, Hourglass, ("pool", "pair", "block")),
    _mix("mean of all time added", MeanOfAll, Pointwise, ("mean", "time"), layer=1),
    _mix("gate of all time", GatedByAll, Gated, ("mean", "time")),
    _norm("group norm over time", GroupNormOverTime, ChannelNorm, ("norm",)),
    _norm("instance norm over time", InstanceNormOverTime, ChannelNorm, ("norm",)),
    _norm("layer norm over time", LayerNormOverAll, ChannelNorm, ("norm",)),
    _norm("root mean square of all time", RootMeanSquareOfAll, RootMeanSquare, ("norm", "mean")),
    _norm("scaled by the greatest", ScaledByGreatest, ScaledByOwnGreatest, ("max", "norm")),
    _norm("batch norm over time", BatchNorm, ChannelNorm, ("batch norm", "BatchNorm"),
          module="blocks.1.norm1.norm", when=TRAINING),
    _norm("batch norm over the batch", BatchNorm, ChannelNorm, ("batch",),
          claim=BatchInvariant(), module="blocks.1.norm1.norm", when=TRAINING),
    Fault(
        name="series scaled by its future",
        family="norms",
        wrong=seeded(lambda: SeriesOfAll(Convolution(), Convolution())),
        right=seeded(lambda: Series(Convolution(), Convolution())),
        claim=Sees({"features": sl.causal() | sl.prefix(Series.seen)}),
        inputs=frames,
        module="",
        cause=("mean", "norm", "statistic"),
    ),
)  # fmt: skip
