"""Mask tensors that a model or its user made, read exactly: a mask, and what is added to scores.

Bools and integers: nonzero may attend. Floats are added to the scores: -inf and what no softmax
survives (the least number of float16 and below) forbids, all else is a bias and stays one.
"""

from __future__ import annotations

from typing import Any
from weakref import ref

import numpy as np
import torch

from sightline.errors import CannotExpress, ShapeMismatch
from sightline.masks.explicit import dense
from sightline.masks.mask import Mask
from sightline.masks.padding import padding
from sightline.masks.positional import everything

FORBIDS = torch.finfo(torch.float16).min
_MOST_KEPT = 8
_kept: dict[int, tuple[Any, tuple[Any, ...], tuple[Mask, bool]]] = {}


def read_tensor(tensor: torch.Tensor, q_len: int, kv_len: int) -> tuple[Mask, torch.Tensor | None]:
    """Return who may see whom by a mask tensor, query 0 at position 0, and its bias or None.

    Raises:
        CannotExpress: not a tensor of bools or floats (a BlockMask, say).
        ShapeMismatch: it does not broadcast to [batch, heads, q_len, kv_len].
    """
    if not isinstance(tensor, torch.Tensor):
        raise CannotExpress(
            destination="sl.hf.patch",
            part=f"an attention mask of type {type(tensor).__name__}",
            reason="it was made for another kind of attention",
            alternative="a 2-D mask, a 4-D tensor, or an expression: sl.hf.patch(model, mask=...)",
        )
    shape = tuple(tensor.shape)
    if len(shape) != 4 or shape[2] not in (1, q_len) or shape[3] not in (1, kv_len):
        raise ShapeMismatch(
            f"got an attention mask of shape {list(shape)} for {q_len} queries and {kv_len} keys; "
            "wanted [batch or 1, heads or 1, queries, keys]; cut it to these lengths."
        )
    mask, has_bias = _known(tensor, q_len, kv_len)
    if not has_bias:
        return mask, None
    return mask, torch.where(tensor > FORBIDS, tensor, torch.zeros((), dtype=tensor.dtype))


def _known(tensor: torch.Tensor, q_len: int, kv_len: int) -> tuple[Mask, bool]:
    """Return the mask, and whether there is a bias; kept as long as the tensor stays as it is."""
    state = tensor._version, q_len, kv_len
    found = _kept.get(id(tensor))
    if found is not None and found[0]() is tensor and found[1] == state:
        return found[2]
    read = _read(tensor, q_len, kv_len)
    while len(_kept) >= _MOST_KEPT:
        _kept.pop(next(iter(_kept)))
    _kept[id(tensor)] = ref(tensor), state, read
    return read


def _read(tensor: torch.Tensor, q_len: int, kv_len: int) -> tuple[Mask, bool]:
    values = tensor.detach()
    floating = values.is_floating_point()
    allowed = (values > FORBIDS) | values.isnan() if floating else values != 0
    has_bias = tensor.requires_grad or (floating and bool((allowed & (values != 0)).any()))
    table = allowed.cpu().numpy()
    if table.all():
        return everything(), has_bias
    if table.shape[1:3] == (1, 1) and table.shape[3] == kv_len:
        return padding(valid=table[:, 0, 0]), has_bias
    full = np.broadcast_to(table, (*table.shape[:2], q_len, kv_len))
    return dense(full, means="attend"), has_bias
