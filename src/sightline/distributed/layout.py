"""How a sequence lies on the ranks: who holds which tokens, and who needs which keys of whom."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from sightline.distributed.ranks import Ranks
from sightline.errors import ShapeMismatch
from sightline.masks.mask import Mask
from sightline.plan.planner import plan
from sightline.plan.shard import EVEN_COSTS, Assignment, BlockCosts, Shard, shard

__all__ = ["Spread", "spread"]

# Blocks a rank has at least, where a sequence is long enough: with fewer, areas differ.
_LEAST_BLOCKS = 8
_LARGEST_BLOCK = 128


class Spread:
    """A sequence on several ranks. Made by ``sl.distributed.spread``, alike on every rank.

    Attributes:
        ranks: the processes.
        cut: the shards of the mask it was made for.
        overlap: whether ranks attend to the keys they hold while the others are on their way.
    """

    def __init__(self, ranks: Ranks, cut: Shard, overlap: bool) -> None:
        self.ranks, self.cut, self.overlap = ranks, cut, overlap
        self._cuts = {cut.plan.mask: cut}

    @property
    def queries(self) -> Assignment:
        """Who holds which queries."""
        return self.cut.queries

    @property
    def keys(self) -> Assignment:
        """Who holds which keys."""
        return self.cut.keys

    @property
    def length(self) -> int:
        """How many queries this rank holds."""
        return int(self.queries.lengths[self.ranks.rank])

    def positions(self, device: Any = None) -> torch.Tensor:
        """Return the absolute positions [1|batch, length] of this rank's queries."""
        return torch.from_numpy(self.queries.positions(self.ranks.rank)).to(device)

    def under(self, mask: Mask) -> Shard:
        """Return the shards of any mask, for tokens dealt out as here."""
        found = self._cuts.get(mask)
        if found is None:
            own = self.cut.plan
            made = plan(
                mask,
                own.q_len,
                own.kv_len,
                q_offset=own.q_offset,
                kv_offset=own.kv_offset,
                block_q=own.block_q,
                block_kv=own.block_kv,
            )
            found = self._cuts[mask] = self.cut.under(made)
        return found


def spread(
    mask: Mask,
    length: int,
    kv_len: int | None = None,
    *,
    group: Any = None,
    block: int | None = None,
    communication: float = 0.0,
    costs: BlockCosts = EVEN_COSTS,
    overlap: bool = True,
) -> Spread:
    """Deal a sequence out to the ranks of a group; every rank must call it alike.

    Args:
        mask: who may see whom; its work is what is balanced.
        length: how many queries the whole sequence has.
        kv_len: how many keys; None means ``length``.
        group: a process group or a ``DeviceMesh``; None for all processes.
        block: tokens that stay together; None for 128, or fewer where the sequence is short.
        communication: what receiving one key costs, in allowed pairs, as for ``shard``.
        costs: what work costs.
        overlap: whether to attend to the keys at hand while the others are on their way, which
            rounds differently from one process.

    Raises:
        InvalidArgument: torch.distributed is not initialised.
        ShapeMismatch: fewer blocks than ranks.
    """
    ranks = Ranks.of(group)
    if block is None:
        block = _LARGEST_BLOCK
        while block > 1 and length < block * ranks.size * _LEAST_BLOCKS:
            block //= 2
    if -(-length // block) < ranks.size:
        raise ShapeMismatch(
            f"got {length} tokens in blocks of {block} for {ranks.size} ranks; wanted a block or "
            "more for each; take a smaller block or fewer ranks."
        )
    made = plan(mask, length, kv_len, block_q=block, block_kv=block)
    cut = shard(made, ranks.size, communication=communication, costs=costs)
    return Spread(ranks, cut, overlap)


def table_of(assignment: Assignment, rank: int) -> np.ndarray:
    """Return the place of each position among the tokens a rank holds, [1|B, length]; else -1."""
    inside = np.repeat(assignment.owner, assignment.sizes, axis=1) == rank
    return np.where(inside, np.cumsum(inside, axis=1) - 1, -1)
