"""Destination ``paddle``: what PaddlePaddle's masked_multihead_attention takes in a decode step.

One new token for each batch row attends to the cache and to itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sightline.errors import CannotExpress, InvalidArgument
from sightline.lower.arguments import Asked, check_axis
from sightline.lower.destinations import Destination

DESTINATION = Destination(
    name="paddle",
    gives="the keywords src_mask [batch|1, heads|1, 1, kv_len] (floats to add) and "
    "sequence_lengths [batch, 1] of masked_multihead_attention; with cache= the shape of cache_kv",
    expresses="every mask of one query, the newest token, without an empty row",
    refuses="more than one query; a query that is not the last key; empty rows",
    in_principle="no more: the operator computes one new token at the end of the cache",
    options=("cache",),
)


def translate(asked: Asked, cache: Sequence[int] | None = None) -> dict[str, Any]:
    """Return src_mask (float32, 0 or the most negative number) and sequence_lengths (int32).

    The scores count ``kv_len`` keys: those of the cache, and the new token as the last one, at
    position ``q_offset = kv_len - 1``. The operator writes its key and value there, in place.

    Args:
        asked: the mask and its shape.
        cache: (batch, heads, max_len, head_dim); adds ``cache_kv_shape``, [2, batch, heads,
            max_len, head_dim]: keys in part 0, values in part 1.

    Raises:
        CannotExpress: see ``refuses``.
        InvalidArgument: a cache that is no four sizes, or too short for kv_len.
        ShapeMismatch: a cache of other batch rows or heads than the mask has.

    Source: PaddlePaddle's documentation of masked_multihead_attention (paddle.incubate.nn).

    >>> import sightline as sl
    >>> made = sl.lower(sl.window(left=1, right=0), to="paddle", q_len=1, kv_len=3, q_offset=2)
    >>> made["src_mask"].shape, made["src_mask"][0, 0, 0] == 0, made["sequence_lengths"]
    ((1, 1, 1, 3), array([False,  True,  True]), array([[2]], dtype=int32))
    """
    _refuse_shape(asked)
    asked.refuse_empty_rows(
        DESTINATION.name,
        reason="the same number on a whole row cancels in softmax, which gives a mean of values",
    )
    forbidden = np.finfo(np.float32).min
    made: dict[str, Any] = {
        "src_mask": np.where(asked.dense, np.float32(0), np.float32(forbidden)),
        "sequence_lengths": np.full((len(asked.dense), 1), asked.q_offset, dtype=np.int32),
    }
    if cache is not None:
        batch, heads, max_len, head_dim = _cache_sizes(cache, asked.kv_len)
        asked.batch_rows(batch, DESTINATION.name)
        check_axis("num_heads", heads, asked.mask.heads, DESTINATION.name)
        for name in ("src_mask", "sequence_lengths"):
            made[name] = np.broadcast_to(made[name], (batch, *made[name].shape[1:])).copy()
        made["cache_kv_shape"] = (2, batch, heads, max_len, head_dim)
    return made


def _refuse_shape(asked: Asked) -> None:
    if asked.q_len == 1 and asked.q_offset == asked.kv_len - 1:
        return
    raise CannotExpress(
        destination=DESTINATION.name,
        part=asked.lengths,
        reason="masked_multihead_attention computes one new token, which is the last key",
        alternative="q_len=1, q_offset=kv_len - 1; or torch.sdpa for a whole prompt",
    )


def _cache_sizes(cache: Sequence[int], kv_len: int) -> tuple[int, ...]:
    sizes = tuple(cache)
    if len(sizes) != 4 or not all(isinstance(n, int) and n > 0 for n in sizes):
        raise InvalidArgument(
            f"got cache={cache!r} for {DESTINATION.name}; wanted (batch, heads, max_len, head_dim)."
        )
    if sizes[2] < kv_len:
        raise InvalidArgument(
            f"got cache={cache!r} with max_len={sizes[2]} for {DESTINATION.name}; wanted at least "
            f"kv_len={kv_len}: the new token is written behind the cached ones."
        )
    return sizes
