"""What every model asks of the numbers it is given, whatever they stand for."""

from __future__ import annotations

import torch

from sightline.errors import ShapeMismatch

__all__ = ["check_tokens"]


def check_tokens(tokens: torch.Tensor, name: str = "tokens") -> None:
    """Refuse what is not [batch, length] of int64.

    Args:
        tokens: the numbers.
        name: what they are called in the error.

    Raises:
        ShapeMismatch: another shape or dtype.
    """
    if tokens.ndim != 2 or tokens.dtype != torch.int64:
        raise ShapeMismatch(
            f"got {name} {list(tokens.shape)} of {tokens.dtype}; wanted [batch, length] of "
            f"torch.int64; add an axis with {name}[None], convert with {name}.long()."
        )
