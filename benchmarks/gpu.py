"""Engines flex, varlen and auto on a CUDA device: are they right, and how fast beside torch alone.

    python benchmarks/gpu.py                           all masks, 4,096 tokens
    python benchmarks/gpu.py --length 1024 --out benchmarks/results
                                                       quicker; writes gpu_<device>.json

Each engine's output and gradients are held against engine reference (float64 inside) at a small
length, and against SDPA with a dense mask in float32 at the full one. Times are medians of rounds
taken by turns; a ratio above 1 means that the engine is quicker than what it is compared with.
Exit code 1 if anything is wrong, 2 without a CUDA device.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch.nn.attention.flex_attention import create_block_mask, flex_attention
from torch.nn.functional import scaled_dot_product_attention

import sightline as sl

BATCH, HEADS, DIM = 2, 16, 64
SMALL = 200  # tokens at which engine reference is asked: it takes one row at a time
ROUNDS = 9
ENGINES = ("flex", "varlen", "auto")
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
# Absolute, for inputs from a normal distribution: output, gradients.
TOLERANCE = {"float32": (1e-4, 1e-3), "bfloat16": (3e-2, 2e-1)}

Run = Callable[[], torch.Tensor]


@dataclass(frozen=True)
class Subject:
    """A mask, and torch's own ways to say it: a mask_mod always, is_causal for one."""

    mask: sl.Mask
    mask_mod: Callable[..., Any]
    is_causal: bool = False


def subjects(length: int) -> dict[str, Subject]:
    part, window, prefix, block = length // 8, length // 16, length // 4, length // 16
    document = torch.arange(length, device="cuda") // part
    return {
        "causal": Subject(sl.causal(), lambda b, h, q, k: k <= q, is_causal=True),
        "window": Subject(sl.window(window - 1, 0), lambda b, h, q, k: (k <= q) & (k > q - window)),
        "documents": Subject(
            sl.causal() & sl.documents(ids=document.tolist()),
            lambda b, h, q, k: (k <= q) & (document[q] == document[k]),
        ),
        "prefix-LM": Subject(
            sl.causal() | sl.prefix(prefix), lambda b, h, q, k: (k <= q) | (k < prefix)
        ),
        "block-causal": Subject(
            sl.block_causal(block), lambda b, h, q, k: k // block <= q // block
        ),
    }


def drawn(length: int, dtype: torch.dtype) -> list[torch.Tensor]:
    """Return query, key, value and a gradient of the output."""
    rng = torch.Generator("cuda").manual_seed(0)
    shape = (4, BATCH, HEADS, length, DIM)
    return list(torch.randn(shape, generator=rng, device="cuda").to(dtype).unbind())


def with_gradients(run: Run, x: list[torch.Tensor]) -> list[torch.Tensor]:
    """Return the output and the gradients of query, key and value."""
    output = run()
    return [output.detach(), *torch.autograd.grad(output, x[:3], x[3])]


def farthest(got: list[torch.Tensor], wanted: list[torch.Tensor]) -> tuple[float, float]:
    """Return how far the output and the gradients are off at most; NaN counts as infinitely far."""
    off = [
        torch.nan_to_num((a.double() - b.double()).abs(), nan=torch.inf).max().item()
        for a, b in zip(got, wanted, strict=True)
    ]
    return off[0], max(off[1:])


def correctness(engine: str, subject: Subject, length: int, dtype: str, judge: str) -> Any:
    """Return how far off an engine is, or why it refuses."""
    x = drawn(length, DTYPES[dtype])
    for tensor in x[:3]:
        tensor.requires_grad_()
    exact = [tensor.detach().float().requires_grad_() for tensor in x]
    try:
        got = with_gradients(lambda: sl.attend(*x[:3], subject.mask, engine=engine), x)
    except sl.CannotExpress as refusal:
        return str(refusal)
    judged = with_gradients(lambda: sl.attend(*exact[:3], subject.mask, engine=judge), exact)
    return farthest(got, judged)


def rivals(subject: Subject, x: list[torch.Tensor]) -> dict[str, Run]:
    """Return torch's own ways to compute it."""
    length = x[0].shape[2]
    dense = torch.from_numpy(subject.mask.dense(length)[0, 0].copy()).cuda()
    block_mask = create_block_mask(subject.mask_mod, None, None, length, length, device="cuda")
    compiled = torch.compile(flex_attention, dynamic=False)
    found: dict[str, Run] = {
        "SDPA, dense mask": lambda: scaled_dot_product_attention(*x[:3], attn_mask=dense),
        "flex_attention": lambda: compiled(*x[:3], block_mask=block_mask),
    }
    if subject.is_causal:
        found["SDPA, is_causal"] = lambda: scaled_dot_product_attention(*x[:3], is_causal=True)
    return found


def milliseconds(runs: dict[str, Run], x: list[torch.Tensor], backward: bool) -> dict[str, float]:
    """Return the median of each, taken by turns."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(ROUNDS + 2):
        for name in sorted(runs, reverse=bool(turn % 2)):
            begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            begin.record()
            output = runs[name]()
            if backward:
                torch.autograd.grad(output, x[:3], x[3])
            end.record()
            torch.cuda.synchronize()
            if turn > 1:  # the first two warm up: compilation, memory
                times[name].append(begin.elapsed_time(end))
    return {name: statistics.median(each) for name, each in times.items()}


def timed(subject: Subject, length: int, dtype: str, backward: bool) -> dict[str, Any]:
    """Return milliseconds of all that can do it, and which engine auto is."""
    x = drawn(length, DTYPES[dtype])
    for tensor in x[:3]:
        tensor.requires_grad_(backward)
    runs = rivals(subject, x)
    for engine in ENGINES:

        def run(engine: str = engine) -> torch.Tensor:
            return sl.attend(*x[:3], subject.mask, engine=engine)

        try:
            run()
        except sl.CannotExpress:
            continue
        runs[engine] = run
    chosen = sl.explain_choice(*x[:3], subject.mask)
    found = milliseconds(runs, x, backward)
    return {"auto is": chosen.engine, "predicted": dict(chosen.seconds), "ms": found}


def show_times(rows: list[dict[str, Any]], console: Console) -> None:
    table = Table("mask", "dtype", "pass", "engine", "ms", "x SDPA dense", "x flex", "x is_causal")
    for row in rows:
        ms = row["ms"]
        for engine in filter(ms.__contains__, ENGINES):
            ratios = [
                f"{ms[rival] / ms[engine]:.2f}" if rival in ms else ""
                for rival in ("SDPA, dense mask", "flex_attention", "SDPA, is_causal")
            ]
            named = f"auto ({row['auto is']})" if engine == "auto" else engine
            table.add_row(
                row["mask"], row["dtype"], row["pass"], named, f"{ms[engine]:.3f}", *ratios
            )
    console.print(table)


def check(length: int, console: Console) -> tuple[list[dict[str, Any]], bool]:
    """Return what correctness gave, and whether all is right."""
    rows: list[dict[str, Any]] = []
    for size, judge in ((SMALL, "reference"), (length, "sdpa")):
        for name, subject in subjects(size).items():
            for dtype, limits in TOLERANCE.items():
                for engine in ENGINES:
                    got = correctness(engine, subject, size, dtype, judge)
                    row = {"mask": name, "length": size, "dtype": dtype, "engine": engine}
                    if isinstance(got, str):
                        rows.append({**row, "refused": got})
                        continue
                    right = all(off <= limit for off, limit in zip(got, limits, strict=True))
                    rows.append({**row, "off": got, "right": right})
                    if not right:
                        console.print(f"[red]wrong[/]: {engine}, {name}, {size}, {dtype}: {got}")
    return rows, all(row.get("right", True) for row in rows)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--length", type=int, default=4096, help="tokens, a multiple of 16")
    parser.add_argument("--out", type=Path, help="write gpu_<device>.json into this folder")
    options = parser.parse_args()
    console = Console(width=None if sys.stdout.isatty() else 120)
    if not torch.cuda.is_available():
        console.print("There is no CUDA device here; benchmarks/gpu.py needs one.")
        return 2
    device = torch.cuda.get_device_name()
    console.print(f"{device}, torch {torch.__version__}, batch {BATCH}, {HEADS} heads of {DIM}")
    checked, right = check(options.length, console)
    times = [
        {"mask": name, "dtype": dtype, "pass": "both" if backward else "forward"}
        | timed(subject, options.length, dtype, backward)
        for name, subject in subjects(options.length).items()
        for dtype in DTYPES
        for backward in (False, True)
    ]
    show_times(times, console)
    if options.out:
        results = {
            "device": device,
            "torch": torch.__version__,
            "sizes": {"batch": BATCH, "heads": HEADS, "length": options.length, "dim": DIM},
            "correctness": checked,
            "times": times,
        }
        options.out.mkdir(parents=True, exist_ok=True)
        name = "gpu_" + device.lower().replace(" ", "_") + ".json"
        (options.out / name).write_text(json.dumps(results, indent=1) + "\n")
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
