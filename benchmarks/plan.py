"""What planning costs: a million tokens and more, beside torch's create_block_mask.

Run: python benchmarks/plan.py [--quick] [--out benchmarks/results]. Plans are cold (the cache is
cleared before each); figures are medians. Memory is measured: the peak of all allocations while
planning (tracemalloc), and by how much a fresh process grows at most (VmHWM). ``--quick`` leaves
out the peers, which take minutes and 11 GB.
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from measure import growth_of, machine, median_of, once
from rich.console import Console
from rich.table import Table

import sightline as sl

MILLION = 2**20
SIZES = [2**n for n in range(16, 24)]
TOKENS_A_DOCUMENT = 1024


def random_documents(size: int, most: int = 8192) -> sl.Mask:
    """Return documents that end at random positions, 1,024 tokens long on average."""
    count = min(most, size // TOKENS_A_DOCUMENT)
    random = np.random.default_rng(0)
    stops = np.sort(random.choice(size - 1, count - 1, replace=False) + 1)
    return sl.documents(lengths=np.diff(np.concatenate([[0], stops, [size]])))


def masks(size: int) -> dict[str, sl.Mask]:
    """Return the masks that are planned, for a number of tokens."""
    documents = random_documents(size)
    few = range(64)
    return {
        "causal()": sl.causal(),
        "causal() & documents": sl.causal() & documents,
        "window(4095, 0) & documents": sl.window(4095, 0) & documents,
        "Longformer: window(256, 256) | keys(64) | queries(64)": sl.window(256, 256)
        | sl.keys(few)
        | sl.queries(few),
        "prefix_lm(1000) & documents": sl.prefix_lm(1000) & documents,
        "block_diffusion(size / 2, 32)": sl.block_diffusion(size // 2, 32),
        "chunks(4096) & causal()": sl.chunks(4096) & sl.causal(),
    }


def cold(mask: sl.Mask, size: int) -> Any:
    sl.plan.cache_clear()
    return sl.plan(mask, size)


def peak_bytes(run: Callable[[], object]) -> int:
    """Return the most that a run holds of what it allocates itself."""
    run()
    gc.collect()
    tracemalloc.start()
    try:
        run()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def growth_bytes(name: str, size: int) -> int | None:
    """Return by how much a fresh process grows at most while planning; None where unknown."""
    first = f"import plan; mask = plan.masks({size})[{name!r}]; plan.cold(mask, 2**14)"
    found = growth_of(first, f"plan.cold(mask, {size})")
    return None if found is None else found[0] * 1024


def one(name: str, mask: sl.Mask, size: int, rounds: int = 15) -> dict[str, Any]:
    plan = cold(mask, size)
    return {
        "mask": name,
        "tokens": size,
        "ms": median_of(lambda: cold(mask, size), rounds) * 1e3,
        "peak_mib": peak_bytes(lambda: cold(mask, size)) / 2**20,
        "kept_mib": plan.nbytes / 2**20,
        "blocks": plan.counts._asdict(),
        "patterns": len(plan.patterns),
    }


def padded_batch() -> dict[str, Any]:
    lengths = np.random.default_rng(1).integers(1, 2**15 + 1, 64)
    return one("batch 64: causal() & padding", sl.causal() & sl.padding(lengths=lengths), 2**15)


def growth_of_time() -> list[dict[str, Any]]:
    """Return the time of each mask from 64k to 8m tokens, and the slope of its logarithms."""
    times: dict[str, list[float]] = {name: [] for name in masks(MILLION)}
    for size in SIZES:
        for name, mask in masks(size).items():
            times[name].append(median_of(lambda m=mask, n=size: cold(m, n), 7))
    logs = np.log([float(size) for size in SIZES])
    return [
        {
            "mask": name,
            "tokens": SIZES,
            "ms": [t * 1e3 for t in each],
            "slope": float(np.polyfit(logs, np.log(each), 1)[0]),
            "slope_from_1m": float(np.polyfit(logs[4:], np.log(each[4:]), 1)[0]),
        }
        for name, each in times.items()
    ]


def seen_before() -> dict[str, Any]:
    """Return the microseconds of asking again for a plan."""
    mask = masks(MILLION)["causal() & documents"]
    cold(mask, MILLION)
    again = median_of(lambda: [sl.plan(mask, MILLION) for _ in range(1000)]) * 1e3
    twin = sl.causal() & random_documents(MILLION)
    equal = median_of(lambda: [sl.plan(twin, MILLION) for _ in range(1000)]) * 1e3
    return {"same_mask_us": again, "equal_mask_us": equal}


def comparisons() -> list[dict[str, Any]]:
    """Return what ``equivalent`` takes for packed causal masks written in different ways."""
    documents = random_documents(MILLION)
    packed = sl.causal() & documents
    stops = packed.last_key(MILLION)[0, 0] + 1
    start = packed.first_key(MILLION)[0, 0]
    others = {
        "documents & window(right=0)": documents & sl.window(right=0),
        "intervals(start, end)": sl.intervals(start, stops),
        "prefix_lm(0) & documents": sl.prefix_lm(0) & documents,
        "documents & (causal() | prefix_lm(0))": documents & (sl.causal() | sl.prefix_lm(0)),
    }
    found: list[dict[str, Any]] = []
    for name, other in others.items():
        answer = sl.equivalent(packed, other, MILLION)
        assert answer
        took = median_of(lambda other=other: sl.equivalent(packed, other, MILLION), 7)
        found.append({"other": name, "ms": took * 1e3, "proved_for": answer.proved_for})
    return found


# -- peers --------------------------------------------------------------------------------------


def beside_torch(console: Console) -> list[dict[str, Any]]:
    """Plan causal documents beside create_block_mask, eager at 32k and compiled at 131k."""
    import torch
    from torch.nn.attention.flex_attention import create_block_mask

    found: list[dict[str, Any]] = []
    compiled = torch.compile(create_block_mask)
    for name, make, size, rounds in (
        ("create_block_mask, eager", create_block_mask, 2**15, 2),
        ("torch.compile(create_block_mask)", compiled, 2**17, 3),
    ):
        console.print(f"[dim]{name} at {size:,} tokens ...")
        documents = random_documents(size)
        mask = sl.causal() & documents
        lengths = torch.tensor(documents.lengths.array[0])  # type: ignore[attr-defined]
        ids = torch.repeat_interleave(torch.arange(len(lengths)), lengths)

        def allowed(b: Any, h: Any, q: Any, k: Any, ids: Any = ids) -> Any:
            return (q >= k) & (ids[q] == ids[k])

        def theirs(make: Any = make, allowed: Any = allowed, size: int = size) -> Any:
            return make(allowed, None, None, size, size, device="cpu")

        first = once(theirs) if make is compiled else None
        pairs = []
        for turn in range(rounds):
            order = [theirs, lambda m=mask, n=size: cold(m, n)]
            times = [once(run) for run in (order if turn % 2 else order[::-1])]
            pairs.append(times if turn % 2 else times[::-1])
        took = [float(np.median(each)) for each in zip(*pairs, strict=True)]
        check_equal(cold(mask, size), theirs())
        lowered = median_of(lambda m=mask, n=size: block_mask(m, n), 7)
        found.append(
            {
                "peer": name,
                "tokens": size,
                "peer_s": took[0],
                "ours_ms": took[1] * 1e3,
                "ratio": float(np.median([t / o for t, o in pairs])),
                "block_mask_ms": lowered * 1e3,
                "block_mask_ratio": took[0] / lowered,
                "first_call_s": first,
            }
        )
    return found


def block_mask(mask: sl.Mask, size: int) -> Any:
    """Return FlexAttention's BlockMask, forward and backward, from a cold plan."""
    sl.plan.cache_clear()
    return sl.lower(mask, to="torch.flex", q_len=size)["block_mask"]


def check_equal(plan: Any, block_mask: Any) -> None:
    """Refuse to compare times of different answers."""
    full, some = (np.zeros(plan.q_blocks, dtype=np.int64) for _ in range(2))
    length = plan.last_block - plan.first_block + 1
    np.add.at(full, plan.row, np.where(plan.pattern < 0, length, 0))
    np.add.at(some, plan.row, np.where(plan.pattern < 0, 0, length))
    theirs = (block_mask.full_kv_num_blocks, block_mask.kv_num_blocks)
    for ours, other in zip((full, some), theirs, strict=True):
        assert np.array_equal(ours, other.numpy().reshape(-1))


# -- what is printed and kept ---------------------------------------------------------------------


def print_plans(console: Console, title: str, rows: list[dict[str, Any]]) -> None:
    table = Table(title=title)
    table.add_column("mask")
    for heading in ("ms", "peak MiB", "process grows MiB", "kept MiB", "partial", "patterns"):
        table.add_column(heading, justify="right")
    for row in rows:
        grown = row.get("growth_mib")
        table.add_row(
            row["mask"],
            f"{row['ms']:.1f}",
            f"{row['peak_mib']:.1f}",
            "-" if grown is None else f"{grown:.1f}",
            f"{row['kept_mib']:.1f}",
            f"{row['blocks']['partial']:,}",
            f"{row['patterns']:,}",
        )
    console.print(table)


def draw(rows: list[dict[str, Any]], file: Path) -> None:
    """Draw the time over the number of tokens, both as logarithms."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    for row in rows:
        axes.loglog(row["tokens"], row["ms"], "o-", label=f"{row['mask']}  ({row['slope']:.2f})")
    axes.set_xlabel("tokens")
    axes.set_ylabel("milliseconds, median of 7")
    axes.set_xticks(SIZES, ["64k", "128k", "256k", "512k", "1m", "2m", "4m", "8m"])
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    axes.set_title("Time to plan, blocks of 128 x 128 (slope of the logarithms)")
    axes.legend(fontsize=8)
    figure.savefig(file)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="leave out the peers")
    parser.add_argument("--out", type=Path, help="write plan.json and plan.svg into this folder")
    options = parser.parse_args()
    console = Console(width=None if sys.stdout.isatty() else 120)
    results: dict[str, Any] = {
        "command": "python benchmarks/plan.py --out benchmarks/results",
        "machine": {**machine(), "numpy": np.__version__},
    }
    results["plans"] = [one(name, mask, MILLION) for name, mask in masks(MILLION).items()]
    for row in results["plans"]:
        grown = growth_bytes(row["mask"], MILLION)
        row["growth_mib"] = None if grown is None else grown / 2**20
    results["plans"].append(padded_batch())
    print_plans(console, "1,048,576 tokens (and a padded batch of 64 x 32,768)", results["plans"])
    eight = [one(name, mask, 8 * MILLION, 5) for name, mask in masks(8 * MILLION).items()]
    results["plans_8m"] = eight
    print_plans(console, "8,388,608 tokens", eight)
    results["growth"] = growth_of_time()
    for row in results["growth"]:
        console.print(
            f"slope {row['slope']:.2f} (from 1m: {row['slope_from_1m']:.2f})  {row['mask']}",
            highlight=False,
        )
    results["seen_before"] = seen_before()
    console.print(
        "a plan seen before: {same_mask_us:.1f} us, of an equal mask {equal_mask_us:.1f} us".format(
            **results["seen_before"]
        ),
        highlight=False,
    )
    results["equivalent"] = comparisons()
    for row in results["equivalent"]:
        console.print(
            f"equivalent(causal() & documents, {row['other']}): {row['ms']:.2f} ms, "
            f"for {row['proved_for']}",
            highlight=False,
        )
    if not options.quick:
        results["peers"] = beside_torch(console)
        for row in results["peers"]:
            first = "" if row["first_call_s"] is None else f", {row['first_call_s']:.0f} s at first"
            console.print(
                f"{row['peer']} at {row['tokens']:,}: {row['peer_s']:.2f} s{first}; ours "
                f"{row['ours_ms']:.2f} ms: {row['ratio']:,.0f} x (as a BlockMask for forward and "
                f"backward {row['block_mask_ms']:.1f} ms: {row['block_mask_ratio']:,.0f} x)",
                highlight=False,
            )
        for name, mask in masks(MILLION).items():
            took = median_of(lambda m=mask: block_mask(m, MILLION), 5) * 1e3
            results.setdefault("block_masks_1m", {})[name] = took
            console.print(f"BlockMask at 1,048,576: {took:.1f} ms  {name}", highlight=False)
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / "plan.json").write_text(json.dumps(results, indent=1) + "\n")
        try:
            draw(results["growth"], options.out / "plan.svg")
        except ImportError:
            console.print("plan.svg is not drawn: pip install matplotlib (the extra 'views')")
    console.print(f"medians; {results['machine']}", highlight=False)


if __name__ == "__main__":
    main()
