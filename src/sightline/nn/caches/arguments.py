"""Reading the arguments of caches: sizes, counts for each batch row, tensors of new tokens."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sightline.errors import InvalidArgument, ShapeMismatch
from sightline.masks.arguments import as_int, describe
from sightline.masks.arrays import as_numpy

Ints = NDArray[np.int64]


def as_size(value: Any, what: str) -> int:
    """Return ``value`` as an int of at least 1."""
    return as_int(value, what, least=1, error=InvalidArgument)


def as_each_row(value: Any, what: str, batch: int) -> Ints:
    """Return one integer of at least 0 for each batch row; a single one serves all of them.

    Raises:
        InvalidArgument: not integers, or negative.
        ShapeMismatch: another number of them than batch rows.
    """
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return np.full(batch, value, dtype=np.int64)
    array = as_numbers(value, what)
    if array.ndim == 0:
        return np.full(batch, int(array), dtype=np.int64)
    if array.shape != (batch,):
        raise ShapeMismatch(
            f"got {what} of shape {list(array.shape)}; wanted one integer, or one for each of the "
            f"{batch} batch rows."
        )
    return array


def as_numbers(value: Any, what: str) -> Ints:
    """Return integers of at least 0 as an array of int64."""
    try:
        array = as_numpy(value)
    except (ValueError, TypeError):
        array = np.asarray(None)
    if array.size == 0 and array.dtype.kind == "f":
        array = array.astype(np.int64)
    if array.dtype.kind not in "iu" or (array.size and int(array.min()) < 0):
        raise InvalidArgument(
            f"got {what} {describe(value)}; wanted integers of at least 0; give an int, a list, "
            "or an array of integers."
        )
    return array.astype(np.int64)


def check_new(name: str, given: Any, shape: tuple[int, ...], like: torch.Tensor) -> torch.Tensor:
    """Return a tensor of new keys or values if it is what the cache holds.

    Raises:
        ShapeMismatch: another shape.
        InvalidArgument: no tensor, another dtype or device, or one that wants a gradient.
    """
    if not isinstance(given, torch.Tensor):
        raise InvalidArgument(
            f"got {name} of type {type(given).__name__}; wanted a torch.Tensor [batch, kv_heads, "
            "q_len, head_dim]."
        )
    if tuple(given.shape) != shape:
        raise ShapeMismatch(
            f"got {name} of shape {list(given.shape)}; wanted {list(shape)} [batch, kv_heads, "
            "q_len, head_dim]; batch, heads and sizes are the cache's, q_len is the chunk's."
        )
    for what in ("dtype", "device"):
        got, wanted = getattr(given, what), getattr(like, what)
        if got != wanted:
            raise InvalidArgument(
                f"got {name} with {what} {got} and a cache with {what} {wanted}; wanted one {what};"
                f" make the cache with {what}={str(got)!r}, or convert {name}."
            )
    if given.requires_grad and torch.is_grad_enabled():
        raise InvalidArgument(
            f"got {name} that wants a gradient; a cache is written in place and keeps none; run "
            "under torch.no_grad(), or train without a cache."
        )
    return given
