"""The loss curve of the recipe packed-gpt on 1, 2 and 4 processes that share its sequences.

Run: python benchmarks/packed_curves.py [--preset smoke] [--runs runs/curves]
[--out benchmarks/results]. The data are those of `sightline train packed-gpt`. Runs that are
finished are not made again. Of chance there is one run more: one process, another seed.

The curves are one curve with other rounding. How far apart they are is told for each: the greatest
difference of a step's loss to that of one process, and that of the held-out losses.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

from measure import machine

from sightline.recipes.training.result import as_lines


class Case(NamedTuple):
    """One run: how many processes, how many of them share a sequence, and its seed."""

    processes: int
    context_ranks: int
    seed: int = 0

    @property
    def name(self) -> str:
        """What it is called."""
        if self.seed:
            return f"1 process, seed {self.seed}"
        if self.processes == 1:
            return "1 process"
        shared = f"{self.processes} processes"
        groups = self.processes // self.context_ranks
        return shared if groups == 1 else f"{shared}: {groups} x {self.context_ranks}"

    @property
    def words(self) -> list[str]:
        """The command behind python -m."""
        launched = ["torch.distributed.run", "--nproc-per-node", str(self.processes), "-m"]
        changed = ["--set", f"context_ranks={self.context_ranks}"]
        if self.processes == 1:
            launched, changed = [], []
        seed = ["--seed", str(self.seed)]
        return [*launched, "sightline", "train", "packed-gpt", *changed, *seed]


CASES = (Case(1, 1), Case(2, 2), Case(4, 2), Case(4, 4), Case(1, 1, seed=1))


def trained(case: Case, preset: str, runs: Path) -> dict[str, Any]:
    """Return the curves of a run, made now if it is not there yet."""
    folder = runs / f"{case.processes}-{case.context_ranks}-{case.seed}"
    command = [*case.words, "--preset", preset]
    subprocess.run(
        [sys.executable, "-m", *command, "--out", str(folder)],
        env={"OMP_NUM_THREADS": "1", **os.environ},
        check=True,
    )
    result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    return {
        "name": case.name,
        "processes": case.processes,
        "context_ranks": case.context_ranks,
        "seed": case.seed,
        "command": shlex.join(["python", "-m", *command]),
        "settings": result["settings"],
        "losses": [each["loss"] for each in lines(folder / "losses.jsonl")],
        "held_out": [[each["step"], each["loss"]] for each in lines(folder / "evaluations.jsonl")],
    }


def lines(path: Path) -> list[dict[str, Any]]:
    """Return the objects of a file with one a line."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def apart(run: dict[str, Any], one: dict[str, Any]) -> dict[str, Any]:
    """Return a run with its greatest differences to that of one process."""
    steps = [abs(a - b) for a, b in zip(run["losses"], one["losses"], strict=True)]
    held_out = zip(run["held_out"], one["held_out"], strict=True)
    return {
        **run,
        "apart": max(steps),
        "apart_after_50": max(steps[:50]),
        "held_out_apart": max(abs(mine[1] - other[1]) for mine, other in held_out),
    }


def main() -> int:
    """Train, compare, and write what came out."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--preset", default="small")
    parser.add_argument("--runs", type=Path, default=Path("runs") / "curves")
    parser.add_argument("--out", type=Path, default=Path("benchmarks") / "results")
    asked = parser.parse_args()
    runs = [trained(case, asked.preset, asked.runs) for case in CASES]
    compared = [apart(run, runs[0]) for run in runs]
    for run in compared:
        print(f"{run['name']:>16}: {run['apart']:.2e} apart, held out {run['held_out_apart']:.2e}")
    made = {"preset": asked.preset, "machine": machine(), "runs": compared}
    path = asked.out / "packed_curves.json"
    path.write_text(as_lines(made), encoding="utf-8")
    print(f"wrote {path}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
