"""One call of ``attend`` with its arguments checked: shapes, dtypes, devices, numbers.

Every refusal says what was got, what was wanted and what to do. Engines trust a Request.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Real
from typing import Any

import torch

from sightline.errors import InvalidArgument, ShapeMismatch
from sightline.lower.arguments import check_length, check_mask
from sightline.masks.mask import Mask

DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


@dataclass(frozen=True)
class Request:
    """What an engine is asked to compute; everything fits together.

    Attributes:
        query: [batch, heads, q_len, head_dim].
        key: [batch, kv_heads, kv_len, head_dim]; kv_heads divides heads.
        value: [batch, kv_heads, kv_len, value_dim].
        mask: who may see whom.
        q_offset: the absolute position of query 0.
        scale: the factor of the scores.
        bias: broadcastable to [batch, heads, q_len, kv_len], or None.
        dropout: the rate at which weights are dropped.
        return_lse: whether the logsumexp is wanted too.
    """

    query: torch.Tensor
    key: torch.Tensor
    value: torch.Tensor
    mask: Mask
    q_offset: int
    scale: float
    bias: torch.Tensor | None
    dropout: float
    return_lse: bool

    @property
    def tensors(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor | None]:
        """Query, key, value and bias."""
        return self.query, self.key, self.value, self.bias

    @property
    def wants_gradients(self) -> bool:
        """Whether a backward pass may follow."""
        given = (tensor for tensor in self.tensors if tensor is not None)
        return torch.is_grad_enabled() and any(tensor.requires_grad for tensor in given)

    @property
    def scores_shape(self) -> tuple[int, int, int, int]:
        """[batch, heads, q_len, kv_len]."""
        batch, heads, q_len, _ = self.query.shape
        return batch, heads, q_len, self.key.shape[2]

    @property
    def output_shape(self) -> tuple[int, int, int, int]:
        """[batch, heads, q_len, value_dim]."""
        return (*self.scores_shape[:3], self.value.shape[3])


def check_request(
    query: Any,
    key: Any,
    value: Any,
    mask: Any,
    *,
    q_offset: Any = 0,
    scale: Any = None,
    bias: Any = None,
    dropout: Any = 0.0,
    return_lse: bool = False,
) -> Request:
    """Return the call as a Request.

    Raises:
        InvalidMask: ``mask`` is not a sightline mask.
        ShapeMismatch: sizes that do not fit, or a negative ``q_offset``.
        InvalidArgument: not a tensor, wrong dtype or device, ``dropout`` or ``scale`` not usable.
    """
    mask = check_mask(mask)
    q, k, v = (_tensor(name, x) for name, x in (("query", query), ("key", key), ("value", value)))
    for name, tensor in (("key", k), ("value", v)):
        _same_kind(name, tensor, q)
    _check_shapes(q.shape, k.shape, v.shape)
    checked = Request(
        query=q,
        key=k,
        value=v,
        mask=mask,
        q_offset=check_length("q_offset", q_offset),
        scale=_scale(scale, q.shape[3]),
        bias=None if bias is None else _bias(bias, q, (*q.shape[:3], k.shape[2])),
        dropout=_dropout(dropout),
        return_lse=bool(return_lse),
    )
    # torch.compile cannot read a mask's data; what it makes of a call asks when it runs.
    if not torch.compiler.is_dynamo_compiling():
        check_mask_axes(mask, q.shape[0], q.shape[1])
    return checked


def check_mask_axes(mask: Mask, batch: int, heads: int) -> None:
    """Refuse a mask whose batch or head axis is neither 1 nor the tensors' own.

    Raises:
        ShapeMismatch: with both sizes.
    """
    for axis, own, size in (("batch rows", mask.batch, batch), ("heads", mask.heads, heads)):
        if own not in (1, size):
            raise ShapeMismatch(
                f"got a mask for {own} {axis} and a query with {size}; wanted equal numbers, or a "
                f"mask that is the same for all; check the data that the mask was made from."
            )


def _tensor(name: str, value: Any) -> torch.Tensor:
    if not isinstance(value, torch.Tensor):
        raise InvalidArgument(
            f"got {name} of type {type(value).__name__}; wanted a torch.Tensor [batch, heads, "
            "sequence, head_dim]; convert an array with torch.from_numpy."
        )
    if value.ndim != 4:
        raise ShapeMismatch(
            f"got {name} of shape {list(value.shape)}; wanted four axes [batch, heads, sequence, "
            "head_dim]; add axes of size 1 with unsqueeze, or split the heads with unflatten."
        )
    if value.dtype not in DTYPES:
        raise InvalidArgument(
            f"got {name} of dtype {value.dtype}; wanted float16, bfloat16, float32 or float64; "
            f"convert with {name}.float()."
        )
    return value


def _same_kind(name: str, tensor: torch.Tensor, query: torch.Tensor) -> None:
    for what in ("dtype", "device"):
        got, wanted = getattr(tensor, what), getattr(query, what)
        if got != wanted:
            raise InvalidArgument(
                f"got {name} with {what} {got} and query with {what} {wanted}; wanted one {what}; "
                f"convert with {name}.to(query.{what})."
            )


def _check_shapes(q: torch.Size, k: torch.Size, v: torch.Size) -> None:
    if k[:3] != v[:3]:
        raise ShapeMismatch(
            f"got key {list(k)} and value {list(v)}; wanted equal batch, heads and length; only "
            "the last axis may differ."
        )
    if q[0] != k[0]:
        raise ShapeMismatch(
            f"got query with batch {q[0]} and key with batch {k[0]}; wanted equal sizes; repeat "
            "the smaller with expand."
        )
    if q[3] != k[3] or q[3] == 0:
        raise ShapeMismatch(
            f"got query with head_dim {q[3]} and key with head_dim {k[3]}; wanted equal sizes of "
            "at least 1; project both to one size."
        )
    if v[3] == 0:
        raise ShapeMismatch(
            f"got value {list(v)} with value_dim 0; wanted at least 1; check the order of the axes."
        )
    if k[1] == 0 or q[1] % k[1] != 0:
        raise ShapeMismatch(
            f"got {q[1]} query heads and {k[1]} key heads; wanted key heads that divide the query "
            "heads; check the order of the axes, [batch, heads, sequence, head_dim]."
        )


def _scale(scale: object, head_dim: int) -> float:
    if scale is None:
        return 1.0 / math.sqrt(head_dim)
    number = _number(scale)
    if not math.isfinite(number):
        raise InvalidArgument(
            f"got scale={scale!r}; wanted a finite number, or None for 1 / sqrt(head_dim)."
        )
    return number


def _dropout(dropout: object) -> float:
    rate = _number(dropout)
    if not 0.0 <= rate < 1.0:
        raise InvalidArgument(
            f"got dropout={dropout!r}; wanted a rate of at least 0 and below 1; 0.0 drops nothing."
        )
    return rate


def _number(value: object) -> float:
    """Return a real number as a float, NaN for anything else."""
    return float(value) if isinstance(value, Real) and not isinstance(value, bool) else math.nan


def _bias(bias: Any, query: torch.Tensor, scores: tuple[int, ...]) -> torch.Tensor:
    if not isinstance(bias, torch.Tensor) or bias.dtype not in DTYPES:
        got = str(bias.dtype) if isinstance(bias, torch.Tensor) else type(bias).__name__
        raise InvalidArgument(
            f"got a bias of type {got}; wanted a floating tensor that is added to the scores; "
            "what is allowed or not belongs into the mask."
        )
    if bias.device != query.device:
        raise InvalidArgument(
            f"got a bias on {bias.device} and a query on {query.device}; wanted one device; "
            "convert with bias.to(query.device)."
        )
    sizes = list(zip(reversed(bias.shape), reversed(scores), strict=False))
    if bias.ndim > 4 or any(own not in (1, size) for own, size in sizes):
        raise ShapeMismatch(
            f"got a bias of shape {list(bias.shape)}; wanted one that broadcasts to "
            f"{list(scores)} [batch, heads, q_len, kv_len]; each axis, counted from the last, "
            "must be that size or 1."
        )
    return bias
