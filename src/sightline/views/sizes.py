"""Sizes as people type and read them: 4k, 1x128k, 1.5 GiB; for the command line and for pages."""

from __future__ import annotations

import re

from sightline.errors import InvalidArgument

__all__ = ["bytes_text", "parse_size", "short_size", "si_text"]

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


def si_text(number: int) -> str:
    """Return a large number with a unit of thousands.

    >>> si_text(999), si_text(70_368_744_177_664), si_text(0)
    ('999', '70.4 T', '0')
    """
    return _scaled(number, 1000, ("", " k", " M", " G", " T", " P", " E"))


def bytes_text(number: int) -> str:
    """Return bytes with a unit.

    >>> bytes_text(512), bytes_text(2**40), bytes_text(1_600_000)
    ('512 B', '1.0 TiB', '1.5 MiB')
    """
    return _scaled(number, 1024, (" B", " KiB", " MiB", " GiB", " TiB", " PiB", " EiB"))


def _scaled(number: int, step: int, units: tuple[str, ...]) -> str:
    value, place = float(number), 0
    # 999.96 would be written as 1000.0: the next unit is due from where rounding says so.
    while round(value, 1) >= step and place < len(units) - 1:
        value, place = value / step, place + 1
    return f"{value:.1f}{units[place]}" if place else f"{number}{units[0]}"
