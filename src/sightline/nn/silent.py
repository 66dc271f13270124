"""Layer norm and activations that let a silent row change no gradient, whatever it holds.

A row is silent if its incoming gradient is all 0, as that of padding which the loss leaves out.
torch multiplies that 0 by derivatives, which are NaN where the row holds NaN or Inf, and adds the
product to the gradients of parameters. Linear maps are in linear.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from sightline.errors import InvalidArgument
from sightline.nn.nodes import make_node, may_look

Activation = Callable[[torch.Tensor], torch.Tensor]


def layer_norm(inputs: torch.Tensor, norm: nn.LayerNorm) -> torch.Tensor:
    """Return ``norm(inputs)`` for inputs [..., features].

    Source: Ba et al. 2016, equation 4.

    >>> import torch
    >>> norm = torch.nn.LayerNorm(2)
    >>> inputs = torch.tensor([[1.0, 2.0], [torch.nan, 0.0]])
    >>> layer_norm(inputs, norm)[0].sum().backward()
    >>> bool(norm.weight.grad.isfinite().all())
    True
    """
    if torch.is_autocast_enabled(inputs.device.type):
        inputs = inputs.to(norm.weight.dtype)  # as torch does: norms keep their precision
    output, _, _ = _layer_norm(inputs, norm.weight, norm.bias, norm.eps)
    return output


def activate(inputs: torch.Tensor, activation: Activation) -> torch.Tensor:
    """Return ``activation(inputs)``; of a function that is neither relu nor gelu, as it comes.

    >>> import torch
    >>> inputs = torch.tensor([1.0, torch.nan], requires_grad=True)
    >>> activate(inputs, torch.nn.functional.gelu)[0].backward()
    >>> inputs.grad
    tensor([1.0833, 0.0000])
    """
    return _gelu(inputs) if activation is functional.gelu else activation(inputs)


def activation_of(name: str | Activation) -> Activation:
    """Return the function that ``"relu"`` or ``"gelu"`` names; a function is its own name.

    Raises:
        InvalidArgument: another name.
    """
    named = {"relu": functional.relu, "gelu": functional.gelu}
    if callable(name):
        return name
    if name not in named:
        raise InvalidArgument(
            f"got activation={name!r}; wanted 'relu', 'gelu' or a function of a tensor."
        )
    return named[name]


def _keep_norm(ctx: Any, given: tuple[Any, ...], output: tuple[torch.Tensor, ...]) -> None:
    inputs, weight, bias, _ = given
    _, mean, rstd = output
    ctx.save_for_backward(inputs, weight, bias, mean, rstd)
    ctx.mark_non_differentiable(mean, rstd)


def _differentiate_norm(ctx: Any, grad: torch.Tensor, *_: Any) -> tuple[Any, ...]:
    inputs, weight, bias, mean, rstd = ctx.saved_tensors
    # The mean of a row is finite only if all of the row is.
    if not may_look(grad) or not bool(torch.isfinite(mean.sum() + rstd.sum())):
        loud = (grad != 0).any(dim=-1, keepdim=True)
        inputs, mean, rstd = (torch.where(loud, each, 0) for each in (inputs, mean, rstd))
    grads = torch.ops.aten.native_layer_norm_backward(
        grad.contiguous(),
        inputs,
        inputs.shape[-1:],
        mean,
        rstd,
        weight,
        bias,
        ctx.needs_input_grad[:3],
    )
    return *grads, None


_layer_norm = make_node(
    lambda inputs, weight, bias, eps: torch.native_layer_norm(
        inputs, inputs.shape[-1:], weight, bias, eps
    ),
    _keep_norm,
    _differentiate_norm,
)


def _keep_inputs(ctx: Any, given: tuple[Any, ...], _output: Any) -> None:
    ctx.save_for_backward(*given)


def _differentiate_gelu(ctx: Any, grad: torch.Tensor) -> torch.Tensor:
    (inputs,) = ctx.saved_tensors
    result = torch.ops.aten.gelu_backward(grad, inputs)
    if may_look(result) and bool(torch.isfinite(result.sum())):
        return result
    return torch.where(grad == 0, 0, result)


_gelu = make_node(functional.gelu, _keep_inputs, _differentiate_gelu)
