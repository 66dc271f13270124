"""Where a call of attention stands: its line, the user's line, and the modules around it.

Found by walking up the stack when attention is called; nothing is recorded in between.
"""

from __future__ import annotations

import linecache
import sys
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import nn

import sightline
from sightline.audit.guards.records import Where

_TORCH = str(Path(torch.__file__).parent)
_OURS = str(Path(sightline.__file__).parent)
_INSTALLED = ("site-packages", "dist-packages")
_CALLS_MODULE = nn.Module._call_impl.__code__


@dataclass(frozen=True, eq=False)
class Place:
    """Where a call stands.

    Attributes:
        where: the line that called attention.
        caller: the nearest line of code that is not an installed package, if that is another.
        modules: the modules whose forward is running, innermost first, each with the positional
            and the named arguments that it was called with.
    """

    where: Where
    caller: Where | None
    modules: tuple[tuple[nn.Module, tuple[Any, ...], dict[str, Any]], ...]

    @property
    def module(self) -> nn.Module | None:
        """The innermost module."""
        return self.modules[0][0] if self.modules else None


def find_place() -> Place:
    """Return where the running call of attention stands, beginning above our own frames."""
    frame: FrameType | None = sys._getframe(1)
    where = caller = None
    modules: list[Any] = []
    while frame is not None:
        code = frame.f_code
        if code is _CALLS_MODULE:
            here = frame.f_locals
            if not modules or modules[-1][0] is not here["self"]:
                modules.append((here["self"], here.get("args", ()), here.get("kwargs", {})))
        elif (where is None or caller is None) and not _between(code.co_filename):
            line = code.co_filename, frame.f_lineno
            where = where or line
            if caller is None and not any(each in line[0] for each in _INSTALLED):
                caller = line
        frame = frame.f_back
    first = _where(where)
    return Place(first, None if caller in (None, where) else _where(caller), tuple(modules))


def line_of(frame: FrameType | None) -> Where:
    """Return the nearest line that is neither torch's nor ours, from a frame upwards."""
    while frame is not None and _between(frame.f_code.co_filename):
        frame = frame.f_back
    return _where(None if frame is None else (frame.f_code.co_filename, frame.f_lineno))


@lru_cache(maxsize=4096)
def _between(file: str) -> bool:
    """Return whether a file stands between the line that wants attention and the kernel."""
    if file.startswith((_TORCH, _OURS, "<frozen")):
        return True
    library = sys.modules.get("transformers")
    home = str(Path(library.__file__ or "-").parent) if library is not None else None
    return home is not None and file.startswith(home) and not file.startswith(f"{home}/models/")


def _where(line: tuple[str, int] | None) -> Where:
    if line is None:
        return Where("<unknown>", 0)
    return Where(*line, linecache.getline(*line).strip())


@dataclass
class Names:
    """The dotted names of modules below the models that were called."""

    _roots: dict[int, tuple[nn.Module, dict[int, str]]] = field(default_factory=dict)

    def name_of(self, place: Place) -> str:
        """Return the dotted name of the innermost module below the outermost; "" for none."""
        if not place.modules:
            return ""
        return self.table(place.modules[-1][0]).get(id(place.modules[0][0]), "")

    def table(self, root: nn.Module) -> dict[int, str]:
        """Return the name of each module below ``root`` by its identity."""
        if id(root) not in self._roots:
            self._roots[id(root)] = root, {id(m): name for name, m in root.named_modules()}
        return self._roots[id(root)][1]

    def shown(self, place: Place) -> str:
        """Return the innermost module in words, such as ``layers.0.attn (Attention)``."""
        if place.module is None:
            return ""
        kind = type(place.module).__name__
        name = self.name_of(place)
        return f"{name} ({kind})" if name else kind
