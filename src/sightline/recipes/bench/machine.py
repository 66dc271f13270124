"""What figures are taken on. Needs no torch until torch's part is asked for."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from sightline.errors import SightlineError
from sightline.recipes.bench.timing import once

__all__ = ["machine", "peak_gflops", "torch_facts"]

_CPUINFO = Path("/proc/cpuinfo")
# Rows and columns: as many as make only arithmetic count, fewer where a product takes longer than
# so many seconds (bfloat16 without instructions for it).
_SMALLEST, _LARGEST, _ENOUGH = 256, 2048, 0.1
_TRIES = 7


def machine() -> dict[str, object]:
    """Return what a figure was taken on."""
    names = [
        line.split(":", 1)[1].strip()
        for line in (_CPUINFO.read_text().splitlines() if _CPUINFO.exists() else [])
        if line.startswith("model name")
    ]
    return {
        "cpu": names[0] if names else platform.processor(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None,
        "python": platform.python_version(),
    }


def torch_facts() -> dict[str, object]:
    """Return torch's version and threads, and the instruction set of our kernels (or None)."""
    import torch

    return {"torch": torch.__version__, "threads": torch.get_num_threads(), "isa": _isa()}


def _isa() -> str | None:
    """Return the instruction set of the compiled kernels, None where there are none."""
    if find_spec("sightline.native") is None:
        return None
    try:
        return import_module("sightline.native").kernels().isa()
    except SightlineError:  # not built
        return None


def peak_gflops(dtype_name: str) -> float:
    """Return 10**9 operations a second of a large product of matrices: the quickest of several.

    Numbers of 16 bits may be multiplied as float32 as well, which is quicker where a machine has no
    instructions for them; so the better of the two is theirs.
    """
    halves = dtype_name in ("bfloat16", "float16")
    names = (dtype_name, "float32") if halves else (dtype_name,)
    return max(map(_product_gflops, names))


def _product_gflops(dtype_name: str) -> float:
    size = _SMALLEST
    run = _product(dtype_name, size)
    while size < _LARGEST and _quickest(run) < _ENOUGH:
        size *= 2
        run = _product(dtype_name, size)
    return 2 * size**3 / _quickest(run) / 1e9


def _quickest(run: Callable[[], object]) -> float:
    return min(once(run) for _ in range(_TRIES))


def _product(dtype_name: str, size: int) -> Callable[[], object]:
    """Return a product of two square matrices, called once already."""
    import torch

    generator = torch.Generator().manual_seed(0)
    dtype = getattr(torch, dtype_name)
    a, b = (torch.randn(size, size, generator=generator).to(dtype) for _ in range(2))
    out = torch.empty_like(a)
    torch.mm(a, b, out=out)
    return lambda: torch.mm(a, b, out=out)
