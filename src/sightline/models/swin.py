"""Swin: an image as patches that attend within windows, shifted in every other block, and merge.

How a map is cut is in swin_windows.py, attention within windows in swin_attention.py, the names of
transformers' weights in swin_weights.py; training is recipes/swin's part.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import nn
from torch.nn import functional

from sightline.engines.registry import check_engine
from sightline.engines.shared import refuse_shared
from sightline.errors import InvalidArgument, ShapeMismatch
from sightline.masks.mask import Mask
from sightline.models.config_checks import check_rates, check_sizes
from sightline.models.swin_attention import Layout, WindowAttention
from sightline.models.swin_weights import load_state, read_config
from sightline.models.swin_windows import Windows
from sightline.nn.linear import linear
from sightline.nn.silent import activate, layer_norm

__all__ = ["Swin", "SwinConfig"]

Kind = Literal["shifted", "unshifted", "global"]
Pair = tuple[int, int]


@dataclass(frozen=True)
class SwinConfig:
    """The sizes of a Swin, and which windows it has. The defaults are Swin-T's.

    Attributes:
        image: rows and columns of pixels; one number for both. Images of other sizes go in too,
            unless ``windows`` is "global".
        patch: pixels of a patch along each side; an image is filled up with 0 to whole patches.
        channels: of an image.
        classes: how many logits come out.
        width: features of a patch in the first stage; each next stage has twice as many.
        depths: blocks of each stage.
        heads: attention heads of each stage; they divide its width.
        window: patches of a window along each side; a map with a side that is not greater has
            windows of that side.
        mlp_ratio: features between the two layers of the feed-forward part, as a multiple.
        dropout: the rate at which features are dropped in training.
        attention_dropout: the rate at which attention weights are.
        drop_path: the rate at which the last block's residual parts are left out in training,
            image by image; the first block's rate is 0, and it grows evenly in between.
        qkv_bias: whether queries, keys and values have a bias.
        epsilon: of the blocks' layer norms and of the last one; those of the patch embedding and
            of merging have 1e-5.
        spread: the standard deviation of the linear layers' first weights; narrow models learn
            faster from greater ones.
        soft_mask: as published: pairs of different regions get -100 instead of being forbidden,
            and what fills up a map to whole windows is attended to. Published weights expect it.
        windows: "shifted" in every second block of a stage, "unshifted" in none, or "global": one
            window over the whole map.
        layout: how attention is computed, window by window ("windows") or over all patches under
            one mask ("tokens", which holds all pairs); the result is the same.
        engine: which engine computes attention, as for ``sl.attend``.

    Raises:
        InvalidArgument: sizes that do not fit, or an unknown word.
        UnknownBackend: no engine of that name.
    """

    image: int | Pair = 224
    patch: int = 4
    channels: int = 3
    classes: int = 1000
    width: int = 96
    depths: tuple[int, ...] = (2, 2, 6, 2)
    heads: tuple[int, ...] = (3, 6, 12, 24)
    window: int = 7
    mlp_ratio: float = 4.0
    dropout: float = 0.0
    attention_dropout: float = 0.0
    drop_path: float = 0.0
    qkv_bias: bool = True
    epsilon: float = 1e-5
    spread: float = 0.02
    soft_mask: bool = False
    windows: Kind = "shifted"
    layout: Layout = "windows"
    engine: str = "auto"

    def __post_init__(self) -> None:
        check_sizes(self, "patch", "channels", "classes", "width", "window")
        if min(self.sides) < 1:
            raise InvalidArgument(f"got image={self.image}; wanted sides of at least 1 pixel.")
        check_rates(self, "dropout", "attention_dropout", "drop_path")
        for name in ("mlp_ratio", "spread"):
            if not getattr(self, name) > 0:
                raise InvalidArgument(f"got {name}={getattr(self, name)}; wanted more than 0.")
        for name, kinds in (("windows", Kind), ("layout", Layout)):
            if getattr(self, name) not in get_args(kinds):
                raise InvalidArgument(
                    f"got {name}={getattr(self, name)!r}; wanted one of {get_args(kinds)}."
                )
        self._check_stages()
        check_engine(self.engine)

    def _check_stages(self) -> None:
        fits = len(self.depths) == len(self.heads) >= 1
        if not fits or min((*self.depths, *self.heads)) < 1:
            raise InvalidArgument(
                f"got depths={self.depths} and heads={self.heads}; wanted a number of at least 1 "
                "for each stage in both."
            )
        for stage, heads in enumerate(self.heads):
            if self.width_of(stage) % heads:
                raise InvalidArgument(
                    f"got {heads} heads in stage {stage} of {self.width_of(stage)} features; "
                    "wanted heads that divide them; change heads= or width=."
                )

    @property
    def sides(self) -> Pair:
        """Rows and columns of pixels."""
        return (self.image, self.image) if isinstance(self.image, int) else self.image

    def width_of(self, stage: int) -> int:
        """Return the features of a patch in a stage."""
        return self.width * 2**stage

    def grid_of(self, stage: int) -> Pair:
        """Return rows and columns of patches in a stage, for images of the usual size."""
        rows, columns = (-(-side // (self.patch * 2**stage)) for side in self.sides)
        return rows, columns

    def windows_of(self, grid: Pair, block: int) -> Windows:
        """Return how block number ``block`` of a stage (from 0) cuts a map of a size."""
        if self.windows == "global":
            return Windows.whole(grid)
        return Windows.of(grid, self.window, shifted=self.windows == "shifted" and block % 2 == 1)

    def masks(self, stage: int) -> tuple[Mask, ...]:
        """Return who may see whom in each block of a stage, over its patches row by row.

        >>> config = SwinConfig(image=8, patch=1, window=2, depths=(2, 1), heads=(1, 1), width=4)
        >>> for mask in config.masks(0):
        ...     print(mask)
        shifted_window(grid=(8, 8), window=(2, 2), shift=(0, 0))
        shifted_window(grid=(8, 8), window=(2, 2), shift=(1, 1))
        """
        grid = self.grid_of(stage)
        return tuple(self.windows_of(grid, block).mask for block in range(self.depths[stage]))


class Block(nn.Module):
    """Attention within windows and a feed-forward part, each after a norm, beside a residual."""

    def __init__(self, config: SwinConfig, stage: int, drop_path: float) -> None:
        super().__init__()
        width = config.width_of(stage)
        hidden = int(config.mlp_ratio * width)
        greatest = (config.window, config.window)
        if config.windows == "global":
            greatest = config.grid_of(stage)
        self.norm_1 = nn.LayerNorm(width, config.epsilon)
        self.attention = WindowAttention(
            width,
            config.heads[stage],
            greatest,
            soft=config.soft_mask,
            layout=config.layout,
            dropout=config.attention_dropout,
            bias=config.qkv_bias,
            engine=config.engine,
        )
        self.norm_2 = nn.LayerNorm(width, config.epsilon)
        self.up = nn.Linear(width, hidden)
        self.down = nn.Linear(hidden, width)
        self.drop = nn.Dropout(config.dropout)
        self.drop_path = drop_path

    def forward(self, maps: torch.Tensor, windows: Windows) -> torch.Tensor:
        """Return the maps [batch, rows, columns, width] after this block."""
        seen = self.attention(layer_norm(maps, self.norm_1), windows)
        maps = maps + self._some(self.drop(seen))
        hidden = linear(layer_norm(maps, self.norm_2), self.up.weight, self.up.bias)
        hidden = activate(hidden, functional.gelu)
        added = self.drop(linear(self.drop(hidden), self.down.weight, self.down.bias))
        return maps + self._some(added)

    def _some(self, added: torch.Tensor) -> torch.Tensor:
        """Leave out what is added for some images (Huang et al. 2016, "Stochastic Depth")."""
        if not self.training or not self.drop_path:
            return added
        kept = torch.rand(len(added), 1, 1, 1, device=added.device) >= self.drop_path
        return torch.where(kept, added / (1 - self.drop_path), 0)


class Merging(nn.Module):
    """Four neighbours become one patch of twice the features; maps of odd sides get zeros."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4 * width)
        self.reduce = nn.Linear(4 * width, 2 * width, bias=False)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Return [batch, rows / 2, columns / 2, 2 * width], rounded up."""
        rows, columns = maps.shape[1:3]
        if rows % 2 or columns % 2:
            maps = functional.pad(maps, (0, 0, 0, columns % 2, 0, rows % 2))
        # In the order of the published weights: down first.
        four = [maps[:, down::2, right::2] for right in (0, 1) for down in (0, 1)]
        return linear(layer_norm(torch.cat(four, dim=-1), self.norm), self.reduce.weight)


class Swin(nn.Module):
    """An image classifier of windows: patches, stages of blocks, a mean over what is left, logits.

    Within a window every patch sees every patch. A block with shifted windows lets neighbours of
    different windows meet; its mask is one expression over the patches, ``sl.shifted_window``.
    What is forbidden changes no bit of what a patch gets, unless ``soft_mask`` asks for the
    published -100.

    Args:
        config: the sizes and the windows.

    Source: Liu et al. 2021, "Swin Transformer: Hierarchical Vision Transformer using Shifted
    Windows", section 3.

    >>> import torch
    >>> from sightline.models.swin import Swin, SwinConfig
    >>> sizes = dict(width=8, depths=(2, 1), heads=(1, 2), classes=10)
    >>> model = Swin(SwinConfig(image=8, patch=1, channels=1, window=2, **sizes))
    >>> model(torch.rand(3, 1, 8, 8)).shape
    torch.Size([3, 10])
    >>> [tuple(maps.shape) for maps in model.features(torch.rand(3, 1, 8, 8))]
    [(3, 8, 8, 8), (3, 16, 4, 4)]
    """

    def __init__(self, config: SwinConfig) -> None:
        super().__init__()
        self.config = config
        patch, last = config.patch, config.width_of(len(config.depths) - 1)
        self.embed = nn.Conv2d(config.channels, config.width, patch, stride=patch)
        self.embed_norm = nn.LayerNorm(config.width)
        self.drop = nn.Dropout(config.dropout)
        blocks = sum(config.depths)
        rates = [config.drop_path * number / max(1, blocks - 1) for number in range(blocks)]
        self.stages = nn.ModuleList(
            nn.ModuleList(Block(config, stage, rates.pop(0)) for _ in range(depth))
            for stage, depth in enumerate(config.depths)
        )
        merged = range(len(config.depths) - 1)
        self.merges = nn.ModuleList(Merging(config.width_of(stage)) for stage in merged)
        self.norm = nn.LayerNorm(last, config.epsilon)
        self.head = nn.Linear(last, config.classes)
        self._draw()

    def _draw(self) -> None:
        """Draw the linear layers' first weights as the authors do."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=self.config.spread)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    @classmethod
    def from_transformers(
        cls,
        model: Any,
        *,
        soft_mask: bool = True,
        layout: Layout = "windows",
        engine: str = "auto",
    ) -> Swin:
        """Return a model with the weights of transformers' SwinForImageClassification.

        Args:
            model: theirs; only its ``config`` and ``state_dict`` are read.
            soft_mask: True computes what theirs does; False forbids where they add -100.
            layout: as in the configuration.
            engine: as in the configuration.

        Raises:
            InvalidArgument: an option of theirs that this model lacks.
            ShapeMismatch: a weight that is missing or of another shape.
        """
        options: dict[str, Any] = {"soft_mask": soft_mask, "layout": layout, "engine": engine}
        made = cls(SwinConfig(**read_config(model.config), **options))
        load_state(made, model.state_dict())
        return made.to(device=model.device, dtype=model.dtype).train(model.training)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the logits of images.

        Args:
            images: [batch, channels, rows, columns] of floats.

        Returns:
            [batch, classes].

        Raises:
            ShapeMismatch: other channels; or, of global windows, images of another size.
        """
        return linear(self.pooled(images), self.head.weight, self.head.bias)

    def pooled(self, images: torch.Tensor) -> torch.Tensor:
        """Return the mean over the patches of the last stage, [batch, features]; as ``forward``."""
        last = self._run(images)[-1]
        return layer_norm(last, self.norm).flatten(1, 2).mean(1)

    def features(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Return each stage's map [batch, features, rows, columns], before patches are merged."""
        return [maps.permute(0, 3, 1, 2) for maps in self._run(images)]

    def attention(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Return each block's weights [batch, heads, patches, patches], to look at.

        Patches are numbered row by row; see ``WindowAttention.weights``.
        """
        found: list[torch.Tensor] = []
        self._run(images, found)
        return found

    def patches(self, images: torch.Tensor) -> torch.Tensor:
        """Return what enters the first stage, [batch, rows, columns, width] of patches.

        Raises:
            ShapeMismatch: as for ``forward``.
        """
        config = self.config
        if images.ndim != 4 or images.shape[1] != config.channels or 0 in images.shape[2:]:
            raise ShapeMismatch(
                f"got images {list(images.shape)}; wanted [batch, {config.channels}, rows, "
                "columns]; an image in grey has one channel: images[:, None]."
            )
        rows, columns = images.shape[2:]
        if config.windows == "global" and (rows, columns) != config.sides:
            raise ShapeMismatch(
                f"got images of {rows} x {columns} pixels for global windows of {config.sides}; "
                "wanted the configuration's size: the offsets of others have no bias."
            )
        down, right = -rows % config.patch, -columns % config.patch
        if down or right:
            images = functional.pad(images, (0, right, 0, down))
        maps = self.embed(images).permute(0, 2, 3, 1)
        return self.drop(layer_norm(maps, self.embed_norm))

    def run_stage(
        self, stage: int, maps: torch.Tensor, weights: list[torch.Tensor] | None = None
    ) -> torch.Tensor:
        """Return maps [batch, rows, columns, features] after the blocks of a stage.

        Args:
            stage: its number, from 0.
            maps: what goes in.
            weights: a list that each block's attention weights are added to.
        """
        refuse_shared("Swin")
        grid = (maps.shape[1], maps.shape[2])
        blocks: Any = self.stages[stage]
        for number, block in enumerate(blocks):
            windows = self.config.windows_of(grid, number)
            if weights is not None:
                weights.append(block.attention.weights(layer_norm(maps, block.norm_1), windows))
            maps = block(maps, windows)
        return maps

    def _run(
        self, images: torch.Tensor, weights: list[torch.Tensor] | None = None
    ) -> list[torch.Tensor]:
        """Return each stage's maps [batch, rows, columns, features]."""
        refuse_shared("Swin")
        maps = self.patches(images)
        found: list[torch.Tensor] = []
        for stage in range(len(self.stages)):
            if stage:
                maps = self.merges[stage - 1](maps)
            maps = self.run_stage(stage, maps, weights)
            found.append(maps)
        return found


def parameters_of(config: SwinConfig) -> int:
    """Return how many numbers a model of these sizes learns, without making it.

    >>> parameters_of(SwinConfig())  # Swin-T
    28288354
    """
    with torch.device("meta"):
        model = Swin(config)
    return sum(math.prod(each.shape) for each in model.parameters())
