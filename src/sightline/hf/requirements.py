"""Transformers, imported when it is needed: version 5 or newer, whose attention is an interface.

Nothing else here imports it at the top but through this file.
"""

from __future__ import annotations

from importlib import import_module
from inspect import signature
from types import ModuleType

from sightline.errors import MissingExtra
from sightline.lower.arguments import require_module, require_torch


def require_transformers(what: str) -> ModuleType:
    """Return the transformers module, imported now.

    Raises:
        MissingExtra: transformers, or torch, is not installed, or transformers is too old.
    """
    require_torch(what)
    transformers = require_module("transformers", what, extra="hf")
    if int(transformers.__version__.partition(".")[0]) < 5 or not _tells_lengths():
        raise MissingExtra(
            what=f"{what} (found transformers {transformers.__version__})",
            package="a newer transformers 5",
            extra="hf",
        )
    return transformers


def _tells_lengths() -> bool:
    """Return whether mask functions are told where queries start; the first of 5 did not do so."""
    masks = import_module("transformers.masking_utils")
    return "q_offset" in signature(masks.sdpa_mask).parameters
