"""What slices mean to MagiAttention's ``flex_flash_attn_func``.

Source: its docstring, with a drawing for each of the four types.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def expand(
    q_ranges: Any, k_ranges: Any, attn_type_map: Any, q_tokens: int, k_tokens: int
) -> NDArray[np.bool_]:
    """Return bools ``[q_tokens, k_tokens]``.

    Raises:
        AssertionError: two slices hold the same pair, which the library would count twice.

    >>> expand([[0, 2]], [[0, 3]], [1], 2, 3).astype(int)
    array([[1, 1, 0],
           [1, 1, 1]])
    """
    times = np.zeros((q_tokens, k_tokens), dtype=np.int64)
    for (q_start, q_stop), (k_start, k_stop), kind in zip(
        q_ranges, k_ranges, attn_type_map, strict=True
    ):
        for query in range(q_start, q_stop):
            for key in range(k_start, k_stop):
                # Causal slices are aligned at their lower right, inverse ones at their upper left.
                below = (k_stop - key) >= (q_stop - query)
                beyond = (key - k_start) >= (query - q_start)
                if {0: True, 1: below, 2: beyond, 3: below and beyond}[int(kind)]:
                    times[query, key] += 1
    if times.max(initial=0) > 1:
        raise AssertionError("slices overlap")
    return times > 0
