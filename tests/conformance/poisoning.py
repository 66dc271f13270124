"""Poison for tests: cases of attention, clean and poisoned, compared as integers.

The tests that use it are test_non_interference.py and test_spoiled_rows.py.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch

import sightline as sl
from sightline.engines.registry import ENGINES, MISSING, Engine, obstacles
from sightline.engines.request import check_request

B, HEADS, KV_HEADS, Q, K, DIM, OFFSET = 3, 4, 2, 5, 7, 8, 2
INTEGERS = {2: torch.int16, 4: torch.int32, 8: torch.int64}
DTYPES = {name: getattr(torch, name) for name in ("float32", "float64", "bfloat16", "float16")}
# The oracle computes in float64 whatever comes in, so one dtype says it all.
FEWER_DTYPES = {"reference": ("float32",)}
# What each refuses among MASKS, for want of one window that says them; test_varlen.py holds it.
REFUSED = {"varlen": {"per head", "dense"}}
# Compiled for seconds for every mask and shape: test_flex.py has tests of its own.
COMPILED = ("flex",)
TESTED = [name for name in ENGINES if name not in COMPILED]
# Poison in all of a key, or in one element of key and value; for float32 in each alone as well.
PARTS = {"float32": ("key", "value", "element")}


def masks() -> dict[str, sl.Mask]:
    drawn = np.random.default_rng(3).random((B, HEADS, Q, K)) < 0.5
    drawn[1, :, 3] = False  # a row that is empty in every head
    return {
        "everything": sl.everything(),
        "causal": sl.causal(),
        "causal from the first row on": sl.causal().shift(query=OFFSET),  # SDPA's is_causal
        "padding, one row empty": sl.padding(lengths=[6, 0, 3]),
        "causal & left padding": sl.causal() & sl.padding(lengths=[5, 2, 7], side="left", total=7),
        "window": sl.window(2, 1),
        "documents": sl.documents(lengths=[[3, 4], [7], [2, 2, 3]]) & sl.causal(),
        "per head": sl.per_head([sl.causal(), sl.window(1, 1), sl.nothing(), sl.keys([0, 6])]),
        "dense": sl.dense(np.pad(drawn, ((0, 0), (0, 0), (OFFSET, 0), (0, 0))), means="attend"),
        "nothing": sl.nothing(),
    }


MASKS = masks()


def poisons(dtype: torch.dtype) -> dict[str, float]:
    largest = torch.finfo(dtype).max
    return {
        "nan": float("nan"),
        "inf": float("inf"),
        "-inf": -float("inf"),
        "max": largest,
        "-max": -largest,
        "2**40": min(2.0**40, largest),
        "2**38": min(2.0**38, largest / 4),
        "1e4": 1e4,
    }


@dataclass(frozen=True)
class Case:
    """One call with all that a run needs; ``upstream`` is the gradient of the output."""

    query: torch.Tensor
    key: torch.Tensor
    value: torch.Tensor
    bias: torch.Tensor | None
    upstream: torch.Tensor
    mask: sl.Mask
    q_offset: int = OFFSET

    @property
    def allowed(self) -> torch.Tensor:
        """Bool [B, HEADS, Q, K]."""
        shape = (*self.query.shape[:3], self.key.shape[2])
        dense = self.mask.dense(shape[2], shape[3], self.q_offset)
        return torch.from_numpy(dense.copy()).expand(shape)

    def copy(self) -> Case:
        tensors = ("query", "key", "value", "bias", "upstream")
        held = {name: getattr(self, name) for name in tensors}
        return replace(self, **{n: t.clone() for n, t in held.items() if t is not None})


def draw(
    mask: sl.Mask,
    dtype: torch.dtype,
    *,
    sizes: tuple[int, int] = (Q, K),
    value_dim: int = DIM,
    bias: bool = False,
    offset: int = OFFSET,
    seed: int = 0,
) -> Case:
    rng = torch.Generator().manual_seed(seed)
    q_len, kv_len = sizes

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=rng, dtype=torch.float64).to(dtype)

    return Case(
        normal(B, HEADS, q_len, DIM),
        normal(B, KV_HEADS, kv_len, DIM),
        normal(B, KV_HEADS, kv_len, value_dim),
        normal(B, HEADS, q_len, kv_len) if bias else None,
        normal(B, HEADS, q_len, value_dim),
        mask,
        offset,
    )


def run(case: Case, engine: Engine, **options: Any) -> dict[str, torch.Tensor]:
    """Return the output (and logsumexp, where the engine gives it) and all gradients."""
    skip_refused(engine, case.mask, case.key.shape[2], case.query, case.q_offset, case.bias)
    named = {"query": case.query, "key": case.key, "value": case.value, "bias": case.bias}
    leaves = {n: t.detach().requires_grad_() for n, t in named.items() if t is not None}
    torch.manual_seed(0)  # dropout draws from here
    got = sl.attend(
        leaves["query"],
        leaves["key"],
        leaves["value"],
        case.mask,
        q_offset=case.q_offset,
        bias=leaves.get("bias"),
        engine=engine.name,
        return_lse=engine.logsumexp,
        **options,
    )
    output, logsumexp = got if engine.logsumexp else (got, None)
    grads = torch.autograd.grad(output, list(leaves.values()), case.upstream)
    results = {"output": output.detach()}
    if logsumexp is not None:
        results["logsumexp"] = logsumexp.detach()
    return results | {f"grad of {name}": grad for name, grad in zip(leaves, grads, strict=True)}


def bits(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.contiguous().view(INTEGERS[tensor.element_size()])


def assert_same_bits(
    clean: dict[str, torch.Tensor],
    poisoned: dict[str, torch.Tensor],
    spoiled_rows: torch.Tensor,
    **exempt: torch.Tensor,
) -> None:
    """Compare everything, but outputs only in rows that are not spoiled.

    ``exempt`` names, for a gradient (by its input), the vectors that may differ.
    """
    for name, before in clean.items():
        differs = bits(before) != bits(poisoned[name])
        if name in ("output", "logsumexp"):
            spared = spoiled_rows if name == "logsumexp" else spoiled_rows[..., None]
        else:
            spared = exempt.get(name.removeprefix("grad of "), torch.tensor(False))
        where = (differs & ~spared).nonzero().tolist()
        assert not where, f"{name} changed at {where[:5]} ({len(where)} places)"


def available(name: str) -> Engine:
    """Return the engine of that name, or skip, visibly, where it cannot run."""
    engine = ENGINES[name]
    here = {"cpu"} | ({"cuda"} if torch.cuda.is_available() else set())
    if engine.devices and not here & set(engine.devices):
        pytest.skip(f"engine {name} runs on {', '.join(engine.devices)} only")
    if engine.compiled and MISSING is not None:
        pytest.skip(f"engine {name} needs the compiled kernels: {MISSING}")
    return engine


def takes(
    engine: Engine, mask: sl.Mask, kv_len: int, query: torch.Tensor, q_offset: int, bias: Any
) -> bool:
    """Return whether an engine that says no to some masks, or to biases, says yes to this call."""
    if bias is not None and not engine.bias:
        return False
    if not engine.asks:
        return True
    key = query.new_zeros(query.shape[0], query.shape[1], kv_len, query.shape[3])
    request = check_request(query.detach(), key, key, mask, q_offset=q_offset)
    return not list(obstacles(engine, request))


def skip_refused(engine: Engine, mask: sl.Mask, *about: Any) -> None:
    """Skip, visibly, what an engine refuses; what that is, the tests of that engine hold."""
    if not takes(engine, mask, *about):
        pytest.skip(f"engine {engine.name} refuses this mask, or a bias")


def combinations(parts: bool = False) -> list[tuple[str, ...]]:
    """Every engine with each of its dtypes, and with each part of a key to poison if wanted."""
    pairs = [
        (name, dtype) for name in TESTED for dtype in FEWER_DTYPES.get(name, ENGINES[name].dtypes)
    ]
    if not parts:
        return pairs
    return [(n, d, part) for n, d in pairs for part in PARTS.get(d, ("key and value", "element"))]


def seeing(case: Case, batch: Any, kv_head: Any, position: Any) -> torch.Tensor:
    """Bool [B, HEADS, Q]: the rows that may see the key at this place."""
    places = torch.zeros(B, KV_HEADS, case.key.shape[2], dtype=torch.bool)
    places[batch, kv_head, position] = True
    spread = places.repeat_interleave(HEADS // KV_HEADS, dim=1)
    return (case.allowed & spread[:, :, None, :]).any(dim=-1)


def poison_key(case: Case, place: tuple[Any, Any, Any], number: float, part: str) -> Case:
    """Return the case with one key poisoned, and the rows that see it left out of the loss."""
    poisoned = case.copy()
    if "key" in part:
        poisoned.key[place] = number
    if "value" in part:
        poisoned.value[place] = number
    if "element" in part:
        poisoned.key[place][..., 3] = number
        poisoned.value[place][..., -1] = number
    return poisoned


def without_rows(case: Case, rows: torch.Tensor) -> Case:
    return replace(case, upstream=case.upstream.masked_fill(rows[..., None], 0))
