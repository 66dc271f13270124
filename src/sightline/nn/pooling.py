"""Pooling over the real positions of each sequence: what padding holds never counts.

All take ``x`` [B, L, ...] and ``valid`` as described in valid.py and give [B, ...]. A sequence
without a real position gives 0, and padding gets the gradient 0.
"""

from __future__ import annotations

from typing import Any

import torch

from sightline.engines.guarded.arithmetic import working_dtype
from sightline.engines.shared import refuse_shared
from sightline.errors import ShapeMismatch
from sightline.nn.valid import beside, check_features, clear, read_valid


def masked_sum(x: torch.Tensor, valid: Any) -> torch.Tensor:
    """Return the sum over the real positions, [B, ...].

    Args:
        x: floats [B, L, ...].
        valid: True for a real position [B, L], or a padding mask.

    Raises:
        ShapeMismatch: sizes that do not fit.
        InvalidArgument: ``x`` not floating, ``valid`` not bools.
        InvalidMask: ``valid`` is a mask that asks more than the key.

    >>> import sightline as sl
    >>> x = torch.tensor([[1.0, 2.0, torch.nan], [3.0, torch.inf, torch.nan]])
    >>> masked_sum(x, sl.padding(lengths=[2, 1]))
    tensor([3., 3.])
    """
    refuse_shared("sl.nn.masked_sum")
    return clear(*_read(x, valid)).sum(dim=1)


def masked_mean(x: torch.Tensor, valid: Any) -> torch.Tensor:
    """Return the mean over the real positions, [B, ...].

    Args:
        x: floats [B, L, ...].
        valid: True for a real position [B, L], or a padding mask.

    Raises:
        ShapeMismatch, InvalidArgument, InvalidMask: as for ``masked_sum``.

    >>> import sightline as sl
    >>> x = torch.tensor([[2.0, 4.0, torch.nan], [3.0, torch.inf, torch.nan]])
    >>> masked_mean(x, sl.padding(lengths=[2, 1]))
    tensor([3., 3.])
    """
    refuse_shared("sl.nn.masked_mean")
    x, real = _read(x, valid)
    dtype = working_dtype(x.dtype)  # the sum may overflow float16, and bfloat16 cannot count
    total = clear(x, real).sum(dim=1, dtype=dtype)
    count = real.sum(dim=1).clamp(min=1).to(dtype)
    return (total / beside(count, total)).to(x.dtype)


def masked_max(x: torch.Tensor, valid: Any) -> torch.Tensor:
    """Return the largest value among the real positions, [B, ...].

    The gradient goes to one position, the first that holds it, as with ``torch.max(dim=1)``.

    Args:
        x: floats [B, L, ...].
        valid: True for a real position [B, L], or a padding mask.

    Raises:
        ShapeMismatch, InvalidArgument, InvalidMask: as for ``masked_sum``.

    >>> import sightline as sl
    >>> x = torch.tensor([[-2.0, -4.0, 0.0], [-3.0, torch.inf, torch.nan]])
    >>> masked_max(x, sl.padding(lengths=[2, 1]))
    tensor([-2., -3.])
    """
    refuse_shared("sl.nn.masked_max")
    x, real = _read(x, valid)
    return _at_largest(x.detach(), x, real)


def masked_min(x: torch.Tensor, valid: Any) -> torch.Tensor:
    """Return the smallest value among the real positions, [B, ...]; see ``masked_max``.

    >>> import sightline as sl
    >>> x = torch.tensor([[2.0, 4.0, 0.0], [3.0, -torch.inf, torch.nan]])
    >>> masked_min(x, sl.padding(lengths=[2, 1]))
    tensor([2., 3.])
    """
    refuse_shared("sl.nn.masked_min")
    x, real = _read(x, valid)
    return _at_largest(-x.detach(), x, real)


def masked_first(x: torch.Tensor, valid: Any) -> torch.Tensor:
    """Return what the first real position of each sequence holds, [B, ...].

    With left padding that is not position 0.

    Args:
        x: floats [B, L, ...].
        valid: True for a real position [B, L], or a padding mask.

    Raises:
        ShapeMismatch, InvalidArgument, InvalidMask: as for ``masked_sum``.

    >>> import sightline as sl
    >>> x = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    >>> masked_first(x, sl.padding(lengths=[3, 1], side="left"))
    tensor([1., 6.])
    """
    refuse_shared("sl.nn.masked_first")
    x, real = _read(x, valid)
    return _take(x, real, _first(real, x)) if x.shape[1] else x.sum(dim=1)


def masked_last(x: torch.Tensor, valid: Any) -> torch.Tensor:
    """Return what the last real position of each sequence holds, [B, ...].

    The state from which a decoder predicts the next token, and what a classifier on top of a
    causal model reads. With right padding that is not position -1.

    Args:
        x: floats [B, L, ...].
        valid: True for a real position [B, L], or a padding mask.

    Raises:
        ShapeMismatch, InvalidArgument, InvalidMask: as for ``masked_sum``.

    >>> import sightline as sl
    >>> x = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    >>> masked_last(x, sl.padding(lengths=[3, 1]))
    tensor([3., 4.])
    """
    refuse_shared("sl.nn.masked_last")
    x, real = _read(x, valid)
    return masked_first(x.flip(1), real.flip(1))


def masked_softmax(scores: torch.Tensor, valid: Any) -> torch.Tensor:
    """Return the softmax of ``scores`` over the real positions; exactly 0 at padding.

    A score of -inf forbids its position, as a bias of ``attend`` does. A sequence without an
    allowed position gives zeros.

    Args:
        scores: floats [B, L, ...]; the softmax runs over L.
        valid: True for a real position [B, L], or a padding mask.

    Returns:
        Weights of the shape and dtype of ``scores``, each column summing to 1 or all 0.

    Raises:
        ShapeMismatch, InvalidArgument, InvalidMask: as for ``masked_sum``.

    >>> import sightline as sl
    >>> masked_softmax(torch.tensor([[1.0, 1.0, torch.nan]]), sl.padding(lengths=[2]))
    tensor([[0.5000, 0.5000, 0.0000]])
    """
    refuse_shared("sl.nn.masked_softmax")
    scores, real = _read(scores, valid)
    allowed = beside(real, scores) & (scores != -torch.inf)
    # Columns without an allowed position get zeros, of which softmax makes finite numbers.
    some = allowed.any(dim=1, keepdim=True)
    fill = torch.where(some, scores.new_full((), -torch.inf), scores.new_zeros(()))
    weights = torch.where(allowed, scores, fill).softmax(dim=1)
    return torch.where(allowed, weights, scores.new_zeros(()))


def masked_softmax_pool(x: torch.Tensor, scores: torch.Tensor, valid: Any) -> torch.Tensor:
    """Return the mean of ``x`` over the real positions, weighted by the softmax of ``scores``.

    Args:
        x: floats [B, L, ...].
        scores: [B, L], or of the shape of ``x`` for weights of their own for each feature.
        valid: True for a real position [B, L], or a padding mask.

    Returns:
        [B, ...].

    Raises:
        ShapeMismatch, InvalidArgument, InvalidMask: as for ``masked_sum``.

    Source: Yang et al. 2016, "Hierarchical Attention Networks for Document Classification",
    equations 6 and 7.

    >>> import sightline as sl
    >>> x = torch.tensor([[1.0, 3.0, torch.nan]])
    >>> masked_softmax_pool(x, torch.zeros(1, 3), sl.padding(lengths=[2]))
    tensor([2.])
    """
    refuse_shared("sl.nn.masked_softmax_pool")
    x, real = _read(x, valid)
    if scores.shape not in (x.shape, x.shape[:2]):
        raise ShapeMismatch(
            f"got scores of shape {list(scores.shape)} and x of shape {list(x.shape)}; wanted "
            f"{list(x.shape[:2])}, one score for each position, or one for each number of x."
        )
    weights = beside(masked_softmax(scores, real), x)
    # Not only padding: what a score of -inf forbids may hold NaN too.
    return (torch.where(weights != 0, x, x.new_zeros(())) * weights).sum(dim=1)


def _read(x: torch.Tensor, valid: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Return ``x`` and ``valid`` checked, the latter as bools [B, L]."""
    x = check_features(x)
    return x, read_valid(valid, x.shape[0], x.shape[1], x.device)


def _first(real: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Return the first real position of each sequence as an index for gather, [B, 1, ...].

    Position 0 where there is none: what stands there has been cleared.
    """
    place = beside(real.int().argmax(dim=1, keepdim=True), x)
    return place.expand(-1, -1, *x.shape[2:])


def _at_largest(key: torch.Tensor, x: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
    """Return ``x`` where ``key``, of the same shape, is largest among the real positions."""
    if x.shape[1] == 0:
        return x.sum(dim=1)
    fill = key.new_full((), -torch.inf)
    place = torch.where(beside(real, key), key, fill).argmax(dim=1, keepdim=True)
    # Where all real ones are -inf, padding may have come first.
    found = beside(real, key).expand_as(key).gather(1, place)
    return _take(x, real, torch.where(found, place, _first(real, x)))


def _take(x: torch.Tensor, real: torch.Tensor, place: torch.Tensor) -> torch.Tensor:
    """Return ``x`` at ``place`` [B, 1, ...] as [B, ...]; 0 if that is padding."""
    return clear(x, real).gather(1, place).squeeze(1)


__all__ = [
    "masked_first",
    "masked_last",
    "masked_max",
    "masked_mean",
    "masked_min",
    "masked_softmax",
    "masked_softmax_pool",
    "masked_sum",
]
