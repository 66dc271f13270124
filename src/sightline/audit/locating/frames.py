"""Which line of a user's code a torch operation was called from."""

from __future__ import annotations

import linecache
import sys
import sysconfig
from functools import lru_cache
from pathlib import Path
from types import FrameType

import torch

# Packages whose own lines say nothing about a model.
_HELPERS = ("einops", "opt_einsum", "functorch", "accelerate", "jaxtyping", "beartype")
_TORCH = str(Path(torch.__file__).parent)
_AUDIT = str(Path(__file__).parents[1])
_STANDARD = sysconfig.get_paths()["stdlib"]
# Where a user's own call of the audit begins.
_END = str(Path(__file__).with_name("localize.py"))


def calling_line() -> tuple[str, int]:
    """Return file and number of the line that called torch; ``("", 0)`` if there is none.

    The innermost line that is neither torch's nor a helper's. In transformers the line of the
    model's own file, not of the functions that all models share.
    """
    frame: FrameType | None = sys._getframe(1)
    shared: tuple[str, int] | None = None
    while frame is not None:
        file = frame.f_code.co_filename
        kind = _kind(file)
        if kind == "own":
            return file, frame.f_lineno
        if kind == "shared" and shared is None:
            shared = file, frame.f_lineno
        if file == _END:
            break
        frame = frame.f_back
    return shared or ("", 0)


@lru_cache(maxsize=4096)
def _kind(file: str) -> str:
    parts = Path(file).parts
    if file.startswith((_TORCH, _AUDIT, "<")) or any(name in parts for name in _HELPERS):
        return "helper"
    if file.startswith(_STANDARD) and "site-packages" not in parts:
        return "helper"
    if "transformers" in parts and "site-packages" in parts and "models" not in parts:
        return "shared"
    return "own"


def text_of(file: str, line: int) -> str:
    """Return the text of a line, without what stands around it; empty if it cannot be read."""
    return linecache.getline(file, line).strip() if file else ""
