"""Makes the table and the pictures of docs/context_parallel.md from the curves that were measured.

python docs/make_context_parallel.py            write them
python docs/make_context_parallel.py --check    exit 1 if they are not what would be written
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from filled import fill, table
from settled import settle

from sightline.views.charts.curves import Series, render_curves

DOCS = Path(__file__).parent
RESULTS = DOCS.parent / "benchmarks" / "results"
PAGE, PICTURES = "context_parallel.md", Path("pictures") / "context_parallel"
HEAD = "| processes | first loss | last loss | held out | difference, at most | held out, at most |"


def runs() -> list[dict[str, Any]]:
    """Return the recorded runs, that of one process first."""
    return json.loads((RESULTS / "packed_curves.json").read_text(encoding="utf-8"))["runs"]


def rows() -> Iterator[str]:
    """Yield a row for each run: its losses, and how far it is from one process."""
    for run in runs():
        losses = (run["losses"][0], run["losses"][-1], run["held_out"][-1][1])
        apart = (run["apart"], run["held_out_apart"])
        cells = (
            run["name"],
            *(f"{loss:.4f}" for loss in losses),
            *(f"{each:.1e}" if each else "-" for each in apart),
        )
        yield f"| {' | '.join(cells)} |"


def curves() -> str:
    """Return the losses, one curve over the other."""
    series = [
        Series.of(run["name"], range(1, len(run["losses"]) + 1), run["losses"]) for run in runs()
    ]
    return render_curves(series, title="packed-gpt: loss of a step, nats a character", width=640)


def apart() -> str:
    """Return how far the losses are from those of one process."""
    one, *others = runs()
    steps = np.arange(1, len(one["losses"]) + 1)
    series = []
    for run in others:
        gap = np.abs(np.subtract(run["losses"], one["losses"]))
        there = gap > 0  # none at all has no place on a scale of logarithms
        series.append(Series.of(run["name"], steps[there], gap[there]))
    title = "difference to the loss of one process, nats a character"
    return render_curves(series, title=title, width=640)


def files() -> dict[Path, str]:
    """Return what is made, by its path."""
    page = DOCS / PAGE
    made = fill(page.read_text(encoding="utf-8"), PAGE, {"curves": table(HEAD, rows())})
    pictures = DOCS / PICTURES
    return {page: made, pictures / "curves.svg": curves(), pictures / "apart.svg": apart()}


def main(words: list[str]) -> int:
    """Write or check, and return the exit code."""
    return settle(words, __doc__, "make_context_parallel", DOCS, files)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
