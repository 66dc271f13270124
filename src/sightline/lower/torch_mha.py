"""Destination ``torch.mha``: keywords of ``torch.nn.MultiheadAttention.forward``.

Its bool masks have the opposite sense (True = ignore), its three-dimensional mask counts
``batch * num_heads`` in one axis, batch outermost, and an empty row is NaN in several of its ways.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline.errors import InvalidArgument, ShapeMismatch
from sightline.lower.arguments import Asked, check_length, require_torch
from sightline.lower.destinations import Destination
from sightline.lower.devices import check_device
from sightline.lower.forms.split import split

DESTINATION = Destination(
    name="torch.mha",
    gives="the keywords attn_mask, key_padding_mask, need_weights and is_causal of "
    "nn.MultiheadAttention's forward, where True means ignore",
    expresses="every mask without empty rows; the batch needs num_heads= unless the mask "
    "splits into one part for (query, key) and one for (batch, key)",
    refuses="empty rows: nn.MultiheadAttention makes NaN of them with need_weights=True and "
    "on its inference path",
    in_principle="every mask without empty rows",
    options=("num_heads", "batch", "device"),
    needs="torch",
    extra="torch",
)


def translate(
    asked: Asked,
    num_heads: int | None = None,
    batch: int | None = None,
    device: Any = "cpu",
) -> dict[str, Any]:
    """Return attn_mask, key_padding_mask, need_weights and is_causal: all that the call needs.

    Both masks are bool with True = ignore. Where the mask is the same for every batch row and
    head, ``attn_mask`` is [q_len, kv_len]. Where it splits exactly into "who sees whom" and "which
    keys are there", the second goes to ``key_padding_mask`` [batch, kv_len]. Otherwise
    ``attn_mask`` is [batch * num_heads, q_len, kv_len]. A part that forbids nothing is None.

    Args:
        asked: the mask and its shape.
        num_heads: the number of heads of the layer; needed for the three-dimensional form.
        batch: the batch size; needed where the mask depends on the head but not on the batch.
        device: where the tensors shall live.

    Raises:
        CannotExpress: a row that may see nothing.
        InvalidArgument: ``num_heads`` or ``batch`` is needed and was not given.
        ShapeMismatch: ``num_heads`` or ``batch`` differs from the mask's own.

    Source: the documentation of torch.nn.MultiheadAttention.

    >>> import sightline as sl
    >>> mask = sl.causal() & sl.padding(lengths=[2, 1])
    >>> keywords = sl.lower(mask, to="torch.mha", q_len=2)
    >>> keywords["key_padding_mask"]
    tensor([[False, False],
            [False,  True]])
    >>> keywords["attn_mask"]
    tensor([[False,  True],
            [False, False]])
    """
    torch = require_torch("sl.lower(..., to='torch.mha')")
    target = check_device(torch, device, "torch.mha")
    asked.refuse_empty_rows(
        DESTINATION.name,
        reason="nn.MultiheadAttention makes NaN of them, in output and gradients, with "
        "need_weights=True, and in evaluation without gradients even with need_weights=False",
    )
    batch = _given_size("batch", batch, asked.dense.shape[0])
    num_heads = _given_size("num_heads", num_heads, asked.dense.shape[1])
    pairs, padding = split(asked.dense)
    if pairs is None:
        pairs, padding = _per_head(asked.dense, batch, num_heads), None
    return {
        "attn_mask": _ignored(torch, pairs, target),
        "key_padding_mask": _ignored(torch, padding, target),
        "need_weights": False,
        "is_causal": False,
    }


def _per_head(dense: NDArray[np.bool_], batch: int | None, heads: int | None) -> NDArray[np.bool_]:
    """Return [batch * num_heads, Q, K]: row ``b * num_heads + h`` is batch row b, head h."""
    if batch is None or heads is None:
        name = "batch" if batch is None else "num_heads"
        raise InvalidArgument(
            f"got no {name} for torch.mha; this mask depends on the batch row or the head and "
            "does not split into a mask of pairs and a key padding mask, so it takes the form "
            f"[batch * num_heads, q_len, kv_len]; pass {name}=."
        )
    q_len, kv_len = dense.shape[2:]
    return np.broadcast_to(dense, (batch, heads, q_len, kv_len)).reshape(-1, q_len, kv_len)


def _given_size(name: str, given: int | None, own: int) -> int | None:
    """Return the size of one axis: what was given, or the mask's own if it has one."""
    if given is None:
        return own if own > 1 else None
    given = check_length(name, given)
    if own not in (1, given):
        raise ShapeMismatch(
            f"got {name}={given} for torch.mha and a mask with {own}; wanted equal sizes, or a "
            "mask that is the same for all."
        )
    return given


def _ignored(torch: Any, allowed: NDArray[np.bool_] | None, device: Any) -> Any:
    if allowed is None or allowed.all():
        return None
    return torch.tensor(~allowed, device=device)
