"""A small residual network for images, with one of six kinds of attention at the same places.

The kinds stand in nn/; here is the network that is the same for all of them. Training is
recipes/cnn_attention's part.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import nn

from sightline.engines.shared import refuse_shared
from sightline.errors import InvalidArgument, ShapeMismatch
from sightline.masks.grid import neighborhood
from sightline.masks.mask import Mask
from sightline.masks.positional import everything
from sightline.models.config_checks import check_sizes
from sightline.nn.feature_masks import CBAM, ChannelMask, clear_places, read_places
from sightline.nn.linear import linear
from sightline.nn.non_local import NonLocalBlock
from sightline.nn.pooling import masked_mean
from sightline.nn.residual_attention import ResidualAttention, ResidualUnit
from sightline.nn.soft_masks import LearnedScale, SoftMask

__all__ = ["AttentiveCNN", "AttentiveCNNConfig", "Looked"]

Attention = Literal["none", "scale", "se", "cbam", "residual", "non-local"]
STAGES = 3  # the second and the third halve the grid, and attention stands behind them


@dataclass(frozen=True)
class AttentiveCNNConfig:
    """The sizes of the network, and which attention it has.

    Attributes:
        classes: what an image may show.
        channels: numbers of a pixel.
        width: features of a place in the first stage; each further stage has twice as many.
        depth: residual units of a stage.
        attention: "none"; "scale", one learned number for each channel; "se"
            (squeeze-and-excitation), "cbam", "residual" or "non-local".
        reduction: by how much fewer channels the middle layer of "se" and "cbam" has.
        kernel_size: the width of the convolution that makes the spatial mask of "cbam".
        neighborhood: of "non-local": how many places along each axis a place may see; 0 for all.
        engine: which engine computes "non-local", as for ``sl.attend``.

    Raises:
        InvalidArgument: sizes below 1, or an unknown word.
    """

    classes: int = 10
    channels: int = 1
    width: int = 16
    depth: int = 1
    attention: Attention = "none"
    reduction: int = 4
    kernel_size: int = 7
    neighborhood: int = 0
    engine: str = "auto"

    def __post_init__(self) -> None:
        check_sizes(self, "classes", "channels", "width", "depth", "reduction")
        if self.attention not in get_args(Attention):
            raise InvalidArgument(
                f"got attention={self.attention!r}; wanted one of {get_args(Attention)}."
            )
        if self.neighborhood < 0:
            raise InvalidArgument(
                f"got neighborhood={self.neighborhood}; wanted at least 1, or 0 for all places."
            )


@dataclass(frozen=True, eq=False)
class Looked:
    """What the attention behind one stage was for some images; None for what its kind lacks.

    Attributes:
        grid: height and width of the feature map.
        channels: the mask of each channel [B, C]; of "residual" its mean over places.
        places: the mask of each place [B, H, W]; of "residual" its mean over channels.
        weights: the attention weights [B, H * W, H * W] of "non-local".
    """

    grid: tuple[int, int]
    channels: torch.Tensor | None = None
    places: torch.Tensor | None = None
    weights: torch.Tensor | None = None


class AttentiveCNN(nn.Module):
    """A residual network of three stages, attention behind the second and the third.

    A stage is a convolution 3 x 3 and ``depth`` residual units; the features behind the last one
    are normalised, averaged over places and mapped to the classes. The backbone's first weights
    are drawn before those of the attention: from one seed they are equal whatever the attention,
    and a network whose masks are frozen gives what the network without gives, bit for bit.

    Args:
        config: the sizes and the kind of attention.

    Source: the backbone is the network for small images of He et al. 2016, "Deep Residual Learning
    for Image Recognition", section 4.2, with the units of their "Identity Mappings in Deep Residual
    Networks"; the kinds of attention name theirs.

    >>> images = torch.rand(2, 12, 9)
    >>> model = AttentiveCNN(AttentiveCNNConfig(width=4, attention="se"))
    >>> model(images).shape, [each.grid for each in model.look(images)]
    (torch.Size([2, 10]), [(6, 5), (3, 3)])
    """

    def __init__(self, config: AttentiveCNNConfig) -> None:
        super().__init__()
        self.config = config
        widths = [config.width * 2**stage for stage in range(STAGES)]
        before = [config.channels, *widths]
        self.steps = nn.ModuleList(
            nn.Conv2d(before[n], widths[n], 3, stride=min(n + 1, 2), padding=1, bias=False)
            for n in range(STAGES)
        )
        self.units = nn.ModuleList(
            nn.ModuleList(ResidualUnit(width) for _ in range(config.depth)) for width in widths
        )
        self.norm = nn.BatchNorm2d(widths[-1])
        self.head = nn.Linear(widths[-1], config.classes)
        # Last of all, so that the weights above do not depend on what is drawn here.
        self.attention = nn.ModuleList(_attention(width, config) for width in widths[1:])

    def freeze_masks(self, frozen: bool = True) -> AttentiveCNN:
        """Freeze all masks at 1 (of "non-local": leave the blocks out), or let them act again."""
        for part in self.attention:
            if isinstance(part, SoftMask):
                part.freeze(frozen)
        return self

    def mask(self, grid: tuple[int, int]) -> Mask:
        """Return which places of a feature map each place may see where it looks at others.

        >>> AttentiveCNN(AttentiveCNNConfig(neighborhood=3)).mask((5, 2))
        neighborhood(grid=(5, 2), kernel=(3, 2), dilation=(1, 1))
        """
        if not self.config.neighborhood:
            return everything()
        height, width = (min(self.config.neighborhood, size) for size in grid)
        return neighborhood(grid=grid, kernel=(height, width))

    def forward(self, images: torch.Tensor, *, valid: Any = None) -> torch.Tensor:
        """Return each image's logits over the classes.

        Args:
            images: floats [B, H, W] if the configuration has one channel, or [B, channels, H, W].
            valid: True for a pixel of the image, bools [B, H, W], where images of several sizes
                stand on canvases of one; None where all are. What the others hold does not
                matter. In training the norms count their places, as zeros.

        Returns:
            [B, classes].

        Raises:
            ShapeMismatch: sizes that do not fit.
            InvalidArgument: images that are not floats, ``valid`` not bools.
        """
        x, real = self._read(images, valid)
        for stage in range(STAGES):
            x, real = self._stage(x, real, stage)
            if stage:
                x = self._attend(x, real, stage)
        x = self.norm(x).relu()
        flat = None if real is None else real.flatten(1)
        places = x.flatten(2).transpose(1, 2)
        pooled = places.mean(1) if flat is None else masked_mean(places, flat)
        return linear(pooled, self.head.weight, self.head.bias)

    def look(self, images: torch.Tensor, *, valid: Any = None) -> list[Looked]:
        """Return what the attention behind each stage but the first is; as ``forward``.

        >>> model = AttentiveCNN(AttentiveCNNConfig(width=4, attention="non-local")).eval()
        >>> model.look(torch.rand(2, 12, 9))[1].weights.shape
        torch.Size([2, 9, 9])
        """
        x, real = self._read(images, valid)
        found: list[Looked] = []
        for stage in range(STAGES):
            x, real = self._stage(x, real, stage)
            if stage:
                found.append(self._looked(x, real, stage))
                x = self._attend(x, real, stage)
        return found

    def _read(self, images: Any, valid: Any) -> tuple[torch.Tensor, torch.Tensor | None]:
        refuse_shared("AttentiveCNN")
        if isinstance(images, torch.Tensor) and images.ndim == 3:
            images = images[:, None]
        x, real = read_places(images, valid, self.config.channels)
        if x.ndim != 4 or 0 in x.shape[2:]:
            raise ShapeMismatch(
                f"got images of shape {list(images.shape)}; wanted [batch, channels, height, "
                "width], or [batch, height, width] of one channel, with a pixel at least."
            )
        return (x, None) if valid is None else (clear_places(x, real), real)

    def _stage(
        self, x: torch.Tensor, real: torch.Tensor | None, stage: int
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        x = self.steps[stage](x)
        if stage and real is not None:
            real = real[:, ::2, ::2]  # the places that the convolution's middle stands on
        x = clear_places(x, real)
        units: Any = self.units[stage]
        for unit in units:
            x = unit(x, real)
        return x, real

    def _attend(self, x: torch.Tensor, real: torch.Tensor | None, stage: int) -> torch.Tensor:
        part: Any = self.attention[stage - 1]
        if isinstance(part, NonLocalBlock):
            return part(x, self.mask((x.shape[2], x.shape[3])), real)
        if isinstance(part, (nn.Identity, LearnedScale)):
            return part(x)
        return part(x, real)

    def _looked(self, x: torch.Tensor, real: torch.Tensor | None, stage: int) -> Looked:
        part: Any = self.attention[stage - 1]
        grid = (x.shape[2], x.shape[3])
        if isinstance(part, LearnedScale):
            return Looked(grid, channels=part.mask.flatten().expand(len(x), -1))
        if isinstance(part, ChannelMask):
            return Looked(grid, channels=part.mask(x, real).flatten(1))
        if isinstance(part, CBAM):
            channels = part.channel.mask(x, real)
            places = part.spatial.mask(channels * x, real)
            return Looked(grid, channels=channels.flatten(1), places=places[:, 0])
        if isinstance(part, ResidualAttention):
            mask = part.mask(x, real)
            return Looked(grid, channels=mask.mean((2, 3)), places=mask.mean(1))
        if isinstance(part, NonLocalBlock):
            return Looked(grid, weights=part.weights(x, self.mask(grid), real))
        return Looked(grid)


def _attention(channels: int, config: AttentiveCNNConfig) -> nn.Module:
    kinds = {
        "none": nn.Identity,
        "scale": lambda: LearnedScale((channels, 1, 1)),
        "se": lambda: ChannelMask(channels, config.reduction),
        "cbam": lambda: CBAM(channels, config.reduction, config.kernel_size),
        "residual": lambda: ResidualAttention(channels),
        "non-local": lambda: NonLocalBlock(channels, engine=config.engine),
    }
    return kinds[config.attention]()
