"""How long an engine will take, told from the plan: what ``engine="auto"`` compares.

A model of three numbers for each engine and type of device. ``benchmarks/calibrate.py`` measures
them on the machine it runs on and prints the rows below.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sightline.engines.kept import Store
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
#
# cpu: measured by benchmarks/calibrate.py on one thread of an AMD EPYC, torch 2.13, head_dim 64, up
# to 2,048 tokens (cpu: 4,096, and head_dim 128 too); more threads shorten all alike. Predicted ÷
# measured was 0.8 to 1.5 for cpu, 0.7 to 1.7 for sdpa (which is_causal makes quicker than a mask),
# 0.7 to 1.3 for varlen. A call of cpu and sdpa is the time of a minimal one (16 queries and keys).
# cuda: assumed, not measured: 150 TFLOP/s for FlashAttention's kernels in half precision (what its
# authors report on an A100), 0.85 of that for FlexAttention (its authors), a third for SDPA with a
# dense mask; 15 TFLOP/s in float32; and a start of some launches. Only the order counts.
RATES: dict[tuple[str, str, Precision], Rates] = {
    ("cpu", "cpu", "full"): Rates(3.3e-5, 2.1e-11, 0.0, (96, 64)),
    ("cpu", "cpu", "half"): Rates(3.3e-5, 2.2e-11, 0.0, (96, 64)),
    ("sdpa", "cpu", "full"): Rates(2.7e-4, 9.0e-11, 0.0, None),
    ("sdpa", "cpu", "half"): Rates(2.7e-4, 9.9e-11, 0.0, None),
    ("varlen", "cpu", "full"): Rates(0.0, 3.5e-11, 4.2e-10, (64, 64)),
    ("varlen", "cpu", "half"): Rates(0.0, 2.8e-11, 1.2e-9, (64, 64)),
    ("sdpa", "cuda", "full"): Rates(8e-5, 1.4e-13, 0.0, None),
    ("sdpa", "cuda", "half"): Rates(8e-5, 4.0e-14, 0.0, None),
    ("varlen", "cuda", "half"): Rates(2e-4, 1.3e-14, 4e-12, (128, 64)),
    ("flex", "cuda", "full"): Rates(1.5e-4, 1.4e-13, 0.0, (128, 128)),
    ("flex", "cuda", "half"): Rates(1.5e-4, 1.6e-14, 0.0, (128, 128)),
}


@dataclass(frozen=True)
class Work:
    """What an engine has to do forwards: pairs that it computes, bytes that it moves."""

    pairs: float
    moved: int
    nbytes: int = 2**8  # about what keeping it takes


WORK: Store[Work] = Store(2**20)


def predict(engine: str, request: Request) -> float | None:
    """Return how many seconds an engine will take, backward pass included if there may be one.

    None where its rates are not known.
    """
    precision: Precision = "half" if request.query.element_size() == 2 else "full"
    rates = RATES.get((engine, request.query.device.type, precision))
    if rates is None:
        return None
    try:
        done = work(request, rates.block)
    except InvalidArgument:  # more mixed blocks than a plan holds
        return None
    dims = request.query.shape[3] + request.value.shape[3]
    passes = 1 + BACKWARD * request.wants_gradients
    return rates.call + passes * (done.pairs * dims * rates.pair + done.moved * rates.byte)


def work(request: Request, block: tuple[int, int] | None) -> Work:
    """Return what an engine has to do that skips empty blocks of this size, or (None) none.

    Raises:
        InvalidArgument: more mixed blocks than a plan holds.
    """
    shapes = request.query.shape, request.key.shape
    size = request.query.element_size()
    name = (request.mask, shapes, size, request.q_offset, block)
    return WORK.get(name, lambda: _work(request, block))


def _work(request: Request, block: tuple[int, int] | None) -> Work:
    batch, heads, q_len, kv_len = request.scores_shape
    size = request.query.element_size()
    if block is None:
        pairs = batch * heads * q_len * kv_len
        square = q_len == kv_len and request.q_offset == 0
        moved = sum(tensor.numel() for tensor in (*request.tensors[:3], request.query))
        return Work(pairs / 2 if square and request.mask == causal() else pairs, moved * size)
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
        head_dim=request.query.shape[3],
        dtype_bytes=size,
    )
    return Work(cost.computed_pairs, cost.bytes_moved)
