"""The quick way in: one autograd node around the kernels, or none where no gradient is wanted."""

from __future__ import annotations

from typing import Any

import torch
from torch.autograd import forward_ad

from sightline.engines.cpu_parts.kernels import Call, Tensors, run_backward, run_forward
from sightline.engines.cpu_parts.plans import native_plan
from sightline.engines.request import Request


def attend(request: Request) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Return the output and, if it is wanted, the logsumexp."""
    call = prepare(request)
    given = Tensors(request.query, request.key, request.value, request.bias)
    if _on_record(given):
        return _Attend.apply(*given, call, request.return_lse)
    result = run_forward(given, call, stats=False, logsumexp=request.return_lse)
    return result.output, result.logsumexp


def prepare(request: Request) -> Call:
    """Return what the kernels are told besides the tensors; with dropout, a seed is drawn."""
    _, _, q_len, kv_len = request.scores_shape
    plan = native_plan(request.mask, q_len, kv_len, request.q_offset)
    if request.dropout == 0.0:
        return Call(plan, request.scale)
    return Call(plan, request.scale, request.dropout, int(draw_seed()))


def draw_seed() -> torch.Tensor:
    """Return a number from torch's generator, which torch.manual_seed and checkpoints rule."""
    return torch.randint(2**63 - 1, (), dtype=torch.int64, device="cpu")


def _on_record(given: Tensors) -> bool:
    """Return whether something may ask for derivatives: a gradient, or forward mode."""
    if forward_ad._current_level >= 0:  # the node refuses; without it tangents would be lost
        return True
    if not torch.is_grad_enabled():
        return False
    return any(tensor is not None and tensor.requires_grad for tensor in given)


class _Attend(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, query, key, value, bias, call, return_lse):
        given = Tensors(query, key, value, bias)
        result = run_forward(given, call, stats=True, logsumexp=return_lse)
        ctx.save_for_backward(*given, result.output, result.stats)
        ctx.call = call
        ctx.set_materialize_grads(False)
        return result.output, result.logsumexp

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_output, grad_logsumexp):
        *given, output, stats = ctx.saved_tensors
        if grad_output is None and grad_logsumexp is None:
            return (None,) * 6
        wanted = ctx.needs_input_grad[:4]
        upstream = grad_output, grad_logsumexp
        grads = run_backward(Tensors(*given), ctx.call, output, stats, *upstream, wanted)
        return (*grads, None, None)
