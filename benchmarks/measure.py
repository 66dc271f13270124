"""How the benchmarks measure: medians, in one process, in alternating order."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROUNDS = 15
CPUINFO = Path("/proc/cpuinfo")


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


def once(run: Callable[[], object]) -> float:
    """Return the seconds that one run takes."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def median_of(run: Callable[[], object], rounds: int = ROUNDS) -> float:
    """Return the median seconds of a run, after one that does not count."""
    run()
    return statistics.median(once(run) for _ in range(rounds))


def machine() -> dict[str, object]:
    """Return what a figure was taken on."""
    names = [
        line.split(":", 1)[1].strip()
        for line in (CPUINFO.read_text().splitlines() if CPUINFO.exists() else [])
        if line.startswith("model name")
    ]
    return {
        "cpu": names[0] if names else platform.processor(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
    }
