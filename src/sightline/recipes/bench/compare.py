"""Whether two ways give the same numbers: a benchmark of wrong results would be worth nothing."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import torch

from sightline.errors import SightlineError

__all__ = ["attempt", "largest_difference", "within_rounding"]

# Largest difference ÷ largest number that different orders of summing explain, gradients included.
_ROUNDING = {"float64": 1e-9, "float32": 1e-4, "float16": 2e-2, "bfloat16": 1e-1}

Results = tuple[torch.Tensor, ...]


def attempt(run: Callable[[], Results]) -> tuple[Results | None, str]:
    """Return what a run gives, or None and why it does not (one line)."""
    try:
        return run(), ""
    except (SightlineError, MemoryError, RuntimeError) as error:  # RuntimeError: torch's memory
        return None, str(error).strip().splitlines()[0]


def largest_difference(ours: Results, theirs: Iterable[Results]) -> float:
    """Return the largest difference from any of them ÷ the largest number; NaN if there is none.

    >>> one, two = torch.tensor([1.0, 4.0]), torch.tensor([1.0, 5.0])
    >>> largest_difference((one,), [(one,), (two,)])
    0.2
    """
    found = [_difference(a, b) for other in theirs for a, b in zip(ours, other, strict=True)]
    if not found:
        return math.nan
    return math.inf if any(map(math.isnan, found)) else max(found)


def within_rounding(difference: float, dtype_name: str) -> bool:
    """Return whether rounding explains a difference; there is nothing to explain in NaN."""
    return math.isnan(difference) or difference <= _ROUNDING[dtype_name]


def _difference(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    a, b = ours.detach().double(), theirs.detach().double()
    largest = float(b.abs().max())
    return float((a - b).abs().max()) / largest if largest else float((a - b).abs().max())
