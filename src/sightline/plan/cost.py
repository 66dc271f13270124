"""What attention under a plan costs, in pairs, operations and bytes: arithmetic, no measurement.

How long it takes is a matter of the engine and the machine, and is left to benchmarks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sightline.errors import InvalidArgument, ShapeMismatch
from sightline.masks.arguments import as_size

if TYPE_CHECKING:
    from sightline.plan.block_map import BlockMap

__all__ = ["Cost", "cost_of", "forward_flops"]

# Operations a pair and head dimension: a multiplication and an addition for each product of
# matrices, of which there are two forward (scores, output) and five backward (scores again,
# gradients of weights, values, queries, keys).
_FORWARD, _BACKWARD = 2 * 2, 2 * 5
_BOOL, _FLOAT32 = 1, 4


@dataclass(frozen=True, slots=True)
class Cost:
    """Exact counts over all batch rows and heads; "dense" is what it is without the mask.

    Attributes:
        pairs: allowed (query, key) pairs.
        computed_pairs: cells of the blocks that are full or partial, which a kernel that skips
            empty blocks computes.
        dense_pairs: all pairs.
        forward_flops, backward_flops: operations of the products of matrices on computed pairs,
            ``4 * head_dim`` and ``10 * head_dim`` each; softmax and scaling are not counted.
        dense_forward_flops, dense_backward_flops: the same on all pairs.
        bytes_moved: queries read and outputs written once, and for each block of queries the
            keys and values of its blocks read once. Query heads that share a key/value head read
            them together if the mask is the same for all heads.
        dense_bytes_moved: the same with every block of keys read.
        mask_bytes: the mask written out as bools, over the batch rows and heads it tells apart.
        score_bytes: the scores of all pairs written out as float32.
    """

    pairs: int
    computed_pairs: int
    dense_pairs: int
    forward_flops: int
    dense_forward_flops: int
    backward_flops: int
    dense_backward_flops: int
    bytes_moved: int
    dense_bytes_moved: int
    mask_bytes: int
    score_bytes: int

    @property
    def share_computed(self) -> float:
        """Computed ÷ all pairs, which is also the share of the operations; 0 without pairs."""
        return self.computed_pairs / self.dense_pairs if self.dense_pairs else 0.0

    @property
    def share_moved(self) -> float:
        """Bytes moved ÷ those of a dense kernel; 0 if there are none."""
        return self.bytes_moved / self.dense_bytes_moved if self.dense_bytes_moved else 0.0

    @property
    def share_useful(self) -> float:
        """Allowed ÷ computed pairs: how closely the blocks fit the mask; 1 if none is computed."""
        return self.pairs / self.computed_pairs if self.computed_pairs else 1.0


def cost_of(
    plan: BlockMap,
    *,
    batch: int | None = None,
    heads: int | None = None,
    head_dim: int = 64,
    dtype_bytes: int = 4,
    kv_heads: int | None = None,
) -> Cost:
    """Return what attention under a plan costs, counted from its blocks.

    Args:
        plan: which blocks there are.
        batch: number of batch rows; None means those that the mask tells apart.
        heads: number of query heads; None means those that the mask tells apart.
        head_dim: length of a query, key, value or output vector.
        dtype_bytes: bytes of one of its numbers.
        kv_heads: number of key/value heads; None means ``heads``.

    Raises:
        ShapeMismatch: ``batch`` or ``heads`` is not that of a mask which tells rows or heads
            apart, or ``kv_heads`` does not divide ``heads``.
        InvalidArgument: a number that is no integer of at least 1.

    >>> import sightline as sl
    >>> cost = cost_of(sl.plan(sl.causal(), 512), heads=8)
    >>> cost.pairs, cost.computed_pairs, cost.dense_pairs
    (1050624, 1310720, 2097152)
    >>> cost.share_computed
    0.625
    """
    batch = _matching("batch", batch, plan.batch)
    heads = _matching("heads", heads, plan.heads)
    kv_heads = (
        heads
        if kv_heads is None
        else as_size(kv_heads, "cost_of(kv_heads=)", error=InvalidArgument)
    )
    if heads % kv_heads:
        raise ShapeMismatch(f"{kv_heads} key/value heads do not divide {heads} query heads.")
    head_dim = as_size(head_dim, "cost_of(head_dim=)", error=InvalidArgument)
    vector = head_dim * as_size(dtype_bytes, "cost_of(dtype_bytes=)", error=InvalidArgument)
    heights, widths = plan.extents()
    computed, keys = int((heights * widths).sum()), int(widths.sum())
    times = (batch // plan.batch) * (heads // plan.heads)
    readers = (batch // plan.batch) * (kv_heads if plan.heads == 1 else heads // plan.heads)
    ends = 2 * batch * heads * plan.q_len * vector  # queries and outputs
    all_pairs = batch * heads * plan.q_len * plan.kv_len
    return Cost(
        pairs=plan.pairs * times,
        computed_pairs=computed * times,
        dense_pairs=all_pairs,
        forward_flops=forward_flops(computed * times, head_dim),
        dense_forward_flops=forward_flops(all_pairs, head_dim),
        backward_flops=computed * times * _BACKWARD * head_dim,
        dense_backward_flops=all_pairs * _BACKWARD * head_dim,
        bytes_moved=ends + 2 * keys * readers * vector,
        dense_bytes_moved=ends + 2 * _dense_keys(plan) * readers * vector,
        mask_bytes=plan.all_pairs * _BOOL,
        score_bytes=all_pairs * _FLOAT32,
    )


def forward_flops(pairs: int, head_dim: int) -> int:
    """Return the operations of a forward pass over so many pairs, softmax and scaling aside."""
    return pairs * _FORWARD * head_dim


def _matching(axis: str, size: int | None, own: int) -> int:
    if size is None:
        return own
    size = as_size(size, f"cost_of({axis}=)", error=InvalidArgument)
    if own not in (1, size):
        raise ShapeMismatch(
            f"the mask tells {own} along {axis} apart, and {axis}={size} was given; it must be "
            f"{own}, or the mask the same for all."
        )
    return size


def _dense_keys(plan: BlockMap) -> int:
    """Return how many keys all blocks of queries together read if none is skipped."""
    rows, _ = plan.grid.filled(np.arange(plan.batch))
    return int(rows.sum()) * plan.heads * plan.kv_len
