"""Translating a mask into the form that another library wants; the front door is lower.py.

One file per destination, which also says what it can express; destinations.py lists them, and
forms/ holds what several of them are made from. The package and its front door share a public
name: ``sl.lower`` is the package once any of it is loaded, and calling the package is calling the
front door.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any


class _CallablePackage(ModuleType):
    """The package, which can be called as its front door."""

    def __call__(self, *args: Any, **options: Any) -> Any:
        """Call ``sightline.lower.lower.lower``."""
        from sightline.lower.lower import lower

        return lower(*args, **options)


sys.modules[__name__].__class__ = _CallablePackage
