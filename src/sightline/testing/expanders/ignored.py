"""nn.MultiheadAttention, nn.Transformer and XLNet expanded: masks in which True or 1 is ignored."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline.testing.expanders.shape import Shape, numbers


def mha(keywords: dict[str, Any], shape: Shape) -> NDArray[np.bool_]:
    """torch: attn_mask [Q, K] or [batch * heads, Q, K], key_padding_mask [batch, K]."""
    if keywords.get("is_causal"):
        raise ValueError("is_causal is a hint about attn_mask, not a mask")
    return _ignored(keywords["attn_mask"], keywords["key_padding_mask"], shape)


def transformer(keywords: dict[str, Any], shape: Shape) -> tuple[NDArray[np.bool_], ...]:
    """torch: the encoder's, the decoder's and the memory attention, each like mha's."""
    at = {
        "src": (shape.kv_len, shape.kv_len),
        "tgt": (shape.q_len, shape.q_len),
        "memory": (shape.q_len, shape.kv_len),
    }
    wanted = {f"{n}_{what}" for n in at for what in ("mask", "key_padding_mask", "is_causal")}
    if set(keywords) != wanted or any(keywords[f"{name}_is_causal"] for name in at):
        raise ValueError("wanted all nine keywords, and no hints")
    return tuple(
        _ignored(
            keywords[f"{name}_mask"],
            keywords[f"{name}_key_padding_mask"],
            Shape(shape.batch, shape.heads, *lengths),
        )
        for name, lengths in at.items()
    )


def _ignored(pairs: Any, padding: Any, shape: Shape) -> NDArray[np.bool_]:
    allowed = np.ones(shape.full, dtype=np.bool_)
    for batch in range(shape.batch):
        for head in range(shape.heads):
            if pairs is not None:
                each = numbers(pairs)
                ignored = each if each.ndim == 2 else each[batch * shape.heads + head]
                allowed[batch, head] &= ~ignored
            if padding is not None:
                allowed[batch, head] &= ~numbers(padding)[batch][None, :]
    return allowed


def xlnet(keywords: dict[str, Any], shape: Shape) -> NDArray[np.bool_]:
    """The stream that is meant: the query stream if there is a target_mapping, else the content's.

    The content stream sees itself whatever perm_mask says.
    """
    blocked = numbers(keywords["perm_mask"])
    allowed = np.broadcast_to(blocked[:, None] == 0, shape.full).copy()
    if "target_mapping" not in keywords:
        for position in range(shape.q_len):
            allowed[:, :, position, position] = True
    return allowed
