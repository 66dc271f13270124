"""What frequency alone would tell: the baseline that a model of text has to be below."""

from __future__ import annotations

import numpy as np

__all__ = ["frequency_losses"]


def frequency_losses(learned: np.ndarray, asked: np.ndarray, vocab: int) -> np.ndarray:
    """Return -log of each asked token's share among the learned ones, in nats.

    Args:
        learned: int [n], tokens that are counted; every token counts once more, so that none is
            impossible.
        asked: int, any shape: what is to be told.
        vocab: how many tokens there are.

    >>> frequency_losses(np.array([0, 0, 1]), np.array([0, 1]), vocab=2).round(4)
    array([0.5108, 0.9163])
    """
    counts = np.bincount(learned, minlength=vocab) + 1
    return -np.log(counts / counts.sum())[asked]
