"""What drawings cost: an overview of a million tokens as PNG in a fresh process, 64 tokens as SVG.

Run: python benchmarks/drawing.py [--out benchmarks/results]. A fresh process is timed from its
start to its end, Python, numpy and matplotlib included; the peer draws a dense array with
matplotlib's imshow at what it can hold. Figures are medians and the best of the rounds, and the
processor's own seconds, which other work on the machine does not lengthen by much.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from measure import machine, median_of
from rich.console import Console
from rich.table import Table

import sightline as sl

MILLION = 2**20
ROUNDS = 7
OVERVIEWS = {
    "causal() & documents": f"causal() & documents(lengths={[2**14] * 64})",
    "window(left=4095, right=0)": "window(left=4095, right=0)",
    "causal() & (sinks | window)": "causal() & (sinks(64) | window(left=32767))",
    "causal() & dilated(7)": "causal() & dilated(7)",
}
SMALL = {
    "causal()": "causal()",
    "dilated(2), a checkerboard": "dilated(2)",
    "padding, 4 batch rows": "causal() & padding(lengths=[64, 50, 33, 1])",
}
OURS = (
    "import sys, sightline as sl; sl.draw(sl.parse(sys.argv[1]), {n}, to='png').save(sys.argv[2])"
)
PEER = """
import sys, numpy as np
import matplotlib; matplotlib.use("agg")
import matplotlib.pyplot as plt
plt.imshow(np.tri({n}, dtype=bool)); plt.savefig(sys.argv[2], dpi=200)
"""


def process(code: str, expression: str) -> list[tuple[float, float]]:
    """Return (seconds, the processor's seconds) of fresh processes that draw into a file."""
    seconds = []
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(ROUNDS):
            started, used = time.perf_counter(), processor()
            command = [sys.executable, "-c", code, expression, f"{folder}/drawn.png"]
            subprocess.run(command, check=True)
            seconds.append((time.perf_counter() - started, processor() - used))
    return seconds


def processor() -> float:
    """Return the processor's seconds of all processes that this one has waited for."""
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime


def png_rows() -> list[dict[str, Any]]:
    """Return what overviews cost, and what the peer's do."""
    rows = []
    for name, expression in OVERVIEWS.items():
        seconds = process(OURS.format(n=MILLION), expression)
        rows.append(_row(f"sl.draw, {name}", MILLION, seconds))
    for tokens in (2**12, 2**14):
        rows.append(_row("imshow, causal", tokens, process(PEER.format(n=tokens), "")))
    return rows


def _row(what: str, tokens: int, taken: list[tuple[float, float]]) -> dict[str, Any]:
    wall, cpu = zip(*taken, strict=True)
    return {
        "what": what,
        "tokens": tokens,
        "seconds": statistics.median(wall),
        "best": min(wall),
        "processor": statistics.median(cpu),
    }


def svg_rows() -> list[dict[str, Any]]:
    """Return what small drawings cost in a process that has drawn before, and their size."""
    rows = []
    for name, expression in SMALL.items():
        mask = sl.parse(expression)
        words = [f"token{number}" for number in range(64)]
        rows.append(
            {
                "what": name,
                "seconds": median_of(lambda mask=mask, words=words: sl.draw(mask, tokens=words)),
                "bytes": len(str(sl.draw(mask, tokens=words)).encode()),
            }
        )
    return rows


def tables(found: dict[str, Any]) -> list[Table]:
    """Return the figures as tables."""
    png = Table(
        "PNG, a fresh process", "tokens", "median s", "best s", "processor s", title="Overviews"
    )
    for row in found["png"]:
        figures = [f"{row[name]:.2f}" for name in ("seconds", "best", "processor")]
        png.add_row(row["what"], f"{row['tokens']:,}", *figures)
    svg = Table("SVG of 64 tokens", "ms", "kB", title="Small drawings")
    for row in found["svg"]:
        svg.add_row(row["what"], f"{row['seconds'] * 1e3:.1f}", f"{row['bytes'] / 1e3:.1f}")
    return [png, svg]


def main() -> None:
    """Measure, print, and write down what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, help="a folder for drawing.json")
    out = parser.parse_args().out
    found = {"machine": machine(), "png": png_rows(), "svg": svg_rows()}
    console = Console()
    for table in tables(found):
        console.print(table)
    if out is not None:
        path = out / "drawing.json"
        path.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
        console.print(f"wrote {path}")


if __name__ == "__main__":
    main()
