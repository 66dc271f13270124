"""What log-sparse attention costs as series grow: pairs, blocks, memory and time, beside torch.

Run: python benchmarks/log_sparse.py [--quick] [--out benchmarks/results]. Times are medians of
contestants by turns in one process, one thread; the plan of a mask is made before (its own time is
given). Memory is by how much a fresh process grows at most in a forward and backward pass of three
layers. ``--quick`` stops at 2,048 steps.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measure import growth_of, machine, once
from rich.console import Console
from rich.table import Table
from torch.nn.functional import scaled_dot_product_attention

import sightline as sl
from sightline.recipes.bench.timing import alternate

SIZES = [2**n for n in range(8, 15)]
LONGEST_BACKWARD, LONGEST_MEMORY = 4096, 4096
LONGEST_WRITTEN_OUT = 8192  # beyond, torch takes ten times as long as all others together
HEADS, DIM, LAYERS, ROUNDS = 2, 32, 3, 5
SUB_LEN = 128
Run = Callable[[], object]


def masks(size: int) -> dict[str, sl.Mask]:
    """Return the masks, for a number of steps."""
    return {
        "causal()": sl.causal(),
        "log_sparse()": sl.log_sparse(),
        "log_sparse(local=log2 L)": sl.log_sparse(local=size.bit_length() - 1),
        "log_sparse(restart=1024)": sl.log_sparse(restart=1024),
        "log_sparse_row_mask(128, L)": sl.log_sparse_row_mask(sub_len=SUB_LEN, win_len=size),
    }


def counted(size: int) -> list[dict[str, Any]]:
    """Return what each mask allows, and what its blocks of 128 x 128 make one compute."""
    rows = []
    for name, mask in masks(size).items():
        sl.plan.cache_clear()
        seconds = once(partial(sl.plan, mask, size))
        plan = sl.plan(mask, size)
        cost = plan.cost()
        rows.append(
            {
                "mask": name,
                "steps": size,
                "pairs": cost.pairs,
                "computed": cost.computed_pairs,
                "all": cost.dense_pairs,
                "blocks": plan.counts.partial + plan.counts.full,
                "of_blocks": sum(plan.counts),
                "plan_ms": seconds * 1e3,
            }
        )
    return rows


def contestants(size: int, *, backward: bool) -> dict[str, Run]:
    """Return the calls to time, all over the same tensors."""
    torch.manual_seed(0)
    shape = (1, HEADS, size, DIM)
    tensors = [torch.randn(shape, requires_grad=backward) for _ in range(3)]
    sparse = sl.log_sparse()
    calls: dict[str, Callable[[], torch.Tensor]] = {
        "log_sparse(), engine cpu": partial(sl.attend, *tensors, sparse, engine="cpu"),
        "causal(), engine cpu": partial(sl.attend, *tensors, sl.causal(), engine="cpu"),
        "torch SDPA, is_causal": partial(scaled_dot_product_attention, *tensors, is_causal=True),
    }
    if size <= LONGEST_WRITTEN_OUT:
        written_out = torch.from_numpy(sparse.dense(size))
        calls["torch SDPA, log-sparse mask written out"] = partial(
            scaled_dot_product_attention, *tensors, attn_mask=written_out
        )
        check(calls)
    if not backward:
        return {name: run_without_gradients(call) for name, call in calls.items()}
    return {
        name: lambda call=call: torch.autograd.grad(call().sum(), tensors)
        for name, call in calls.items()
    }


def run_without_gradients(call: Callable[[], torch.Tensor]) -> Run:
    def run() -> object:
        with torch.no_grad():
            return call()

    return run


def check(calls: dict[str, Callable[[], torch.Tensor]]) -> None:
    """Refuse to compare times of different answers."""
    with torch.no_grad():
        ours, _, _, theirs = (call() for call in calls.values())
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


def timed(size: int, *, backward: bool) -> dict[str, Any]:
    """Return the median milliseconds of each contestant."""
    taken = alternate(contestants(size, backward=backward), ROUNDS)
    what = "forward and backward" if backward else "forward"
    return {
        "steps": size,
        "what": what,
        "ms": {name: statistics.median(each) * 1e3 for name, each in taken.items()},
    }


def written(query: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Return attention with the scores of all pairs written out."""
    scores = (query @ query.transpose(-1, -2)) / DIM**0.5
    return scores.masked_fill(~mask, -torch.inf).softmax(-1) @ query


def stacked(name: str, size: int) -> None:
    """Run three layers of attention forward and backward."""
    first = x = torch.randn(1, HEADS, size, DIM, requires_grad=True)
    mask = sl.log_sparse()
    dense = torch.from_numpy(mask.dense(size)) if "written out" in name else None
    for _ in range(LAYERS):
        if dense is None:
            x = sl.attend(x, x, x, mask if "log" in name else sl.causal(), engine="cpu")
        else:
            x = written(x, dense)
    torch.autograd.grad(x.sum(), first)


def grown(size: int) -> dict[str, Any]:
    """Return by how many MiB a fresh process grows with each way; None where unknown."""
    ways = ("log_sparse(), engine cpu", "causal(), engine cpu", "scores written out, log-sparse")
    found: dict[str, Any] = {"steps": size}
    for name in ways:
        first = (
            f"import torch, log_sparse; torch.set_num_threads(1); log_sparse.stacked({name!r}, 128)"
        )
        held = growth_of(first, f"log_sparse.stacked({name!r}, {size})")
        found[name] = None if held is None else held[0] / 1024
    return found


def exponent(sizes: list[int], values: list[float]) -> float:
    """Return the slope of the logarithms over the longer half of the sizes."""
    half = len(sizes) // 2
    return float(np.polyfit(np.log(sizes[half:]), np.log(values[half:]), 1)[0])


def exponents(results: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Return with which power of the length each cost grows."""
    found: dict[str, dict[str, float]] = {"allowed pairs": {}, "computed pairs": {}, "time": {}}
    for name in masks(SIZES[0]):
        rows = [row for row in results["pairs"] if row["mask"] == name]
        sizes = [row["steps"] for row in rows]
        found["allowed pairs"][name] = exponent(sizes, [row["pairs"] for row in rows])
        found["computed pairs"][name] = exponent(sizes, [row["computed"] for row in rows])
    rows = [row for row in results["times"] if row["what"] == "forward"]
    for name in rows[0]["ms"]:
        timed_rows = [row for row in rows if name in row["ms"]]
        found["time"][name] = exponent(
            [row["steps"] for row in timed_rows], [row["ms"][name] for row in timed_rows]
        )
    return found


# -- what is printed and kept ---------------------------------------------------------------------


def print_rows(console: Console, title: str, rows: list[dict[str, Any]]) -> None:
    names = [name for name in rows[0] if name != "steps"]
    table = Table(title=title)
    for heading in ("steps", *names):
        table.add_column(heading, justify="right")
    for row in rows:
        table.add_row(f"{row['steps']:,}", *(shown(row.get(name)) for name in names))
    console.print(table)


def shown(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:,.4g}" if isinstance(value, float) else f"{value:,}"


def pair_rows(results: dict[str, Any]) -> list[dict[str, Any]]:
    """Return a row a length: pairs allowed and computed, and how many times more these are."""
    rows = []
    for row in results["pairs"]:
        if row["mask"] == "log_sparse()":
            size = row["steps"]
            triangle = size * (size + 1) // 2
            rows.append(
                {
                    "steps": size,
                    "causal pairs": triangle,
                    "log-sparse pairs": row["pairs"],
                    "L (log2 L + 1)": size * size.bit_length(),
                    "computed": row["computed"],
                    "computed / allowed": row["computed"] / row["pairs"],
                    "computed / causal": row["computed"] / triangle,
                    "plan ms": row["plan_ms"],
                }
            )
    return rows


def draw(results: dict[str, Any], file: Path) -> None:
    """Draw the forward time over the length, both as logarithms."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    rows = [row for row in results["times"] if row["what"] == "forward"]
    sizes = [row["steps"] for row in rows]
    for name in rows[0]["ms"]:
        slope = results["exponents"]["time"][name]
        times = [row["ms"].get(name, np.nan) for row in rows]
        axes.loglog(sizes, times, "o-", label=f"{name}  ({slope:.2f})")
    axes.set_xlabel("steps")
    axes.set_ylabel(f"milliseconds, median of {ROUNDS}")
    axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    axes.set_title("Attention forward, one thread (slope over the longer half)")
    axes.legend(fontsize=8)
    figure.savefig(file)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="stop at 2,048 steps")
    parser.add_argument("--out", type=Path, help="write log_sparse.json and .svg into this folder")
    options = parser.parse_args()
    console = Console(width=None if sys.stdout.isatty() else 120)
    torch.set_num_threads(1)
    sizes = [size for size in SIZES if size <= 2048] if options.quick else SIZES
    results: dict[str, Any] = {
        "command": "python benchmarks/log_sparse.py --out benchmarks/results",
        "machine": {**machine(), "threads": 1},
        "heads": HEADS,
        "head_dim": DIM,
        "layers": LAYERS,
        "pairs": [row for size in sizes for row in counted(size)],
        "memory_mib": [grown(size) for size in sizes if size <= LONGEST_MEMORY],
        "times": [],
    }
    print_rows(console, "Pairs, blocks of 128 x 128", pair_rows(results))
    print_rows(console, "Three layers, MiB that a process grows", results["memory_mib"])
    for backward, longest in ((False, SIZES[-1]), (True, LONGEST_BACKWARD)):
        rows = [timed(size, backward=backward) for size in sizes if size <= longest]
        results["times"] += rows
        title = f"Milliseconds, {rows[0]['what']}"
        print_rows(console, title, [{"steps": row["steps"], **row["ms"]} for row in rows])
    results["exponents"] = exponents(results)
    for what, each in results["exponents"].items():
        for name, slope in each.items():
            console.print(f"{what} grow(s) as L^{slope:.2f}: {name}", highlight=False)
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / "log_sparse.json").write_text(json.dumps(results, indent=1) + "\n")
        try:
            draw(results, options.out / "log_sparse.svg")
        except ImportError:
            console.print("log_sparse.svg is not drawn: pip install matplotlib (the extra 'views')")
    console.print(f"medians; {results['machine']}", highlight=False)


if __name__ == "__main__":
    main()
