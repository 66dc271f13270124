"""Axes of a chart: from numbers to pixels, and the round numbers that stand beside them.

What is drawn between them is in curves.py.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Axis", "axis_for", "tick_text"]

# Positive numbers that span more than this are drawn by their logarithms.
_LOG_FROM = 60.0


@dataclass(frozen=True)
class Axis:
    """One direction of a chart.

    Attributes:
        low, high: the numbers at its two ends.
        start, stop: the pixels there; an axis that points upwards has start > stop.
        log: whether equal factors, not equal differences, take equal room.
        ticks: the numbers that are written, all between low and high.
    """

    low: float
    high: float
    start: float
    stop: float
    log: bool
    ticks: tuple[float, ...]

    def at(self, value: float) -> float:
        """Return the pixel of a number.

        >>> axis_for([0, 10], 100, 200, around=5).at(5)
        150.0
        """
        low, high, own = (
            (math.log(self.low), math.log(self.high), math.log(value))
            if self.log
            else (self.low, self.high, value)
        )
        return self.start + (own - low) / (high - low) * (self.stop - self.start)


def axis_for(
    values: Sequence[float], start: float, stop: float, *, around: int, log: bool | None = False
) -> Axis:
    """Return an axis that holds all values, with about ``around`` ticks.

    Args:
        values: finite numbers; none at all gives an axis from 0 to 1.
        start: the pixel of the lowest number.
        stop: the pixel of the highest number.
        around: how many ticks there is room for.
        log: whether to take logarithms; None does so for positive numbers that span a wide range.

    >>> axis_for([0.2, 9.1], 0, 1, around=5).ticks
    (0.0, 2.0, 4.0, 6.0, 8.0, 10.0)
    >>> axis_for([0.002, 9.1], 0, 1, around=4, log=None).ticks
    (0.01, 0.1, 1.0, 10.0)
    """
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    wide = low > 0 and high / low > _LOG_FROM
    if wide if log is None else (log and low > 0):
        return _log_axis(low, high, start, stop, around)
    if low == high:
        margin = abs(low) / 10 or 1.0
        low, high = low - margin, high + margin
    step = _round_step((high - low) / max(around, 1))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    ticks = tuple(_clean(number * step, step) for number in range(first, last + 1))
    return Axis(ticks[0], ticks[-1], start, stop, False, ticks)


def _log_axis(low: float, high: float, start: float, stop: float, around: int) -> Axis:
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    every = max(1, math.ceil((last - first) / max(around, 1)))
    own = (1,) if last - first > around / 2 else (1, 2, 5)
    ticks = tuple(
        float(f"{digit}e{power}") for power in range(first, last + 1, every) for digit in own
    )
    own_low, own_high = low / 1.15, high * 1.15
    inside = tuple(tick for tick in ticks if own_low <= tick <= own_high)
    return Axis(own_low, own_high, start, stop, True, inside)


def _round_step(step: float) -> float:
    """Return 1, 2 or 5 times a power of ten, at least ``step``."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(each * power for each in (1, 2, 5, 10) if each * power >= step * (1 - 1e-9))


def _clean(value: float, step: float) -> float:
    """Return a multiple of ``step`` without the rounding of its multiplication."""
    return round(value, max(0, 2 - math.floor(math.log10(step))))


def tick_text(value: float) -> str:
    """Return the number beside a tick.

    >>> tick_text(0.0), tick_text(0.25), tick_text(25_000.0), tick_text(1e-05), tick_text(2e6)
    ('0', '0.25', '25k', '1e-05', '2M')
    """
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if size * 10 <= abs(value) or (size == 1e6 and abs(value) >= size):
            return f"{value / size:.6g}{letter}"
    return f"{value:.6g}"
