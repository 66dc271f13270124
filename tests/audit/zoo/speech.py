"""A small speech encoder: frames with lengths, convolutions along time, every second frame kept."""

from __future__ import annotations

import torch
from torch import Tensor, nn

import sightline as sl

from .bert import Attention
from .fault import ALWAYS, Claim, Condition, Fault, PadInvariant, Sees
from .parts import BATCH, PADDED_BY, WIDTH, Block, frames, numbers, seeded, triangle
from .sequence_attention import Attends

CHUNK = 4


class Halved(nn.Module):
    """Two convolutions of stride two that see zeros behind the end of each recording."""

    zeroed = True

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv1d(WIDTH, WIDTH, 3, stride=2, padding=1)
        self.second = nn.Conv1d(WIDTH, WIDTH, 3, stride=2, padding=1)

    def shorter(self, lengths: Tensor) -> Tensor:
        """Return how many frames a stride of two leaves."""
        return (lengths + 1) // 2

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        for layer in (self.first, self.second):
            if self.zeroed:
                x = x * (torch.arange(x.shape[1]) < lengths[:, None])[..., None]
            x, lengths = layer(x.mT).mT.relu(), self.shorter(lengths)
        return x, lengths


class HalvedOverPads(Halved):
    """Whatever stands behind the end is filtered into the last frames."""

    zeroed = False


class HalvedOnce(Halved):
    """Zeroes what it is given, and not what it makes: a bias makes pads of the first layer."""

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        x = x * (torch.arange(x.shape[1]) < lengths[:, None])[..., None]
        x, lengths = self.first(x.mT).mT.relu(), self.shorter(lengths)
        return self.second(x.mT).mT.relu(), self.shorter(lengths)


class HalvedOneMore(Halved):
    """Counts one frame too many of each half."""

    def shorter(self, lengths: Tensor) -> Tensor:
        return lengths // 2 + 1


class Module(nn.Module):
    """A conformer's convolution module: gate, depthwise filter over zeroed pads, norm."""

    zeroed = True
    training_norm = False

    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Linear(WIDTH, 2 * WIDTH)
        self.filter = nn.Conv1d(WIDTH, WIDTH, 5, padding=2, groups=WIDTH)
        self.norm = nn.BatchNorm1d(WIDTH) if self.training_norm else nn.GroupNorm(1, WIDTH)

    def forward(self, x: Tensor, keep: Tensor) -> Tensor:
        x = nn.functional.glu(self.gate(x), dim=-1)
        if self.zeroed:
            x = x * keep[..., None]
        x = self.filter(x.mT)
        if not self.training_norm:
            return self.norm(x.transpose(1, 2).flatten(0, 1)).unflatten(0, (len(keep), -1))
        return self.norm(x).mT


class ModuleOverPads(Module):
    zeroed = False


class ModuleBatchNorm(Module):
    """BatchNorm takes padding into its mean while training."""

    training_norm = True


class Recogniser(nn.Module):
    """Recordings in; one distribution for each recording out."""

    def __init__(self, halve: nn.Module, module: nn.Module) -> None:
        super().__init__()
        self.halve = halve
        self.blocks = nn.ModuleList([Block(Attention()), Block(module)])
        self.leave = nn.Linear(WIDTH, WIDTH + 1)

    def centred(self, features: Tensor, lengths: Tensor) -> Tensor:
        keep = torch.arange(features.shape[1]) < lengths[:, None]
        mean = (features * keep[..., None]).sum(1) / lengths[:, None]
        return features - mean[:, None]

    def forward(self, features: Tensor, lengths: Tensor) -> Tensor:
        x, lengths = self.halve(self.centred(features, lengths), lengths)
        keep = torch.arange(x.shape[1]) < lengths[:, None]
        for block in self.blocks:
            x = block(x, keep)
        x = x.masked_fill(~keep[..., None], 0.0)
        return self.leave(x.sum(1) / lengths[:, None])


class RecogniserCentredByAll(Recogniser):
    """The mean over the padded recording is taken off."""

    def centred(self, features: Tensor, lengths: Tensor) -> Tensor:
        return features - features.mean(1, keepdim=True)


class InChunks(Attends):
    """Streaming attention: this chunk and all before."""

    def allowed(self, query: Tensor, key: Tensor) -> Tensor:
        return key // CHUNK <= query // CHUNK


class ChunkAndNext(Attends):
    """One chunk of look-ahead."""

    def allowed(self, query: Tensor, key: Tensor) -> Tensor:
        return key // CHUNK <= query // CHUNK + 1


class StreamingFilter(nn.Module):
    """A causal depthwise filter."""

    left, right = 4, 0

    def __init__(self) -> None:
        super().__init__()
        self.filter = nn.Conv1d(WIDTH, WIDTH, 5, groups=WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        return self.filter(nn.functional.pad(x.mT, (self.left, self.right))).mT


class CentredFilter(StreamingFilter):
    left, right = 2, 2


class Running(nn.Module):
    """Features less their mean up to now."""

    def mean(self, x: Tensor) -> Tensor:
        return x.cumsum(1) / torch.arange(1, x.shape[1] + 1, dtype=x.dtype)[:, None]

    def forward(self, x: Tensor) -> Tensor:
        return x - self.mean(x)


class OverTheRecording(Running):
    def mean(self, x: Tensor) -> Tensor:
        return x.mean(1, keepdim=True)


class Smoothed(nn.Module):
    """Each frame and those before it, exponentially less."""

    def weights(self, length: int, dtype: torch.dtype) -> Tensor:
        gap = torch.arange(length)[:, None] - torch.arange(length)[None, :]
        return (0.7 ** gap.clamp_min(0).to(dtype)) * triangle(length)

    def forward(self, x: Tensor) -> Tensor:
        return self.weights(x.shape[1], x.dtype) @ x


class SmoothedBothWays(Smoothed):
    def weights(self, length: int, dtype: torch.dtype) -> Tensor:
        weights = super().weights(length, dtype)
        return weights + weights.mT


class Streaming(nn.Module):
    """A front, attention in chunks, a filter."""

    def __init__(self, front: nn.Module, attention: nn.Module, last: nn.Module) -> None:
        super().__init__()
        self.front = front
        self.blocks = nn.ModuleList([Block(attention), Block(last)])
        self.leave = nn.Linear(WIDTH, WIDTH + 1)

    def forward(self, features: Tensor) -> Tensor:
        x = self.front(features)
        for block in self.blocks:
            x = block(x)
        return self.leave(x)


def recordings(length: int) -> dict[str, Tensor]:
    """Return padded recordings and their lengths; what stands behind the end is noise."""
    return {"features": numbers(BATCH, length, WIDTH), "lengths": length - torch.tensor(PADDED_BY)}


def _padded(
    name: str,
    wrong: tuple[type[nn.Module], type[nn.Module]],
    module: str,
    cause: tuple[str, ...],
    *,
    model: type[Recogniser] = Recogniser,
    claim: Claim | None = None,
    when: Condition = ALWAYS,
) -> Fault:
    return Fault(
        name=name,
        family="speech",
        wrong=seeded(lambda: model(*(part() for part in wrong))),
        right=seeded(lambda: Recogniser(Halved(), Module())),
        claim=claim or PadInvariant(),
        inputs=recordings,
        module=module,
        cause=cause,
        when=when,
    )


def _streamed(
    name: str,
    wrong: tuple[type[nn.Module], type[nn.Module], type[nn.Module]],
    module: str,
    cause: tuple[str, ...],
    front: type[nn.Module] = Running,
) -> Fault:
    return Fault(
        name=name,
        family="speech",
        wrong=seeded(lambda: Streaming(*(part() for part in wrong))),
        right=seeded(lambda: Streaming(front(), InChunks(), StreamingFilter())),
        claim=Sees({"features": sl.block_causal(CHUNK)}),
        inputs=frames,
        module=module,
        cause=cause,
    )


FAULTS = (
    _padded("striding filter over pads", (HalvedOverPads, Module), "halve.first", ("conv",)),
    _padded("pads made by the first filter", (HalvedOnce, Module), "halve.second", ("conv",)),
    _padded("one frame too many", (HalvedOneMore, Module), "halve.second",
            ("off by one", "length", "conv")),
    _padded("filter over pads", (Halved, ModuleOverPads), "blocks.1.mix.filter", ("conv",)),
    _padded("batch norm over pads", (Halved, ModuleBatchNorm), "blocks.1.mix.norm",
            ("BatchNorm", "batch norm"), when=Condition(training=True)),
    _padded("centred by the padded recording", (Halved, Module), "", ("mean",),
            model=RecogniserCentredByAll),
    _streamed("looks a chunk ahead", (Running, ChunkAndNext, StreamingFilter), "blocks.0.mix",
              ("chunk",)),
    _streamed("filter in the middle", (Running, InChunks, CentredFilter), "blocks.1.mix",
              ("conv",)),
    _streamed("centred by the recording", (OverTheRecording, InChunks, StreamingFilter), "front",
              ("mean",)),
    _streamed("smoothed both ways", (SmoothedBothWays, InChunks, StreamingFilter), "front",
              ("smooth", "both"), Smoothed),
)  # fmt: skip
