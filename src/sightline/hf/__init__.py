"""Hugging Face models (transformers 5) with Sightline attention: ``sl.hf.patch``, ``sl.hf.unpad``.

Each public name is loaded from its file when it is first used. Needs transformers.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

# The files that hold the public names. Adding a name: a word here.
_ROOMS = {
    "cache": "KVCache static_cache",
    "explanation": "explain",
    "patching": "patch unpatch",
    "settings": "rewriting",
    "unpadding": "how_unpadded repad unpad",
}
_HOME = {name: f"sightline.hf.{room}" for room, names in _ROOMS.items() for name in names.split()}

__all__ = sorted(_HOME)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    """Load a public name from its file when it is first asked for."""
    if name not in _HOME:
        raise AttributeError(f"module 'sightline.hf' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return list(__all__)
