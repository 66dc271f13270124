"""Sizes as people type them: 8, 4x16, 4k, 1m. Only read here; what they mean is the command's."""

from __future__ import annotations

import re

import typer

__all__ = ["read_size"]

_SIZE = re.compile(r"(\d{1,12})([km]?)(?:[x×](\d{1,12})([km]?))?", re.ASCII | re.IGNORECASE)
_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20}


def read_size(text: str, option: str = "--size") -> tuple[int, int]:
    """Return (queries, keys): one number stands for both, k is 1024, m is 1024 times that.

    >>> read_size("8"), read_size("4x16"), read_size("128k"), read_size("1x8M")
    ((8, 8), (4, 16), (131072, 131072), (1, 8388608))

    Raises:
        typer.BadParameter: if it is not a size, or zero.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise typer.BadParameter(
            f"got {text!r}, wanted a number such as 8 or 4k, or queries x keys such as 4x16.",
            param_hint=repr(option),
        )
    number, unit, other_number, other_unit = match.groups()
    q_len = int(number) * _UNITS[unit.lower()]
    kv_len = q_len if other_number is None else int(other_number) * _UNITS[other_unit.lower()]
    if q_len == 0 or kv_len == 0:
        raise typer.BadParameter(
            f"got {text!r}, wanted at least one query and one key.", param_hint=repr(option)
        )
    return q_len, kv_len
