"""Residual attention: a trunk, and beside it a branch that makes a mask for it on a coarser grid.

The branch goes down and up again (an hourglass), so that a place's number follows from a wide
surrounding. How a mask joins its features is soft_masks.py's ``ResidualMask``.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import nn
from torch.nn import functional

from sightline.engines.shared import refuse_shared
from sightline.errors import InvalidArgument, ShapeMismatch
from sightline.nn.feature_masks import clear_places, read_places
from sightline.nn.soft_masks import ResidualMask

Form = Literal["residual", "naive"]


class ResidualUnit(nn.Module):
    """``x + conv(relu(norm(conv(relu(norm(x))))))``, both convolutions 3 x 3, norms over the batch.

    Source: He et al. 2016, "Identity Mappings in Deep Residual Networks", figure 1 (b).

    >>> ResidualUnit(4)(torch.randn(2, 4, 5, 3)).shape
    torch.Size([2, 4, 5, 3])
    """

    def __init__(self, channels: int, *, device: Any = None) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.BatchNorm2d(channels, device=device) for _ in range(2))
        self.convs = nn.ModuleList(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False, device=device) for _ in range(2)
        )

    def forward(self, x: torch.Tensor, valid: Any = None) -> torch.Tensor:
        """Return features of the shape of ``x`` [B, C, H, W].

        With ``valid``, bools [B, H, W], a convolution reads 0 where it is False, as it does
        beyond the border, and 0 comes out there; ``x`` must be finite there.
        """
        refuse_shared("ResidualUnit")
        features = x
        for norm, conv in zip(self.norms, self.convs, strict=True):
            features = conv(clear_places(norm(features).relu(), valid))
        return clear_places(x + features, valid)


class Hourglass(nn.Module):
    """Logits of a mask: down ``depth`` times, as often up again, and two convolutions of width 1.

    Going down is a max pool (3 x 3, every second place) and a residual unit; going up a residual
    unit, bilinear interpolation to the size before, and the sum with what was there.

    Args:
        channels: of the features and of the mask.
        depth: how many times the grid is halved.

    Source: Wang et al. 2017, figure 2 and section 3.2; one unit (r = 1) on each level.

    >>> Hourglass(4, depth=2)(torch.randn(2, 4, 9, 7)).shape
    torch.Size([2, 4, 9, 7])
    """

    def __init__(self, channels: int, depth: int = 1, *, device: Any = None) -> None:
        super().__init__()
        if depth < 1:
            raise InvalidArgument(f"got depth={depth!r}; wanted at least 1 halving of the grid.")
        self.down, self.up, self.across = (
            nn.ModuleList(ResidualUnit(channels, device=device) for _ in range(many))
            for many in (depth, depth, depth - 1)
        )
        self.logits = nn.Sequential(
            nn.BatchNorm2d(channels, device=device),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 1, bias=False, device=device),
            nn.BatchNorm2d(channels, device=device),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 1, device=device),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits of the shape of ``x`` [B, C, H, W]."""
        refuse_shared("Hourglass")
        return self.logits(self._level(x, 0))

    def _level(self, x: torch.Tensor, level: int) -> torch.Tensor:
        inner = functional.max_pool2d(x, 3, stride=2, padding=1)
        inner = self.down[level](inner)
        if level + 1 < len(self.down):
            inner = self.across[level](inner) + self._level(inner, level + 1)
        inner = self.up[level](inner)
        return functional.interpolate(inner, size=x.shape[2:], mode="bilinear", align_corners=False)


class ResidualAttention(ResidualMask):
    """Attention module of the residual attention network: ``(1 + M(x)) * T(x)``.

    The mask M, one number between 0 and 1 for each channel at each place, is made by an
    ``Hourglass``; T is the trunk. ``form="naive"`` is ``M(x) * T(x)``, for contrast: several of
    them one after the other make the features ever smaller.

    Args:
        channels: of the input and of what the trunk gives, C.
        trunk: what the mask is for, [B, C, H, W] to the same shape; None for the input itself.
        depth: how many times the mask branch halves the grid.
        form: "residual" or "naive".

    Raises:
        InvalidArgument: a depth below 1, or another form.

    Source: Wang et al. 2017, "Residual Attention Network for Image Classification", equation 3
    (the naive form: equation 1) and equation 4 (the mask is a sigmoid, "mixed attention").

    >>> x = torch.randn(2, 4, 5, 3)
    >>> block = ResidualAttention(4).eval()
    >>> torch.equal(block(x), (1 + block.mask(x)) * x), block.freeze()(x) is x
    (True, True)
    """

    def __init__(
        self,
        channels: int,
        trunk: nn.Module | None = None,
        depth: int = 1,
        form: Form = "residual",
        *,
        device: Any = None,
    ) -> None:
        super().__init__(Hourglass(channels, depth, device=device))
        if form not in ("residual", "naive"):
            raise InvalidArgument(
                f"got form={form!r}; wanted 'residual' for (1 + M) * T or 'naive' for M * T."
            )
        self.channels, self.form = channels, form
        self.trunk = nn.Identity() if trunk is None else trunk

    def mask(self, x: torch.Tensor, valid: Any = None) -> torch.Tensor:
        """Return M [B, C, H, W], between 0 and 1.

        Args:
            x: floats [B, C, H, W].
            valid: True for a real place, bools [B, H, W]; the branch reads 0 at the others. None
                where all are real.

        Raises:
            ShapeMismatch: sizes that do not fit.
            InvalidArgument: ``x`` not floating, ``valid`` not bools.
        """
        return self.branch(clear_places(self._checked(x, valid), valid)).sigmoid()

    def forward(self, x: torch.Tensor, valid: Any = None) -> torch.Tensor:
        """Return what the trunk gives times 1 + M (or M); 0 at padding. Frozen, without a factor.

        Raises:
            ShapeMismatch, InvalidArgument: as for ``mask``; a trunk that gives another shape.
        """
        refuse_shared("sl.nn.ResidualAttention")
        if self.frozen:
            return self.trunk(x)
        x = clear_places(self._checked(x, valid), valid)
        features = self.trunk(x)
        if features.shape != x.shape:
            raise ShapeMismatch(
                f"got {list(features.shape)} from the trunk for x of shape {list(x.shape)}; wanted "
                "the same shape, which the mask has."
            )
        if self.form == "naive":
            return clear_places(features * self.branch(x).sigmoid(), valid)
        return clear_places(super().forward(x, features), valid)

    def _checked(self, x: torch.Tensor, valid: Any) -> torch.Tensor:
        x, _ = read_places(x, valid, self.channels)
        if x.ndim != 4:
            raise ShapeMismatch(
                f"got x of shape {list(x.shape)}; wanted an image [batch, {self.channels}, height, "
                "width]; a sequence can be one of height 1."
            )
        return x

    def extra_repr(self) -> str:
        """Return the form, for printing."""
        return f"form={self.form!r}"


__all__ = ["Hourglass", "ResidualAttention", "ResidualUnit"]
