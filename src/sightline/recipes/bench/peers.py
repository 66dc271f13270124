"""What people run by hand instead: SDPA in three ways, and compiled FlexAttention.

Each is a function without arguments that computes the same output; timing it is passes.py's part.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch

import sightline as sl
from sightline.lower.lower import lower
from sightline.recipes.bench.cases import Case
from sightline.recipes.bench.records import LeftOut
from sightline.recipes.bench.timing import once

__all__ = ["FLEX", "LOOP", "SDPA_BARE", "SDPA_CAUSAL", "SDPA_MASK", "Field", "add_flex", "field_of"]

SDPA_MASK = "SDPA with the mask"
SDPA_BARE = "SDPA without a mask"
SDPA_CAUSAL = "SDPA is_causal"
LOOP = "loop over documents"
FLEX = "FlexAttention"

# SDPA's CPU kernel is given bools (1 byte a pair) and makes floats of them (4, for the half types
# 2, of which float32 is the most).
_BYTES_A_PAIR = 5
_sdpa = torch.nn.functional.scaled_dot_product_attention

Tensors = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


@dataclass
class Field:
    """Who takes part: runs by name, who is left out and why, and what compiling took."""

    runs: dict[str, Callable[[], torch.Tensor]] = field(default_factory=dict)
    left_out: list[LeftOut] = field(default_factory=list)
    compile_seconds: float | None = None


def field_of(
    case: Case, tensors: Tensors, *, dense_seconds: float, longest: float, side_by_side: int
) -> Field:
    """Return the peers for a mask, without FlexAttention (see ``add_flex``).

    Args:
        case: the mask.
        tensors: query, key and value [batch, heads, length, dim].
        dense_seconds: what the pass takes SDPA without a mask; with one it takes as long at least.
        longest: leave SDPA with a mask out if it takes longer than so many seconds.
        side_by_side: how many masks are held at once.
    """
    length = tensors[0].shape[2]
    found = Field()
    needed = _BYTES_A_PAIR * length * length * side_by_side
    if dense_seconds > longest:
        reason = f"at least {dense_seconds:.1f} s a call, more than {longest:g} s"
        found.left_out.append(LeftOut(SDPA_MASK, reason))
    elif needed > _quarter_of_memory():
        reason = f"masks of {needed / 2**30:.1f} GiB, more than a quarter of the memory"
        found.left_out.append(LeftOut(SDPA_MASK, reason))
    else:
        bools = torch.from_numpy(case.mask.dense(length))
        found.runs[SDPA_MASK] = lambda: _sdpa(*tensors, attn_mask=bools)
    if case.mask == sl.everything():
        found.runs[SDPA_BARE] = lambda: _sdpa(*tensors)
    if case.causal:
        found.runs[SDPA_CAUSAL] = lambda: _sdpa(*tensors, is_causal=True)
    if case.cuts:
        found.runs[LOOP] = lambda: _loop(case, tensors)
    return found


def _quarter_of_memory() -> int:
    """Return bytes; of 8 GiB where the system does not say how much there is."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 4
    except (AttributeError, ValueError, OSError):  # Windows has no sysconf
        return 2 << 30


def _loop(case: Case, tensors: Tensors) -> torch.Tensor:
    """Return causal attention of each document by itself, put together again."""
    query, key, value = tensors
    pieces = [slice(*each) for each in zip(case.cuts[:-1], case.cuts[1:], strict=True)]
    parts = [
        _sdpa(query[:, :, piece], key[:, :, piece], value[:, :, piece], is_causal=True)
        for piece in pieces
    ]
    return torch.cat(parts, dim=2)


def add_flex(found: Field, case: Case, tensors: Tensors) -> None:
    """Compile FlexAttention for a mask and let it take part, or say why it cannot.

    What was compiled before is forgotten: else torch would compile kernels for several lengths at
    once, which are slower, and stop compiling after a few masks.
    """
    try:
        run = _compiled_flex(case, tensors)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's own, about its compiler
            seconds = once(run)
    except Exception as error:  # whatever a compiler may come up with
        found.left_out.append(LeftOut(FLEX, f"it does not compile: {_first_line(error)}"))
        return
    found.runs[FLEX], found.compile_seconds = run, seconds


def _compiled_flex(case: Case, tensors: Tensors) -> Callable[[], torch.Tensor]:
    from torch.nn.attention.flex_attention import flex_attention

    keywords = lower(case.mask, to="torch.flex", q_len=tensors[0].shape[2])
    torch.compiler.reset()
    compiled: Any = torch.compile(flex_attention, dynamic=False)
    return lambda: compiled(*tensors, **keywords)


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:160]}" if lines else type(error).__name__
