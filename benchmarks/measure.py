"""How the benchmarks measure: medians, in one process, in alternating order."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass

from sightline.recipes.bench.machine import machine
from sightline.recipes.bench.timing import once

__all__ = ["ROUNDS", "Row", "compare", "machine", "median_of", "once"]

ROUNDS = 15


@dataclass(frozen=True)
class Row:
    """One comparison: medians in seconds, and the median of the ratios round by round."""

    what: str
    ours: float
    theirs: float
    ratio: float


def compare(what: str, ours: Callable[[], object], theirs: Callable[[], object]) -> Row:
    """Run both by turns and return what they took."""
    for _ in range(2):
        ours(), theirs()
    pairs: list[tuple[float, float]] = []
    for turn in range(ROUNDS):
        first, second = (ours, theirs) if turn % 2 else (theirs, ours)
        times = {first: once(first), second: once(second)}
        pairs.append((times[ours], times[theirs]))
    mine, peers = zip(*pairs, strict=True)
    ratio = statistics.median(a / b for a, b in pairs)
    return Row(what, statistics.median(mine), statistics.median(peers), ratio)


def median_of(run: Callable[[], object], rounds: int = ROUNDS) -> float:
    """Return the median seconds of a run, after one that does not count."""
    run()
    return statistics.median(once(run) for _ in range(rounds))
