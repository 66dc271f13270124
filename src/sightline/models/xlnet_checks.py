"""What an XLNet is given: tokens, targets, memory and masks that fit each other, or are refused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from sightline.errors import InvalidMask, ShapeMismatch
from sightline.masks.mask import Mask
from sightline.models.token_checks import check_tokens


def check_inputs(tokens: torch.Tensor, **beside: torch.Tensor | None) -> None:
    """Refuse tokens that are not [batch, length] int64, and what is not of their shape.

    Raises:
        ShapeMismatch: with both shapes.
    """
    check_tokens(tokens)
    for name, each in beside.items():
        if each is not None and each.shape != tokens.shape:
            raise ShapeMismatch(
                f"got {name} {list(each.shape)}; wanted those of the tokens, {list(tokens.shape)}."
            )


def check_masks(*masks: Any) -> None:
    """Refuse what is neither a mask nor None.

    Raises:
        InvalidMask: with the type.
    """
    for mask in masks:
        if mask is not None and not isinstance(mask, Mask):
            raise InvalidMask(
                f"got a mask of type {type(mask).__name__}; wanted a sightline mask, such as "
                'sl.permutation(order); wrap an array with sl.dense(array, means="attend").'
            )


def check_targets(targets: torch.Tensor, tokens: torch.Tensor) -> None:
    """Refuse targets that are no columns of the tokens.

    Raises:
        ShapeMismatch: another shape or dtype, or a column beyond the tokens.
    """
    batch, length = tokens.shape
    if targets.ndim != 2 or targets.shape[0] != batch or targets.dtype != torch.int64:
        raise ShapeMismatch(
            f"got targets {list(targets.shape)} of {targets.dtype}; wanted [batch, n] of "
            f"torch.int64 for a batch of {batch}: the columns to predict."
        )
    if not targets.numel() or int(targets.min()) < 0 or int(targets.max()) >= length:
        raise ShapeMismatch(
            f"got targets {list(targets.shape)} with columns that are none of the tokens'; wanted "
            f"at least one a row, from 0 to {length - 1}."
        )


def check_memory(
    memory: Sequence[torch.Tensor], tokens: torch.Tensor, layers: int, width: int
) -> None:
    """Refuse memory that is not [batch, remembered, width] for each layer, all equally long.

    Raises:
        ShapeMismatch: with all shapes.
    """
    shapes = [list(each.shape) for each in memory]
    remembered = shapes[0][1] if shapes and len(shapes[0]) == 3 else 0
    wanted = [tokens.shape[0], remembered, width]
    if len(shapes) != layers or any(shape != wanted for shape in shapes):
        raise ShapeMismatch(
            f"got memory of shapes {shapes}; wanted [{tokens.shape[0]}, remembered, {width}] for "
            f"each of {layers} layers; take it from Reading.memory."
        )
