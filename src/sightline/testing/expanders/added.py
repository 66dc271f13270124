"""Bool and additive masks expanded: numpy, scaled_dot_product_attention, transformers, Paddle.

Written from the libraries' documentation, one cell at a time where that is plainer.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline.testing.expanders.shape import Shape, numbers


def kept(array: Any, shape: Shape) -> NDArray[np.bool_]:
    """A bool array in which True may attend, broadcast."""
    array = numbers(array)
    if array.dtype != np.bool_:
        raise TypeError(f"wanted bools, got {array.dtype}")
    return np.array(np.broadcast_to(array, shape.full))


def added(array: Any, shape: Shape) -> NDArray[np.bool_]:
    """Floats added before softmax: 0 leaves a score as it is, the least float forbids."""
    array = numbers(array)
    least = np.finfo(array.dtype).min if array.dtype != np.float32 else np.float32(-3e38)
    if not ((array == 0) | (array <= least)).all():
        raise ValueError("wanted 0 and the least number, or -inf")
    return np.array(np.broadcast_to(array == 0, shape.full))


def sdpa(keywords: dict[str, Any], shape: Shape) -> NDArray[np.bool_]:
    """torch: attn_mask, True takes part; is_causal puts a triangle at the top left corner."""
    allowed = np.ones(shape.full, dtype=np.bool_)
    if keywords["attn_mask"] is not None:
        allowed &= kept(keywords["attn_mask"], shape)
    if keywords["is_causal"]:
        if keywords["attn_mask"] is not None:
            raise ValueError("torch wants attn_mask or is_causal, not both")
        for query in range(shape.q_len):
            allowed[:, :, query, query + 1 :] = False
    return allowed


def hf_4d(keywords: dict[str, Any], shape: Shape) -> NDArray[np.bool_]:
    """transformers: a 4-D mask is handed on as it is, and added to the scores."""
    if set(keywords) != {"attention_mask"} or keywords["attention_mask"].ndim != 4:
        raise ValueError("wanted one 4-D attention_mask")
    return added(keywords["attention_mask"], shape)


def paddle(keywords: dict[str, Any], shape: Shape) -> NDArray[np.bool_]:
    """masked_multihead_attention: src_mask counts the cached keys and then the new token."""
    cached = int(keywords["sequence_lengths"][0, 0])
    mask = keywords["src_mask"]
    if mask.shape[-1] != cached + 1 or mask.shape[-2] != 1:
        raise ValueError("src_mask wants one query and one key more than are cached")
    return added(mask, shape)
