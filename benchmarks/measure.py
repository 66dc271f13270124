"""How the benchmarks measure: medians, in one process, in alternating order."""

from __future__ import annotations

import statistics
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sightline.recipes.bench.machine import machine
from sightline.recipes.bench.timing import once

__all__ = ["ROUNDS", "Row", "compare", "growth_of", "machine", "median_of", "once"]

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


# In a process of its own.
_GROWTH = """
import sys
sys.path[:0] = {path!r}
{first}  # loads what is loaded once
import gc
gc.collect()
def status(key):
    return next(int(l.split()[1]) for l in open("/proc/self/status") if l.startswith(key))
open("/proc/self/clear_refs", "w").write("5")  # forget the peak so far
before = status("VmRSS")
{run}
print(status("VmHWM") - before, status("VmHWM"))
"""


def growth_of(first: str, run: str) -> tuple[int, int] | None:
    """Return by how many KiB a fresh process grows at most in ``run``, and to what.

    Both are code; ``first`` is what comes before, with its imports. None where it is unknown.
    """
    path = [str(Path(__file__).parent), *sys.path]
    code = _GROWTH.format(path=path, first=first, run=run)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    if done.returncode:
        return None
    growth, peak = map(int, done.stdout.split())
    return growth, peak
