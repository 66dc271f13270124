"""Hugging Face models (transformers 5) with Sightline attention: ``sl.hf.patch``, ``sl.hf.unpad``.

Each public name is loaded from its file when it is first used. Needs transformers.
"""

from __future__ import annotations

from sightline.lazy import lazy_names

# The files that hold the public names. Adding a name: a word here.
_ROOMS = {
    "cache": "KVCache static_cache",
    "explanation": "explain",
    "patching": "patch unpatch",
    "settings": "rewriting",
    "unpadding": "how_unpadded repad unpad",
}
__all__, __getattr__ = lazy_names("sightline.hf", _ROOMS)


def __dir__() -> list[str]:
    return list(__all__)
