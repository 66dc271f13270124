"""Autograd nodes made of three functions: what to compute, what to keep, how to differentiate.

torch.func wants a node in another form, which costs a tenth of a millisecond a call; so there are
two, and none at all where nobody asks for gradients.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch


def make_node(
    compute: Callable[..., Any],
    keep: Callable[[Any, tuple[Any, ...], Any], None],
    differentiate: Callable[..., Any],
) -> Callable[..., Any]:
    """Return ``compute`` with a gradient of its own.

    Args:
        compute: takes tensors and options, returns tensors.
        keep: takes the node's context, the arguments and the output; saves what is needed.
        differentiate: takes the context and the output's gradients; returns the arguments'.

    >>> import torch
    >>> def keep(ctx, given, output): ctx.save_for_backward(*given)
    >>> def differentiate(ctx, grad): return 2 * ctx.saved_tensors[0] * grad
    >>> square = make_node(lambda x: x * x, keep, differentiate)
    >>> x = torch.tensor(3.0, requires_grad=True)
    >>> square(x).backward()
    >>> x.grad
    tensor(6.)
    """

    class Quick(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, *given: Any) -> Any:
            output = compute(*given)
            keep(ctx, given, output)
            return output

        @staticmethod
        def backward(ctx: Any, *grads: Any) -> Any:
            return differentiate(ctx, *grads)

    class Transformed(torch.autograd.Function):
        generate_vmap_rule = True

        @staticmethod
        def forward(*given: Any) -> Any:
            return compute(*given)

        @staticmethod
        def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
            keep(ctx, inputs, output)

        @staticmethod
        def backward(ctx: Any, *grads: Any) -> Any:
            return differentiate(ctx, *grads)

    def run(*given: Any) -> Any:
        if not torch.compiler.is_compiling() and torch._C._are_functorch_transforms_active():
            return Transformed.apply(*given)
        if torch.is_grad_enabled() and any(
            isinstance(each, torch.Tensor) and each.requires_grad for each in given
        ):
            return Quick.apply(*given)
        return compute(*given)

    return run


def may_look(tensor: torch.Tensor) -> bool:
    """Return whether numbers can be looked at: not where they are only being recorded."""
    return tensor.device.type == "cpu" and not (
        torch.compiler.is_compiling()
        or torch._C._are_functorch_transforms_active()
        or torch._C._len_torch_dispatch_stack() > 0
    )
