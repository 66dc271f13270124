"""What figures are taken on. Needs no torch until torch's part is asked for."""

from __future__ import annotations

import os
import platform
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from sightline.errors import SightlineError
from sightline.recipes.bench.timing import once

__all__ = ["machine", "peak_gflops", "torch_facts"]

_CPUINFO = Path("/proc/cpuinfo")
# Rows and columns: large enough that only arithmetic counts.
_PRODUCT = 2048
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
    """Return 10**9 operations a second of a large product of matrices: the quickest of several."""
    import torch

    generator = torch.Generator().manual_seed(0)
    dtype = getattr(torch, dtype_name)
    a, b = (torch.randn(_PRODUCT, _PRODUCT, generator=generator).to(dtype) for _ in range(2))
    out = torch.empty_like(a)
    torch.mm(a, b, out=out)
    quickest = min(once(lambda: torch.mm(a, b, out=out)) for _ in range(_TRIES))
    return 2 * _PRODUCT**3 / quickest / 1e9
