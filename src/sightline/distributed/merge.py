"""Attention to some keys and attention to the others, put together by their logsumexps.

A row whose keys all lie in one part keeps that part's bits, and a row without keys stays empty.
"""

from __future__ import annotations

from typing import Any

import torch

__all__ = ["are_finite", "merge"]


def merge(
    first: tuple[torch.Tensor, torch.Tensor], second: tuple[torch.Tensor, torch.Tensor]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return output and logsumexp over all keys, from those over two parts of them.

    With L = log(exp L1 + exp L2) and w_i = exp(L_i - L), the output is w_1 o_1 + w_2 o_2.

    Args:
        first: output [batch, heads, q_len, value_dim] and logsumexp [batch, heads, q_len].
        second: the same of the other keys; both must be finite, see ``are_finite``.
    """
    return _Merge.apply(*first, *second)


def are_finite(output: torch.Tensor, logsumexp: torch.Tensor) -> bool:
    """Return whether numbers may be merged: no NaN, no Inf but the logsumexp of empty rows.

    Of a part that is spoiled, the logsumexp does not tell what the whole would be: scores of -inf
    make a row NaN by themselves, and weigh nothing beside others.
    """
    if not output.numel():
        return True
    low, high = torch.aminmax(output)
    return bool(torch.isfinite(low) & torch.isfinite(high) & (logsumexp.amax() < torch.inf))


class _Merge(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, output_1, lse_1, output_2, lse_2):
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
        return tuple(found)


def _weight(part: torch.Tensor, whole: torch.Tensor) -> torch.Tensor:
    """Return exp(part - whole), 0 where the part is empty."""
    return torch.where(part == -torch.inf, 0.0, torch.exp(part - whole))
