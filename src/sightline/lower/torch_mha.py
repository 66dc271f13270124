"""Destination ``torch.mha``: keywords of ``torch.nn.MultiheadAttention.forward``.

Its bool masks have the opposite sense (True = ignore), its three-dimensional mask counts
``batch * num_heads`` in one axis, batch outermost, and an empty row is NaN in several of its ways.
"""

from __future__ import annotations

from typing import Any

from sightline.lower.arguments import Asked, require_torch
from sightline.lower.destinations import Destination
from sightline.lower.devices import check_device
from sightline.lower.forms.ignored import REASON, ignored_masks, tensor_or_none

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
    asked.refuse_empty_rows(DESTINATION.name, REASON)
    pairs, padding = ignored_masks(asked, DESTINATION.name, num_heads, batch)
    return {
        "attn_mask": tensor_or_none(torch, pairs, target),
        "key_padding_mask": tensor_or_none(torch, padding, target),
        "need_weights": False,
        "is_causal": False,
    }
