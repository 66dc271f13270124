"""Rows of equal bits for models that were not written for it: ``with sl.nn.SameRows():``.

While it is in force, the linear layers and activations that a model calls are run in the way of
rows.py. models/gpt.py needs none of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch.overrides import TorchFunctionMode

from sightline.errors import InvalidArgument
from sightline.nn.generation.rows import ROW_STEP, fill_rows, gelu_tanh, widened


class SameRows(TorchFunctionMode):
    """Within it a row's bits do not depend on how many rows there are beside it.

    Covers what depends on it in common models, without gradients: ``linear``, ``addmm``, ``gelu``,
    ``silu`` and ``sigmoid``; their last bits may differ from those outside. Norms, softmax,
    embeddings, sums of two tensors and ``sl.attend`` need nothing. Whether this machine's linear
    layers allow it is told by ``model_is_row_invariant``.

    Args:
        step: numbers of rows are filled up to a multiple of this.

    Raises:
        InvalidArgument: ``step`` is not positive.

    >>> import sightline as sl, torch
    >>> layer, rows = torch.nn.Linear(64, 48), torch.randn(5, 64)
    >>> with torch.no_grad(), sl.nn.SameRows():
    ...     together, alone = layer(rows), layer(rows[3:4])
    >>> together[3:4].equal(alone)
    True
    """

    def __init__(self, step: int = ROW_STEP) -> None:
        super().__init__()
        if step < 1:
            raise InvalidArgument(f"got step={step}; wanted a number of rows of at least 1; try 8.")
        self.step = step

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run one function of torch."""
        given = kwargs or {}
        replaced = None if torch.is_grad_enabled() else _REPLACED.get(func)
        if replaced is None:
            return func(*args, **given)
        return replaced(self.step, *args, **given)


def _linear(
    step: int, input: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None
) -> torch.Tensor:
    if weight.ndim != 2 or input.shape[-1] != weight.shape[1]:
        return F.linear(input, weight, bias)  # which says what is wrong with them
    rows = input.reshape(-1, input.shape[-1])
    count = rows.shape[0]
    result = F.linear(fill_rows(rows, -(-count // step) * step), weight, bias)[:count]
    return result.view(*input.shape[:-1], -1)


def _addmm(
    step: int, input: torch.Tensor, mat1: torch.Tensor, mat2: torch.Tensor, **options: Any
) -> torch.Tensor:
    if input.ndim != 1 or mat1.ndim != 2 or "out" in options:
        return torch.addmm(input, mat1, mat2, **options)
    count = mat1.shape[0]
    return torch.addmm(input, fill_rows(mat1, -(-count // step) * step), mat2, **options)[:count]


def _gelu(step: int, input: torch.Tensor, *, approximate: str = "none") -> torch.Tensor:
    if approximate == "tanh":
        return gelu_tanh(input)
    wide = widened(input)
    return (wide * math.sqrt(0.5)).erf_().add_(1.0).mul_(wide).mul_(0.5).to(input.dtype)


def _sigmoid(step: int, input: torch.Tensor) -> torch.Tensor:
    return widened(input).neg().exp_().add_(1.0).reciprocal_().to(input.dtype)


def _silu(step: int, input: torch.Tensor, inplace: bool = False) -> torch.Tensor:
    wide = widened(input)
    result = wide.neg().exp_().add_(1.0).reciprocal_().mul_(wide).to(input.dtype)
    return input.copy_(result) if inplace else result


_REPLACED: dict[Any, Callable[..., torch.Tensor]] = {
    F.linear: _linear,
    torch.addmm: _addmm,
    F.gelu: _gelu,
    F.silu: _silu,
    F.sigmoid: _sigmoid,
    torch.sigmoid: _sigmoid,
    torch.Tensor.sigmoid: _sigmoid,
}
