"""Public names that are loaded from their rooms when they are first used: imports cost little.

For the ``__init__`` of packages; what is public stands there, as a table.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from sightline.errors import MissingExtra

Loader = Callable[[str], Any]

# The extras that bring what a room may need to be loaded at all.
_EXTRAS = {"torch": "torch", "transformers": "hf", "jax": "jax"}


def room(name: str) -> Any:
    """Return a room of the house by its name, loaded when it is asked for.

    For what a value is asked by people and notebooks (``mask.show()``): it is answered in a room
    above, which the value's own room must not import, and which costs nothing before.

    >>> room("masks.names").NAMES["causal"]()
    causal()
    """
    return import_module(f"sightline.{name}")


def lazy_names(package: str, rooms: Mapping[str, str]) -> tuple[list[str], Loader]:
    """Return a package's public names, sorted, and its ``__getattr__``, which loads one of them.

    Args:
        package: its full name.
        rooms: modules below it, and the names that each holds, a word each. A name that is the
            room itself stands for the whole module.

    >>> names, load = lazy_names("sightline", {"errors": "DataError InvalidMask"})
    >>> names, load("DataError").__module__
    (['DataError', 'InvalidMask'], 'sightline.errors')
    """
    home = {name: f"{package}.{room}" for room, names in rooms.items() for name in names.split()}

    def load(name: str) -> Any:
        if name not in home:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        try:
            room = import_module(home[name])
        except ModuleNotFoundError as missing:
            absent = (missing.name or "").partition(".")[0]
            if absent not in _EXTRAS:
                raise
            what = f"{package}.{name}".replace("sightline", "sl", 1)
            raise MissingExtra(what=what, package=absent, extra=_EXTRAS[absent]) from missing
        value = room if home[name] == f"{package}.{name}" else getattr(room, name)
        # From now on it is found without asking here.
        setattr(sys.modules[package], name, value)
        return value

    return sorted(home), load
