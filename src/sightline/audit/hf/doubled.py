"""Keeps a float64 pass in float64 where the model's code casts to float32.

Transformers computes softmaxes, norms and rotations in float32 whatever the model is in. In a
float64 model that rounds, and a mask's float64 constant overflows to an empty row. Which output
depends on which input does not change by this.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sightline.lower.arguments import require_torch


@contextmanager
def doubled() -> Iterator[None]:
    """Take float64 wherever torch is asked for fewer bits, inside the block.

    >>> import torch
    >>> scores = torch.zeros(2, dtype=torch.float64)
    >>> with doubled():
    ...     torch.softmax(scores, dim=-1, dtype=torch.float32).dtype, scores.float().dtype
    (torch.float64, torch.float64)
    """
    torch = require_torch("an audit in float64")
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        with _mode(torch):
            yield
    finally:
        torch.set_default_dtype(default)


def _mode(torch: Any) -> Any:
    from torch.overrides import TorchFunctionMode

    finer = dict.fromkeys((torch.float32, torch.float16, torch.bfloat16), torch.float64)
    casts = {torch.Tensor.float, torch.Tensor.half, torch.Tensor.bfloat16}

    def other(value: Any) -> Any:
        return finer.get(value, value) if isinstance(value, torch.dtype) else value

    def named(options: dict[str, Any]) -> dict[str, Any]:
        return {name: other(value) for name, value in options.items()} if options else options

    class Doubled(TorchFunctionMode):
        def __torch_function__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            if func in casts:
                return torch.Tensor.double(args[0])
            if any(isinstance(value, torch.dtype) for value in args):
                args = tuple(other(value) for value in args)
            return func(*args, **named(kwargs or {}))

    return Doubled()
