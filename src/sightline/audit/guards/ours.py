"""Watches ``sl.attend``, and the mask tensors that ``sl.nn.MultiheadAttention`` is given.

The mask of ``sl.attend`` is an expression, in which little can go wrong: what remains is queries
that see nothing, a bias that is a mistake, and a declared mask that is another one.
"""

from __future__ import annotations

from typing import Any

import torch

from sightline.audit.guards.here import HERE, MOST_DENSE, Given, with_four_axes
from sightline.audit.guards.records import Call
from sightline.audit.guards.torch_mha import _given
from sightline.engines.shared import shared_sequence
from sightline.masks.mask import Mask

ENTRY = "sl.attend"
LAYER = "sl.nn.MultiheadAttention"


def look_attend(
    query: Any, key: Any, value: Any, mask: Any, *, q_offset: int = 0, bias: Any = None, **_: Any
) -> None:
    """Look at a call of ``sl.attend``; what it refuses by itself is left to it."""
    if not isinstance(query, torch.Tensor) or not isinstance(key, torch.Tensor):
        return
    if shared_sequence() is not None:
        HERE.unseen(f"{ENTRY}: a sequence whose tokens lie on several ranks")
        return
    if not HERE.readable(ENTRY, query, key) or query.ndim != 4 or key.ndim != 4:
        return
    sizes = query.shape[0], query.shape[1], query.shape[2], key.shape[2]
    if not isinstance(mask, Mask) or 0 in sizes:
        return
    if mask.batch not in (1, sizes[0]) or mask.heads not in (1, sizes[1]):
        return
    if mask.batch * mask.heads * sizes[2] * sizes[3] > MOST_DENSE:
        HERE.unseen(f"{ENTRY}: a mask that is too large to write out")
        return
    given: tuple[Given, ...] = ()
    if isinstance(bias, torch.Tensor):
        tensor = with_four_axes(bias, sizes)
        if tensor is None:
            return
        given = (Given("bias", tuple(bias.shape), "added", tensor),)
    read = HERE.parts(ENTRY, *given)
    if read is not None:
        dtype = str(query.dtype).removeprefix("torch.")
        call = Call(ENTRY, *sizes, dtype, read[0], mask=mask, q_offset=q_offset)
        HERE.see(call)


def look_layer(
    self: Any,
    query: Any,
    key: Any = None,
    value: Any = None,
    key_padding_mask: Any = None,
    need_weights: bool = True,
    attn_mask: Any = None,
    **_: Any,
) -> None:
    """Look at the mask tensors of a call of the layer, in torch's sense: True forbids."""
    tensors = [m for m in (attn_mask, key_padding_mask) if isinstance(m, torch.Tensor)]
    if not tensors or not isinstance(query, torch.Tensor) or query.ndim not in (2, 3):
        return
    if not HERE.readable(LAYER, query, *tensors):
        return
    key = query if key is None else key
    batched = query.ndim == 3
    axis = 1 if batched and self.batch_first else 0
    batch = query.shape[1 - axis] if batched else 1
    sizes = batch, self.num_heads, query.shape[axis], key.shape[axis]
    padding = key_padding_mask if isinstance(key_padding_mask, torch.Tensor) else None
    if padding is not None and padding.ndim == 1:
        padding = padding[None]
    pairs = attn_mask if isinstance(attn_mask, torch.Tensor) else None
    given = _given(pairs, padding, sizes, 0)
    if not given:
        return
    read = HERE.parts(LAYER, *given)
    if read is not None:
        dtype = str(query.dtype).removeprefix("torch.")
        HERE.see(Call(LAYER, *sizes, dtype, read[0], step=read[1], layout="mha", whole=False))
