"""How vmap's axis is folded into an axis that attention has anyway, and unfolded again.

All members of vmap share one mask. Where it is the same for all batch rows they become batch rows;
else, where it is the same for all heads, they become heads.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from sightline.errors import CannotExpress
from sightline.masks.mask import Mask


@dataclass(frozen=True)
class Folding:
    """``members`` of vmap, laid along ``axis`` (0 batch, 1 heads) of [batch, heads, ...]."""

    members: int
    axis: int

    @classmethod
    def of(cls, members: int, mask: Mask, seed: torch.Tensor | None, dim: int | None) -> Folding:
        """Return the folding under a mask, ``seed`` being that of the dropout.

        Raises:
            CannotExpress: the mask tells batch rows and heads apart, or all members have one seed.
        """
        if seed is not None and dim is None:
            # Which weights are dropped depends on batch row and head, which folding changes.
            raise CannotExpress(
                destination="torch.func.vmap",
                part="dropout that is the same for all members",
                reason="they become batch rows or heads, each with dropped weights of its own",
                alternative='randomness="different", or dropout=0.0',
            )
        if mask.batch > 1 and mask.heads > 1:
            raise CannotExpress(
                destination="torch.func.vmap",
                part=f"a mask for {mask.batch} batch rows and {mask.heads} heads",
                reason="vmap's axis has to become more batch rows or more heads of one mask",
                alternative="a loop over the members",
            )
        return cls(members, 0 if mask.batch == 1 else 1)

    def fold(self, tensor: torch.Tensor, dim: int | None) -> torch.Tensor:
        """Return a tensor, with vmap's axis at ``dim`` or without one, folded."""
        if dim is None:
            wide = tensor.unsqueeze(self.axis)
            wide = wide.expand(*wide.shape[: self.axis], self.members, *tensor.shape[self.axis :])
        else:
            wide = tensor.movedim(dim, self.axis)
        return wide.flatten(self.axis, self.axis + 1)

    def fold_bias(self, bias: torch.Tensor, dim: int | None, folded: Any) -> torch.Tensor:
        """Return a bias that broadcasts to ``folded``, the shape [batch, heads, ...] of the query.

        It is written out along the axis that the members are folded into.
        """
        size = folded[self.axis] // self.members
        own = self.axis if dim is None else self.axis + 1
        wide = bias if dim is None else bias.movedim(dim, self.axis)
        shape = list(wide.shape)
        shape[own] = size
        return self.fold(wide.expand(shape), None if dim is None else self.axis)

    def unfold(self, tensor: torch.Tensor) -> torch.Tensor:
        """Return a folded tensor with vmap's axis in front."""
        wide = tensor.unflatten(self.axis, (self.members, tensor.shape[self.axis] // self.members))
        return wide.movedim(self.axis, 0)

    def gather_bias(self, grad: torch.Tensor, bias: torch.Tensor, dim: int | None) -> torch.Tensor:
        """Return the gradient of each member's own bias, vmap's axis in front."""
        shape = bias.shape if dim is None else bias.movedim(dim, 0).shape[1:]
        stretched = grad.shape[self.axis + 1] != shape[self.axis]
        return grad.sum(self.axis + 1, keepdim=True) if stretched else grad
