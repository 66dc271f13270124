"""Mask tensors read into tables, each content once: what the checks look at.

A tensor that stays as it is, as most models hand one mask to all of their layers, is read the first
time only. Too large ones are read in part; what holds no values (tracing, fake tensors) is not.
"""

from __future__ import annotations

from collections import OrderedDict
from hashlib import sha1
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils._python_dispatch import _get_current_dispatch_mode

from sightline.audit.guards.records import Means, Numbers, Table
from sightline.masks.arrays import as_numpy

if TYPE_CHECKING:
    from numpy.typing import NDArray

# A number at or below this gives a weight of exactly 0 in any dtype, next to scores of its size.
FORBIDS = -999.0
# Cells of a mask that are looked at; of larger ones, evenly spaced rows.
MOST_CELLS = 2**24
# What is kept: tables by their content, and the tensors that they were read from.
_MOST_TABLES = 64
_MOST_TENSORS = 16
_MOST_BYTES = 2**26


def has_values(tensor: torch.Tensor) -> bool:
    """Return whether a tensor's values can be looked at now."""
    if (
        torch._C._get_tracing_state() is not None
        or tensor.is_nested
        or tensor.device.type == "meta"
    ):
        return False
    # Subclasses (fake tensors, distributed ones) and what vmap and grad wrap hold no plain values.
    if type(tensor) not in (torch.Tensor, torch.nn.Parameter):
        return False
    functorch: Any = torch._C._functorch  # pyright: ignore[reportAttributeAccessIssue]
    if functorch.is_functorch_wrapped_tensor(tensor):
        return False
    if _get_current_dispatch_mode() is not None:
        return False
    return not (tensor.is_cuda and torch.cuda.is_current_stream_capturing())


def shrunk(tensor: torch.Tensor) -> torch.Tensor:
    """Return a tensor whose expanded axes, which repeat one value, have size 1 again."""
    for axis, (size, stride) in enumerate(zip(tensor.shape, tensor.stride(), strict=True)):
        if stride == 0 and size > 1:
            tensor = tensor.narrow(axis, 0, 1)
    return tensor


def step_for(*tensors: torch.Tensor) -> int:
    """Return every how many-th row of queries is looked at, for masks ``[B, H, Q, K]``."""
    cells = max((shrunk(tensor).numel() for tensor in tensors), default=0)
    return max(1, -(-cells // MOST_CELLS))


class Reader:
    """Reads mask tensors, and keeps what it read as long as a guard is active."""

    def __init__(self) -> None:
        self._tables: OrderedDict[Any, Table] = OrderedDict()
        # The tensor itself is held, so that its memory cannot become another mask's.
        self._seen: OrderedDict[Any, tuple[torch.Tensor, Table]] = OrderedDict()

    def read(self, tensor: torch.Tensor, means: Means, step: int = 1) -> Table:
        """Return the table of a mask ``[batch|1, heads|1, queries|1, keys|1]``.

        Args:
            tensor: bools or floats that hold values (``has_values``).
            means: what they mean.
            step: every how many-th row is looked at.
        """
        tensor = tensor.detach()
        identity = None if tensor.is_inference() else _identity(tensor, means, step)
        if identity is not None and identity in self._seen:
            self._seen.move_to_end(identity)
            return self._seen[identity][1]
        small = shrunk(tensor)
        if step > 1 and small.shape[2] > 1:
            small = small[:, :, ::step]
        values = as_numpy(small)
        digest = _digest(values, means)
        table = self._tables.get(digest)
        if table is None:
            table = self._tables[digest] = _table(values, means, digest)
            while len(self._tables) > _MOST_TABLES:
                self._tables.popitem(last=False)
        if identity is not None and small.untyped_storage().nbytes() <= _MOST_BYTES:
            self._seen[identity] = tensor, table
            while len(self._seen) > 1 and self._too_much():
                self._seen.popitem(last=False)
        return table

    def _too_much(self) -> bool:
        held = {t.data_ptr(): t.untyped_storage().nbytes() for t, _ in self._seen.values()}
        return len(self._seen) > _MOST_TENSORS or sum(held.values()) > _MOST_BYTES


def _identity(tensor: torch.Tensor, means: Means, step: int) -> Any:
    where = tensor.data_ptr(), tensor.device, tensor._version
    return where, tensor.shape, tensor.stride(), tensor.dtype, means, step


def _digest(values: NDArray[Any], means: Means) -> bytes:
    found = sha1(f"{values.dtype.str}{values.shape}{means}".encode(), usedforsecurity=False)
    found.update(np.ascontiguousarray(values).data)
    return found.digest()


def _table(values: NDArray[Any], means: Means, digest: bytes) -> Table:
    if values.dtype.kind != "f":
        bools = values.astype(np.bool_)
        return Table(~bools if means in ("ignore", "nonzero") else bools, None, digest)
    nonzero = values != 0
    forbidden = nonzero if means == "nonzero" else values <= FORBIDS
    numbers = _numbers(values, nonzero)
    return Table(~forbidden, numbers, digest, None if numbers.weak is None else ~nonzero)


def _numbers(values: NDArray[Any], nonzero: NDArray[np.bool_]) -> Numbers:
    finite = values[np.isfinite(values)]
    least, greatest = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    ends = finite.size > 0 and bool(((finite == least) | (finite == greatest)).all())
    whole = finite.size == values.size
    weak = least if whole and ends and FORBIDS < least < 0.0 == greatest else None
    return Numbers(
        least=least,
        greatest=greatest,
        nan=bool(np.isnan(values).any()),
        minus_inf=bool(np.isneginf(values).any()),
        plus_inf=bool(np.isposinf(values).any()),
        zero_one=whole and ends and (least, greatest) == (0.0, 1.0),
        weak=weak,
        biased=bool((nonzero & ~(values <= FORBIDS)).any()),
    )
