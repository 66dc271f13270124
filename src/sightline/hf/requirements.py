"""Transformers, imported when it is needed: version 5 or newer, whose attention is an interface.

Nothing else here imports it at the top but through this file.
"""

from __future__ import annotations

from types import ModuleType

from sightline.errors import MissingExtra
from sightline.lower.arguments import require_module, require_torch


def require_transformers(what: str) -> ModuleType:
    """Return the transformers module, imported now.

    Raises:
        MissingExtra: transformers, or torch, is not installed, or transformers is older than 5.
    """
    require_torch(what)
    transformers = require_module("transformers", what, extra="hf")
    if int(transformers.__version__.partition(".")[0]) < 5:
        raise MissingExtra(
            what=f"{what} (found transformers {transformers.__version__})",
            package="transformers 5 or newer",
            extra="hf",
        )
    return transformers
