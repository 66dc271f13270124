"""Labels of a language model, made while all tokens are still side by side.

Models that shift labels themselves take the next token of a share, which may stand far away.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from sightline.engines.shared import sharing
from sightline.errors import InvalidArgument, ShapeMismatch
from sightline.lower.arguments import check_mask
from sightline.masks.arrays import Cells
from sightline.masks.mask import Mask
from sightline.nn.valid import read_valid

__all__ = ["next_token_labels"]


def next_token_labels(
    tokens: torch.Tensor,
    *,
    mask: Mask | None = None,
    valid: Any = None,
    ignore_index: int = -100,
) -> torch.Tensor:
    """Return what follows each token, for a loss that compares position with position.

    Args:
        tokens: integers [batch, length], the whole sequence.
        mask: who may see whom. A token is a label only where it may see the one before it (in any
            head), so that the last token of a packed document has none. None: every token is.
        valid: True for a real token [batch, length], or a padding mask. What is not real is no
            label and has none. None: all are real.
        ignore_index: what stands where there is no label, as at the last position.

    Returns:
        Integers like ``tokens``.

    Raises:
        ShapeMismatch: tokens of another shape, or a mask for other batch rows.
        InvalidArgument: tokens that are no integers.

    >>> import sightline as sl
    >>> packed = sl.causal() & sl.documents(lengths=[2, 3])
    >>> next_token_labels(torch.tensor([[5, 6, 7, 8, 9]]), mask=packed)
    tensor([[   6, -100,    8,    9, -100]])
    """
    if not isinstance(tokens, torch.Tensor) or tokens.dtype not in (torch.int64, torch.int32):
        got = getattr(tokens, "dtype", type(tokens).__name__)
        raise InvalidArgument(f"got tokens of type {got}; wanted integers; convert with .long().")
    if tokens.ndim != 2:
        raise ShapeMismatch(
            f"got tokens of shape {list(tokens.shape)}; wanted [batch, length]; add an axis with "
            "tokens[None]."
        )
    batch, length = tokens.shape
    follows = torch.full_like(tokens, ignore_index)
    if length < 2:
        return follows
    there = torch.ones(batch, length - 1, dtype=torch.bool, device=tokens.device)
    if mask is not None:
        there &= torch.from_numpy(_sees_the_last(check_mask(mask), batch, length)).to(there.device)
    if valid is not None:
        with sharing(None):  # the whole sequence, inside a block too
            real = read_valid(valid, batch, length, tokens.device)
        there &= real[:, 1:] & real[:, :-1]
    follows[:, :-1] = torch.where(there, tokens[:, 1:], ignore_index)
    return follows


def _sees_the_last(mask: Mask, batch: int, length: int) -> np.ndarray:
    """Return whether tokens 1, 2, ... may see the one before them, bools [batch, length - 1]."""
    if mask.batch not in (1, batch):
        raise ShapeMismatch(
            f"got {batch} rows of tokens and a mask for {mask.batch}; wanted equal numbers."
        )
    mask.check_reach(length, length)
    place = np.arange(1, length)[None, None]
    rows, heads = np.arange(mask.batch)[:, None, None], np.arange(mask.heads)[None, :, None]
    seen = np.asarray(mask.allowed(Cells(rows, heads, place, place - 1)))
    every = np.broadcast_to(seen, (mask.batch, mask.heads, length - 1)).any(axis=1)
    return np.broadcast_to(every, (batch, length - 1)).copy()
