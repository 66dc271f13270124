"""One sequence, laid in different ways among others, and all that engine ``cpu`` makes of it.

Helper of test_cpu_bits.py: the sequence's own numbers are compared as integers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from poisoning import bits

import sightline as sl

HEADS, KV_HEADS = 4, 2
NAN, INF = float("nan"), float("inf")

# A mask for a sequence that begins at a position and ends before another.
Kind = Callable[[int, int], sl.Mask]
KINDS: dict[str, Kind] = {
    "causal": lambda start, stop: sl.causal(),
    "window": lambda start, stop: sl.window(13, 5),
    "causal window": lambda start, stop: sl.window(40, 0),
    "everything": lambda start, stop: sl.everything(),
    "prefix": lambda start, stop: sl.causal() | sl.prefix(start + (stop - start) // 3),
    "dilated": lambda start, stop: sl.causal() & sl.dilated(3),
}


@dataclass(frozen=True)
class Sequence:
    """Tensors [1, heads, length, dim]; ``upstream`` and ``upstream_lse`` are what a loss gives."""

    query: torch.Tensor
    key: torch.Tensor
    value: torch.Tensor
    upstream: torch.Tensor
    upstream_lse: torch.Tensor

    @property
    def length(self) -> int:
        """How many tokens it has."""
        return self.query.shape[2]

    @property
    def tensors(self) -> tuple[torch.Tensor, ...]:
        """All of it."""
        return self.query, self.key, self.value, self.upstream, self.upstream_lse


def draw(
    length: int,
    dtype: torch.dtype = torch.float32,
    *,
    dims: tuple[int, int] = (24, 12),
    size: float = 1.0,
    seed: int = 0,
) -> Sequence:
    """Return a sequence of normal numbers, those of query and key times ``size``."""
    rng = torch.Generator().manual_seed(seed)

    def normal(heads: int, *shape: int, kept: torch.dtype = dtype) -> torch.Tensor:
        return torch.randn(1, heads, length, *shape, generator=rng, dtype=torch.float64).to(kept)

    dim, value_dim = dims
    return Sequence(
        normal(HEADS, dim) * size,
        normal(KV_HEADS, dim) * size,
        normal(KV_HEADS, value_dim),
        normal(HEADS, value_dim),
        normal(HEADS, kept=torch.float64 if dtype == torch.float64 else torch.float32),
    )


@dataclass(frozen=True)
class Layout:
    """A sequence with ``before`` and ``after`` tokens around it, which hold ``other``.

    ``other`` None stands for random numbers. ``padding`` forbids the tokens around to all; without
    it they are documents of their own. ``skipped`` leaves out so many of the first queries of all
    tokens: the call has a q_offset.
    """

    before: int = 0
    after: int = 0
    other: float | None = None
    padding: bool = False
    skipped: int = 0


def attend(
    sequence: Sequence, kind: Kind, layout: Layout, **options: Any
) -> dict[str, torch.Tensor]:
    """Return what belongs to the sequence: outputs, logsumexps, and gradients of a loss over it.

    With ``skipped`` queries only those of the others, and keys and values give a loss.
    """
    start, length = layout.before, sequence.length
    stop = start + length
    total = stop + layout.after
    mask = kind(start, stop) & _own_tokens(layout, length)
    placed = [_place(tensor, total, layout) for tensor in sequence.tensors]
    query, key, value, upstream, upstream_lse = placed
    _still(upstream, start, stop)
    _still(upstream_lse, start, stop)
    first = layout.skipped
    query, upstream, upstream_lse = (t[:, :, first:] for t in (query, upstream, upstream_lse))
    leaves = [tensor.requires_grad_() for tensor in (query, key, value)]
    results = sl.attend(*leaves, mask, q_offset=first, engine="cpu", return_lse=True, **options)
    grads = torch.autograd.grad(results, leaves, (upstream, upstream_lse))
    queries = slice(max(start - first, 0), stop - first)
    keys = slice(start, stop)
    found = {
        "output": results[0].detach()[:, :, queries],
        "logsumexp": results[1].detach()[:, :, queries],
        "grad of query": grads[0][:, :, queries],
        "grad of key": grads[1][:, :, keys],
        "grad of value": grads[2][:, :, keys],
    }
    others = torch.ones(total, dtype=torch.bool)
    others[start:stop] = False
    for grad, kept in ((grads[0], others[first:]), (grads[1], others), (grads[2], others)):
        assert not bits(grad[:, :, kept]).any(), "something of the loss went to other sequences"
    return found


def _own_tokens(layout: Layout, length: int) -> sl.Mask:
    if not layout.padding:
        around = layout.before, length, layout.after
        return sl.documents(lengths=[n for n in around if n])
    total = layout.before + length + layout.after
    right = sl.padding(lengths=[layout.before + length])
    left = sl.padding(lengths=[length + layout.after], side="left", total=total)
    return right & left


def _place(tensor: torch.Tensor, total: int, layout: Layout) -> torch.Tensor:
    batch, heads, length, *dim = tensor.shape
    shape = batch, heads, total, *dim
    if layout.other is None:
        rng = torch.Generator().manual_seed(99)
        room = torch.randn(shape, generator=rng, dtype=torch.float64).to(tensor.dtype)
    else:
        room = torch.full(shape, layout.other, dtype=tensor.dtype)
    room[:, :, layout.before : layout.before + length] = tensor
    return room


def _still(upstream: torch.Tensor, start: int, stop: int) -> None:
    """Take the other sequences out of the loss."""
    upstream[:, :, :start] = 0
    upstream[:, :, stop:] = 0


def assert_same(wanted: dict[str, torch.Tensor], got: dict[str, torch.Tensor], what: Any) -> None:
    """Compare bit for bit."""
    for name, before in wanted.items():
        assert before.shape == got[name].shape
        places = (bits(before) != bits(got[name])).nonzero().tolist()
        assert not places, f"{what}: {name} differs at {places[:3]} ({len(places)} places)"
