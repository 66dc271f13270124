"""Packed tokens put back to batch rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def unpacked(
    seen: NDArray[np.bool_], query_index: Any, key_index: Any, shape: tuple[int, int, int]
) -> NDArray[np.bool_]:
    """Return ``[batch, 1, q_len, kv_len]`` of what packed queries see of packed keys.

    Args:
        seen: bools ``[packed queries, packed keys]``.
        query_index: the place of each packed query among all ``batch * q_len`` queries.
        key_index: the same for the keys.
        shape: ``(batch, q_len, kv_len)``.

    Raises:
        AssertionError: a query sees a key of another batch row, or a token is packed twice.
    """
    batch, q_len, kv_len = shape
    if len(set(query_index)) != len(query_index) or len(set(key_index)) != len(key_index):
        raise AssertionError("a token is packed twice")
    allowed = np.zeros((batch, 1, q_len, kv_len), dtype=np.bool_)
    for i, query in enumerate(query_index):
        for j, key in enumerate(key_index):
            if seen[i, j]:
                if query // q_len != key // kv_len:
                    raise AssertionError(f"query {query} sees key {key} of another batch row")
                allowed[query // q_len, 0, query % q_len, key % kv_len] = True
    return allowed
