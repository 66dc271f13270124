"""How far back each head looks, learned: the adaptive attention span.

A soft mask on distances, which reaches ``attend`` as a bias and a window. Other learned masks stand
in soft_masks.py.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from sightline.engines.attend import attend
from sightline.engines.shared import refuse_shared
from sightline.errors import InvalidArgument
from sightline.lower.arguments import check_length
from sightline.masks.mask import Mask
from sightline.masks.positional import everything, window
from sightline.nn.soft_masks import SoftMask


class AdaptiveSpan(SoftMask):
    """A learned span z for each head: weights are full up to distance z and fade to 0 beyond.

    The weights after the softmax are multiplied by ``m(distance) = clamp((ramp + z - distance) /
    ramp, 0, 1)`` and normalised again, which is the same as adding log m to the scores. Distances
    count both ways; the paper's language model is causal by its mask.

    In training add ``penalty()`` times a factor to the loss (the paper: 2e-6 for text8), and call
    ``clamp_()`` after each step of the optimizer.

    Args:
        heads: how many query heads.
        max_span: the largest z, in positions.
        ramp: over how many positions weights fade.
        start: z before training, as a fraction of ``max_span``, 0 to 1.

    Attributes:
        fractions: the parameter, z / max_span for each head, [heads].

    Source: Sukhbaatar et al. 2019, "Adaptive Attention Span in Transformers", equations 5 to 8.

    >>> import sightline as sl
    >>> span = AdaptiveSpan(1, max_span=4, ramp=2, start=0.5)
    >>> span.soft_mask(torch.arange(6)).detach().tolist()
    [[1.0, 1.0, 1.0, 0.5, 0.0, 0.0]]
    >>> span.window()
    window(left=3, right=3)
    >>> query = key = value = torch.ones(1, 1, 5, 8)
    >>> span(query, key, value, sl.causal()).shape
    torch.Size([1, 1, 5, 8])
    """

    def __init__(
        self,
        heads: int,
        max_span: int,
        ramp: int = 32,
        start: float = 0.0,
        *,
        device: Any = None,
    ) -> None:
        super().__init__()
        if not 0.0 <= start <= 1.0:
            raise InvalidArgument(
                f"got start={start!r}; wanted a fraction of max_span from 0 to 1; a span in "
                "positions is divided by max_span first."
            )
        for name, size in (("max_span", max_span), ("ramp", ramp)):
            if not isinstance(size, int) or size < 1:
                raise InvalidArgument(f"got {name}={size!r}; wanted a number of positions >= 1.")
        self.max_span = max_span
        self.ramp = ramp
        self.fractions = nn.Parameter(torch.full((heads,), float(start), device=device))

    def spans(self) -> torch.Tensor:
        """Return z of each head in positions, [heads]."""
        return self.max_span * self.fractions.clamp(0.0, 1.0)

    def soft_mask(self, distance: torch.Tensor) -> torch.Tensor:
        """Return m for distances of any shape: [heads, *shape], 0 to 1; 1 if frozen."""
        spans = self.spans().reshape(-1, *[1] * distance.ndim)
        if self.frozen:
            return torch.ones_like(spans).expand(-1, *distance.shape)
        return ((self.ramp + spans - distance) / self.ramp).clamp(0.0, 1.0)

    def bias(self, q_len: int, kv_len: int | None = None, q_offset: int = 0) -> torch.Tensor:
        """Return log m as ``attend`` takes it, [heads, q_len, kv_len]; -inf where m is 0.

        Args:
            q_len: the number of queries.
            kv_len: the number of keys; None for ``q_offset + q_len``.
            q_offset: the absolute position of query 0.

        Raises:
            ShapeMismatch: a length that is no length.
        """
        refuse_shared("sl.nn.AdaptiveSpan")
        q_offset = check_length("q_offset", q_offset)
        total = q_offset + q_len if kv_len is None else kv_len
        query = torch.arange(q_offset, q_offset + q_len, device=self.fractions.device)
        key = torch.arange(total, device=self.fractions.device)
        soft = self.soft_mask((query[:, None] - key).abs())
        seen = soft > 0
        # The gradient of a logarithm of 0 is not a number, even where it is not taken.
        return torch.where(seen, torch.where(seen, soft, 1.0).log(), -torch.inf)

    def reach(self) -> int:
        """Return the largest distance at which any head still sees something."""
        return math.ceil(float(self.spans().detach().max()) + self.ramp) - 1

    def window(self) -> Mask:
        """Return the mask of all pairs that the bias leaves; with it, others cost no work."""
        return everything() if self.frozen else window(left=self.reach(), right=self.reach())

    def forward(
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        mask: Mask,
        *,
        q_offset: int = 0,
        **options: Any,
    ) -> torch.Tensor:
        """Return ``sl.attend(query, key, value, mask)`` with the spans applied.

        Args:
            query: [batch, heads, q_len, head_dim].
            key: [batch, kv_heads, kv_len, head_dim].
            value: [batch, kv_heads, kv_len, value_dim].
            mask: who may see whom.
            q_offset: the absolute position of query 0.
            options: scale, bias, dropout, return_lse, engine, as for ``attend``.

        Raises:
            SightlineError: whatever ``attend`` raises.
            ShapeMismatch: the query has other heads.
        """
        if self.frozen:
            return attend(query, key, value, mask, q_offset=q_offset, **options)
        bias = self.bias(query.shape[-2], key.shape[-2], q_offset)
        if options.get("bias") is not None:
            bias = bias + options["bias"]
        options["bias"] = bias
        return attend(query, key, value, mask & self.window(), q_offset=q_offset, **options)

    def penalty(self) -> torch.Tensor:
        """Return the mean span of the heads, in positions: what the loss is to keep small."""
        return self.spans().mean()

    @torch.no_grad()
    def clamp_(self) -> None:
        """Bring the parameter back into 0 to 1, beyond which it has no gradient."""
        self.fractions.clamp_(0.0, 1.0)

    def extra_repr(self) -> str:
        """Return the sizes, for printing."""
        return f"{len(self.fractions)}, max_span={self.max_span}, ramp={self.ramp}"


__all__ = ["AdaptiveSpan"]
