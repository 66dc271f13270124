"""What an audit finds: 155 planted faults and their right twins, and what a large model costs.

Run: python benchmarks/audit.py [--family gpt bert] [--out benchmarks/results]. The models stand in
tests/audit/zoo. A fault counts as found if its audit has a finding, as named if a finding starts in
the module that is to be repaired, as explained if the likely cause speaks of the mistake; a finding
on a right model is a false alarm. A minute or two; the large model, which --family leaves out, some
ten more.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from measure import machine
from rich.console import Console
from rich.progress import track
from rich.table import Table

import sightline as sl
from sightline.audit.findings import Report

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "audit"))

from audited import fits_cause, names_guilty, report_on
from zoo.fault import Fault
from zoo.parts import seeded
from zoo.table import FAULTS, RIGHTS

SUSPICIOUS = "right models that look wrong"


@dataclass(frozen=True)
class Outcome:
    """What the audits of one row said."""

    name: str
    family: str
    found: bool
    named: bool
    explained: bool
    false_alarms: int
    passes: tuple[int, ...]
    seconds: float
    says: str = ""


def outcome_of(fault: Fault) -> Outcome:
    started = time.perf_counter()
    wrong, right = report_on(fault.name, "wrong"), report_on(fault.name, "right")
    first = wrong.findings[0] if wrong.findings else None
    return Outcome(
        fault.name,
        fault.family,
        not wrong.ok,
        names_guilty(wrong, fault.module),
        fits_cause(wrong, fault.cause),
        len(right.findings),
        (wrong.passes, right.passes),
        time.perf_counter() - started,
        first.cause if first else "",
    )


def suspicious() -> list[Outcome]:
    rows = []
    for row in RIGHTS:
        started = time.perf_counter()
        report = report_on(row.name, "right")
        seconds = time.perf_counter() - started
        alarms = len(report.findings)
        rows.append(
            Outcome(row.name, SUSPICIOUS, False, False, False, alarms, (report.passes,), seconds)
        )
    return rows


class Wide(torch.nn.Module):
    """Twelve layers over 1,024 tokens, in which one layer may be without its mask."""

    def __init__(self, guilty: int | None, layers: int = 12, width: int = 32) -> None:
        super().__init__()
        self.tokens = torch.nn.Embedding(199, width)
        self.places = torch.nn.Embedding(1100, width)
        layer = torch.nn.TransformerEncoderLayer(
            width, 4, 2 * width, 0.1, batch_first=True, norm_first=True
        )
        self.layers = torch.nn.ModuleList(
            torch.nn.TransformerEncoder(layer, 1, enable_nested_tensor=False) for _ in range(layers)
        )
        self.guilty = guilty
        self.head = torch.nn.Linear(width, 199)

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        """Return logits [B, T, 199]."""
        length = input_ids.shape[1]
        x = self.tokens(input_ids) + self.places(torch.arange(length))
        later = torch.ones(length, length, dtype=torch.bool).triu(1)
        for place, layer in enumerate(self.layers):
            x = layer(x, mask=None if place == self.guilty else later)
        return self.head(x)


def large() -> dict[str, Any]:
    """Audit twelve layers at 1,024 tokens, wrong and right."""
    found: dict[str, Any] = {}
    for name, guilty in {"wrong": 7, "right": None}.items():
        report: Report = sl.audit(
            seeded(lambda guilty=guilty: Wide(guilty))(), sl.causal(), length=1024
        )
        place = report.findings[0].place if report.findings else None
        found[name] = {
            "passes": report.passes,
            "seconds": round(report.seconds, 2),
            "findings": len(report.findings),
            "place": str(place) if place else "",
            "coverage": round(report.coverage, 3),
            "sizes": {key: list(size) for key, size in report.sizes.items()},
        }
    return found


def summary(rows: list[Outcome]) -> dict[str, Any]:
    faults = [row for row in rows if row.family != SUSPICIOUS]
    return {
        "faults": len(faults),
        "found": sum(row.found for row in faults),
        "named": sum(row.named for row in faults),
        "explained": sum(row.explained for row in faults),
        "right": len(rows),
        "false_alarms": sum(row.false_alarms > 0 for row in rows),
        "passes_median": statistics.median(n for row in rows for n in row.passes),
        "passes_most": max(n for row in rows for n in row.passes),
        "seconds": round(sum(row.seconds for row in rows), 2),
    }


def print_rows(console: Console, rows: list[Outcome]) -> None:
    table = Table("family")
    for heading in (
        "faults",
        "found",
        "named",
        "explained",
        "right",
        "false alarms",
        "passes",
        "most",
        "s",
    ):
        table.add_column(heading, justify="right")
    families = list(dict.fromkeys(row.family for row in rows))
    for family in [*families, "all"]:
        chosen = [row for row in rows if family in (row.family, "all")]
        if family == "all":
            table.add_section()
        table.add_row(family, *(f"{value:g}" for value in summary(chosen).values()))
    console.print(table)
    for row in rows:
        if not row.false_alarms and (row.family == SUSPICIOUS or (row.found and row.named)):
            continue
        words = {"not found": row.family != SUSPICIOUS and not row.found,
                 "another module named": row.found and not row.named,
                 "false alarm": row.false_alarms > 0}  # fmt: skip
        said = ", ".join(word for word, holds in words.items() if holds)
        console.print(f"  {row.family}: {row.name}: {said}", highlight=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--family", nargs="+", help="only families with these words")
    parser.add_argument("--out", type=Path, help="write audit.json into this folder")
    options = parser.parse_args()
    console = Console(width=None if sys.stdout.isatty() else 120)
    warnings.filterwarnings("ignore", message="The PyTorch API of nested tensors")

    def wanted(family: str) -> bool:
        return not options.family or any(word in family for word in options.family)

    faults = [fault for fault in FAULTS if wanted(fault.family)]
    watch: Callable[..., Any] = track if sys.stdout.isatty() else lambda rows, _: rows
    rows = [outcome_of(fault) for fault in watch(faults, "auditing")]
    rows += suspicious() if wanted(SUSPICIOUS) else []
    print_rows(console, rows)
    cost = {} if options.family else large()
    for name, said in cost.items():
        console.print(f"12 layers, 1,024 tokens, {name}: {said}", highlight=False)
    results = {
        "command": "python benchmarks/audit.py --out benchmarks/results",
        "machine": {**machine(), "torch": torch.__version__, "threads": torch.get_num_threads()},
        "all": summary(rows),
        "large": cost,
        "rows": [vars(row) for row in rows],
    }
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / "audit.json").write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
