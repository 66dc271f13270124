"""Linear layers with their weights laid out for few rows at a time: ``sl.nn.PackedLinears``.

A decode step is mostly the reading of weights; oneDNN reads them faster from a layout of its own.
Rows keep the same bits whatever their number, which rows.py probes.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch

from sightline.errors import InvalidArgument
from sightline.nn.generation.rows import ROW_STEP, can_pack, pack_weight, run_packed


class PackedLinears:
    """Within it a model's linear layers run from packed copies of their weights.

    For generating on a CPU in float32: layers of other kinds, dtypes and devices are left as they
    are, and so is everything that is run with gradients. The copies take as much memory as the
    weights. Results differ from the plain layers' in their last bits, so that texts to be
    compared bit for bit are made both within or both without.

    Args:
        model: whose ``torch.nn.Linear`` layers are packed, and those that transformers' GPT-2 has
            in their place (``Conv1D``).
        rows: about how many rows there will be at a time.

    Raises:
        InvalidArgument: this torch has no packed linear layers, or a weight changed since.

    >>> import sightline as sl, torch
    >>> layer, rows = torch.nn.Linear(64, 48), torch.randn(3, 64)
    >>> with sl.nn.PackedLinears(layer), torch.no_grad():
    ...     packed = layer(rows)
    >>> torch.allclose(packed, layer(rows), atol=1e-5)
    True
    """

    def __init__(self, model: torch.nn.Module, rows: int = ROW_STEP) -> None:
        if not can_pack():
            raise InvalidArgument(
                "got a torch without oneDNN's linear layers; wanted a build for CPUs that has "
                "them; run the model without PackedLinears."
            )
        self._model = model
        self._rows = rows
        self._packed: list[Any] = []

    def __enter__(self) -> PackedLinears:
        """Pack the weights."""
        for module in self._model.modules():
            laid = _as_linear(module)
            if laid is not None and laid.device.type == "cpu" and laid.dtype == torch.float32:
                weight = module.get_parameter("weight")
                packed = pack_weight(laid.contiguous(), self._rows)
                module.forward = partial(_forward, module, packed, weight, _version(weight))
                self._packed.append(module)
        return self

    def __exit__(self, *_: Any) -> None:
        """Let the layers run as before."""
        for module in self._packed:
            del module.forward
        self._packed.clear()


def _as_linear(module: torch.nn.Module) -> torch.Tensor | None:
    """Return a linear layer's weight [out, in]; None for modules of other kinds."""
    if type(module) is torch.nn.Linear:
        return module.get_parameter("weight")
    kind = type(module)
    if kind.__name__ == "Conv1D" and kind.__module__ == "transformers.pytorch_utils":
        return module.get_parameter("weight").T  # GPT-2's, which lies the other way round
    return None


def _forward(
    module: Any,
    packed: torch.Tensor,
    weight: torch.Tensor,
    version: int | None,
    input: torch.Tensor,
) -> torch.Tensor:
    """Run one layer; ``weight`` and ``version`` are those that were packed."""
    if torch.is_grad_enabled():
        return type(module).forward(module, input)
    if module.weight is not weight or _version(weight) != version:
        raise InvalidArgument(
            "got a linear layer whose weight changed since it was packed; wanted the same weight; "
            "leave PackedLinears before weights are trained or loaded."
        )
    return run_packed(input, packed, module.bias)


def _version(weight: torch.Tensor) -> int | None:
    """Return how often a weight has been written; None for one that cannot be told."""
    return None if weight.is_inference() else weight._version
