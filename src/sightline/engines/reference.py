"""Engine ``reference``: the numpy oracle behind torch's autograd, float64 inside, slow.

It hands out the logsumexp too, with gradients. What attention means is left to
sightline.reference.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from sightline.engines.guarded.arithmetic import working_dtype
from sightline.engines.request import Request
from sightline.reference.attention import attention, attention_gradients


def run(request: Request) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the output and the logsumexp [batch, heads, q_len] of the request."""
    q_len, kv_len = request.scores_shape[2:]
    allowed = request.mask.dense(q_len, kv_len, request.q_offset)
    tensors = (request.query, request.key, request.value, request.bias)
    return _Reference.apply(*tensors, allowed, request.scale)


class _Reference(torch.autograd.Function):
    @staticmethod
    def forward(ctx, query, key, value, bias, allowed, scale):
        ctx.save_for_backward(query, key, value, bias)
        ctx.allowed, ctx.scale = allowed, scale
        q, k, v, b = (_numbers(tensor) for tensor in (query, key, value, bias))
        result = attention(q, k, v, allowed, scale=scale, bias=b)
        logsumexp = _tensor_like(result.logsumexp, query, working_dtype(query.dtype))
        return _tensor_like(result.output, query, query.dtype), logsumexp

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad_output, grad_logsumexp):
        # Asked for once: a layer that is worked out again hands each out a single time.
        query, key, value, bias = ctx.saved_tensors
        q, k, v, b = (_numbers(tensor) for tensor in (query, key, value, bias))
        upstream, upstream_lse = _numbers(grad_output), _numbers(grad_logsumexp)
        # A row on which the loss does not depend passes nothing on, even if it holds NaN.
        live = (upstream != 0).any(axis=-1) | (upstream_lse != 0)
        grads = attention_gradients(
            q,
            k,
            v,
            ctx.allowed & live[..., None],
            upstream,
            grad_logsumexp=upstream_lse,
            scale=ctx.scale,
            bias=b,
        )
        dtype = query.dtype
        return (
            _tensor_like(grads.query, query, dtype),
            _tensor_like(grads.key, key, dtype),
            _tensor_like(grads.value, value, dtype),
            None if bias is None else _tensor_like(grads.bias, bias, bias.dtype),
            None,
            None,
        )


def _numbers(tensor: torch.Tensor | None) -> Any:
    return None if tensor is None else tensor.detach().cpu().double().numpy()


def _tensor_like(array: Any, like: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(array)).to(device=like.device, dtype=dtype)
