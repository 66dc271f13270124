"""Time attention over 2 and 4 processes against one, and how much of it is spent waiting.

Forward and backward pass of one layer on one machine, gloo between the processes, one thread each.
Beside it torch's own context parallelism, as far as it runs here, and how many positions of packed
documents change where causal is all that can be said.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from measure import machine
from rich.console import Console
from rich.table import Table
from torch.nn.functional import scaled_dot_product_attention

import sightline as sl
from sightline.testing.ranks import RankPool

HEADS, KV_HEADS, DIM = 8, 2, 64
SIZES = (2, 4)
SEED = 11


def masks(length: int) -> dict[str, sl.Mask]:
    """Return the masks by name; documents have log-normal lengths."""
    drawn = np.random.default_rng(SEED).lognormal(np.log(length / 24), 1.0, 400).astype(int) + 1
    ends = np.append(np.cumsum(drawn)[np.cumsum(drawn) < length], length)
    packed = sl.causal() & sl.documents(lengths=np.diff(ends, prepend=0).tolist())
    return {"causal": sl.causal(), "packed": packed, "window": sl.window(left=1023, right=0)}


def tensors(length: int) -> list[torch.Tensor]:
    made = torch.Generator().manual_seed(SEED)
    shapes = [HEADS, KV_HEADS, KV_HEADS, HEADS]
    return [torch.randn(1, heads, length, DIM, generator=made) for heads in shapes]


def in_turn(step: Callable[[], object], rounds: int) -> list[float]:
    """Return the seconds of each step, after one that does not count."""
    found: list[float] = []
    for _ in range(rounds + 1):
        start = perf_counter()
        step()
        found.append(perf_counter() - start)
    return found[1:]


def over_ranks(length: int, name: str, overlap: bool, rounds: int) -> dict[str, Any]:
    """Return this rank's seconds, those spent waiting, and what it computes and receives."""
    from sightline.distributed import roll_call

    mask = masks(length)[name]
    spread = sl.distributed.spread(mask, length, overlap=overlap)
    at = spread.positions()[0]
    *inputs, upstream = (each[:, :, at].contiguous() for each in tensors(length))
    query, key, value = (each.requires_grad_() for each in inputs)
    waited = [0.0]
    wait = roll_call.RollCall.wait

    def timed(*told: Any, **more: Any) -> Any:
        start = perf_counter()
        try:
            return wait(*told, **more)
        finally:
            waited[-1] += perf_counter() - start

    def step() -> None:
        query.grad = key.grad = value.grad = None
        dist.barrier()
        waited.append(0.0)
        start = perf_counter()
        output = sl.distributed.attend(query, key, value, mask, spread=spread)
        output.backward(upstream)
        seconds.append(perf_counter() - start)

    seconds: list[float] = []
    roll_call.RollCall.wait = timed
    try:
        for _ in range(rounds + 1):
            step()
    finally:
        roll_call.RollCall.wait = wait
    rank, row_bytes = spread.ranks.rank, KV_HEADS * DIM * 2 * 4
    return {
        "seconds": seconds[1:],
        "waited": waited[2:],
        "received_mib": float(spread.cut.received[rank]) * row_bytes / 2**20,
        "balance": spread.cut.balance,
    }


def front(length: int, rounds: int) -> float:
    """Return the seconds of a call with next to nothing to compute: what the front costs."""
    mask = sl.causal()
    spread = sl.distributed.spread(mask, length, block=1)
    x = torch.randn(1, 1, spread.length, 4)
    with torch.no_grad():
        times = in_turn(
            lambda: sl.distributed.attend(x, x, x, mask, spread=spread, engine="cpu"), rounds
        )
    return statistics.median(times)


def peer(length: int) -> str:
    """Return what torch's own context parallelism says to causal attention here."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor.experimental import context_parallel
    from torch.nn import functional

    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    q, _, _, _ = buffers = [
        each.expand(1, HEADS, -1, -1).clone() for each in tensors(length)[:1] * 4
    ]
    try:
        with torch.no_grad(), context_parallel(mesh, buffers=buffers, buffer_seq_dims=[2] * 4):
            # By its name in its module, which is what torch replaces inside the block.
            functional.scaled_dot_product_attention(q, buffers[1], buffers[2], is_causal=True)
    except NotImplementedError as error:
        return f"{type(error).__name__}: {str(error).splitlines()[0]}"
    return "runs"


def changed_by_causal(length: int) -> float:
    """Return the share of positions of packed documents whose output causal alone changes."""
    query, key, value, _ = tensors(length)
    wanted = sl.attend(query, key, value, masks(length)["packed"])
    told: dict[str, Any] = {"is_causal": True, "enable_gqa": True}
    got = scaled_dot_product_attention(query, key, value, **told)
    return float(((got - wanted).abs() > 1e-4).any(dim=-1).any(dim=1).float().mean())


def alone(length: int, mask: sl.Mask, rounds: int) -> list[float]:
    """Return the seconds of one process with one thread."""
    *inputs, upstream = tensors(length)
    query, key, value = (each.requires_grad_() for each in inputs)

    def step() -> None:
        query.grad = key.grad = value.grad = None
        sl.attend(query, key, value, mask).backward(upstream)

    return in_turn(step, rounds)


def row_of(
    pool: RankPool, length: int, name: str, overlap: bool, rounds: int, one: float
) -> dict[str, Any]:
    answers = pool.run(over_ranks, length, name, overlap, rounds)
    # A step lasts as long as its slowest rank.
    steps = [max(each["seconds"][i] for each in answers) for i in range(rounds)]
    shares = [sum(each["waited"]) / sum(each["seconds"]) for each in answers]
    seconds = statistics.median(steps)
    return {
        "mask": name,
        "ranks": pool.size,
        "overlap": overlap,
        "seconds": seconds,
        "one_process_seconds": one,
        "times_as_fast": one / seconds,
        "waiting_share": statistics.mean(shares),
        "waiting_share_by_rank": shares,
        "balance": answers[0]["balance"],
        "received_mib_most": max(each["received_mib"] for each in answers),
    }


def print_rows(console: Console, rows: list[dict[str, Any]]) -> None:
    table = Table(title="attention forward and backward over processes of one machine")
    for heading in ("mask", "ranks", "overlap", "s", "times one", "waiting", "MiB received"):
        table.add_column(heading, justify="left" if heading == "mask" else "right")
    for row in rows:
        table.add_row(
            row["mask"],
            str(row["ranks"]),
            "yes" if row["overlap"] else "no",
            f"{row['seconds']:.3f}",
            f"{row['times_as_fast']:.2f}",
            f"{100 * row['waiting_share']:.0f} %",
            f"{row['received_mib_most']:.1f}",
        )
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--length", type=int, default=16384)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, help="write context_parallel.json into this folder")
    options = parser.parse_args()
    torch.set_num_threads(1)
    length, rounds = options.length, options.rounds
    single = {
        name: statistics.median(alone(length, mask, rounds)) for name, mask in masks(length).items()
    }
    rows: list[dict[str, Any]] = []
    fronts: dict[str, float] = {}
    theirs = ""
    for size in SIZES:
        with RankPool(size) as pool:
            for name, one in single.items():
                for overlap in (True, False):
                    rows.append(row_of(pool, length, name, overlap, rounds, one))
            fronts[str(size)] = max(pool.run(front, 64, 200))
            theirs = theirs or pool.run(peer, 1024)[0]
    results = {
        "command": "python benchmarks/context_parallel.py --out benchmarks/results",
        "machine": {**machine(), "torch": torch.__version__, "threads_a_process": 1},
        "what": f"[1, {HEADS} on {KV_HEADS}, {length}, {DIM}] float32, forward and backward, "
        f"medians of {rounds}",
        "remark": "Two cores cannot show a speed-up past 2: on 4 processes the ranks take turns, "
        "and waiting includes the turns of others.",
        "rows": rows,
        "front_seconds": fronts,
        "torch_context_parallel_on_cpu": theirs,
        "packed_positions_changed_by_causal_alone": changed_by_causal(length),
    }
    console = Console(width=110)
    print_rows(console, rows)
    for name in ("remark", "front_seconds", "torch_context_parallel_on_cpu"):
        console.print(f"{name.replace('_', ' ')}: {results[name]}", highlight=False)
    share = results["packed_positions_changed_by_causal_alone"]
    console.print(f"packed positions that causal alone changes: {100 * float(share):.1f} %")
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / "context_parallel.json").write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
