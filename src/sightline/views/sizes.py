"""Sizes as people type them: 8, 4x16, 4k, 1m; for the command line and for pages alike."""

from __future__ import annotations

import re

from sightline.errors import InvalidArgument

__all__ = ["parse_size", "short_size"]

_SIZE = re.compile(r"(\d{1,12})([km]?)(?:[x×](\d{1,12})([km]?))?", re.ASCII | re.IGNORECASE)
_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20}


def parse_size(text: str) -> tuple[int, int]:
    """Return (queries, keys): one number stands for both, k is 1024, m is 1024 times that.

    >>> parse_size("8"), parse_size("4x16"), parse_size("128k"), parse_size("1x8M")
    ((8, 8), (4, 16), (131072, 131072), (1, 8388608))

    Raises:
        InvalidArgument: if it is not a size, or zero.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise InvalidArgument(
            f"got {text!r}, wanted a number such as 8 or 4k, or queries x keys such as 4x16."
        )
    number, unit, other_number, other_unit = match.groups()
    q_len = int(number) * _UNITS[unit.lower()]
    kv_len = q_len if other_number is None else int(other_number) * _UNITS[other_unit.lower()]
    if q_len == 0 or kv_len == 0:
        raise InvalidArgument(f"got {text!r}, wanted at least one query and one key.")
    return q_len, kv_len


def short_size(q_len: int, kv_len: int) -> str:
    """Return the shortest text that ``parse_size`` reads as these lengths.

    >>> short_size(1 << 20, 1 << 20), short_size(4, 4096), short_size(1000, 1000)
    ('1m', '4x4k', '1000')
    """
    queries, keys = _short(q_len), _short(kv_len)
    return queries if queries == keys else f"{queries}x{keys}"


def _short(length: int) -> str:
    for unit in ("m", "k"):
        if length % _UNITS[unit] == 0:
            return f"{length // _UNITS[unit]}{unit}"
    return str(length)
