"""The audit beside causal-certificate 0.1 (one vector-Jacobian product for each position).

Run: pip install causal-certificate; python benchmarks/audit_peer.py [--out benchmarks/results].
Which of the zoo's faults against causal() each of them finds, which right twins each accuses, and
how long a right model takes, by turns, at three lengths. causal-certificate wants vectors, so it
is given the output of the first embedding, as its documentation says; it has one path, the one the
model is in (evaluation), and says no module, pair or cause.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import torch
from causal_certificate import certify
from measure import machine
from rich.console import Console
from rich.progress import track

import sightline as sl

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "audit"))

from audited import report_on
from zoo.fault import Sees
from zoo.parts import ids, seeded
from zoo.table import FAULTS

from audit import Wide

LENGTHS = (37, 128, 512)
ROUNDS = 3


def certified(model: torch.nn.Module, tokens: torch.Tensor) -> bool:
    """Whether causal-certificate lets the model pass."""
    model = model.double().eval()
    embedding = next(m for m in model.modules() if isinstance(m, torch.nn.Embedding))
    vectors = embedding(tokens).detach()

    def from_vectors(x: torch.Tensor) -> torch.Tensor:
        handle = embedding.register_forward_hook(lambda *_: x)
        try:
            found = model(tokens)
        finally:
            handle.remove()
        return found[0] if isinstance(found, tuple) else found

    return bool(certify(from_vectors, vectors).is_strictly_causal)


def compared() -> dict[str, Any]:
    """Ask both about each of the zoo's faults against causal(), and its right twin."""
    rows = [
        fault
        for fault in FAULTS
        if isinstance(fault.claim, Sees)
        and list(fault.claim.masks.values()) == [sl.causal()]
        and fault.inputs is ids
    ]
    found = {"faults": len(rows), "ours": 0, "peer": 0, "our alarms": 0, "its alarms": 0}
    refused: list[str] = []
    missed: list[str] = []
    watch = track if sys.stdout.isatty() else lambda rows, _: rows
    for fault in watch(rows, "comparing"):
        found["ours"] += not report_on(fault.name, "wrong").ok
        found["our alarms"] += not report_on(fault.name, "right").ok
        tokens = torch.as_tensor(next(iter(fault.inputs(37).values())))
        try:
            passes = certified(fault.wrong(), tokens)
            found["its alarms"] += not certified(fault.right(), tokens)
        except Exception as error:
            refused.append(f"{fault.name}: {type(error).__name__}")
            continue
        found["peer"] += not passes
        if passes:
            missed.append(fault.name)
    return {**found, "peer missed": missed, "peer could not run": refused}


def timed() -> list[dict[str, Any]]:
    """Time both on a right model of four layers, by turns."""
    rows: list[dict[str, Any]] = []
    for length in LENGTHS:
        model = seeded(lambda: Wide(None, layers=4))()
        tokens = torch.randint(0, 199, (3, length), generator=torch.Generator().manual_seed(0))
        ours, peer = [], []
        for _ in range(ROUNDS):
            started = time.perf_counter()
            report = sl.audit(model, sl.causal(), tokens)
            ours.append(time.perf_counter() - started)
            started = time.perf_counter()
            assert certified(seeded(lambda: Wide(None, layers=4))(), tokens)
            peer.append(time.perf_counter() - started)
        assert report.ok
        here = {
            "length": length,
            "ours_s": round(statistics.median(ours), 3),
            "peer_s": round(statistics.median(peer), 3),
            "passes": report.passes,
            "conditions": len(report.conditions),
            "coverage": round(report.coverage, 3),
        }
        rows.append({**here, "ratio": round(here["peer_s"] / here["ours_s"], 2)})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, help="write audit_peer.json into this folder")
    options = parser.parse_args()
    warnings.filterwarnings("ignore", message="The PyTorch API of nested tensors")
    console = Console(width=None if sys.stdout.isatty() else 120)
    results = {
        "command": "python benchmarks/audit_peer.py --out benchmarks/results",
        "machine": {**machine(), "torch": torch.__version__, "threads": torch.get_num_threads()},
        "found": compared(),
        "time": timed(),
    }
    console.print(results["found"], results["time"])
    if options.out:
        text = json.dumps(results, indent=2) + "\n"
        (options.out / "audit_peer.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
