"""Learned masks: numbers between 0 and 1 that the network multiplies its features by.

What every soft mask can do (be frozen at 1), a learned scale on features, gates of heads, and the
residual form. Masks made from the features themselves stand in feature_masks.py, the learned
reach of attention in adaptive_span.py. Hard masks, which forbid, are sightline's masks.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from torch import nn

from sightline.errors import InvalidArgument, ShapeMismatch

# Louizos et al. 2018, section 4: the temperature, and how far a gate is stretched beyond 0 and 1.
TEMPERATURE = 2 / 3
STRETCH = (-0.1, 1.1)


class SoftMask(nn.Module):
    """What is common to learned masks: frozen at 1, a soft mask returns its input itself.

    That is the control of every experiment with one: the same network, the same parameters, and
    no mask. Freezing is not part of the ``state_dict``.

    Attributes:
        frozen: whether the mask is 1 everywhere.

    >>> scale = LearnedScale(3)
    >>> x = torch.randn(2, 3)
    >>> scale.freeze()(x) is x, scale.freeze(False)(x) is x
    (True, False)
    """

    frozen: bool

    def __init__(self) -> None:
        super().__init__()
        self.frozen = False

    def freeze(self, frozen: bool = True) -> SoftMask:
        """Freeze the mask at 1, or let it act again; return the module itself."""
        self.frozen = bool(frozen)
        for part in self.children():
            if isinstance(part, SoftMask):
                part.freeze(frozen)
        return self


class LearnedScale(SoftMask):
    """A learned scale on features, ``sigmoid(logits) * x``: one number for each, any axes.

    The plainest "attention mask learned by the network": what training finds of no use is
    turned down. The mask does not depend on the input; for one that does see ``ChannelMask``.

    Args:
        shape: the shape of the mask, which broadcasts to the features' from the right: D for
            [B, L, D], (C, 1, 1) for the channels and (H, W) for the places of [B, C, H, W].
        start: the mask before training, between 0 and 1.

    Attributes:
        logits: the parameter, of that shape.

    >>> scale = LearnedScale((2, 1), start=0.25)
    >>> scale(torch.ones(1, 2, 3)).detach()
    tensor([[[0.2500, 0.2500, 0.2500],
             [0.2500, 0.2500, 0.2500]]])
    """

    def __init__(
        self, shape: int | tuple[int, ...], start: float = 0.5, *, device: Any = None
    ) -> None:
        super().__init__()
        sizes = (shape,) if isinstance(shape, int) else tuple(shape)
        self.logits = nn.Parameter(torch.full(sizes, _logit(start), device=device))

    @property
    def mask(self) -> torch.Tensor:
        """The mask, between 0 and 1; 1 if frozen."""
        return torch.ones_like(self.logits) if self.frozen else self.logits.sigmoid()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return ``x`` times the mask.

        Raises:
            ShapeMismatch: the mask does not broadcast to the shape of ``x``.
        """
        own = tuple(self.logits.shape)
        fits = len(own) <= x.ndim and all(
            mine in (1, size) for mine, size in zip(own[::-1], tuple(x.shape)[::-1], strict=False)
        )
        if not fits:
            raise ShapeMismatch(
                f"got x of shape {list(x.shape)} and a scale of shape {list(own)}; wanted a scale "
                "that broadcasts to x; each of its axes, counted from the last, must be that size "
                "or 1."
            )
        return x if self.frozen else x * self.mask

    def extra_repr(self) -> str:
        """Return the shape, for printing."""
        return f"{tuple(self.logits.shape)}"


class HeadGates(SoftMask):
    """A learned gate for each attention head, multiplied with what the head gives.

    ``kind="sigmoid"``: a number between 0 and 1. ``kind="hard_concrete"``: in training a random
    one, stretched beyond 0 and 1 and cut off there, so that a gate can close for good and the
    expected number of open gates has a gradient; in evaluation the number in its middle.

    Add ``penalty()`` times a factor to the loss, and the heads of no use close.

    Args:
        heads: how many heads.
        kind: "sigmoid" or "hard_concrete".
        start: the gate before training, between 0 and 1; of hard concrete gates the rate.

    Attributes:
        logits: the parameter [heads] (log alpha of the papers).

    Source: Voita et al. 2019, "Analyzing Multi-Head Self-Attention", section 5; Louizos et al.
    2018, "Learning Sparse Neural Networks through L0 Regularization", equations 10 to 13.

    >>> gates = HeadGates(2, start=0.75)
    >>> gates(torch.ones(1, 2, 1, 3)).detach()[0, :, 0]
    tensor([[0.7500, 0.7500, 0.7500],
            [0.7500, 0.7500, 0.7500]])
    >>> round(gates.penalty().item(), 4)
    1.5
    """

    def __init__(
        self,
        heads: int,
        kind: Literal["sigmoid", "hard_concrete"] = "sigmoid",
        start: float = 0.95,
        *,
        device: Any = None,
    ) -> None:
        super().__init__()
        if kind not in ("sigmoid", "hard_concrete"):
            raise InvalidArgument(
                f"got kind={kind!r}; wanted 'sigmoid', gates between 0 and 1, or 'hard_concrete', "
                "gates that can close for good."
            )
        self.kind = kind
        self.logits = nn.Parameter(torch.full((heads,), _logit(start), device=device))

    def gates(self) -> torch.Tensor:
        """Return the gates [heads]: drawn anew if they are hard concrete ones in training."""
        if self.frozen:
            return torch.ones_like(self.logits)
        if self.kind == "sigmoid":
            return self.logits.sigmoid()
        logits = self.logits
        if self.training:
            # Away from 0 and 1, of which the logarithm is not finite.
            drawn = torch.rand_like(logits).clamp(1e-6, 1 - 1e-6)
            logits = (logits + drawn.log() - (-drawn).log1p()) / TEMPERATURE
        low, high = STRETCH
        return (logits.sigmoid() * (high - low) + low).clamp(0.0, 1.0)

    def penalty(self) -> torch.Tensor:
        """Return the expected number of open heads: the sum of the gates, if they are sigmoid."""
        if self.kind == "sigmoid":
            return self.logits.sigmoid().sum()
        low, high = STRETCH
        return (self.logits - TEMPERATURE * math.log(-low / high)).sigmoid().sum()

    def forward(self, output: torch.Tensor) -> torch.Tensor:
        """Return the heads' ``output`` [B, heads, q_len, value_dim] times their gates.

        Raises:
            ShapeMismatch: another number of axes or heads.
        """
        if output.ndim != 4 or output.shape[1] != len(self.logits):
            raise ShapeMismatch(
                f"got an output of shape {list(output.shape)}; wanted [batch, {len(self.logits)}, "
                "q_len, value_dim], as attend gives it; gate the heads before they are joined."
            )
        return output if self.frozen else output * self.gates()[:, None, None]

    def extra_repr(self) -> str:
        """Return the number and the kind, for printing."""
        return f"{len(self.logits)}, kind={self.kind!r}"


class ResidualMask(SoftMask):
    """Attention as a residual, ``(1 + M(x)) * F``: a mask adds emphasis and loses nothing.

    Frozen, the factor is 1.

    Args:
        branch: a module that makes logits from the input, of a shape that broadcasts to the
            features; the mask M is their sigmoid.

    Source: Wang et al. 2017, "Residual Attention Network for Image Classification", equation 3.

    >>> residual = ResidualMask(nn.Identity())
    >>> residual(torch.zeros(2), torch.tensor([2.0, 4.0]))
    tensor([3., 6.])
    """

    def __init__(self, branch: nn.Module) -> None:
        super().__init__()
        self.branch = branch

    def forward(self, x: torch.Tensor, features: torch.Tensor | None = None) -> torch.Tensor:
        """Return ``features`` times 1 + sigmoid(branch(x)); ``x`` itself is taken for None."""
        features = x if features is None else features
        return features if self.frozen else features * (1.0 + self.branch(x).sigmoid())


def _logit(start: float) -> float:
    if not 0.0 < start < 1.0:
        raise InvalidArgument(
            f"got start={start!r}; wanted a number between 0 and 1, both excluded; to begin "
            "without a mask use freeze()."
        )
    return math.log(start / (1.0 - start))


__all__ = ["HeadGates", "LearnedScale", "ResidualMask", "SoftMask"]
