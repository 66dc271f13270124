"""How evenly a million tokens are dealt out to ranks, and what then travels, beside peers.

Run: python benchmarks/sharding.py [--quick] [--out benchmarks/results]. All ways of dealing out are
measured alike, on the same plan, and as if each sent exactly the keys that a rank's rows see:

- ours: sl.shard, on a plan at hand;
- head-tail: 2 · ranks stretches, the r-th from the front with the r-th from the end;
- torch: its balancer by numbers of blocks (_PTRRLoadBalancer.ptrr_scheduling, fed the numbers of
  blocks of each row, which it would read from a BlockMask; making that is not in its time);
- heap: blocks from the dearest to the cheapest, each to the rank with the least work so far that
  has room (as planners of MagiAttention and FlashMask are described; ours to write, in Python).

Milliseconds are medians in alternating order, by the wall clock and by the processor's (on a busy
machine the wall clock measures the others). A ring all-gather sends each rank all keys that it
does not hold.
"""

from __future__ import annotations

import argparse
import heapq
import json
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from measure import machine
from plan import MILLION, cold
from rich.console import Console
from rich.table import Table

import sightline as sl
from sightline.plan.block_map import BlockMap
from sightline.plan.scaling import head_tail
from sightline.plan.shard import EVEN_COSTS, Assignment, Shard, block_costs

RANKS = (8, 16, 32, 64, 128, 256, 512)
ROUNDS = 7
SEED = 11
# What is wanted: largest area / mean, keys received / the least of the assignment, milliseconds.
BALANCE, RECEIVED, MS = 1.02, 1.1, 100.0


def log_normal(median: int, sigma: float) -> sl.Mask:
    """Return documents of log-normal lengths, a million tokens of them."""
    random = np.random.default_rng(SEED)
    stops = np.cumsum(np.maximum(random.lognormal(np.log(median), sigma, MILLION // 64), 16))
    stops = np.append(stops[stops < MILLION].astype(np.int64), MILLION)
    return sl.documents(lengths=np.diff(stops, prepend=0))


def masks() -> dict[str, sl.Mask]:
    """Return the masks that are dealt out, for a million tokens."""
    return {
        "causal": sl.causal(),
        "packed, 4096 median": sl.causal() & log_normal(4096, 1.2),
        "packed, 300 median": sl.causal() & log_normal(300, 1.0),
        "window 4096": sl.window(left=4095, right=0),
        "prefix-LM, a quarter": sl.prefix_lm([MILLION // 4 + 77]),
        "block diffusion, 32": sl.block_diffusion(MILLION // 2, 32),
    }


def by_torch(plan: BlockMap, ranks: int) -> Shard:
    """Return what torch's balancer makes of the numbers of blocks."""
    import torch
    from torch.distributed.tensor.experimental._context_parallel._load_balancer import (
        _PTRRLoadBalancer,
    )

    many = np.bincount(plan.row, plan.last_block - plan.first_block + 1, plan.q_blocks)
    dealt = _PTRRLoadBalancer.ptrr_scheduling(torch.from_numpy(many), ranks).numpy()
    owner = np.empty((1, plan.q_blocks), dtype=np.int32)
    owner[0, dealt] = np.arange(ranks, dtype=np.int32)[:, None]
    return cut(plan, owner, ranks)


def by_heap(plan: BlockMap, ranks: int) -> Shard:
    """Return blocks dealt out to the rank with the least work that has room."""
    cost = block_costs(plan, EVEN_COSTS).sum(axis=(0, 1))
    room = [plan.q_blocks // ranks] * ranks
    owner = np.empty((1, plan.q_blocks), dtype=np.int32)
    heap = [(0.0, rank) for rank in range(ranks)]
    work = cost.tolist()
    for block in np.argsort(-cost, kind="stable").tolist():
        area, rank = heapq.heappop(heap)
        owner[0, block] = rank
        room[rank] -= 1
        if room[rank]:
            heapq.heappush(heap, (area + work[block], rank))
    return cut(plan, owner, ranks)


def cut(plan: BlockMap, owner: np.ndarray, ranks: int) -> Shard:
    queries = Assignment(owner, plan.grid.q_edges[0], ranks)
    return Shard(plan, queries, queries)


WAYS: dict[str, Callable[[BlockMap, int], Shard]] = {
    "ours": sl.shard,
    "head-tail": head_tail,
    "torch": by_torch,
    "heap": by_heap,
}


def timed(runs: dict[str, Callable[[], object]]) -> dict[str, tuple[float, float]]:
    """Return the medians of each run in milliseconds: of the wall clock, of the processor."""
    for run in runs.values():
        run()
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in runs}
    for turn in range(ROUNDS):
        for name in sorted(runs, reverse=bool(turn % 2)):
            wall, processor = time.perf_counter(), time.process_time()
            runs[name]()
            times[name].append((time.perf_counter() - wall, time.process_time() - processor))
    median = statistics.median
    return {
        name: (1e3 * median(w for w, _ in each), 1e3 * median(p for _, p in each))
        for name, each in times.items()
    }


def measured(shard: Shard, ms: tuple[float, float]) -> dict[str, Any]:
    ring = int((shard.plan.kv_len - shard.keys.lengths).sum())
    received = int(shard.received.sum())
    return {
        "balance": shard.balance,
        "received": received,
        "most_received": int(shard.received.max()),
        "most_sent": int(shard.sent.max()),
        "of_ring": received / ring,
        "most_of_ring": float((shard.received / (shard.plan.kv_len - shard.keys.lengths)).max()),
        "ms": ms[0],
        "processor_ms": ms[1],
    }


def one(name: str, plan: BlockMap, ranks: int) -> dict[str, Any]:
    """Return the figures of all ways for a mask and a number of ranks."""
    ms = timed({way: partial(run, plan, ranks) for way, run in WAYS.items()})
    shards = {way: run(plan, ranks) for way, run in WAYS.items()}
    ours = shards["ours"]
    whole = int(ours.received_in_blocks.sum()) / max(1, int(ours.received.sum()))
    return {
        "mask": name,
        "ranks": ranks,
        "balance_at_least": ours.balance_at_least,
        "received_at_least": at_least(ours),
        "in_whole_blocks": whole,
        "ways": {way: measured(shard, ms[way]) for way, shard in shards.items()},
    }


def at_least(shard: Shard) -> int:
    """Return how many keys some rank's rows see and it does not hold, counted rank by rank.

    From the mask's own rows of a block each, and not from what sl.shard worked out.
    """
    plan, total = shard.plan, 0
    for rank in range(shard.ranks):
        seen = np.zeros(plan.kv_len, dtype=np.bool_)
        for block in shard.queries.blocks(rank)[0].tolist():
            for run in plan.runs(block):
                first, stop = plan.grid.k_edges[0][[run.first_block, run.last_block + 1]]
                if run.pattern < 0:
                    seen[first:stop] = True
                    continue
                words = np.bitwise_or.reduce(plan.patterns[run.pattern], axis=0)
                keys = np.unpackbits(words.view(np.uint8), bitorder="little")[: plan.block_kv]
                seen[first:stop] |= np.tile(keys.astype(np.bool_), (stop - first) // len(keys))
        seen[shard.keys.positions(rank)[0]] = False
        total += int(seen.sum())
    return total


def print_rows(console: Console, rows: list[dict[str, Any]]) -> None:
    table = Table(title="A million tokens in blocks of 128, dealt out")
    for heading in ("mask", "ranks", "way"):
        table.add_column(heading)
    headings = ("largest / mean", "at least", "keys / ring", "most received", "most sent", "ms")
    for heading in headings:
        table.add_column(heading, justify="right")
    for row in rows:
        for way, each in row["ways"].items():
            bound = f"{row['balance_at_least']:.3f}" if way == "ours" else ""
            table.add_row(
                row["mask"] if way == "ours" else "",
                str(row["ranks"]) if way == "ours" else "",
                way,
                f"{each['balance']:.3f}",
                bound,
                f"{each['of_ring']:.4f}",
                f"{each['most_received']:,}",
                f"{each['most_sent']:,}",
                f"{each['ms']:.1f} ({each['processor_ms']:.1f})",
            )
    console.print(table)


def misses(rows: list[dict[str, Any]]) -> list[str]:
    """Return where ours falls short of what is wanted."""
    found = []
    for row in rows:
        ours, where = row["ways"]["ours"], f"{row['mask']}, {row['ranks']} ranks"
        if ours["balance"] > BALANCE:
            least = row["balance_at_least"]
            found.append(f"{where}: balance {ours['balance']:.3f}; no dealing is below {least:.3f}")
        if ours["received"] > RECEIVED * row["received_at_least"]:
            found.append(f"{where}: {ours['received']:,} keys for {row['received_at_least']:,}")
        if ours["processor_ms"] > MS:
            found.append(f"{where}: {ours['processor_ms']:.0f} ms")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--quick", action="store_true", help="8, 64 and 512 ranks only")
    arguments = parser.parse_args()
    console = Console(width=110)
    rows, planned = [], {}
    for name, mask in masks().items():
        planned[name] = timed({"plan": partial(cold, mask, MILLION)})["plan"]
        plan = cold(mask, MILLION)
        for ranks in (8, 64, 512) if arguments.quick else RANKS:
            rows.append(one(name, plan, ranks))
    print_rows(console, rows)
    for name, (ms, processor) in planned.items():
        console.print(f"sl.plan, cold: {name}: {ms:.1f} ms ({processor:.1f} of the processor)")
    for miss in misses(rows):
        console.print(f"missed: {miss}")
    if arguments.out:
        command = "python benchmarks/sharding.py --out benchmarks/results"
        result = {
            "command": command,
            "machine": {**machine(), "numpy": np.__version__},
            "tokens": MILLION,
            "plan_ms": {name: {"ms": w, "processor_ms": p} for name, (w, p) in planned.items()},
            "rows": rows,
            "missed": misses(rows),
        }
        (arguments.out / "sharding.json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
