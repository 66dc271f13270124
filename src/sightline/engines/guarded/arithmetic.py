"""Attention in plain torch in which every product over keys reads allowed pairs only.

Slow (it holds all scores) but without a way for forbidden content to get through: a score and the
gradient of a weight depend on one query and one key alone and are dropped by ``where`` if the pair
is forbidden; every sum over keys or queries goes through ``guarded_matmul``.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch


@contextmanager
def plain_arithmetic(device: torch.device) -> Iterator[None]:
    """Switch autocast off: a result has its input's dtype and precision, whoever calls."""
    with torch.autocast(device.type, enabled=False):
        yield


def working_dtype(dtype: torch.dtype) -> torch.dtype:
    """Return the dtype to compute in: float32 for the half ones, else the dtype itself."""
    return dtype if dtype in (torch.float32, torch.float64) else torch.float32


@dataclass(frozen=True)
class Inputs:
    """The inputs of one attention, as they came.

    Attributes:
        query: [batch, heads, q_len, head_dim].
        key: [batch, kv_heads, kv_len, head_dim].
        value: [batch, kv_heads, kv_len, value_dim].
        allowed: bool [batch|1, heads|1, q_len, kv_len], with what the bias forbids taken out.
        bias: broadcastable to the scores, or None.
        scale: the factor of the scores.
    """

    query: torch.Tensor
    key: torch.Tensor
    value: torch.Tensor
    allowed: torch.Tensor
    bias: torch.Tensor | None
    scale: float

    @property
    def scores_shape(self) -> tuple[int, ...]:
        """[batch, heads, q_len, kv_len]."""
        return (*self.query.shape[:3], self.key.shape[2])


@dataclass(frozen=True)
class Weights:
    """The result of a softmax over allowed keys.

    Attributes:
        weights: [..., q_len, kv_len]; exactly 0 where forbidden.
        logsumexp: [..., q_len]; -inf for an empty row.
    """

    weights: torch.Tensor
    logsumexp: torch.Tensor


@dataclass(frozen=True)
class Gradients:
    """Gradients of one attention; ``scores`` is also that of a bias before it was broadcast."""

    query: torch.Tensor
    key: torch.Tensor
    value: torch.Tensor
    scores: torch.Tensor


def guarded_matmul(
    weights: torch.Tensor, allowed: torch.Tensor, values: torch.Tensor
) -> torch.Tensor:
    """Return ``sum_j weights[i, j] * values[j]`` over the allowed pairs, [..., q_len, dim].

    ``weights`` must be exactly 0 at forbidden pairs. That alone is not enough, as 0 * NaN and
    0 * Inf are NaN: elements that are not finite are taken out, always, so that the same product
    runs whether there are any or not, and put back for the rows that may see them.
    """
    finite = torch.isfinite(values)
    # + 0.0 turns -0 into 0, so that not even the sign of a forbidden product is left.
    product = weights @ torch.where(finite, values, 0) + 0.0
    if bool(finite.all()):
        return product
    return _put_back(product, weights, allowed, values)


def _put_back(
    product: torch.Tensor, weights: torch.Tensor, allowed: torch.Tensor, values: torch.Tensor
) -> torch.Tensor:
    """Add what arithmetic makes of the NaN and Inf in ``values`` that a row may see."""

    def meets(pairs: torch.Tensor, elements: torch.Tensor) -> torch.Tensor:
        counts = pairs.to(product.dtype) @ elements.to(product.dtype)
        return counts > 0

    up, down = torch.isposinf(values), torch.isneginf(values)
    no_sign = allowed & ~((weights > 0) | (weights < 0))  # 0 * Inf, and NaN * Inf
    rises = meets(weights > 0, up) | meets(weights < 0, down)
    falls = meets(weights > 0, down) | meets(weights < 0, up)
    unknown = meets(allowed, values.isnan()) | meets(no_sign, up | down) | product.isnan()
    product = torch.where(rises, torch.inf, product)
    product = torch.where(falls, -torch.inf, product)
    return torch.where(unknown | (rises & falls), torch.nan, product)


def weigh(
    query: torch.Tensor,
    key: torch.Tensor,
    allowed: torch.Tensor,
    bias: torch.Tensor | None,
    scale: float,
) -> Weights:
    """Return softmax(scale * query . key + bias) over the allowed keys.

    query [..., q_len, dim], key [..., kv_len, dim], allowed and bias broadcastable to
    [..., q_len, kv_len]; kv_len at least 1. The row of a query that sees a NaN, or a score of
    +inf, or nothing but scores of -inf, becomes NaN, as arithmetic has it.
    """
    scores = (query @ key.mT) * scale
    if bias is not None:
        scores = scores + bias
    scores = torch.where(allowed, scores, -torch.inf)
    empty = ~allowed.any(dim=-1, keepdim=True)
    peak = torch.where(empty, 0, scores.amax(dim=-1, keepdim=True))
    exponentials = torch.exp(scores - peak)
    total = exponentials.sum(dim=-1, keepdim=True)
    # The last word is where's, as 0 / NaN is NaN in a row that may see a NaN.
    weights = torch.where(allowed, exponentials / torch.where(empty, 1, total), 0)
    return Weights(weights, (peak + torch.log(total)).squeeze(-1))


def weigh_backward(
    weights: torch.Tensor,
    grad_weights: torch.Tensor,
    allowed: torch.Tensor,
    query: torch.Tensor,
    key: torch.Tensor,
    scale: float,
    grad_logsumexp: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the gradients of query, key and scores, given those of the weights and logsumexp.

    ``grad_weights`` may hold anything at forbidden pairs.
    """
    received = torch.where(allowed, weights * grad_weights, 0)
    total = received.sum(dim=-1, keepdim=True)
    if grad_logsumexp is not None:
        total = total - grad_logsumexp[..., None]
    scores = torch.where(allowed, received - weights * total, 0)
    grad_query = guarded_matmul(scores, allowed, key) * scale
    grad_key = guarded_matmul(scores.mT, allowed.mT, query) * scale
    return grad_query, grad_key, scores


def attend_backward(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    weights: torch.Tensor,
    allowed: torch.Tensor,
    grad_output: torch.Tensor,
    scale: float,
    kept: torch.Tensor | None = None,
    grad_logsumexp: torch.Tensor | None = None,
) -> Gradients:
    """Return the gradients of ``guarded_matmul(weights * kept, allowed, value)`` and logsumexp.

    A row on which the loss does not depend (its ``grad_output`` is all 0, and its
    ``grad_logsumexp``, if given) passes nothing on, even if it holds NaN: a spoiled row that the
    loss leaves out spoils nothing else.
    """
    asked = (grad_output != 0).any(dim=-1, keepdim=True)
    if grad_logsumexp is not None:
        asked = asked | (grad_logsumexp[..., None] != 0)
    live = allowed & asked
    weights = torch.where(live, weights, 0)
    grad_weights = grad_output @ value.mT
    dropped = weights
    if kept is not None:
        grad_weights, dropped = grad_weights * kept, weights * kept
    grad_value = guarded_matmul(dropped.mT, live.mT, grad_output)
    grad_query, grad_key, scores = weigh_backward(
        weights, grad_weights, live, query, key, scale, grad_logsumexp
    )
    return Gradients(grad_query, grad_key, grad_value, scores)


def spread_heads(tensor: torch.Tensor, heads: int) -> torch.Tensor:
    """Repeat the kv heads of [batch, kv_heads, kv_len, dim] for the query heads that share them."""
    group = heads // tensor.shape[1]
    return tensor if group == 1 else tensor.repeat_interleave(group, dim=1)


def gather_heads(tensor: torch.Tensor, kv_heads: int) -> torch.Tensor:
    """Add up the query heads that share a kv head: the backward of ``spread_heads``."""
    group = tensor.shape[1] // kv_heads
    return tensor if group == 1 else tensor.unflatten(1, (kv_heads, group)).sum(dim=2)


def drop_forbidding(allowed: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """Return ``allowed`` without the pairs that a bias of -inf forbids."""
    return allowed if bias is None else allowed & ~torch.isneginf(bias)


def touch(*tensors: torch.Tensor | None) -> torch.Tensor:
    """Return a 0 that depends on the tensors without reading them, so that gradients are 0."""
    given = [tensor.reshape(-1)[:0].sum() for tensor in tensors if tensor is not None]
    return torch.stack([each.to(given[0].dtype) for each in given]).sum()


def nothing_seen(
    query: torch.Tensor, value_dim: int, *others: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the output and logsumexp of queries that see nothing: 0 and -inf, gradients 0.

    ``others`` are the other inputs that shall have gradients: key, value and bias.
    """
    link = touch(query, *others)
    output = query.new_zeros((*query.shape[:3], value_dim)) + link
    working = working_dtype(query.dtype)
    row = query.new_full(query.shape[:3], -torch.inf, dtype=working)
    return output, row + link.to(working)
