"""Attention to some keys and attention to the others, put together by their logsumexps.

A row whose keys all lie in one part keeps that part's bits, and a row without keys stays empty.
"""

from __future__ import annotations

from typing import Any

import torch

__all__ = ["merge", "spoiled_rows"]

Part = tuple[torch.Tensor, torch.Tensor]


def merge(
    first: Part, second: Part, spoiled: torch.Tensor | None = None, whole: Part | None = None
) -> Part:
    """Return output and logsumexp over all keys, from those over two parts of them.

    With L = log(exp L1 + exp L2) and w_i = exp(L_i - L), the output is w_1 o_1 + w_2 o_2.

    Args:
        first: output [batch, heads, q_len, value_dim] and logsumexp [batch, heads, q_len].
        second: the same of the other keys.
        spoiled: bool [batch, heads, q_len], rows that are not merged; None for none.
        whole: the same of all keys at once, from which those rows are taken.
    """
    if spoiled is None or whole is None:
        return _Merge.apply(*first, *second, None)
    merged = _Merge.apply(*first, *second, spoiled)
    return _Choose.apply(spoiled, *whole, *merged)


def spoiled_rows(*parts: Part) -> torch.Tensor | None:
    """Return which rows must not be merged: those with NaN or Inf in a part; None if none.

    Of a part that is spoiled, the logsumexp does not tell what the whole would be: scores of -inf
    make a row NaN by themselves, and weigh nothing beside others.
    """
    with torch.no_grad():
        if all(_is_finite(*part) for part in parts):
            return None
        rows = torch.zeros_like(parts[0][1], dtype=torch.bool)
        for output, lse in parts:
            rows |= ~torch.isfinite(output).all(dim=-1) | ~(lse < torch.inf)
        return rows


def _is_finite(output: torch.Tensor, lse: torch.Tensor) -> bool:
    if not output.numel():
        return True
    low, high = torch.aminmax(output)
    return bool(torch.isfinite(low) & torch.isfinite(high) & (lse.amax() < torch.inf))


class _Merge(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, output_1, lse_1, output_2, lse_2, spoiled):
        if spoiled is not None:  # whatever they hold, they have no part in this
            output_1, output_2 = (
                x.masked_fill(spoiled[..., None], 0) for x in (output_1, output_2)
            )
            lse_1, lse_2 = (x.masked_fill(spoiled, -torch.inf) for x in (lse_1, lse_2))
        lse = torch.logaddexp(lse_1, lse_2)
        weights = _weight(lse_1, lse), _weight(lse_2, lse)
        ctx.save_for_backward(output_1, output_2, *weights)
        ctx.set_materialize_grads(False)
        output = weights[0][..., None] * output_1 + weights[1][..., None] * output_2
        return output.to(output_1.dtype), lse

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad, grad_lse):
        output_1, output_2, weight_1, weight_2 = ctx.saved_tensors
        if grad is None:
            grad = torch.zeros_like(output_1)
        grad = grad.to(weight_1.dtype)
        along_1, along_2 = (grad * output_1).sum(dim=-1), (grad * output_2).sum(dim=-1)
        # d w_1 / d L_1 = w_1 (1 - w_1) and d w_2 / d L_1 = -w_1 w_2; d L / d L_1 = w_1.
        along = weight_1 * along_1 + weight_2 * along_2
        found: list[torch.Tensor] = []
        for weight, own in ((weight_1, along_1), (weight_2, along_2)):
            change = own - along
            if grad_lse is not None:
                change = change + grad_lse
            found += [(weight[..., None] * grad).to(output_1.dtype), weight * change]
        return *found, None


class _Choose(torch.autograd.Function):
    """Some rows of one result, the others of another; each is told of its own rows alone."""

    @staticmethod
    def forward(ctx: Any, rows, output_1, lse_1, output_2, lse_2):
        ctx.rows = rows
        output = torch.where(rows[..., None], output_1, output_2)
        return output, torch.where(rows, lse_1, lse_2)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad, grad_lse):
        rows, wide = ctx.rows, ctx.rows[..., None]
        ones = grad.masked_fill(~wide, 0), grad_lse.masked_fill(~rows, 0)
        return None, *ones, grad.masked_fill(wide, 0), grad_lse.masked_fill(rows, 0)


def _weight(part: torch.Tensor, whole: torch.Tensor) -> torch.Tensor:
    """Return exp(part - whole), 0 where the part is empty."""
    return torch.where(part == -torch.inf, 0.0, torch.exp(part - whole))
