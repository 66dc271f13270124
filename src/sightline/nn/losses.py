"""Losses as means over the real positions: what padding predicts, and is labelled, never counts.

A batch without a real position has the loss 0, with gradients of 0.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional

from sightline.engines.guarded.arithmetic import working_dtype
from sightline.engines.shared import refuse_shared
from sightline.errors import InvalidArgument, ShapeMismatch
from sightline.nn.valid import check_features, clear, read_valid


def masked_loss_mean(losses: torch.Tensor, valid: Any) -> torch.Tensor:
    """Return the mean of the losses at the real positions of the whole batch, a single number.

    Each real token weighs the same, however long its sequence is. (For the mean of each sequence
    take ``masked_mean``.)

    Args:
        losses: floats [B, L, ...].
        valid: True for a real position [B, L], or a padding mask.

    Raises:
        ShapeMismatch: sizes that do not fit.
        InvalidArgument: ``losses`` not floating, ``valid`` not bools.
        InvalidMask: ``valid`` is a mask that asks more than the key.

    >>> import sightline as sl
    >>> losses = torch.tensor([[1.0, 2.0, torch.nan], [6.0, torch.inf, 0.0]])
    >>> masked_loss_mean(losses, sl.padding(lengths=[2, 1]))
    tensor(3.)
    """
    refuse_shared(
        "sl.nn.masked_loss_mean",
        reason="a mean over this rank's tokens is not that of all",
        alternative="sl.distributed.mean_loss",
    )
    losses = check_features(losses, "losses")
    real = read_valid(valid, losses.shape[0], losses.shape[1], losses.device)
    dtype = working_dtype(losses.dtype)
    count = real.sum().clamp(min=1) * losses[:1, :1].numel() if losses.numel() else 1
    return (clear(losses, real).sum(dtype=dtype) / count).to(losses.dtype)


def masked_cross_entropy(
    logits: torch.Tensor, targets: torch.Tensor, valid: Any, *, label_smoothing: float = 0.0
) -> torch.Tensor:
    """Return the mean cross entropy over the real positions, in nats, a single number.

    It is ``torch.nn.functional.cross_entropy`` of the real tokens set side by side. At padding
    the targets may be anything, numbers that are no class included, and the logits too.

    Args:
        logits: floats [B, L, classes].
        targets: integers [B, L], the class of each position.
        valid: True for a real position [B, L], or a padding mask.
        label_smoothing: how much of each target is spread over all classes; 0 to 1.

    Raises:
        ShapeMismatch: sizes that do not fit.
        InvalidArgument: ``logits`` not floating, ``valid`` not bools, or ``targets`` that are no
            integers, or no class at a real position.
        InvalidMask: ``valid`` is a mask that asks more than the key.

    >>> import sightline as sl
    >>> logits = torch.tensor([[[0.0, 0.0], [torch.nan, 1.0]]])
    >>> masked_cross_entropy(logits, torch.tensor([[1, -100]]), sl.padding(lengths=[1]))
    tensor(0.6931)
    """
    refuse_shared(
        "sl.nn.masked_cross_entropy",
        reason="a mean over this rank's tokens is not that of all",
        alternative="sl.distributed.cross_entropy",
    )
    logits = check_features(logits, "logits", least=3)
    if logits.ndim != 3 or targets.shape != logits.shape[:2]:
        raise ShapeMismatch(
            f"got logits of shape {list(logits.shape)} and targets of shape "
            f"{list(targets.shape)}; wanted [batch, length, classes] and [batch, length]."
        )
    if targets.is_floating_point() or targets.dtype == torch.bool:
        raise InvalidArgument(
            f"got targets of dtype {targets.dtype}; wanted integers, the class of each position; "
            "convert with .long()."
        )
    real = read_valid(valid, logits.shape[0], logits.shape[1], logits.device)
    tokens, labels = logits[real], targets[real].long()
    wrong = labels[(labels < 0) | (labels >= logits.shape[2])]
    if len(wrong):
        raise InvalidArgument(
            f"got the target {int(wrong[0])} at a real position; wanted 0 to "
            f"{logits.shape[2] - 1}; take positions that shall not count out of valid."
        )
    if not len(labels):
        return tokens.sum()
    return functional.cross_entropy(tokens, labels, label_smoothing=label_smoothing)


__all__ = ["masked_cross_entropy", "masked_loss_mean"]
