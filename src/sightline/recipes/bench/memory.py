"""One call's memory, in a process of its own: calls.py starts it and reads its line of JSON.

Usage: python -m sightline.recipes.bench.memory ENGINE forward|backward HEADS LENGTH DIM
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch

import sightline as sl

__all__ = ["growth_of"]

_STATUS, _FORGET = Path("/proc/self/status"), Path("/proc/self/clear_refs")

_Tensors = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


def growth_of(engine: str, kind: str, heads: int, length: int, dim: int) -> dict[str, int]:
    """Return {"growth": of the resident memory at its peak, "results": bytes of results}.

    A small call comes first, so that libraries and threads are there already. In the backward
    case the forward pass and what it keeps count too.
    """
    _run(engine, kind, _inputs(heads, min(length, 128), dim))
    tensors = _inputs(heads, length, dim)
    before = _start_watching()
    results = _run(engine, kind, tensors)
    return {
        "growth": _peak() - before,
        "results": sum(each.numel() * each.element_size() for each in results),
    }


def _inputs(heads: int, length: int, dim: int) -> _Tensors:
    query, key, value = (torch.randn(1, heads, length, dim) for _ in range(3))
    return query, key, value


def _run(engine: str, kind: str, tensors: _Tensors) -> list[torch.Tensor]:
    for tensor in tensors:
        tensor.requires_grad_(kind == "backward")
    output = sl.attend(*tensors, sl.causal(), engine=engine)
    if kind == "forward":
        return [output]
    # The gradient that comes in is of numbers that lie in memory once: it is not counted.
    coming = torch.ones(()).expand(output.shape)
    return [output, *torch.autograd.grad(output, tensors, coming)]


def _start_watching() -> int:
    """Return the bytes that are resident now; the peak counts from here, where Linux lets it."""
    try:
        _FORGET.write_text("5")  # proc(5): resets the peak resident set size
    except OSError:
        return _peak()
    return _status("VmRSS")


def _peak() -> int:
    """Return the most bytes that were resident."""
    if _STATUS.exists():
        return _status("VmHWM")
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def _status(name: str) -> int:
    line = next(each for each in _STATUS.read_text().splitlines() if each.startswith(f"{name}:"))
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    _, given_engine, given_kind, *sizes = sys.argv
    sys.stdout.write(json.dumps(growth_of(given_engine, given_kind, *map(int, sizes))) + "\n")
