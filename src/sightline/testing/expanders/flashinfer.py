"""What mask bits and blocks mean to flashinfer.

Source: the docstrings of flashinfer.single_prefill_with_kv_cache, of the batch prefill wrappers, of
BlockSparseAttentionWrapper.plan and of flashinfer.quantization.packbits, version 0.7.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def expand_packed(packed_custom_mask: Any, q_len: int, kv_len: int) -> NDArray[np.bool_]:
    """Return bools ``[q_len, kv_len]``: bit i of byte n is pair 8·n + i, row after row.

    >>> expand_packed([0b00001101], 2, 2).astype(int)
    array([[1, 0],
           [1, 1]])
    """
    if len(packed_custom_mask) != -(-q_len * kv_len // 8):
        raise AssertionError("the bytes do not fit the pairs")
    allowed = np.zeros((q_len, kv_len), dtype=np.bool_)
    for query in range(q_len):
        for key in range(kv_len):
            pair = query * kv_len + key
            allowed[query, key] = int(packed_custom_mask[pair // 8]) >> (pair % 8) & 1
    return allowed


def expand_requests(qo_indptr: Any, kv_indptr: Any, custom_mask: Any) -> NDArray[np.bool_]:
    """Return bools ``[all queries, all keys]``; requests follow each other in the mask."""
    allowed = np.zeros((int(qo_indptr[-1]), int(kv_indptr[-1])), dtype=np.bool_)
    pair = 0
    for request in range(len(qo_indptr) - 1):
        for query in range(int(qo_indptr[request]), int(qo_indptr[request + 1])):
            for key in range(int(kv_indptr[request]), int(kv_indptr[request + 1])):
                allowed[query, key] = bool(custom_mask[pair])
                pair += 1
    if pair != len(custom_mask):
        raise AssertionError("the mask does not fit the pairs")
    return allowed


def expand_blocks(arguments: dict[str, Any]) -> NDArray[np.bool_]:
    """Return bools ``[M, N]`` for the arguments of ``BlockSparseAttentionWrapper.plan``.

    >>> sizes = {"M": 2, "N": 4, "R": 1, "C": 2}
    >>> expand_blocks({"indptr": [0, 1, 2], "indices": [1, 0], **sizes, "mask": None}).astype(int)
    array([[0, 0, 1, 1],
           [1, 1, 0, 0]])
    """
    q_len, kv_len, block_q, block_kv = (arguments[name] for name in ("M", "N", "R", "C"))
    indptr, indices, mask = (arguments[name] for name in ("indptr", "indices", "mask"))
    rows = q_len // block_q
    if q_len % block_q or kv_len % block_kv or len(indptr) != rows + 1:
        raise AssertionError("blocks do not fit the lengths")
    allowed = np.zeros((q_len, kv_len), dtype=np.bool_)
    for row in range(rows):
        for n in range(int(indptr[row]), int(indptr[row + 1])):
            for i in range(block_q):
                for j in range(block_kv):
                    seen = True if mask is None else bool(mask[n][i][j])
                    allowed[row * block_q + i, int(indices[n]) * block_kv + j] = seen
    return allowed
