"""Watches torch's multi-head attention: the function, and the fused calls of inference.

``nn.MultiheadAttention`` and the layers of ``nn.Transformer`` end in one of them. In all of them
True forbids. The scaled_dot_product_attention inside the function is not looked at again.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn.functional import pad

from sightline.audit.guards.here import HERE, Given
from sightline.audit.guards.places import find_place
from sightline.audit.guards.records import Call, Means

FUNCTION = "multi_head_attention_forward"
FUSED = "nn.MultiheadAttention (fast path)"
FUSED_LAYER = "nn.TransformerEncoderLayer (fast path)"
NESTED = "nn.TransformerEncoder (nested tensors)"


def look_function(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    embed_dim_to_check: int,
    num_heads: int,
    in_proj_weight: Any,
    in_proj_bias: Any,
    bias_k: Any,
    bias_v: Any,
    add_zero_attn: bool,
    dropout_p: float,
    out_proj_weight: Any,
    out_proj_bias: Any,
    training: bool = True,
    key_padding_mask: torch.Tensor | None = None,
    need_weights: bool = True,
    attn_mask: torch.Tensor | None = None,
    static_k: torch.Tensor | None = None,
    is_causal: bool = False,
    **_: Any,
) -> None:
    """Look at a call of the function, whose inputs are ``[length, batch, features]``."""
    if is_causal and attn_mask is None:
        return  # torch refuses it
    if not HERE.readable(FUNCTION, query, key, attn_mask, key_padding_mask):
        return
    batch = query.shape[1] if query.ndim == 3 else 1
    added = int(bias_k is not None) + int(add_zero_attn)
    keys = key.shape[0] if static_k is None else static_k.shape[1]
    sizes = batch, num_heads, query.shape[0], keys
    padding = key_padding_mask
    if padding is not None and padding.ndim == 1:
        padding = padding[None]
    given = _given(attn_mask, padding, sizes, added)
    if given is None:
        return
    replaces = is_causal and padding is None and not need_weights
    _see(
        Call(
            FUNCTION,
            *sizes[:3],
            keys + added,
            _dtype(query),
            causal=replaces,
            said_causal=is_causal,
            replaces=replaces,
            empty="nan" if need_weights else "zero",
            self_attention=query is key,
            layout="mha",
        ),
        given,
    )


def look_fused(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    embed_dim: int,
    num_head: int,
    *rest: Any,
    mask: torch.Tensor | None = None,
    mask_type: int | None = None,
    **_: Any,
) -> None:
    """Look at the fused call of ``nn.MultiheadAttention``, for inference."""
    # qkv_weight, qkv_bias, proj_weight, proj_bias, mask, need_weights, average, mask_type
    mask = rest[4] if len(rest) > 4 else mask
    mask_type = rest[7] if len(rest) > 7 else mask_type
    _look_fused(FUSED, nn.MultiheadAttention, query, num_head, mask, mask_type)


def look_fused_layer(
    src: torch.Tensor,
    embed_dim: int,
    num_heads: int,
    *rest: Any,
    mask: torch.Tensor | None = None,
    mask_type: int | None = None,
    **_: Any,
) -> None:
    """Look at the fused call of ``nn.TransformerEncoderLayer``, for inference."""
    # Weights, biases and settings are the first 15 of the rest.
    mask = rest[15] if len(rest) > 15 else mask
    mask_type = rest[16] if len(rest) > 16 else mask_type
    _look_fused(FUSED_LAYER, nn.TransformerEncoderLayer, src, num_heads, mask, mask_type)


def look_nested(t: torch.Tensor, mask: torch.Tensor, mask_check: bool = True) -> None:
    """Look at the padding that ``nn.TransformerEncoder`` cuts off, True for real keys."""
    if not HERE.readable(NESTED, t, mask) or t.ndim != 3 or mask.shape != t.shape[:2]:
        return
    batch, length, _ = t.shape
    given = [Given("src_key_padding_mask", tuple(mask.shape), "attend", mask[:, None, None])]
    _see(Call(NESTED, batch, 1, length, length, _dtype(t), self_attention=True), given)


def _look_fused(
    entry: str,
    kind: type[nn.Module],
    query: torch.Tensor,
    heads: int,
    mask: torch.Tensor | None,
    mask_type: int | None,
) -> None:
    if query.is_nested:
        return  # its padding was looked at when it was cut off
    if not HERE.readable(entry, query, mask):
        return
    batch, length, _ = query.shape
    sizes = batch, heads, length, length
    by_key = mask_type == 1
    if mask is None or by_key:
        given = _given(None, mask, sizes, 0)
    elif mask.ndim == 4:  # expanded from two axes, or written out from batch * heads
        shape = sizes[2:] if mask.stride(1) == 0 else (batch * heads, *sizes[2:])
        given = [Given("attn_mask", shape, _forbidding(mask), mask)]
    else:
        given = _given(mask, None, sizes, 0)
    if given is None:
        return
    said = mask is None and _said_causal(kind)
    _see(
        Call(
            entry,
            *sizes,
            _dtype(query),
            said_causal=said,
            empty="nan",
            self_attention=True,
            layout="mha",
        ),
        [each._replace(means=_forbidding(each.tensor)) for each in given],
    )


def _said_causal(kind: type[nn.Module]) -> bool:
    """Return whether the running module was called with ``is_causal=True``, which is not used."""
    for module, args, named in find_place().modules:
        if isinstance(module, kind):
            position = 7 if kind is nn.MultiheadAttention else 3
            by_position = args[position] if len(args) > position else False
            return bool(named.get("is_causal", by_position))
    return False


def _forbidding(mask: torch.Tensor) -> Means:
    return "nonzero" if mask.is_floating_point() else "ignore"


def _given(
    attn_mask: torch.Tensor | None,
    padding: torch.Tensor | None,
    sizes: tuple[int, int, int, int],
    added: int,
) -> list[Given] | None:
    """Return the masks with four axes; None if they do not fit, which torch refuses.

    Args:
        attn_mask: [queries, keys], or [batch * heads, queries, keys].
        padding: [batch, keys].
        sizes: batch, heads, queries, keys.
        added: how many keys, which all may see, stand behind the others.
    """
    batch, heads, q_len, kv_len = sizes
    given: list[Given] = []
    for name, mask in (("attn_mask", attn_mask), ("key_padding_mask", padding)):
        if mask is None:
            continue
        shape = tuple(mask.shape)
        if name == "key_padding_mask" and shape == (batch, kv_len):
            wide = mask[:, None, None]
        elif name == "attn_mask" and shape == (q_len, kv_len):
            wide = mask[None, None]
        elif name == "attn_mask" and shape == (batch * heads, q_len, kv_len):
            wide = mask.unflatten(0, (batch, heads))
        else:
            return None
        means: Means = "added" if mask.is_floating_point() else "ignore"
        given.append(Given(name, shape, means, pad(wide, (0, added)) if added else wide))
    return given


def _see(call: Call, given: list[Given]) -> None:
    from dataclasses import replace

    read = HERE.parts(call.entry, *given)
    if read is not None:
        HERE.see(replace(call, parts=read[0], step=read[1]))


def _dtype(tensor: torch.Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")
