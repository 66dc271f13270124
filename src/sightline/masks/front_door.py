"""Packages that share a public name with their front door, such as ``sl.plan``.

Python binds a package over the function of the same name once any of it is loaded. So calling the
package is calling the function.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import Any


def make_callable(package: str, file: str) -> None:
    """Let a package be called as the function of its own name, which stands in that file."""
    function = package.rpartition(".")[2]

    class CallablePackage(ModuleType):
        """The package, which can be called as its front door."""

        def __call__(self, *args: Any, **options: Any) -> Any:
            """Call the front door, loaded now."""
            return getattr(import_module(f"{package}.{file}"), function)(*args, **options)

    sys.modules[package].__class__ = CallablePackage
