"""The forward and the backward pass of every mask, beside SDPA and the rest, by turns."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch

import sightline as sl
from sightline.recipes.bench.cases import Case, case_named
from sightline.recipes.bench.compare import attempt, largest_difference, within_rounding
from sightline.recipes.bench.peers import Field, Tensors, add_flex, field_of
from sightline.recipes.bench.records import PassRow, Peer, Settings
from sightline.recipes.bench.timing import alternate, once, ratio

__all__ = ["Shape", "measure_passes"]

_DENSE = "dense"
_OURS = "ours"
# Seconds. Where SDPA without a mask takes longer, masks share its runs instead of having their own.
_SHARED = 0.25
# Operations for each allowed pair and number of a head: two products of matrices forward, five
# backward, of a multiplication and an addition each.
_OPERATIONS = {"forward": 4, "backward": 10}

Run = Callable[[], tuple[torch.Tensor, ...]]


@dataclass(frozen=True)
class Shape:
    """A pass at a shape, for all masks."""

    kind: str
    dtype: str
    length: int
    dim: int
    batch: int


@dataclass(frozen=True)
class _Entry:
    """A mask that takes part: all runs by name, ours among them unless it was refused."""

    case: Case
    field: Field
    runs: dict[str, Run]
    difference: float
    refused: str


def measure_passes(settings: Settings, shape: Shape) -> Iterator[PassRow]:
    """Yield a row for each mask of the settings, as soon as it is measured.

    ``share_of_peak`` is left NaN: the peak is the whole run's matter.
    """
    pass_of, tensors = _inputs(settings, shape)
    dense = pass_of(lambda: torch.nn.functional.scaled_dot_product_attention(*tensors))
    dense()
    seconds = once(dense)
    # Compiling FlexAttention anew makes torch forget the one before: they never run side by side.
    alone = seconds <= _SHARED or settings.flex
    units = [[name] for name in settings.masks] if alone else [list(settings.masks)]
    for names in units:
        entries = [
            _enter(settings, shape, name, tensors, pass_of, (seconds, len(names))) for name in names
        ]
        runs: dict[str, Callable[[], object]] = {_DENSE: dense}
        for entry in entries:
            runs |= {f"{entry.case.name}/{name}": run for name, run in entry.runs.items()}
        times = alternate(runs, settings.rounds)
        for entry in entries:
            yield _row(settings, shape, entry, times)


def _inputs(
    settings: Settings, shape: Shape
) -> tuple[Callable[[Callable[[], torch.Tensor]], Run], Tensors]:
    """Return how a way of computing the output is run in this pass, and query, key and value."""
    generator = torch.Generator().manual_seed(0)
    sizes = (shape.batch, settings.heads, shape.length, shape.dim)
    dtype = getattr(torch, shape.dtype)
    query, key, value, grad = (torch.randn(sizes, generator=generator).to(dtype) for _ in range(4))
    tensors = (query, key, value)
    if shape.kind == "forward":
        return (lambda attend: lambda: (attend(),)), tensors
    for tensor in tensors:
        tensor.requires_grad_()

    def backward_of(attend: Callable[[], torch.Tensor]) -> Run:
        output = attend()  # once: its graph is kept, so that only the way back is timed
        return lambda: torch.autograd.grad(output, tensors, grad, retain_graph=True)

    return backward_of, tensors


def _enter(
    settings: Settings,
    shape: Shape,
    name: str,
    tensors: Tensors,
    pass_of: Callable[[Callable[[], torch.Tensor]], Run],
    measured: tuple[float, int],
) -> _Entry:
    """Return a mask with all that takes part, after holding our numbers against theirs."""
    case = case_named(name, shape.length)
    field = field_of(
        case,
        tensors,
        dense_seconds=measured[0],
        longest=settings.longest,
        side_by_side=measured[1],
    )
    if settings.flex and shape.kind == "forward":
        add_flex(field, case, tensors)
    runs = {each: pass_of(run) for each, run in field.runs.items()}
    ours, refused = _ours(settings, case, tensors, pass_of)
    if ours is None:
        return _Entry(case, field, runs, math.nan, refused)
    difference = largest_difference(ours(), (run() for run in runs.values()))
    return _Entry(case, field, {_OURS: ours, **runs}, difference, "")


def _ours(
    settings: Settings,
    case: Case,
    tensors: Tensors,
    pass_of: Callable[[Callable[[], torch.Tensor]], Run],
) -> tuple[Run | None, str]:
    """Return our run, or None and why the engine refuses."""

    def attend() -> torch.Tensor:
        return sl.attend(*tensors, case.mask, engine=settings.engine)

    made: list[Run] = []

    def first() -> tuple[torch.Tensor, ...]:
        made.append(pass_of(attend))
        return made[0]()

    result, refused = attempt(first)
    return (None, refused) if result is None else (made[0], "")


def _row(
    settings: Settings,
    shape: Shape,
    entry: _Entry,
    times: dict[str, list[float]],
) -> PassRow:
    case, length = entry.case, shape.length
    density = case.mask.density(length)
    own = times.get(f"{case.name}/{_OURS}", [math.nan] * settings.rounds)
    seconds = statistics.median(own)
    operations = _OPERATIONS[shape.kind] * shape.dim * density * length * length
    gflops = operations * shape.batch * settings.heads / seconds / 1e9
    peers = [
        Peer(name, statistics.median(taken) * 1e3, ratio(taken, own))
        for name in entry.field.runs
        for taken in (times[f"{case.name}/{name}"],)
    ]
    return PassRow(
        kind=shape.kind,
        mask=case.name,
        expression=_short(case),
        length=length,
        batch=shape.batch,
        heads=settings.heads,
        dim=shape.dim,
        dtype=shape.dtype,
        density=density,
        ms=seconds * 1e3,
        dense_ms=statistics.median(times[_DENSE]) * 1e3,
        efficiency=density * ratio(times[_DENSE], own),
        gflops=gflops,
        share_of_peak=math.nan,
        peers=tuple(sorted(peers, key=lambda peer: peer.ms)),
        left_out=tuple(entry.field.left_out),
        compile_seconds=entry.field.compile_seconds,
        difference=entry.difference,
        agrees=within_rounding(entry.difference, shape.dtype),
        refused=entry.refused,
    )


def _short(case: Case) -> str:
    """Return the expression; a long list of documents is cut off."""
    text = repr(case.mask)
    return text if len(text) <= 200 else f"{text[:200]}..."
