"""How long an engine will take, told from the plan: what ``engine="auto"`` compares.

A model of three numbers for each engine and type of device. ``benchmarks/calibrate.py`` measures
them on the machine it runs on and prints the rows below.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sightline.engines.request import Request
from sightline.errors import InvalidArgument
from sightline.masks.positional import causal
from sightline.plan.planner import plan

# Products of a backward pass for each one of the forward pass: five to two.
BACKWARD = 2.5


@dataclass(frozen=True)
class Rates:
    """What an engine's work takes: ``call + pairs * (head_dim + value_dim) * pair + bytes * byte``.

    Attributes:
        call: seconds a call.
        pair: seconds for a pair of query and key that is computed, and a dimension, forwards.
        byte: seconds for a byte that is moved; 0 where that is hidden behind the arithmetic.
        block: (queries, keys) of the blocks in which the engine skips what is empty; None for one
            that computes all pairs of every mask but plain ``causal()``.
    """

    call: float
    pair: float
    byte: float
    block: tuple[int, int] | None


Precision = Literal["full", "half"]

# (engine, type of device, "half" for the 16-bit dtypes) -> its rates.
RATES: dict[tuple[str, str, Precision], Rates] = {}


def predict(engine: str, request: Request) -> float | None:
    """Return how many seconds an engine will take, backward pass included if there may be one.

    None where its rates are not known.
    """
    precision: Precision = "half" if request.query.element_size() == 2 else "full"
    rates = RATES.get((engine, request.query.device.type, precision))
    if rates is None:
        return None
    try:
        pairs, moved = _work(request, rates.block)
    except InvalidArgument:  # more mixed blocks than a plan holds
        return None
    dims = request.query.shape[3] + request.value.shape[3]
    passes = 1 + BACKWARD * request.wants_gradients
    return rates.call + passes * (pairs * dims * rates.pair + moved * rates.byte)


def _work(request: Request, block: tuple[int, int] | None) -> tuple[float, int]:
    """Return how many pairs are computed and how many bytes are moved, forwards."""
    batch, heads, q_len, kv_len = request.scores_shape
    head_dim, size = request.query.shape[3], request.query.element_size()
    if block is None:
        pairs = batch * heads * q_len * kv_len
        square = q_len == kv_len and request.q_offset == 0
        moved = sum(tensor.numel() for tensor in request.tensors[:3]) + request.query.numel()
        return pairs / 2 if square and request.mask == causal() else pairs, moved * size
    cost = plan(
        request.mask,
        q_len,
        kv_len,
        q_offset=request.q_offset,
        block_q=block[0],
        block_kv=block[1],
    ).cost(
        batch=batch,
        heads=heads,
        kv_heads=request.key.shape[1],
        head_dim=head_dim,
        dtype_bytes=size,
    )
    return cost.computed_pairs, cost.bytes_moved
