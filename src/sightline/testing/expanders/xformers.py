"""What attention biases mean to xformers.

Source: the docstrings of the classes in xformers.ops.fmha.attn_bias, version 0.0.35.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def expand(bias: Any, rows: int, q_len: int, kv_len: int) -> NDArray[np.bool_]:
    """Return bools ``[rows * q_len, rows * kv_len]``, the rows of a batch one behind another.

    A bias of blocks divides the one row that there is.
    """
    name = type(bias).__name__
    allowed = np.zeros((rows * q_len, rows * kv_len), dtype=np.bool_)
    if name.startswith("BlockDiagonal"):
        queries, keys = bias.q_seqinfo.seqstart.tolist(), bias.k_seqinfo.seqstart.tolist()
        if rows != 1 or (queries[-1], keys[-1]) != (q_len, kv_len):
            raise AssertionError("the blocks do not fill the row")
    else:
        queries, keys = ([n * size for n in range(rows + 1)] for size in (q_len, kv_len))
    for s in range(len(queries) - 1):
        for query in range(queries[s], queries[s + 1]):
            for key in range(keys[s], keys[s + 1]):
                top_left = (key - keys[s]) - (query - queries[s])
                bottom_right = (queries[s + 1] - query) - (keys[s + 1] - key)
                allowed[query, key] = _sees(bias, name, top_left, bottom_right)
    return allowed


def _sees(bias: Any, name: str, top_left: int, bottom_right: int) -> bool:
    """Return what a class says of a key so far to the right of its query, by either alignment."""
    if name in ("NoneType", "BlockDiagonalMask"):
        return True
    if name in ("LowerTriangularMask", "BlockDiagonalCausalMask"):
        return top_left <= 0
    if name in ("LowerTriangularFromBottomRightMask", "BlockDiagonalCausalFromBottomRightMask"):
        return bottom_right <= 0
    if name in (
        "LowerTriangularFromBottomRightLocalAttentionMask",
        "BlockDiagonalCausalLocalAttentionFromBottomRightMask",
    ):
        return -bias._window_size < bottom_right <= 0
    if name == "LocalAttentionFromBottomRightMask":
        return -bias.window_left <= bottom_right <= bias.window_right
    raise AssertionError(f"no meaning is written down for {name}")
