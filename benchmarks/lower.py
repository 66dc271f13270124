"""What translating costs: a million tokens to the forms that are made from runs of keys.

Run: python benchmarks/lower.py [--out benchmarks/results]. Figures are medians of cold runs (plans
are forgotten before each); memory is the peak of all allocations by numpy and Python while
translating (tracemalloc; torch's tensors of these forms share numpy's memory or are small).
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measure import Row, compare, machine, median_of
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


def beside_transformers() -> list[Row]:
    """Return how ``hf.4d`` and ``hf.2d`` compare with the masks that transformers makes itself."""
    from transformers.masking_utils import eager_mask

    batch, length = 8, 2048
    lengths = np.linspace(length // 2, length, batch).astype(np.int64)
    kept = torch.arange(length) < torch.tensor(lengths)[:, None]
    mask = sl.causal() & sl.padding(lengths=lengths)
    theirs = eager_mask(batch, length, length, attention_mask=kept)
    ours = sl.lower(mask, to="hf.4d", q_len=length)["attention_mask"]
    if not torch.equal(ours, theirs):
        raise AssertionError("the two masks are not the same")
    return [
        compare(
            f"hf.4d, causal() & padding, {batch} x {length}",
            lambda: sl.lower(mask, to="hf.4d", q_len=length),
            lambda: eager_mask(batch, length, length, attention_mask=kept),
        ),
        compare(
            f"hf.2d, the same (one row of numbers), beside transformers' {batch} x {length} mask",
            lambda: sl.lower(mask, to="hf.2d", q_len=length),
            lambda: eager_mask(batch, length, length, attention_mask=kept),
        ),
    ]


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
    peers = beside_transformers() if find_spec("transformers") else []
    for row in peers:
        console.print(
            f"{row.what}: {row.ours * 1e3:.1f} ms, transformers {row.theirs * 1e3:.1f} ms, ratio "
            f"{row.ratio:.2f}",
            highlight=False,
        )
    results = {
        "command": "python benchmarks/lower.py --out benchmarks/results",
        "machine": {**machine(), "numpy": np.__version__},
        "rows": rows,
        "beside transformers": [asdict(row) for row in peers],
    }
    console.print(f"medians of {ROUNDS}; {results['machine']}", highlight=False)
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / "lower.json").write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
