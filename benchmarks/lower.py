"""What translating costs: a million tokens to the forms that are made from runs of keys.

Run: python benchmarks/lower.py [--out benchmarks/results]. Figures are medians of cold runs (plans
are forgotten before each); memory is the peak of all allocations by numpy and Python while
translating (tracemalloc; torch's tensors of these forms share numpy's memory or are small).
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from measure import machine, median_of
from plan import MILLION, peak_bytes, random_documents
from rich.console import Console
from rich.table import Table

import sightline as sl

ROUNDS = 7
# As many runs a row as its document has tokens: not what these forms are for, so fewer tokens.
INTERLEAVED = 4096
IN_TURN = "64 documents, a token of each in turn"


def masks() -> dict[str, sl.Mask]:
    """Return the masks that are translated, for a million tokens."""
    documents = random_documents(MILLION)
    padding = sl.padding(lengths=[MILLION - 1000])
    return {
        "causal() & documents": sl.causal() & documents,
        "causal() & documents, padded": sl.causal() & documents & padding & padding.T,
        "window(4095, 0) & documents": sl.window(4095, 0) & documents,
        "prefix(64) | window(4095, 0)": (sl.prefix(64) | sl.window(4095, 0)) & sl.causal(),
        IN_TURN: sl.causal() & sl.documents(ids=np.arange(INTERLEAVED) % 64),
    }


def one(name: str, mask: sl.Mask, to: str) -> dict[str, Any]:
    """Return what it costs, or why it cannot be said."""
    length = INTERLEAVED if name == IN_TURN else MILLION

    def run() -> Any:
        sl.plan.cache_clear()
        return sl.lower(mask, to=to, q_len=length)

    try:
        run()
    except sl.CannotExpress as refused:
        return {"mask": name, "to": to, "refused": refused.reason}
    return {
        "mask": name,
        "to": to,
        "tokens": length,
        "ms": median_of(run, ROUNDS) * 1e3,
        "peak_mib": peak_bytes(run) / 2**20,
    }


def print_rows(console: Console, rows: list[dict[str, Any]]) -> None:
    table = Table(title="Translated")
    for heading in ("mask", "to"):
        table.add_column(heading)
    for heading in ("tokens", "ms", "peak MiB"):
        table.add_column(heading, justify="right")
    for row in rows:
        if "refused" in row:
            table.add_row(row["mask"], row["to"], "", "refused", "")
            continue
        figures = (f"{row['tokens']:,}", f"{row['ms']:.0f}", f"{row['peak_mib']:.0f}")
        table.add_row(row["mask"], row["to"], *figures)
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, help="write lower.json into this folder")
    options = parser.parse_args()
    console = Console(width=None if sys.stdout.isatty() else 120)
    rows = [
        one(name, mask, to)
        for name, mask in masks().items()
        for to in ("torch.varlen", "flash_attn", "flashmask", "magi")
    ]
    print_rows(console, rows)
    results = {
        "command": "python benchmarks/lower.py --out benchmarks/results",
        "machine": {**machine(), "numpy": np.__version__},
        "rows": rows,
    }
    console.print(f"medians of {ROUNDS}; {results['machine']}", highlight=False)
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / "lower.json").write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
