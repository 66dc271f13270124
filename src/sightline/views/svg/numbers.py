"""Numbers in drawings: as few characters as they need."""

from __future__ import annotations

__all__ = ["number"]


def number(value: float) -> str:
    """Return ``value`` with at most two decimals and no more characters than it needs.

    >>> number(18.0), number(0.5), number(1 / 3)
    ('18', '0.5', '0.33')
    """
    text = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text
