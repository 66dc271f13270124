"""Makes the tables of docs/choosing-an-engine.md and hugging-face.md from what was measured.

python docs/make_choosing.py            write the tables
python docs/make_choosing.py --check    exit 1 if they are not what would be written
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from filled import fill, table
from settled import settle

DOCS = Path(__file__).parent
RESULTS = DOCS.parent / "benchmarks" / "results"
# What the table of passes shows.
LENGTH, DIM, DTYPE = 4096, 64, "float32"
DENSE = "SDPA with the mask"
# What the measurements of layers and models call "ours", by how their descriptions begin.
OURS = {"MultiheadAttention": "sl.nn.MultiheadAttention", "BERT": "sl.hf.unpad"}


def runs() -> list[dict[str, Any]]:
    """Return the recorded runs of `sightline bench`."""
    return json.loads((RESULTS / "attend.json").read_text(encoding="utf-8"))["runs"]


def passes(kind: str) -> dict[str, dict[str, Any]]:
    """Return the rows of forward or backward passes at the size that is shown, by mask."""
    rows = [row for run in runs() for row in run["rows"] if row["kind"] == kind]
    chosen = [
        row
        for row in rows
        if (row["length"], row["dim"], row["dtype"], row["batch"]) == (LENGTH, DIM, DTYPE, 1)
    ]
    return {row["mask"]: row for row in chosen}


def pass_rows() -> Iterator[str]:
    """Yield a row for each mask: how much of it is allowed, and what engine `cpu` takes."""
    backward = passes("backward")
    for mask, row in passes("forward").items():
        dense = next(peer for peer in row["peers"] if peer["name"] == DENSE)
        cells = (
            mask,
            f"{100 * row['density']:.3g} %",
            f"{row['ms']:.3g} ms",
            f"{dense['ms']:.3g} ms",
            times(row),
            f"{backward[mask]['ms']:.3g} ms",
            times(backward[mask]),
        )
        yield f"| {' | '.join(cells)} |"


def times(row: dict[str, Any]) -> str:
    """Return how much longer the quickest peer takes, and which one it is."""
    peer = min(row["peers"], key=lambda each: each["ratio"])
    return f"{peer['ratio']:.3g} x ({peer['name']})"


def step_rows() -> Iterator[str]:
    """Yield a row for each recorded decode step."""
    for run in runs():
        for step in run["decode"] or ():
            peer = min(step["peers"], key=lambda each: each["ratio"])
            shape = (
                f"{step['batch']} rows, {step['heads']} heads on {step['kv_heads']}, "
                f"{step['cache']:,} keys, {step['dtype']}"
            )
            quickest = f"{peer['ratio']:.3g} x ({peer['name']})"
            yield f"| {step['case']} | {shape} | {step['ms']:.3g} ms | {quickest} |"


def layer_rows() -> Iterator[str]:
    """Yield a row for each measurement of whole models and layers."""
    recorded = json.loads((RESULTS / "layer.json").read_text(encoding="utf-8"))
    for row in recorded["rows"]:
        ours = next((way for start, way in OURS.items() if row["what"].startswith(start)), "")
        for name, ratio in row["times_as_fast"].items():
            yield f"| {ratio:.3g} | {ours if name == 'ours' else name} | {row['what']} |"


def pages() -> dict[str, dict[str, str]]:
    """Return the tables of each page, by name."""
    head = (
        "| mask | density | `cpu`, forward | SDPA with the mask | quickest peer | "
        "`cpu`, backward | quickest peer |"
    )
    return {
        "choosing-an-engine.md": {
            "passes": table(head, pass_rows()),
            "steps": table("| cache | shape | `cpu` | quickest peer |", step_rows()),
        },
        "hugging-face.md": {
            "layer": table("| times as fast | with | as the same without Sightline |", layer_rows())
        },
    }


def files() -> dict[Path, str]:
    """Return the pages with their tables made anew."""
    return {
        DOCS / page: fill((DOCS / page).read_text(encoding="utf-8"), page, tables)
        for page, tables in pages().items()
    }


def main(words: list[str]) -> int:
    """Write or check, and return the exit code."""
    return settle(words, __doc__, "make_choosing", DOCS, files)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
