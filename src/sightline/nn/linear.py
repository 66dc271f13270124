"""Linear maps of the rows that are needed, whose weights learn nothing from rows that are silent.

A row whose incoming gradient is all 0 is silent: what it holds, NaN and Inf included, changes no
gradient. (A plain matmul multiplies it by 0, and 0 times NaN is NaN.) Which rows are needed is
left to needed_rows.py.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch.nn import functional

from sightline.nn.nodes import make_node, may_look


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
    return _linear_parts(inputs, weight, bias, widths, rows, unread)


def _compute(
    inputs: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    widths: tuple[int, ...],
    rows: torch.Tensor | None,
    unread: bool,
) -> tuple[torch.Tensor, ...]:
    with torch.autocast(inputs.device.type, enabled=False):
        if rows is None:
            output = functional.linear(inputs, weight, bias)
        else:
            output = _room(inputs, weight, bias, unread)
            taken = inputs.index_select(0, rows)
            output.index_copy_(0, rows, functional.linear(taken, weight, bias))
    return (output,) if len(widths) == 1 else output.split(widths, dim=1)


def _room(
    inputs: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, unread: bool
) -> torch.Tensor:
    shape = (len(inputs), len(weight))
    if unread:
        return inputs.new_empty(shape)
    if bias is None:
        return inputs.new_zeros(shape)
    return bias.expand(shape).clone(memory_format=torch.contiguous_format)


def _keep(ctx: Any, given: tuple[Any, ...], _output: Any) -> None:
    inputs, weight, _, widths, rows, unread = given
    ctx.save_for_backward(inputs, weight, rows)
    ctx.widths, ctx.unread = widths, unread
    ctx.set_materialize_grads(False)


def _differentiate(ctx: Any, *grads: torch.Tensor | None) -> tuple[Any, ...]:
    inputs, weight, rows = ctx.saved_tensors
    wants_inputs, wants_weight, wants_bias = ctx.needs_input_grad[:3]
    taken = inputs if rows is None else inputs.index_select(0, rows)
    asked = [grad if grad is None or rows is None else grad.index_select(0, rows) for grad in grads]
    grad_inputs = grad_weight = grad_bias = None
    with torch.autocast(inputs.device.type, enabled=False):
        if wants_inputs:
            grad_inputs = _grad_inputs(asked, weight.split(ctx.widths), inputs, rows)
        if wants_weight:
            grad_weight = _joined(
                inputs.new_zeros(width, inputs.shape[1])
                if grad is None
                else _grad_weight(grad, taken)
                for grad, width in zip(asked, ctx.widths, strict=True)
            )
        if wants_bias:
            grad_bias = _joined(
                inputs.new_zeros(width) if grad is None else grad.sum(0)
                for grad, width in zip(asked if ctx.unread else grads, ctx.widths, strict=True)
            )
    return grad_inputs, grad_weight, grad_bias, None, None, None


_linear_parts = make_node(_compute, _keep, _differentiate)


def _joined(parts: Iterable[torch.Tensor]) -> torch.Tensor:
    each = list(parts)
    return each[0] if len(each) == 1 else torch.cat(each)


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
