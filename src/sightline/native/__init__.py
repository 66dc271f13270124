"""The compiled kernels of the cpu engine: the way to them, and why they are not there.

They are the module ``_kernels``, made of the C++ in csrc/ when Sightline is installed; what it
offers stands in _kernels.pyi. A machine without a compiler goes without them: the other engines
remain, and whoever asks is told. Calling the kernels is left to the cpu engine.
"""

from __future__ import annotations

import warnings
from functools import cache
from importlib import import_module
from pathlib import Path

from sightline.errors import MissingKernels

__all__ = ["kernels", "warn_once", "why_missing"]

# CMakeLists.txt writes this file where it leaves the kernels out.
RECORD = Path(__file__).with_name("_kernels.missing.txt")
UNRECORDED = (
    "they were not compiled when Sightline was installed (SIGHTLINE_NATIVE=0, or a compilation "
    "that failed; pip tells with --verbose)"
)
REMEDY = (
    "To have them: with g++ or clang++ and Python's headers on this machine, install Sightline "
    "again, or run `make native` in a checkout"
)


# Not annotated, so that type checkers see what _kernels.pyi says of the module.
def kernels():
    """Return the compiled module ``sightline.native._kernels``.

    Raises:
        MissingKernels: it is not there, or does not load; the message says why and what to do.
    """
    reason = why_missing()
    if reason is not None:
        raise MissingKernels(reason=reason, remedy=f"{REMEDY}; or name another engine.")
    import sightline.native._kernels as compiled

    return compiled


@cache
def why_missing() -> str | None:
    """Say why the kernels cannot be used, or return None where they can.

    The answer is found once per process: what is compiled meanwhile counts from the next one on.

    >>> from sightline.native import kernels, why_missing
    >>> kernels().isa() in kernels().isas() if why_missing() is None else True
    True
    """
    try:
        import_module("sightline.native._kernels")
    except ModuleNotFoundError:
        return _recorded()
    except ImportError as error:
        return f"they were compiled, but do not load here ({error})"
    return None


@cache
def warn_once() -> None:
    """Warn, once per process, that work runs without the kernels, if that is so.

    For where they would have been chosen and something slower runs instead.
    """
    reason = why_missing()
    if reason is not None:
        text = f"Sightline's compiled kernels are missing: {reason}. Another engine runs instead, "
        text += f"with the same results. {REMEDY}."
        warnings.warn(text, UserWarning, stacklevel=2)


def _recorded() -> str:
    try:
        return RECORD.read_text(encoding="utf-8").strip() or UNRECORDED
    except OSError:
        return UNRECORDED
