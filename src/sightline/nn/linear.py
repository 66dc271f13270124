"""Linear maps of the rows that are needed, whose weights learn nothing from rows that are silent.

A row whose incoming gradient is all 0 is silent: what it holds, NaN and Inf included, changes no
gradient. (A plain matmul multiplies it by 0, and 0 times NaN is NaN.) Which rows are needed is
left to needed_rows.py.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional


def linear(
    inputs: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None = None,
    *,
    rows: torch.Tensor | None = None,
) -> torch.Tensor:
    """Return ``inputs @ weight.T + bias``; rows that are not asked for are the bias alone.

    Args:
        inputs: [..., in].
        weight: [out, in].
        bias: [out], or None.
        rows: int64 [R], the rows of the flattened inputs that are computed; None for all.

    Returns:
        [..., out].

    >>> import torch
    >>> inputs = torch.tensor([[1.0], [torch.nan]])
    >>> weight = torch.tensor([[2.0]], requires_grad=True)
    >>> linear(inputs, weight)[0].sum().backward()
    >>> weight.grad
    tensor([[1.]])
    """
    flat = inputs.reshape(-1, inputs.shape[-1])
    (output,) = linear_parts(flat, weight, bias, (len(weight),), rows=rows, unread=False)
    return output.view(*inputs.shape[:-1], len(weight))


def linear_parts(
    inputs: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    widths: tuple[int, ...],
    *,
    rows: torch.Tensor | None = None,
    unread: bool = True,
) -> tuple[torch.Tensor, ...]:
    """Return the same for [N, in], cut along the last axis into parts that lie side by side.

    Args:
        inputs: [N, in].
        weight: [out, in].
        bias: [out], or None.
        widths: how wide each part is, ``out`` in all.
        rows: int64 [R], the rows that are computed; None for all.
        unread: nobody reads the other rows, so that they may hold anything; else they hold the
            bias (0 without one).

    Returns:
        [N, width] for each part, views of one block of memory.
    """
    if torch.is_autocast_enabled(inputs.device.type):
        dtype = torch.get_autocast_dtype(inputs.device.type)
        inputs, weight = inputs.to(dtype), weight.to(dtype)
        bias = None if bias is None else bias.to(dtype)
    return _LinearParts.apply(inputs, weight, bias, widths, rows, unread)


class _LinearParts(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(inputs, weight, bias, widths, rows, unread):
        with torch.autocast(inputs.device.type, enabled=False):
            if rows is None:
                return functional.linear(inputs, weight, bias).split(widths, dim=1)
            shape = (len(inputs), len(weight))
            if unread:
                output = inputs.new_empty(shape)
            elif bias is None:
                output = inputs.new_zeros(shape)
            else:
                output = bias.expand(shape).clone(memory_format=torch.contiguous_format)
            output.index_copy_(
                0, rows, functional.linear(inputs.index_select(0, rows), weight, bias)
            )
            return output.split(widths, dim=1)

    @staticmethod
    def setup_context(ctx: Any, inputs, output):
        given, weight, bias, widths, rows, unread = inputs
        ctx.save_for_backward(given, weight, rows)
        ctx.widths, ctx.unread, ctx.has_bias = widths, unread, bias is not None
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx: Any, *grads):
        inputs, weight, rows = ctx.saved_tensors
        wants_inputs, wants_weight, wants_bias = ctx.needs_input_grad[:3]
        taken = inputs if rows is None else inputs.index_select(0, rows)
        asked = [
            grad if grad is None or rows is None else grad.index_select(0, rows) for grad in grads
        ]
        grad_inputs = grad_weight = grad_bias = None
        with torch.autocast(inputs.device.type, enabled=False):
            if wants_inputs:
                grad_inputs = _grad_inputs(asked, weight.split(ctx.widths), inputs, rows)
            if wants_weight:
                parts = [
                    inputs.new_zeros(width, inputs.shape[1])
                    if grad is None
                    else _grad_weight(grad, taken)
                    for grad, width in zip(asked, ctx.widths, strict=True)
                ]
                grad_weight = parts[0] if len(parts) == 1 else torch.cat(parts)
            if wants_bias:
                whole = asked if ctx.unread else grads
                sums = [
                    inputs.new_zeros(width) if grad is None else grad.sum(0)
                    for grad, width in zip(whole, ctx.widths, strict=True)
                ]
                grad_bias = sums[0] if len(sums) == 1 else torch.cat(sums)
        return grad_inputs, grad_weight, grad_bias, None, None, None


def _grad_inputs(
    grads: list[torch.Tensor | None],
    weights: tuple[torch.Tensor, ...],
    inputs: torch.Tensor,
    rows: torch.Tensor | None,
) -> torch.Tensor:
    result: torch.Tensor | None = None
    for grad, weight in zip(grads, weights, strict=True):
        if grad is None:
            continue
        result = grad @ weight if result is None else torch.addmm(result, grad, weight)
    if result is None:
        return torch.zeros_like(inputs)
    if rows is None:
        return result
    return torch.zeros_like(inputs).index_copy_(0, rows, result)


def _grad_weight(grad: torch.Tensor, inputs: torch.Tensor) -> torch.Tensor:
    """Return ``grad.T @ inputs`` over the rows of which ``grad`` is not all 0."""
    if not may_look(grad):
        return grad.T @ _without_silent(inputs, grad)
    result = grad.T @ inputs
    # Only an infinite or undefined number needs the care: 0 times anything else is 0.
    if bool(torch.isfinite(result.sum())):
        return result
    return grad.T @ _without_silent(inputs, grad)


def _without_silent(inputs: torch.Tensor, grad: torch.Tensor) -> torch.Tensor:
    return torch.where((grad != 0).any(dim=1, keepdim=True), inputs, 0)


def may_look(tensor: torch.Tensor) -> bool:
    """Return whether numbers can be looked at: not where they are only being recorded."""
    return tensor.device.type == "cpu" and not (
        torch.compiler.is_compiling()
        or torch._C._are_functorch_transforms_active()
        or torch._C._len_torch_dispatch_stack() > 0
    )
