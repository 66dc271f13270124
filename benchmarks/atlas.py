"""What a look at a piece of a huge mask costs: 50 views of each mask, at 1m and at 64m tokens.

Run: python benchmarks/atlas.py [--quick] [--out benchmarks/results]. A look is what the atlas's
worker does for a pan or a zoom: counting cells and turning them into shades. The views are drawn
once (seed 0): the whole, single pairs, and places and zooms between, most of them near the
diagonal, where masks are mixed. Memory is the growth of a fresh process at its peak. The round
trip through the server is measured by atlas_server.py. ``--quick`` leaves out the peers.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np
from measure import growth_of, machine, once
from rich.console import Console
from rich.table import Table

import sightline as sl
from sightline.views.atlas.cells import shades
from sightline.views.atlas.facts import facts
from sightline.views.atlas.look import View, look

MILLION, MOST = 2**20, 2**26
VIEWS = 50
CELLS = 256
# What a dense peer may take of memory, and how wide its views are.
PEER_BYTES = 2**31
PEER_WIDTHS = (256, 1024, 4096, 16384, MILLION)


def masks(size: int) -> dict[str, sl.Mask]:
    """Return the masks that are looked at, for a number of tokens."""
    random = np.random.default_rng(0)
    lengths = random.multinomial(size, np.full(1000, 1 / 1000))
    side = int(size**0.5)
    few = range(64)
    return {
        "causal()": sl.causal(),
        "causal() & documents (1000)": sl.causal() & sl.documents(lengths=lengths),
        "window(4095, 0) & documents (1000)": sl.window(4095, 0) & sl.documents(lengths=lengths),
        "Longformer": sl.window(256, 256) | sl.keys(few) | sl.queries(few),
        "causal() & dilated(7)": sl.causal() & sl.dilated(7),
        "strided(128)": sl.strided(128),
        "log_sparse()": sl.log_sparse(),
        "block_diffusion(size / 2, 32)": sl.block_diffusion(size // 2, 32),
        "shifted_window, a square of tokens": sl.shifted_window((side, side), 8, 4),
        "neighborhood 7 x 7, a square of tokens": sl.neighborhood((side, side), 7),
        "BigBird: window, global, random_blocks(64, 3)": sl.window(192, 192)
        | sl.keys(range(128))
        | sl.queries(range(128))
        | sl.random_blocks(64, 3),
        "predicate without bounds": sl.predicate(_uneven),
    }


def _uneven(b: Any, h: Any, q: Any, k: Any) -> Any:
    return (q * 7 + k * k) % 3 == 0


def views(size: int) -> list[View]:
    """Return the whole, single pairs on the diagonal, and what lies between."""
    random = np.random.default_rng(0)
    found = [View(0, size, 0, size, CELLS, CELLS)]
    deep = size // 2 - CELLS // 2
    found.append(View(deep, deep + CELLS, deep, deep + CELLS, CELLS, CELLS))
    while len(found) < VIEWS:
        width = int(CELLS * (size / CELLS) ** random.random())
        start = int(random.integers(0, size - width + 1))
        other = start + int(random.normal() * width)
        if len(found) % 5 == 0:  # anywhere
            other = int(random.integers(0, size - width + 1))
        other = min(max(other, 0), size - width)
        found.append(View(start, start + width, other, other + width, CELLS, CELLS))
    return found


def one(name: str, mask: sl.Mask, size: int) -> dict[str, Any]:
    """Return what the views of a mask take, the first of all included."""
    wall, cpu, unsure = [], [], []
    for view in views(size):
        began, used = perf_counter(), process_time()
        seen = look(mask, view)
        shades(seen)
        wall.append((perf_counter() - began) * 1e3)
        cpu.append((process_time() - used) * 1e3)
        unsure.append(float((~seen.sure).mean()))
    began = perf_counter()
    known = facts(mask, size)
    return {
        "mask": name,
        "tokens": size,
        "ms": statistics.median(wall),
        "worst_ms": max(wall),
        "cpu_ms": statistics.median(cpu),
        "worst_cpu_ms": max(cpu),
        "widest_ms": wall[0],
        "deepest_ms": wall[1],
        "estimated_cells": statistics.mean(unsure),
        "facts_ms": (perf_counter() - began) * 1e3,
        "facts_unknown": sorted(known.unknown),
    }


def memory(name: str, size: int) -> dict[str, float | None]:
    """Return by how much a fresh process grows at most, and to what; None where unknown."""
    first = f"""
import atlas
from sightline.views.atlas.look import look
mask = atlas.masks({size})[{name!r}]
look(mask, atlas.views(2**14)[0])"""
    found = growth_of(first, f"for view in atlas.views({size}): look(mask, view)")
    growth, peak = (None, None) if found is None else (each / 1024 for each in found)
    return {"growth_mib": growth, "peak_mib": peak}


# -- peers --------------------------------------------------------------------------------------


def beside_peers(console: Console) -> list[dict[str, Any]]:
    """Draw causal documents from the diagonal's start: dense, by torch's create_mask, by a look."""
    import torch
    from torch.nn.attention.flex_attention import create_mask

    mask = masks(MILLION)["causal() & documents (1000)"]
    lengths = np.diff(next(p for p in mask.parts if p != sl.causal()).cuts()[0])  # type: ignore[attr-defined]
    ids = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))

    def allowed(b: Any, h: Any, q: Any, k: Any) -> Any:
        return (q >= k) & (ids[q] == ids[k])

    def theirs(width: int) -> Any:
        return create_mask(allowed, 1, 1, width, width, device="cpu")[0, 0].numpy()

    def dense(width: int) -> Any:
        return mask.dense(width)[0, 0]

    found: list[dict[str, Any]] = []
    for width in PEER_WIDTHS:
        view = View(0, width, 0, width, CELLS, CELLS)
        row: dict[str, Any] = {"pairs_wide": width, "bytes_dense": width**2}
        look(mask, view)
        row["look_ms"] = once(lambda view=view: shades(look(mask, view))) * 1e3
        for peer, make in (("mask.dense", dense), ("create_mask", theirs)):
            row[f"{peer}_ms"] = None
            if width**2 * 2 <= PEER_BYTES:
                console.print(f"[dim]{peer} of {width:,} x {width:,} ...")
                row[f"{peer}_ms"] = once(lambda make=make, w=width: _cells(make(w))) * 1e3
                exact = look(mask, view, seconds=100).share
                assert np.allclose(_cells(make(width)), exact, rtol=1e-6)
        found.append(row)
    return found


def _cells(pairs: Any) -> Any:
    """Return the share of each cell of a dense mask."""
    side = len(pairs) // CELLS
    return pairs.reshape(CELLS, side, CELLS, side).mean(axis=(1, 3), dtype=np.float64)


# -- what is printed and kept ---------------------------------------------------------------------


def table_of(rows: list[dict[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Return the heading and the rows of one table."""
    heading = "mask", "median ms", "worst ms", "whole", "deepest", "cpu ms", "estimated", "MiB"
    cells = [
        [
            row["mask"],
            *(f"{row[key]:.1f}" for key in ("ms", "worst_ms", "widest_ms", "deepest_ms", "cpu_ms")),
            f"{row['estimated_cells']:.1%}",
            "-" if row["growth_mib"] is None else f"{row['growth_mib']:.0f}",
        ]
        for row in rows
    ]
    return list(heading), cells


def print_looks(console: Console, title: str, rows: list[dict[str, Any]]) -> None:
    """Print one table."""
    heading, cells = table_of(rows)
    table = Table(title=title)
    for name in heading:
        table.add_column(name, justify="left" if name == "mask" else "right")
    for each in cells:
        table.add_row(*each)
    console.print(table)


def page(results: dict[str, Any]) -> str:
    """Return the tables as Markdown."""
    lines = [f"# A look at a piece of a mask\n\n`{results['command']}` on {results['machine']}\n"]
    for size in (MILLION, MOST):
        heading, cells = table_of(results[f"looks_{size}"])
        lines.append(f"{VIEWS} views of {size:,} tokens, {CELLS} x {CELLS} cells:\n")
        lines += [f"| {' | '.join(row)} |" for row in (heading, ["---"] * len(heading), *cells)]
        lines.append("")
    for row in results.get("peers", []):
        others = ", ".join(
            f"{peer} {'-' if row[f'{peer}_ms'] is None else format(row[f'{peer}_ms'], '.0f')} ms"
            for peer in ("mask.dense", "create_mask")
        )
        lines.append(
            f"- {row['pairs_wide']:,} x {row['pairs_wide']:,} pairs, {row['bytes_dense']:,} bytes "
            f"as bools: a look {row['look_ms']:.1f} ms, {others}"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="leave out the peers")
    parser.add_argument("--out", type=Path, help="write atlas.json and atlas.md into this folder")
    options = parser.parse_args()
    console = Console(width=None if sys.stdout.isatty() else 120)
    results: dict[str, Any] = {
        "command": "python benchmarks/atlas.py --out benchmarks/results",
        "machine": {**machine(), "numpy": np.__version__},
    }
    for size in (MILLION, MOST):
        rows = [one(name, mask, size) | memory(name, size) for name, mask in masks(size).items()]
        results[f"looks_{size}"] = rows
        print_looks(console, f"{VIEWS} views of {size:,} tokens", rows)
    if not options.quick:
        results["peers"] = beside_peers(console)
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / "atlas.json").write_text(json.dumps(results, indent=1) + "\n")
        (options.out / "atlas.md").write_text(page(results))
    console.print(page(results).partition("- ")[2], highlight=False)
    console.print(f"{results['machine']}", highlight=False)


if __name__ == "__main__":
    main()
