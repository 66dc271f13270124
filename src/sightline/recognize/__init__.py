"""Reading a bare array back into an expression, exactly; the front door is recognize.py.

The package and its front door share a public name: ``sl.recognize`` is the package once any of it
is loaded, and calling the package is calling the front door.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any


class _CallablePackage(ModuleType):
    """The package, which can be called as its front door."""

    def __call__(self, *args: Any, **options: Any) -> Any:
        """Call ``sightline.recognize.recognize.recognize``."""
        from sightline.recognize.recognize import recognize

        return recognize(*args, **options)


sys.modules[__name__].__class__ = _CallablePackage
