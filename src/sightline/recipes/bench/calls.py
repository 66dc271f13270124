"""What a call costs besides its arithmetic: the first with a new mask, the least one, memory."""

from __future__ import annotations

import json
import math
import statistics
import subprocess
import sys

import torch

import sightline as sl
from sightline.recipes.bench.cases import ragged_cuts
from sightline.recipes.bench.compare import attempt
from sightline.recipes.bench.records import Calls, MemoryRow, Settings
from sightline.recipes.bench.timing import alternate, once

__all__ = ["MEMORY_KINDS", "first_call", "measure_calls", "measure_memory"]

MEMORY_KINDS = ("forward", "backward")
_DIM = 64
_MINUTES = 10


def measure_calls(settings: Settings) -> Calls:
    """Return the figures, without those of memory."""
    tiny = torch.ones(1, 1, 1, 8)
    mask = sl.causal()

    def minimal() -> torch.Tensor:
        return sl.attend(tiny, tiny, tiny, mask, engine=settings.engine)

    _, refused = attempt(lambda: (minimal(),))
    if refused:
        return Calls(settings.context, *[math.nan] * 4, memory=(), refused=refused)
    first, steady = first_call(settings)
    sdpa = torch.nn.functional.scaled_dot_product_attention
    runs = {"ours": minimal, "sdpa": lambda: sdpa(tiny, tiny, tiny)}
    least = {name: statistics.median(t) for name, t in alternate(runs, settings.rounds).items()}
    return Calls(
        length=settings.context,
        first_call_ms=first * 1e3,
        steady_ms=steady * 1e3,
        minimal_us=least["ours"] * 1e6,
        sdpa_minimal_us=least["sdpa"] * 1e6,
        memory=(),
    )


def first_call(settings: Settings) -> tuple[float, float]:
    """Return (seconds of a first call less those of a later one, seconds of the later one).

    Each round has a mask of its own that nobody has seen, documents cut at random.
    """
    generator = torch.Generator().manual_seed(0)
    length = settings.context
    sizes = (1, settings.heads, length, _DIM)
    query, key, value = (torch.randn(sizes, generator=generator) for _ in range(3))
    more: list[float] = []
    later: list[float] = []
    for turn in range(settings.rounds + 1):
        mask = sl.causal() & sl.documents(cu_seqlens=ragged_cuts(length, seed=1 + turn))
        taken = [
            once(lambda mask=mask: sl.attend(query, key, value, mask, engine=settings.engine))
            for _ in range(4)
        ]
        if turn:  # the first of all loads what is not loaded yet
            steady = statistics.median(taken[1:])
            more.append(taken[0] - steady)
            later.append(steady)
    return statistics.median(more), statistics.median(later)


def measure_memory(settings: Settings, kind: str, length: int) -> MemoryRow:
    """Return what one call takes, found out in a fresh process (see memory.py)."""
    words = [settings.engine, kind, str(settings.heads), str(length), str(_DIM)]
    done = subprocess.run(
        [sys.executable, "-m", "sightline.recipes.bench.memory", *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=60 * _MINUTES,
    )
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["it ended without a word"])[-1]
        return MemoryRow(kind, length, math.nan, math.nan, refused=last)
    found = json.loads(done.stdout)
    results = found["results"]
    return MemoryRow(kind, length, (found["growth"] - results) / 2**20, results / 2**20)
