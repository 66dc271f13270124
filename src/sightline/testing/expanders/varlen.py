"""What cumulative lengths and windows mean to kernels for packed sequences.

Source: the docstrings of flash_attn.flash_attn_varlen_func and torch's varlen_attn: the last query
of a sequence stands at its last key; a query at p sees p - left .. p + right; -1 is no limit.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def expand_torch(keywords: dict[str, Any]) -> NDArray[np.bool_]:
    """Return bools ``[queries, keys]`` for the keywords of ``varlen_attn``."""
    left, right = keywords.get("window_size", (-1, 0 if keywords.get("is_causal") else -1))
    return _expand(
        keywords["cu_seq_q"],
        keywords["cu_seq_k"],
        keywords["max_q"],
        keywords["max_k"],
        left,
        right,
    )


def expand_flash_attn(keywords: dict[str, Any]) -> NDArray[np.bool_]:
    """Return bools ``[queries, keys]`` for the keywords of ``flash_attn_varlen_func``."""
    left, right = keywords["window_size"]
    return _expand(
        keywords["cu_seqlens_q"],
        keywords["cu_seqlens_k"],
        keywords["max_seqlen_q"],
        keywords["max_seqlen_k"],
        left,
        0 if keywords["causal"] else right,
    )


def _expand(
    cu_q: Any, cu_k: Any, max_q: int, max_k: int, left: int, right: int
) -> NDArray[np.bool_]:
    # The kernels take a side that is not shorter than the longest sequence for no limit.
    left = -1 if left >= max_k else left
    right = -1 if right >= max_k else right
    allowed = np.zeros((int(cu_q[-1]), int(cu_k[-1])), dtype=np.bool_)
    for s in range(len(cu_q) - 1):
        queries, keys = int(cu_q[s + 1] - cu_q[s]), int(cu_k[s + 1] - cu_k[s])
        if queries > max_q or keys > max_k:
            raise AssertionError("a sequence is longer than what was said to be the longest")
        for query in range(queries):
            place = query + keys - queries
            for key in range(keys):
                near = left < 0 or key >= place - left
                if near and (right < 0 or key <= place + right):
                    allowed[int(cu_q[s]) + query, int(cu_k[s]) + key] = True
    return allowed
