"""Destination ``torch.mha``: keywords of ``torch.nn.MultiheadAttention.forward``.

Its bool masks have the opposite sense (True = ignore), its three-dimensional mask counts
``batch * num_heads`` in one axis, batch outermost, and an empty row is NaN in several of its ways.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline.errors import CannotExpress, InvalidArgument, ShapeMismatch
from sightline.lower.arguments import Asked, check_length, require_torch
from sightline.lower.devices import check_device


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
    _refuse_empty_rows(asked)
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


def split(
    dense: NDArray[np.bool_],
) -> tuple[NDArray[np.bool_] | None, NDArray[np.bool_] | None]:
    """Split [batch|1, heads|1, Q, K] into pairs [Q, K] and keys [batch, K], if that is exact.

    If allowed[b, q, k] = A[q, k] and P[b, k] for any A and P at all, then it also holds for the
    smallest such A (some batch row allows the pair) and P (some query of the row sees the key),
    because whatever is allowed lies in both and both lie in A and P. So trying these two decides
    whether a split exists. (None, None) if there is none; keys None if batch is 1.
    """
    if dense.shape[1] != 1:
        return None, None
    allowed = dense[:, 0]
    if len(allowed) == 1:
        return allowed[0], None
    pairs, keys = (np.logical_or.reduce(allowed, axis=axis) for axis in (0, 1))
    if np.array_equal(np.broadcast_to(keys[:, None], allowed.shape), allowed):
        return np.ones_like(pairs), keys
    if np.array_equal(pairs[None] & keys[:, None], allowed):
        return pairs, keys
    return None, None


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


def _refuse_empty_rows(asked: Asked) -> None:
    part = asked.name_an_empty_row()
    if part is not None:
        raise CannotExpress(
            destination="torch.mha",
            part=part,
            reason="nn.MultiheadAttention makes NaN of them, in output and gradients, with "
            "need_weights=True, and in evaluation without gradients even with need_weights=False",
            alternative="sl.attend(query, key, value, mask), which gives 0",
        )
