"""The arguments of packed kernels and of the JAX, Keras and ONNX calls, at the shape of a call.

Puts what the other files expand into ``[batch, heads, q_len, kv_len]``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline.testing.expanders import flashinfer as flashinfer_arguments
from sightline.testing.expanders import flashmask as flashmask_arguments
from sightline.testing.expanders import magi as magi_arguments
from sightline.testing.expanders import varlen as varlen_arguments
from sightline.testing.expanders import xformers as xformers_arguments
from sightline.testing.expanders.added import kept
from sightline.testing.expanders.shape import Shape, numbers
from sightline.testing.expanders.tokens import unpacked

Bools = NDArray[np.bool_]


def _at(allowed: Any, shape: Shape) -> Bools:
    return np.array(np.broadcast_to(allowed, shape.full))


def _unpacked(packed: Any, seen: Bools, shape: Shape) -> Bools:
    sizes = shape.batch, shape.q_len, shape.kv_len
    query, key = packed.query_index.tolist(), packed.key_index.tolist()
    return _at(unpacked(seen, query, key, sizes), shape)


def torch_varlen(packed: Any, shape: Shape) -> Bools:
    """varlen_attn on packed tokens."""
    return _unpacked(packed, varlen_arguments.expand_torch(packed.keywords), shape)


def flash_attn(packed: Any, shape: Shape) -> Bools:
    """flash_attn_varlen_func on packed tokens."""
    return _unpacked(packed, varlen_arguments.expand_flash_attn(packed.keywords), shape)


def magi(packed: Any, shape: Shape) -> Bools:
    """flex_flash_attn_func on packed tokens."""
    queries, keys = len(packed.query_index), len(packed.key_index)
    seen = magi_arguments.expand(**packed.keywords, q_tokens=queries, k_tokens=keys)
    return _unpacked(packed, seen, shape)


def flashmask(keywords: dict[str, Any], shape: Shape) -> Bools:
    """flashmask_attention: rows that each key is hidden from."""
    return _at(flashmask_arguments.expand(**keywords, q_len=shape.q_len), shape)


def flashinfer(keywords: dict[str, Any], shape: Shape) -> Bools:
    """One request's packed bits, or the bools of several requests."""
    if "packed_custom_mask" in keywords:
        bits = keywords["packed_custom_mask"]
        return _at(flashinfer_arguments.expand_packed(bits, shape.q_len, shape.kv_len), shape)
    seen = flashinfer_arguments.expand_requests(**keywords)
    each = seen.reshape(shape.batch, shape.q_len, shape.batch, shape.kv_len)
    own = each[np.arange(shape.batch), :, np.arange(shape.batch)]
    if np.count_nonzero(own) != np.count_nonzero(seen):
        raise AssertionError("a request sees the keys of another")
    return _at(own[:, None], shape)


def _with_triangle(mask: Any, causal: bool, shape: Shape) -> Bools:
    """A mask, if there is one, and the triangle at the top left corner, if it is asked for."""
    allowed = np.ones(shape.full, dtype=np.bool_) if mask is None else kept(mask, shape)
    return allowed & np.tri(shape.q_len, shape.kv_len, dtype=np.bool_) if causal else allowed


def jax(keywords: dict[str, Any], shape: Shape) -> Bools:
    """jax.nn.dot_product_attention: the parts are combined; rows behind a query length are 0."""
    if keywords["key_value_seq_lengths"] is not None or keywords["local_window_size"] is not None:
        raise ValueError("not expected")
    allowed = _with_triangle(keywords["mask"], keywords["is_causal"], shape)
    if keywords["query_seq_lengths"] is not None:
        for batch, length in enumerate(keywords["query_seq_lengths"].tolist()):
            allowed[batch, :, length:] = False
    return allowed


def flax(keywords: dict[str, Any], shape: Shape) -> Bools:
    """Flax's mask: True may attend."""
    return kept(keywords["mask"], shape)


def keras(keywords: dict[str, Any], shape: Shape) -> Bools:
    """keras.layers.MultiHeadAttention: [batch, q, k] or [batch, heads, q, k], True may attend."""
    mask = keywords["attention_mask"]
    mask = mask[:, None] if mask is not None and mask.ndim == 3 else mask
    return _with_triangle(mask, keywords["use_causal_mask"], shape)


def onnx(keywords: dict[str, Any], shape: Shape) -> Bools:
    """The operator Attention: attn_mask, True may attend."""
    if keywords["is_causal"]:
        raise ValueError("the alignment of is_causal depends on the version")
    return kept(keywords["attn_mask"], shape)


def xformers(packed: Any, shape: Shape) -> Bools:
    """memory_efficient_attention with an attention bias."""
    rows = packed.leading
    each = len(packed.query_index) // rows, len(packed.key_index) // rows
    seen = xformers_arguments.expand(packed.keywords["attn_bias"], rows, *each)
    return _unpacked(packed, seen, shape)


def jax_splash(call: dict[str, Any], shape: Shape) -> Bools:
    """The splash kernel: a mask for each head, and equal segment ids where there are some."""
    heads = [np.asarray(each[:, :]) for each in call["mask"].masks]
    allowed = _at(np.stack(heads), shape)
    ids = call["segment_ids"]
    if ids is not None:
        query, key = (np.atleast_2d(numbers(each)) for each in (ids.q, ids.kv))
        allowed &= (query[:, :, None] == key[:, None, :])[:, None]
    return allowed
