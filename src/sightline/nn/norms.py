"""Normalisation over time whose statistics come from the real positions alone.

Layer, group and instance norm per sequence, batch norm over all sequences; each loads the
``state_dict`` of torch's own. Features are [B, L, D]; the output at padding is 0. ``valid`` is
described in valid.py; None means that every position is real.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import nn

from sightline.engines.guarded.arithmetic import working_dtype
from sightline.engines.shared import refuse_shared
from sightline.errors import InvalidArgument, ShapeMismatch
from sightline.nn.layout import Layout, check_layout, laid_out, read_features
from sightline.nn.valid import clear


class MaskedGroupNorm(nn.GroupNorm):
    """Group normalisation over the real positions of each sequence and the features of a group.

    Parameters and arguments are those of ``torch.nn.GroupNorm``; so is the output where nothing
    is padded (that layer takes [B, D, L]).

    Args:
        num_groups: into how many groups the features are split; it divides them.
        num_channels: how many features a position has, D.
        eps: added to the variance.
        affine: whether there is a learned scale and shift for each feature.
        layout: "BLD" for [B, L, D], "BDL" for the [B, D, L] of torch's layer.

    Source: Wu and He 2018, "Group Normalization", equations 1, 2 and 7.

    >>> import sightline as sl
    >>> norm = MaskedGroupNorm(1, 2)
    >>> x = torch.tensor([[[1.0, 3.0], [3.0, 1.0], [torch.nan, torch.inf]]])
    >>> norm(x, sl.padding(lengths=[2])).detach().round(decimals=3)
    tensor([[[-1.,  1.],
             [ 1., -1.],
             [ 0.,  0.]]])
    """

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        *,
        layout: Layout = "BLD",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(num_groups, num_channels, eps, affine, device, dtype)
        self.layout: Layout = check_layout(layout)

    def forward(self, input: torch.Tensor, valid: Any = None) -> torch.Tensor:
        """Return ``input`` normalised, of the same shape and dtype; 0 at padding.

        Raises:
            ShapeMismatch: sizes that do not fit.
            InvalidArgument: ``input`` not floating, ``valid`` not bools.
            InvalidMask: ``valid`` is a mask that asks more than the key.
        """
        refuse_shared("sl.nn.MaskedGroupNorm")
        x, real = read_features(input, valid, self.num_channels, self.layout)
        normal = _normalised(x, real, self.num_groups, self.eps)
        return laid_out(_scaled(normal, self.weight, self.bias, real, x.dtype), self.layout)


class MaskedInstanceNorm1d(nn.InstanceNorm1d):
    """Normalisation of each feature of each sequence over its real positions.

    Parameters and arguments are those of ``torch.nn.InstanceNorm1d``, less running statistics:
    these would be those of a batch norm.

    Args:
        num_features: how many features a position has, D.
        eps: added to the variance.
        affine: whether there is a learned scale and shift for each feature.
        layout: "BLD" for [B, L, D], "BDL" for the [B, D, L] of torch's layer.

    Source: Ulyanov et al. 2016, "Instance Normalization", equation 2.

    >>> import sightline as sl
    >>> norm = MaskedInstanceNorm1d(1)
    >>> norm(torch.tensor([[[5.0], [7.0], [torch.nan]]]), sl.padding(lengths=[2])).flatten()
    tensor([-1.0000,  1.0000,  0.0000])
    """

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        affine: bool = False,
        *,
        layout: Layout = "BLD",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(num_features, eps, affine=affine, device=device, dtype=dtype)
        self.layout: Layout = check_layout(layout)

    def forward(self, input: torch.Tensor, valid: Any = None) -> torch.Tensor:
        """Return ``input`` normalised, of the same shape and dtype; 0 at padding.

        Raises:
            ShapeMismatch, InvalidArgument, InvalidMask: as for ``MaskedGroupNorm``.
        """
        refuse_shared("sl.nn.MaskedInstanceNorm1d")
        x, real = read_features(input, valid, self.num_features, self.layout)
        normal = _normalised(x, real, self.num_features, self.eps)
        return laid_out(_scaled(normal, self.weight, self.bias, real, x.dtype), self.layout)


class MaskedLayerNorm(nn.LayerNorm):
    """Layer normalisation of sequences, with the time axis in the statistics or without.

    With ``over="time"`` the mean and the variance are those of all features at all real positions
    of a sequence (``torch.nn.LayerNorm([L, D])`` of a sequence without padding, but for one scale
    and shift per feature). With ``over="features"`` each position has its own, as
    ``torch.nn.LayerNorm(D)`` gives; padding is 0 instead of noise.

    Args:
        features: how many features a position has, D.
        eps: added to the variance.
        elementwise_affine: whether there is a learned scale and shift for each feature.
        bias: whether the shift is there.
        over: "time" or "features".

    Source: Ba et al. 2016, "Layer Normalization", equation 3; over time: Luo and Mesgarani 2019,
    "Conv-TasNet", equations 10 to 12 (global layer normalisation).

    >>> import sightline as sl
    >>> x = torch.tensor([[[1.0, 3.0], [3.0, 1.0], [torch.nan, torch.inf]]])
    >>> MaskedLayerNorm(2)(x, sl.padding(lengths=[2])).detach().round(decimals=3)
    tensor([[[-1.,  1.],
             [ 1., -1.],
             [ 0.,  0.]]])
    """

    def __init__(
        self,
        features: int,
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        *,
        over: Literal["time", "features"] = "time",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(features, eps, elementwise_affine, bias, device, dtype)
        if over not in ("time", "features"):
            raise InvalidArgument(
                f"got over={over!r}; wanted 'time', statistics of a whole sequence, or 'features', "
                "statistics of each position."
            )
        self.over = over

    def forward(self, input: torch.Tensor, valid: Any = None) -> torch.Tensor:
        """Return ``input`` [B, L, D] normalised, of the same shape and dtype; 0 at padding.

        Raises:
            ShapeMismatch, InvalidArgument, InvalidMask: as for ``MaskedGroupNorm``.
        """
        if self.over == "time":
            refuse_shared('sl.nn.MaskedLayerNorm(over="time")')
        x, real = read_features(input, valid, self.normalized_shape[0], "BLD")
        if self.over == "features":
            return clear(super().forward(clear(x, real)), real)
        return _scaled(_normalised(x, real, 1, self.eps), self.weight, self.bias, real, x.dtype)


class MaskedBatchNorm1d(nn.BatchNorm1d):
    """Batch normalisation whose batch is the real positions of all sequences.

    Equal to ``torch.nn.BatchNorm1d`` on the real tokens set side by side, running statistics
    included, so neither padding nor how much of it there is has a part in anything. A batch
    without a real token gives zeros and leaves the running statistics alone.

    Args:
        num_features: how many features a position has, D.
        eps: added to the variance.
        momentum: the weight of the newest batch in the running statistics; None for their mean.
        affine: whether there is a learned scale and shift for each feature.
        track_running_stats: whether there are running statistics, used in evaluation.
        layout: "BLD" for [B, L, D], "BDL" for the [B, D, L] of torch's layer.

    Source: Ioffe and Szegedy 2015, "Batch Normalization", algorithms 1 and 2.

    >>> import sightline as sl
    >>> norm = MaskedBatchNorm1d(1)
    >>> x = torch.tensor([[[5.0], [7.0]], [[6.0], [torch.nan]]])
    >>> norm(x, sl.padding(lengths=[2, 1])).detach().flatten().round(decimals=2)
    tensor([-1.2200,  1.2200,  0.0000,  0.0000])
    """

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        *,
        layout: Layout = "BLD",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype)
        self.layout: Layout = check_layout(layout)

    def forward(self, input: torch.Tensor, valid: Any = None) -> torch.Tensor:
        """Return ``input`` normalised, of the same shape and dtype; 0 at padding.

        Raises:
            ShapeMismatch: sizes that do not fit; one real token only, in training.
            InvalidArgument, InvalidMask: as for ``MaskedGroupNorm``.
        """
        refuse_shared("sl.nn.MaskedBatchNorm1d")
        x, real = read_features(input, valid, self.num_features, self.layout)
        tokens = x[real]
        if len(tokens) == 1 and (self.training or not self.track_running_stats):
            raise ShapeMismatch(
                "got one real token in the whole batch; wanted at least two to take a variance "
                "from; use a larger batch, or the layer in evaluation (.eval())."
            )
        if len(tokens):
            tokens = super().forward(tokens)
        return laid_out(torch.zeros_like(x).masked_scatter(real[..., None], tokens), self.layout)


def _normalised(x: torch.Tensor, real: torch.Tensor, groups: int, eps: float) -> torch.Tensor:
    """Return ``x`` [B, L, D] less its mean, over its deviation, in the working dtype.

    Both are taken over the real positions of a sequence and the features of a group. Padding is 0.
    """
    batch, length, channels = x.shape
    work = clear(x, real).to(working_dtype(x.dtype))
    work = work.reshape(batch, length, groups, channels // groups)
    count = (real.sum(dim=1).clamp(min=1) * (channels // groups)).to(work.dtype)
    count = count.reshape(batch, 1, 1, 1)
    mean = work.sum(dim=(1, 3), keepdim=True) / count
    centred = clear(work - mean, real)
    variance = centred.square().sum(dim=(1, 3), keepdim=True) / count
    return (centred * (variance + eps).rsqrt()).reshape(x.shape)


def _scaled(
    normal: torch.Tensor,
    weight: torch.Tensor | None,
    bias: torch.Tensor | None,
    real: torch.Tensor,
    dtype: torch.dtype,
) -> torch.Tensor:
    """Return ``normal`` times weight plus bias, 0 at padding, in ``dtype``."""
    if weight is not None:
        normal = normal * weight
    if bias is not None:
        normal = clear(normal + bias, real)
    return normal.to(dtype)


__all__ = ["MaskedBatchNorm1d", "MaskedGroupNorm", "MaskedInstanceNorm1d", "MaskedLayerNorm"]
