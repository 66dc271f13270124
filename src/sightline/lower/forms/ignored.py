"""The two masks that ``nn.MultiheadAttention`` takes, True = ignore: of pairs, and of padding keys.

``torch.mha`` gives one such couple, ``torch.transformer`` three.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline.errors import InvalidArgument
from sightline.lower.arguments import Asked, check_axis
from sightline.lower.forms.split import split

REASON = (
    "nn.MultiheadAttention makes NaN of them, in output and gradients, with need_weights=True, "
    "and in evaluation without gradients even with need_weights=False"
)


def ignored_masks(
    asked: Asked, destination: str, num_heads: int | None, batch: int | None
) -> tuple[NDArray[np.bool_] | None, NDArray[np.bool_] | None]:
    """Return (attn_mask, key_padding_mask), True = ignore; None for a part that forbids nothing.

    ``attn_mask`` is [q_len, kv_len], or [batch * num_heads, q_len, kv_len] if the mask does not
    split into pairs and keys; then ``key_padding_mask`` [batch, kv_len] is None.

    Raises:
        InvalidArgument: ``num_heads`` or ``batch`` is needed and was not given.
        ShapeMismatch: ``num_heads`` or ``batch`` differs from the mask's own.
    """
    batch = _given_size("batch", batch, asked.dense.shape[0], destination)
    num_heads = _given_size("num_heads", num_heads, asked.dense.shape[1], destination)
    pairs, padding = split(asked.dense)
    if pairs is None:
        pairs, padding = _per_head(asked.dense, batch, num_heads, destination), None
    return _ignored(pairs), _ignored(padding)


def tensor_or_none(torch: Any, ignored: NDArray[np.bool_] | None, device: Any) -> Any:
    """Return the array as a tensor, or None for None."""
    return None if ignored is None else torch.tensor(ignored, device=device)


def _per_head(
    dense: NDArray[np.bool_], batch: int | None, heads: int | None, destination: str
) -> NDArray[np.bool_]:
    """Return [batch * num_heads, Q, K]: row ``b * num_heads + h`` is batch row b, head h."""
    if batch is None or heads is None:
        name = "batch" if batch is None else "num_heads"
        raise InvalidArgument(
            f"got no {name} for {destination}; this mask depends on the batch row or the head and "
            "does not split into a mask of pairs and a key padding mask, so it takes the form "
            f"[batch * num_heads, q_len, kv_len]; pass {name}=."
        )
    q_len, kv_len = dense.shape[2:]
    return np.broadcast_to(dense, (batch, heads, q_len, kv_len)).reshape(-1, q_len, kv_len)


def _given_size(name: str, given: int | None, own: int, destination: str) -> int | None:
    """Return the size of one axis: what was given, or the mask's own if it has one."""
    if given is None:
        return own if own > 1 else None
    return check_axis(name, given, own, destination)


def _ignored(allowed: NDArray[np.bool_] | None) -> NDArray[np.bool_] | None:
    return None if allowed is None or allowed.all() else ~allowed
