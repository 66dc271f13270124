"""The whole benchmark, step by step; what each step measures is left to the files beside it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from itertools import product

from sightline.recipes.bench.calls import MEMORY_KINDS, measure_calls, measure_memory
from sightline.recipes.bench.decoding import CASES, measure_decode
from sightline.recipes.bench.machine import machine, peak_gflops, torch_facts
from sightline.recipes.bench.passes import Shape, measure_passes
from sightline.recipes.bench.records import (
    BenchReport,
    Calls,
    DecodeRow,
    PassRow,
    Settings,
)

__all__ = ["count_steps", "run_bench"]

Step = Callable[[], object]


def count_steps(settings: Settings) -> int:
    """Return how many times ``run_bench`` will say that it is one step further."""
    wanted = settings.passes
    decode = len(CASES) * len(settings.dtypes) if "decode" in wanted else 0
    calls = 1 + len(_memory_lengths(settings)) * len(MEMORY_KINDS) if "calls" in wanted else 0
    return len(_shapes(settings)) * len(settings.masks) + decode + calls


def run_bench(settings: Settings, *, on_step: Step = lambda: None) -> BenchReport:
    """Measure what the settings name; ``on_step`` is called after each row."""
    started = time.perf_counter()
    facts = {**machine(), **torch_facts()}
    peaks: dict[str, float] = {}
    rows: list[PassRow] = []
    for shape in _shapes(settings):
        # Again for every shape, and the best of them counts: a busy spell must not lower it.
        peaks[shape.dtype] = max(peaks.get(shape.dtype, 0.0), peak_gflops(shape.dtype))
        for row in measure_passes(settings, shape):
            rows.append(row)
            on_step()
    decode: list[DecodeRow] = []
    for dtype in settings.dtypes if "decode" in settings.passes else ():
        for step in measure_decode(settings, dtype):
            decode.append(step)
            on_step()
    return BenchReport(
        settings=settings,
        machine=facts,
        peak_gflops=peaks,
        rows=tuple(replace(row, share_of_peak=row.gflops / peaks[row.dtype]) for row in rows),
        decode=tuple(decode),
        calls=_calls(settings, on_step) if "calls" in settings.passes else None,
        seconds=time.perf_counter() - started,
    )


def _shapes(settings: Settings) -> list[Shape]:
    kinds = [kind for kind in ("forward", "backward") if kind in settings.passes]
    axes = (kinds, settings.dtypes, settings.lengths, settings.dims, settings.batches)
    return [Shape(*each) for each in product(*axes)]


def _memory_lengths(settings: Settings) -> tuple[int, int]:
    """Return two lengths: what follows the tokens, or their pairs, grows from one to the next."""
    return settings.context, 2 * settings.context


def _calls(settings: Settings, on_step: Step) -> Calls:
    calls = measure_calls(settings)
    on_step()
    memory = []
    for kind, length in product(MEMORY_KINDS, _memory_lengths(settings)):
        if not calls.refused:
            memory.append(measure_memory(settings, kind, length))
        on_step()
    return replace(calls, memory=tuple(memory))
