"""Masks that a network makes from its features and multiplies them by: of channels, of places.

Squeeze-and-excitation, CBAM's channel and spatial masks, for images and for sequences. Padding
takes no part in pooling and gives 0. Masks that do not depend on the input: soft_masks.py.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import nn

from sightline.engines.shared import refuse_shared
from sightline.errors import InvalidArgument, ShapeMismatch
from sightline.masks.mask import Mask
from sightline.nn.pooling import masked_max, masked_mean
from sightline.nn.soft_masks import SoftMask
from sightline.nn.valid import check_features, read_valid

Pool = Literal["mean", "max"]
_POOLS = {"mean": masked_mean, "max": masked_max}


class _FeatureMask(SoftMask):
    """A mask that features are multiplied by."""

    def mask(self, x: torch.Tensor, valid: Any = None) -> torch.Tensor:
        """Return what ``x`` is multiplied by; each kind says it."""
        raise NotImplementedError

    def forward(self, x: torch.Tensor, valid: Any = None) -> torch.Tensor:
        """Return ``x`` times its mask; 0 at padding. Frozen, ``x`` itself.

        Raises:
            ShapeMismatch, InvalidArgument, InvalidMask: as for ``mask``.
        """
        refuse_shared(f"sl.nn.{type(self).__name__}")
        if self.frozen:
            return x
        mask = self.mask(x, valid)
        return clear_places(x, valid) * mask


class ChannelMask(_FeatureMask):
    """A mask of channels made from their means: squeeze-and-excitation, and CBAM's with the max.

    ``x * sigmoid(sum of W2 relu(W1 pool(x)) over the pools)``, where a pool takes the mean (or
    the largest value) of each channel over all places. The parameters are two convolutions of
    width 1, named as in transformers' ``RegNetSELayer``, whose ``state_dict`` loads.

    Args:
        channels: how many there are, C.
        reduction: by how much fewer the middle layer has (at least 1 remains).
        pools: ("mean",) for squeeze-and-excitation, ("mean", "max") for CBAM.
        bias: whether the convolutions have a shift.

    Source: Hu et al. 2018, "Squeeze-and-Excitation Networks", equations 2 to 4; Woo et al. 2018,
    "CBAM", equation 2.

    >>> squeeze = ChannelMask(4, reduction=2)
    >>> squeeze(torch.randn(2, 4, 5, 3)).shape, squeeze.mask(torch.randn(2, 4, 5, 3)).shape
    (torch.Size([2, 4, 5, 3]), torch.Size([2, 4, 1, 1]))
    """

    def __init__(
        self,
        channels: int,
        reduction: int = 16,
        pools: tuple[Pool, ...] = ("mean",),
        bias: bool = True,
        *,
        device: Any = None,
    ) -> None:
        super().__init__()
        if not pools or any(pool not in _POOLS for pool in pools):
            raise InvalidArgument(
                f'got pools={pools!r}; wanted ("mean",), ("max",) or both, as a tuple.'
            )
        self.channels = channels
        self.pools = tuple(pools)
        middle = max(1, channels // reduction)
        self.attention = nn.Sequential(
            nn.Conv2d(channels, middle, kernel_size=1, bias=bias, device=device),
            nn.ReLU(),
            nn.Conv2d(middle, channels, kernel_size=1, bias=bias, device=device),
            nn.Sigmoid(),
        )

    def mask(self, x: torch.Tensor, valid: Any = None) -> torch.Tensor:
        """Return the mask [B, C, 1, ...], between 0 and 1; 1 if frozen.

        Args:
            x: floats [B, C, ...]: an image [B, C, H, W], or a sequence [B, C, L].
            valid: True for a real place, bools [B, ...] or, for a sequence, a padding mask; None
                where all are real.

        Raises:
            ShapeMismatch: sizes that do not fit.
            InvalidArgument: ``x`` not floating, ``valid`` not bools.
            InvalidMask: ``valid`` is a mask that asks more than the key.
        """
        refuse_shared("sl.nn.ChannelMask")
        x, real = read_places(x, valid, self.channels)
        ones = [1] * (x.ndim - 2)
        if self.frozen:
            return x.new_ones(*x.shape[:2], *ones)
        places = x.flatten(2).transpose(1, 2)
        pooled = [_POOLS[pool](places, real.flatten(1)) for pool in self.pools]
        first, relu, second, sigmoid = self.attention
        logits = torch.stack([second(relu(first(one[..., None, None]))) for one in pooled]).sum(0)
        return sigmoid(logits).reshape(*x.shape[:2], *ones)

    def extra_repr(self) -> str:
        """Return the pools, for printing."""
        return f"pools={self.pools}"


class SpatialMask(_FeatureMask):
    """A mask of places made from the mean and the largest value of the channels there.

    ``x * sigmoid(conv([mean of channels; max of channels]))`` with one convolution over places
    that keeps their number. Padding is zeros to it.

    Args:
        kernel_size: its width, odd.
        dims: 2 for images [B, C, H, W], 1 for sequences [B, C, L].
        bias: whether the convolution has a shift.

    Source: Woo et al. 2018, "CBAM", equation 3 (7 x 7, without a shift).

    >>> spatial = SpatialMask()
    >>> spatial(torch.randn(2, 4, 5, 3)).shape, spatial.mask(torch.randn(2, 4, 5, 3)).shape
    (torch.Size([2, 4, 5, 3]), torch.Size([2, 1, 5, 3]))
    """

    def __init__(
        self,
        kernel_size: int = 7,
        dims: Literal[1, 2] = 2,
        bias: bool = False,
        *,
        device: Any = None,
    ) -> None:
        super().__init__()
        if kernel_size % 2 == 0 or dims not in (1, 2):
            raise InvalidArgument(
                f"got kernel_size={kernel_size!r}, dims={dims!r}; wanted an odd width, so that "
                "the number of places stays, and 1 or 2 dimensions."
            )
        make = nn.Conv1d if dims == 1 else nn.Conv2d
        self.dims = dims
        self.conv = make(2, 1, kernel_size, padding=kernel_size // 2, bias=bias, device=device)

    def mask(self, x: torch.Tensor, valid: Any = None) -> torch.Tensor:
        """Return the mask [B, 1, ...], between 0 and 1; 1 if frozen.

        Args:
            x: floats [B, C, H, W], or [B, C, L] with ``dims=1``.
            valid: True for a real place, as for ``ChannelMask``.

        Raises:
            ShapeMismatch, InvalidArgument, InvalidMask: as for ``ChannelMask``.
        """
        refuse_shared("sl.nn.SpatialMask")
        x, real = read_places(x, valid, None)
        if x.ndim != self.dims + 2:
            raise ShapeMismatch(
                f"got x of shape {list(x.shape)}; wanted [batch, channels] and {self.dims} more "
                "axes; dims= says how many."
            )
        if self.frozen:
            return x.new_ones(len(x), 1, *x.shape[2:])
        x = clear_places(x, real)
        return self.conv(torch.stack([x.mean(1), x.amax(1)], dim=1)).sigmoid()


class CBAM(SoftMask):
    """The convolutional block attention module: a mask of channels, then a mask of places.

    Args:
        channels: how many there are, C.
        reduction: by how much fewer the middle layer of the channel mask has.
        kernel_size: the width of the spatial mask's convolution.
        dims: 2 for images [B, C, H, W], 1 for sequences [B, C, L].

    Source: Woo et al. 2018, "CBAM: Convolutional Block Attention Module", equations 1 to 3.

    >>> x = torch.randn(2, 8, 5, 3)
    >>> block = CBAM(8, reduction=4)
    >>> block(x).shape, block.freeze()(x) is x
    (torch.Size([2, 8, 5, 3]), True)
    """

    def __init__(
        self,
        channels: int,
        reduction: int = 16,
        kernel_size: int = 7,
        dims: Literal[1, 2] = 2,
        *,
        device: Any = None,
    ) -> None:
        super().__init__()
        self.channel = ChannelMask(channels, reduction, ("mean", "max"), device=device)
        self.spatial = SpatialMask(kernel_size, dims, device=device)

    def forward(self, x: torch.Tensor, valid: Any = None) -> torch.Tensor:
        """Return ``x`` times both masks; 0 at padding. Frozen, ``x`` itself.

        Raises:
            ShapeMismatch, InvalidArgument, InvalidMask: as for ``ChannelMask.mask``.
        """
        refuse_shared("sl.nn.CBAM")
        return x if self.frozen else self.spatial(self.channel(x, valid), valid)


def read_places(x: Any, valid: Any, channels: int | None) -> tuple[torch.Tensor, torch.Tensor]:
    """Return ``x`` [B, C, ...] checked, and which places are real, bools [B, ...]."""
    x = check_features(x, least=3)
    if channels is not None and x.shape[1] != channels:
        raise ShapeMismatch(
            f"got x of shape {list(x.shape)}; wanted [batch, {channels}, ...]; a sequence "
            "[batch, length, channels] is brought there by transpose(1, 2)."
        )
    batch, places = len(x), x.shape[2:]
    if valid is None:
        return x, torch.ones(batch, *places, dtype=torch.bool, device=x.device)
    if x.ndim == 3 or isinstance(valid, Mask):
        if x.ndim > 3:
            raise ShapeMismatch(
                f"got valid={valid!r} for x of shape {list(x.shape)}; wanted bools [batch, "
                "height, width]; a mask says what is real in a sequence only."
            )
        return x, read_valid(valid, batch, x.shape[2], x.device)
    given = torch.as_tensor(valid)
    if given.shape != (batch, *places):
        raise ShapeMismatch(
            f"got valid of shape {list(given.shape)}; wanted {[batch, *places]}, True for a real "
            "place of the image."
        )
    flat = read_valid(given.flatten(1), batch, places.numel(), x.device)
    return x, flat.reshape(batch, *places)


def clear_places(x: torch.Tensor, valid: Any) -> torch.Tensor:
    """Return ``x`` [B, C, ...] with 0 at padding."""
    if valid is None:
        return x
    x, real = read_places(x, valid, None)
    return torch.where(real[:, None], x, x.new_zeros(()))


__all__ = ["CBAM", "ChannelMask", "SpatialMask"]
