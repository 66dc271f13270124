"""Decode steps: one new query for each batch row against a cache, beside SDPA and a plain read.

Such a step is bound by memory: every live key and value is read once, so the figure is bytes that
are alive ÷ time, held against the quickest plain read of as many bytes.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

import sightline as sl
from sightline.recipes.bench.compare import attempt, largest_difference, within_rounding
from sightline.recipes.bench.peers import SDPA_BARE, SDPA_MASK, Tensors
from sightline.recipes.bench.records import DecodeRow, Peer, Settings
from sightline.recipes.bench.timing import alternate, ratio

__all__ = ["CASES", "measure_decode"]

_BATCH, _HEADS, _DIM = 8, 16, 64
_OURS, _READ = "ours", "read"
_TRIALS = 3
_sdpa = torch.nn.functional.scaled_dot_product_attention

Read = Callable[[], object]


@dataclass(frozen=True)
class _Case:
    name: str
    kv_heads: int
    ragged: bool


CASES = (
    _Case("full rows", _HEADS, ragged=False),
    _Case("ragged rows", _HEADS, ragged=True),
    _Case("grouped 4:1, full", _HEADS // 4, ragged=False),
    _Case("grouped 4:1, ragged", _HEADS // 4, ragged=True),
)


def measure_decode(settings: Settings, dtype: str) -> Iterator[DecodeRow]:
    """Yield a row for each case, as soon as it is measured."""
    for case in CASES:
        yield _measure(settings, case, dtype)


def _measure(settings: Settings, case: _Case, dtype: str) -> DecodeRow:
    cache = settings.context
    tensors = _inputs(case, cache, dtype)
    # Spread evenly, from a sixteenth of the cache to all of it.
    lengths = np.linspace(max(1, cache // 16), cache, _BATCH).astype(np.int64)
    mask = sl.padding(lengths=lengths) if case.ragged else sl.everything()
    live_keys = int(lengths.sum()) if case.ragged else _BATCH * cache
    live = 2 * live_keys * case.kv_heads * _DIM * tensors[1].element_size()

    def ours() -> torch.Tensor:
        return sl.attend(*tensors, mask, engine=settings.engine)

    peers = _peers(mask, tensors, case)
    first, refused = attempt(lambda: (ours(),))
    difference = math.nan
    if first is not None:
        difference = largest_difference(first, ((run(),) for run in peers.values()))
    reader, read = _quickest_read([_numbers(tensor, live // 2) for tensor in tensors[1:]])
    contest: dict[str, Callable[[], object]] = {_READ: read, **peers}
    times = alternate(contest if refused else {**contest, _OURS: ours}, settings.rounds)
    return DecodeRow(
        case=case.name,
        batch=_BATCH,
        heads=_HEADS,
        kv_heads=case.kv_heads,
        dim=_DIM,
        cache=cache,
        dtype=dtype,
        live_mib=live / 2**20,
        reader=reader,
        difference=difference,
        agrees=within_rounding(difference, dtype),
        refused=refused,
        **_figures(times, live, settings.rounds),
    )


def _figures(times: dict[str, list[float]], live: int, rounds: int) -> dict[str, Any]:
    """Return the fields of a row that come from times; ours are NaN if we took no part."""
    own = times.get(_OURS, [math.nan] * rounds)
    seconds = statistics.median(own)
    peers = [
        Peer(name, statistics.median(taken) * 1e3, ratio(taken, own))
        for name, taken in times.items()
        if name not in (_OURS, _READ)
    ]
    return {
        "ms": seconds * 1e3,
        "gb_per_second": live / seconds / 1e9,
        "read_gb_per_second": live / statistics.median(times[_READ]) / 1e9,
        "share_of_read": ratio(times[_READ], own),
        "peers": tuple(sorted(peers, key=lambda peer: peer.ms)),
    }


def _inputs(case: _Case, cache: int, dtype: str) -> Tensors:
    generator = torch.Generator().manual_seed(0)
    query, key, value = (
        torch.randn(_BATCH, *sizes, _DIM, generator=generator).to(getattr(torch, dtype))
        for sizes in ((_HEADS, 1), (case.kv_heads, cache), (case.kv_heads, cache))
    )
    return query, key, value


def _peers(mask: sl.Mask, tensors: Tensors, case: _Case) -> dict[str, Callable[[], torch.Tensor]]:
    bools = torch.from_numpy(mask.dense(1, tensors[1].shape[2]))
    grouped = case.kv_heads != _HEADS
    found: dict[str, Callable[[], torch.Tensor]] = {
        SDPA_MASK: lambda: _sdpa(*tensors, attn_mask=bools, enable_gqa=grouped)
    }
    if not case.ragged:
        found[SDPA_BARE] = lambda: _sdpa(*tensors, enable_gqa=grouped)
    return found


def _numbers(tensor: torch.Tensor, wanted: int) -> torch.Tensor:
    """Return the first so many bytes of a tensor's memory as float32, whatever they mean."""
    return tensor.view(-1).view(torch.float32)[: wanted // 4]


def _quickest_read(parts: list[torch.Tensor]) -> tuple[str, Read]:
    """Return the name of the quickest way to read these numbers once, and that way."""
    ways = _reads(parts)
    times = alternate(ways, _TRIALS)
    best = min(ways, key=lambda name: min(times[name]))
    return best, ways[best]


def _reads(parts: list[torch.Tensor]) -> dict[str, Read]:
    """Return several ways to read all numbers once, with all threads, doing little else."""
    threads = torch.get_num_threads()
    pieces = [piece.numpy() for part in parts for piece in part.chunk(threads)]
    pool = ThreadPoolExecutor(threads)
    return {
        "torch.sum": lambda: [part.sum() for part in parts],
        "torch.amax": lambda: [part.amax() for part in parts],
        "torch.dot": lambda: [torch.dot(part, part) for part in parts],
        "numpy.max": lambda: list(pool.map(np.max, pieces)),
    }
