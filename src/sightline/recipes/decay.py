"""Which weights of a model decay: its matrices, and neither norms nor shifts."""

from __future__ import annotations

from typing import Any

import torch

__all__ = ["matrices_decay"]


def matrices_decay(model: torch.nn.Module, decay: float) -> list[dict[str, Any]]:
    """Return an optimizer's groups of parameters: matrices with ``decay``, vectors without.

    >>> first, second = matrices_decay(torch.nn.Linear(3, 2), 0.1)
    >>> [tuple(each.shape) for each in first["params"]], first["weight_decay"]
    ([(2, 3)], 0.1)
    >>> [tuple(each.shape) for each in second["params"]], second["weight_decay"]
    ([(2,)], 0.0)
    """
    weights = list(model.parameters())
    return [
        {"params": [weight for weight in weights if weight.ndim >= 2], "weight_decay": decay},
        {"params": [weight for weight in weights if weight.ndim < 2], "weight_decay": 0.0},
    ]
