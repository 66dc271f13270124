"""Attention with dropout for engine ``sdpa``: guarded arithmetic throughout.

scaled_dot_product_attention keeps which weights it dropped to itself, so rows could not be
recomputed apart; and with dropout its CPU form holds all scores too. Nothing else is done here.
"""

from __future__ import annotations

import torch

from sightline.engines.guarded.arithmetic import (
    Inputs,
    attend_backward,
    gather_heads,
    guarded_matmul,
    plain_arithmetic,
    spread_heads,
    weigh,
    working_dtype,
)


def attend_with_dropout(inputs: Inputs, rate: float) -> torch.Tensor:
    """Return the output; each weight is dropped with that rate, the rest scaled up.

    The random numbers drawn from torch's generator depend on the shape only.
    """
    drawn = torch.rand(inputs.scores_shape, device=inputs.query.device)
    kept = (drawn >= rate).to(working_dtype(inputs.query.dtype)) / (1.0 - rate)
    tensors = (inputs.query, inputs.key, inputs.value, inputs.bias)
    return _Dropped.apply(*tensors, inputs.allowed, kept, inputs.scale)


class _Dropped(torch.autograd.Function):
    @staticmethod
    def forward(ctx, query, key, value, bias, allowed, kept, scale):
        ctx.save_for_backward(query, key, value, bias, allowed, kept)
        ctx.scale = scale
        q, k, v, b = _prepared(query, key, value, bias)
        weights = weigh(q, k, allowed, b, scale).weights
        output = guarded_matmul(weights * kept, allowed, v)
        return output.to(query.dtype)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad_output):
        query, key, value, bias, allowed, kept = ctx.saved_tensors
        with plain_arithmetic(query.device):
            q, k, v, b = _prepared(query, key, value, bias)
            weights = weigh(q, k, allowed, b, ctx.scale).weights
            upstream = grad_output.to(q.dtype)
            grads = attend_backward(q, k, v, weights, allowed, upstream, ctx.scale, kept)
        kv_heads = key.shape[1]
        return (
            grads.query.to(query.dtype),
            gather_heads(grads.key, kv_heads).to(key.dtype),
            gather_heads(grads.value, kv_heads).to(value.dtype),
            None if bias is None else grads.scores.sum_to_size(bias.shape).to(bias.dtype),
            *[None] * 3,
        )


def _prepared(query, key, value, bias):
    """Return the inputs in the working dtype, with as many kv heads as query heads."""
    dtype, heads = working_dtype(query.dtype), query.shape[1]
    k, v = (spread_heads(tensor.to(dtype), heads) for tensor in (key, value))
    return query.to(dtype), k, v, None if bias is None else bias.to(dtype)
