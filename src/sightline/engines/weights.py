"""The attention weights themselves, for looking at and for losses on them; gradients included.

Guarded arithmetic throughout; outputs are left to the engines, which need not hold the weights.
"""

from __future__ import annotations

import torch

from sightline.engines.dense_masks import dense_mask
from sightline.engines.guarded.arithmetic import (
    drop_forbidding,
    gather_heads,
    plain_arithmetic,
    spread_heads,
    weigh,
    weigh_backward,
    working_dtype,
)
from sightline.engines.request import Request


def compute_weights(request: Request) -> torch.Tensor:
    """Return weights [batch, heads, q_len, kv_len] in the query's dtype."""
    allowed = drop_forbidding(dense_mask(request).allowed, request.bias)
    with plain_arithmetic(request.query.device):
        return _Weights.apply(request.query, request.key, request.bias, allowed, request.scale)


class _Weights(torch.autograd.Function):
    @staticmethod
    def forward(ctx, query, key, bias, allowed, scale):
        weights = weigh(*_prepared(query, key), allowed, _working(bias, query), scale).weights
        ctx.save_for_backward(query, key, bias, allowed, weights)
        ctx.scale = scale
        return weights.to(query.dtype, copy=True)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad_weights):
        query, key, bias, allowed, weights = ctx.saved_tensors
        grad_weights = grad_weights.to(weights.dtype)
        # Only what the loss reads of a row's allowed pairs counts; a row it leaves out is silent.
        live = allowed & ((grad_weights != 0) & allowed).any(dim=-1, keepdim=True)
        weights = torch.where(live, weights, 0)
        with plain_arithmetic(query.device):
            grad_query, grad_key, scores = weigh_backward(
                weights, grad_weights, live, *_prepared(query, key), ctx.scale
            )
        return (
            grad_query.to(query.dtype),
            gather_heads(grad_key, key.shape[1]).to(key.dtype),
            None if bias is None else scores.sum_to_size(bias.shape).to(bias.dtype),
            None,
            None,
        )


def _prepared(query: torch.Tensor, key: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    dtype = working_dtype(query.dtype)
    return query.to(dtype), spread_heads(key.to(dtype), query.shape[1])


def _working(bias: torch.Tensor | None, query: torch.Tensor) -> torch.Tensor | None:
    return None if bias is None else bias.to(working_dtype(query.dtype))
