"""Dealing blocks of queries out to ranks: equally many to each, and equally much work.

What the work of a block is, and what a rank then has to receive, is shard.py's matter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sightline.plan.block_map import BlockMap

__all__ = ["assign"]


def assign(
    plan: BlockMap, cost: NDArray[np.float64], ranks: int, communication: float
) -> NDArray[np.int32]:
    """Return the rank of each block of queries, int32 ``[1|B, q_blocks]``.

    Every rank gets as many blocks (give or take one) and as many tokens in one batch row as in
    another; a last block that is shorter than the others stays where it is.

    Args:
        plan: the block map.
        cost: what each block costs, ``[batch, q_blocks]``, over the plan's heads.
        ranks: among how many they are dealt out.
        communication: what receiving one key costs, in allowed pairs.
    """
    blocks = plan.q_blocks
    half = np.arange(blocks) * (2 * ranks) // max(blocks, 1)
    return np.minimum(half, 2 * ranks - 1 - half).astype(np.int32)[None]
