"""How well arrays are read back: random masks of two parts, and the time that it takes.

Run: python benchmarks/recognize.py [--count 2000] [--seed 0] [--json].  Each array is drawn from
``a & b`` or ``a | b`` of known masks; wanted are the same cells, no more parts than were drawn, and
no longer text. Times are of the processor, so that what runs beside does not count.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field

import numpy as np
from measure import machine
from rich.console import Console
from rich.table import Table

import sightline as sl
from sightline.recognize.cost import Cost
from sightline.recognize.recognize import find
from sightline.testing.random_masks import two_parts

LARGE = 512


@dataclass
class Tally:
    """What came of the arrays of one kind."""

    count: int = 0
    exact: int = 0
    few_parts: int = 0
    short: int = 0
    seconds: list[float] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)
    slowest: str = ""

    def add(self, drawn: sl.Mask, size: int) -> None:
        """Read one array back and note what came."""
        array = drawn.dense(size)
        start = time.process_time()
        found = find(array, 0)
        self.seconds.append(time.process_time() - start)
        if self.seconds[-1] == max(self.seconds):
            self.slowest = f"{size} tokens: {drawn!r}"
        self.count += 1
        self.exact += bool(np.array_equal(np.broadcast_to(found.dense(size), array.shape), array))
        wanted, got = Cost.of(drawn), Cost.of(found)
        few = got.parts <= wanted.parts
        self.few_parts += few
        self.short += few and len(repr(found)) <= len(repr(drawn))
        if not few or len(repr(found)) > len(repr(drawn)):
            self.missed.append(f"{size} tokens: {drawn!r:.200}  ->  {found!r:.200}")


def random_pairs(count: int, seed: int) -> tuple[Tally, Counter[str], Counter[str]]:
    """Read back ``count`` random masks; return the tally, and counts by kinds: asked, missed."""
    random, tally = np.random.default_rng(seed), Tally()
    asked, missed = Counter[str](), Counter[str]()
    for _ in range(count):
        drawn, size, kinds = two_parts(random)
        before = len(tally.missed)
        tally.add(drawn, size)
        asked[kinds] += 1
        missed[kinds] += len(tally.missed) - before
    return tally, asked, missed


def large(seed: int) -> list[tuple[str, float]]:
    """Return the seconds for arrays of 512 x 512, with and without an expression that fits."""
    random = np.random.default_rng(seed)
    lengths = random.multinomial(LARGE, [1 / 6] * 6)
    noise = random.random((1, 1, LARGE, LARGE))
    causal = sl.causal()
    masks: dict[str, Callable[[], np.ndarray]] = {
        "causal": lambda: causal.dense(LARGE),
        "causal & padding, batch 8": lambda: (
            causal & sl.padding(lengths=random.integers(100, LARGE, 8))
        ).dense(LARGE),
        "causal & documents": lambda: (causal & sl.documents(lengths=lengths)).dense(LARGE),
        "causal | documents": lambda: (causal | sl.documents(lengths=lengths)).dense(LARGE),
        "causal & (window | prefix)": lambda: (causal & (sl.window(left=100) | sl.prefix(4))).dense(
            LARGE
        ),
        "shifted_window | window": lambda: (
            sl.shifted_window(grid=(16, 32), window=4, shift=2) | sl.window(left=9)
        ).dense(LARGE),
        "causal with 100 cells flipped": lambda: (
            causal.dense(LARGE) ^ (noise < np.partition(noise.ravel(), 100)[100])
        ),
        "noise": lambda: noise < 0.5,
    }
    times: list[tuple[str, float]] = []
    for name, draw in masks.items():
        array = draw()
        start = time.process_time()
        found = find(array, 0)
        times.append((f"{name}  ->  {found!r:.60}", time.process_time() - start))
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--show", type=int, default=10, help="misses to print")
    asked = parser.parse_args()
    find(sl.causal().dense(8), 0)  # imports
    tally, kinds, missed = random_pairs(asked.count, asked.seed)
    times = large(asked.seed)
    if asked.json:
        print(json.dumps({**asdict(tally), "large": dict(times), "machine": machine()}))
        return
    console = Console()
    table = Table(title=f"{tally.count} random masks of two parts, seed {asked.seed}")
    table.add_column("what")
    table.add_column("", justify="right")
    for what, number in (
        ("the same cells", tally.exact),
        ("no more parts", tally.few_parts),
        ("no more parts and no longer text", tally.short),
    ):
        table.add_row(what, f"{number} ({number / tally.count:.1%})")
    table.add_row("median time", f"{statistics.median(tally.seconds) * 1e3:.0f} ms")
    table.add_row(f"worst time: {tally.slowest:.90}", f"{max(tally.seconds) * 1e3:.0f} ms")
    for name, seconds in times:
        table.add_row(f"{LARGE} x {LARGE}: {name}", f"{seconds * 1e3:.0f} ms")
    console.print(table)
    for kind, number in missed.most_common(asked.show):
        if number:
            console.print(f"missed {number} of {kinds[kind]}: {kind}", highlight=False)
    for line in tally.missed[: asked.show]:
        console.print(line, highlight=False, markup=False)


if __name__ == "__main__":
    main()
