"""Sizes as people type them: 8, 4x16, 4k, 1m. Only read here; what they mean is the command's."""

from __future__ import annotations

import typer

from sightline.errors import InvalidArgument
from sightline.views.sizes import parse_size

__all__ = ["read_size"]


def read_size(text: str, option: str = "--size") -> tuple[int, int]:
    """Return (queries, keys): one number stands for both, k is 1024, m is 1024 times that.

    >>> read_size("8"), read_size("4x16"), read_size("128k"), read_size("1x8M")
    ((8, 8), (4, 16), (131072, 131072), (1, 8388608))

    Raises:
        typer.BadParameter: if it is not a size, or zero.
    """
    try:
        return parse_size(text)
    except InvalidArgument as error:
        raise typer.BadParameter(str(error), param_hint=repr(option)) from None
