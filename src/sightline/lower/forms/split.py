"""A mask split into "who sees whom" and "which keys are there", as libraries like it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def split(
    dense: NDArray[np.bool_],
) -> tuple[NDArray[np.bool_] | None, NDArray[np.bool_] | None]:
    """Split [batch|1, heads|1, Q, K] into pairs [Q, K] and keys [batch, K], if that is exact.

    If allowed[b, q, k] = A[q, k] and P[b, k] for any A and P at all, then it also holds for the
    smallest such A (some batch row allows the pair) and P (some query of the row sees the key),
    because whatever is allowed lies in both and both lie in A and P. So trying these two decides
    whether a split exists. (None, None) if there is none; keys None if batch is 1.
    """
    if dense.shape[1] != 1:
        return None, None
    allowed = dense[:, 0]
    if len(allowed) == 1:
        return allowed[0], None
    pairs, keys = (np.logical_or.reduce(allowed, axis=axis) for axis in (0, 1))
    if np.array_equal(np.broadcast_to(keys[:, None], allowed.shape), allowed):
        return np.ones_like(pairs), keys
    if np.array_equal(pairs[None] & keys[:, None], allowed):
        return pairs, keys
    return None, None
