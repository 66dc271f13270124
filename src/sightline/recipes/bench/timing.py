"""How time is taken: contestants by turns in one process, so that a busy spell hits all of them."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence

__all__ = ["alternate", "once", "ratio"]

# Seconds. A sample is of as many calls as last this long, since single short ones are noise.
_SAMPLE = 0.005


def once(run: Callable[[], object]) -> float:
    """Return the seconds that one run takes."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def alternate(runs: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Return the seconds a call of each run, one number for each round.

    Each is called twice beforehand, which does not count. In every round another one begins, and
    every other round goes backwards.

    >>> times = alternate({"a": lambda: 1, "b": lambda: 2}, rounds=3)
    >>> {name: len(taken) for name, taken in times.items()}
    {'a': 3, 'b': 3}
    """
    calls: dict[str, int] = {}
    for name, run in runs.items():
        run()
        calls[name] = max(1, math.ceil(_SAMPLE / max(once(run), 1e-9)))
    names = list(runs)
    times: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(rounds):
        first = turn % max(1, len(names))
        order = names[first:] + names[:first]
        for name in order if turn % 2 == 0 else reversed(order):
            times[name].append(_sample(runs[name], calls[name]))
    return times


def ratio(above: Sequence[float], below: Sequence[float]) -> float:
    """Return the median of the ratios round by round.

    >>> ratio([2.0, 30.0, 4.0], [1.0, 10.0, 1.0])
    3.0
    """
    return statistics.median(a / b for a, b in zip(above, below, strict=True))


def _sample(run: Callable[[], object], calls: int) -> float:
    start = time.perf_counter()
    for _ in range(calls):
        run()
    return (time.perf_counter() - start) / calls
