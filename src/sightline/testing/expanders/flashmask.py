"""What ``startend_row_indices`` mean to Paddle's ``flashmask_attention``.

Source: the documentation of paddle.nn.functional.flashmask_attention.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def expand(startend_row_indices: NDArray[np.int32], causal: bool, q_len: int) -> NDArray[np.bool_]:
    """Return bools ``[batch, heads, q_len, kv_len]``.

    >>> indices = np.array([2, 3, 3], dtype=np.int32).reshape(1, 1, 3, 1)
    >>> expand(indices, causal=True, q_len=3)[0, 0].astype(int)
    array([[1, 0, 0],
           [1, 1, 0],
           [0, 1, 1]])
    """
    batch, heads, kv_len, numbers = startend_row_indices.shape
    allowed = np.ones((batch, heads, q_len, kv_len), dtype=np.bool_)
    for b in range(batch):
        for h in range(heads):
            for key in range(kv_len):
                rows = [int(row) for row in startend_row_indices[b, h, key]]
                for query in range(q_len):
                    if _hidden(rows, numbers, causal, query, key - (kv_len - q_len)):
                        allowed[b, h, query, key] = False
    return allowed


def _hidden(rows: list[int], numbers: int, causal: bool, query: int, diagonal: int) -> bool:
    """Return whether a key is hidden; ``diagonal`` is the first query that causal shows it to."""
    if causal and query < diagonal:
        return True
    if causal and numbers == 1:
        return query >= rows[0]
    if causal and numbers == 2:
        return rows[0] <= query < rows[1]
    if numbers == 2:
        return query >= rows[0] or query < rows[1]
    if not causal and numbers == 4:
        return rows[0] <= query < rows[1] or rows[2] <= query < rows[3]
    raise AssertionError(f"{numbers} numbers a key with causal={causal}")
