"""Random expressions to every destination: how many arrive, how many are refused, any wrong.

    python benchmarks/everywhere.py                          10,000 expressions (minutes)
    python benchmarks/everywhere.py --count 300              a quick look
    python benchmarks/everywhere.py --out benchmarks/results writes everywhere.json

What each destination makes is expanded by its documentation (sightline.testing.expanders) and held
against the oracle; a refusal is held against what the form could say (sightline.testing.refusals),
but for packed sequences and splash, whose refusals the unit tests try out on small masks.
Exit code 1 if anything is wrong, or refused without need.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from measure import machine, once
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from sightline.errors import CannotExpress
from sightline.reference.dense import dense as oracle
from sightline.testing.backend import Backend
from sightline.testing.backends import BACKENDS, why_not
from sightline.testing.expanders.shape import Shape
from sightline.testing.specs import build
from sightline.testing.strategies import calls, expressions

OUTCOMES = ("exact", "refused", "refused without need", "wrong")


@dataclass
class Tally:
    """What happened to the masks sent to one destination, and the first that went wrong."""

    counts: Counter[str] = field(default_factory=Counter)
    worst: dict[str, str] = field(default_factory=dict)

    def add(self, outcome: str, spec: Any, shape: Shape) -> None:
        """Count one, and keep the first of a kind that should not be."""
        self.counts[outcome] += 1
        if outcome in OUTCOMES[2:]:
            self.worst.setdefault(outcome, f"{build(spec)!r} at {shape}")

    def told(self, name: str) -> dict[str, int | None]:
        """Return the counts; None for needless refusals where nobody judges them."""
        judged = BACKENDS[name].cannot is not None
        unknown = () if judged else (OUTCOMES[2],)
        return {each: None if each in unknown else self.counts[each] for each in OUTCOMES}


def outcome_of(backend: Backend, spec: Any, wanted: Any, shape: Shape) -> str:
    """Send one mask to one destination."""
    try:
        got = backend.allowed(build(spec), shape)  # type: ignore[misc]
    except CannotExpress:
        unknown = backend.cannot is None
        return OUTCOMES[1] if unknown or backend.cannot(wanted, shape) else OUTCOMES[2]
    return OUTCOMES[0] if np.array_equal(got, wanted) else OUTCOMES[3]


def send(count: int, depth: int, number: int, progress: Progress) -> dict[str, Tally]:
    """Draw ``count`` expressions and send each to every destination that is installed."""
    backends = [each for each in BACKENDS.values() if each.allowed and not why_not(each.name)]
    tallies = {backend.name: Tally() for backend in backends}
    task = progress.add_task("expressions", total=count)

    @seed(number)
    @settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.data())
    def each(data: st.DataObject) -> None:
        frame = data.draw(calls())
        spec = data.draw(expressions(frame, depth))
        shape = Shape(frame.batch, frame.heads, frame.q_len, frame.kv_len, frame.q_offset)
        wanted = oracle(spec, frame.q_len, frame.kv_len, frame.q_offset)
        wanted = np.broadcast_to(wanted, shape.full)
        for backend in backends:
            tallies[backend.name].add(outcome_of(backend, spec, wanted, shape), spec, shape)
        progress.advance(task)

    each()
    return tallies


def show(tallies: dict[str, Tally], console: Console) -> None:
    table = Table("destination", *OUTCOMES)
    for name, tally in tallies.items():
        counts = tally.told(name).values()
        table.add_row(name, *("not judged" if n is None else f"{n:,}" for n in counts))
    console.print(table)
    for name, tally in tallies.items():
        for outcome, what in tally.worst.items():
            console.print(f"{name}, {outcome}: {what}")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--count", type=int, default=10_000, help="expressions to draw")
    parser.add_argument("--depth", type=int, default=3, help="how deep operators are nested")
    parser.add_argument("--seed", type=int, default=0, help="another sequence of expressions")
    parser.add_argument("--out", type=Path, help="write everywhere.json into this folder")
    options = parser.parse_args()
    console = Console(width=None if sys.stdout.isatty() else 120)
    tallies: dict[str, Tally] = {}
    with Progress(console=Console(stderr=True), transient=True) as progress:
        seconds = once(
            lambda: tallies.update(send(options.count, options.depth, options.seed, progress))
        )
    show(tallies, console)
    console.print(f"{options.count:,} expressions in {seconds:.0f} s")
    if options.out:
        results = {
            "count": options.count,
            "depth": options.depth,
            "seed": options.seed,
            "machine": {**machine(), "numpy": np.__version__},
            "destinations": {name: tally.told(name) for name, tally in tallies.items()},
        }
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / "everywhere.json").write_text(json.dumps(results, indent=1) + "\n")
    return int(any(tally.worst for tally in tallies.values()))


if __name__ == "__main__":
    sys.exit(main())
