"""How good a ranking is: Hit@k and NDCG@k of the one right item among candidates.

numpy only. With a single right item, NDCG@k is 1 / log2(rank + 2) for a rank below k, else 0.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["hit_rate", "ndcg", "ranks_of_first"]


def ranks_of_first(scores: NDArray[np.floating] | NDArray[np.integer]) -> NDArray[np.float64]:
    """Return how many others stand before candidate 0, for each row; a tie counts half.

    Args:
        scores: [rows, candidates]; higher is better.

    Returns:
        [rows], from 0.

    >>> ranks_of_first(np.array([[2.0, 3.0, 1.0, 2.0]])).tolist()
    [1.5]
    """
    first, others = scores[:, :1], scores[:, 1:]
    return (others > first).sum(axis=1) + 0.5 * (others == first).sum(axis=1)


def hit_rate(ranks: NDArray[np.floating], k: int = 10) -> float:
    """Return which part of the ranks is among the first ``k``.

    >>> hit_rate(np.array([0.0, 9.0, 10.0, 99.0]))
    0.5
    """
    return float((ranks < k).mean())


def ndcg(ranks: NDArray[np.floating], k: int = 10) -> float:
    """Return the mean of 1 / log2(rank + 2) over ranks below ``k``, and 0 for the others.

    Source: Järvelin and Kekäläinen 2002, "Cumulated gain-based evaluation of IR techniques".

    >>> ndcg(np.array([0.0, 2.0, 10.0, 99.0]))
    0.375
    """
    return float(np.where(ranks < k, 1 / np.log2(ranks + 2), 0.0).mean())
