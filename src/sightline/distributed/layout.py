"""How a sequence lies on the ranks: who holds which tokens, and who needs which keys of whom."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import torch

from sightline.distributed.agreement import agree, fingerprint
from sightline.distributed.mesh import across, heads_of
from sightline.distributed.portions import Kept, Portion
from sightline.distributed.ranks import Ranks
from sightline.errors import ShapeMismatch
from sightline.masks.arrays import Data
from sightline.masks.mask import Mask
from sightline.plan.planner import plan
from sightline.plan.shard import EVEN_COSTS, Assignment, BlockCosts, Shard, shard, usual_block

__all__ = ["Spread", "spread"]


class Spread:
    """A sequence on several ranks. Made by ``sl.distributed.spread``, alike on every rank.

    Attributes:
        ranks: the processes.
        cut: the shards of the mask it was made for.
        overlap: whether ranks attend to the keys they hold while the others are on their way.
        heads: the ranks among which the heads of some tokens are divided while they attend; None
            where every rank attends with all heads.
        context: the sequence on the ranks that attend with the same heads as this one; the spread
            itself where ``heads`` is None.
    """

    def __init__(self, ranks: Ranks, cut: Shard, overlap: bool) -> None:
        self.ranks, self.cut, self.overlap = ranks, cut, overlap
        self.heads: Ranks | None = None
        self.context: Spread = self
        self._cuts, self._portions, self._positions, self._masks = Kept(), Kept(), Kept(), Kept()
        self._cuts.get(cut.plan.mask, lambda: cut)

    @classmethod
    def over_heads(cls, ranks: Ranks, context: Spread, heads: Ranks) -> Spread:
        """Return ``context`` with the tokens of each of its ranks dealt out to all of ``heads``.

        The first rank gets the tokens that stand first, and so on. ``ranks`` are all of them, the
        heads of a token side by side.
        """
        cut = context.cut
        queries = _divided(cut.queries, heads.size)
        keys = queries if cut.keys is cut.queries else _divided(cut.keys, heads.size)
        result = cls(ranks, Shard(cut.plan, queries, keys, cut.costs), context.overlap)
        result.context, result.heads = context, heads
        return result

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

        def build() -> torch.Tensor:
            return torch.from_numpy(self.queries.positions(self.ranks.rank)).to(device)

        return self._positions.get(str(device), build)

    def under(self, mask: Mask) -> Shard:
        """Return the shards of any mask, for tokens dealt out as here."""
        own = self.cut.plan

        def build() -> Shard:
            made = plan(
                mask,
                own.q_len,
                own.kv_len,
                q_offset=own.q_offset,
                kv_offset=own.kv_offset,
                block_q=own.block_q,
                block_kv=own.block_kv,
            )
            return self.cut.under(made)

        return self._cuts.get(mask, build)

    @cached_property
    def fingerprint(self) -> str:
        """What stands for who holds which tokens, the same on all ranks."""
        sides = (self.queries, self.keys)
        return fingerprint(tuple(Data(part) for each in sides for part in (each.owner, each.edges)))

    def at_heads(self, mask: Mask, heads: int, kv_heads: int) -> Mask:
        """Return the mask of those heads, of so many, with which this rank attends.

        Raises:
            ShapeMismatch: the mask's heads are others, or the ranks do not divide them.
        """
        over = self.heads
        if over is None:
            return mask
        return self._masks.get(
            (mask, heads, kv_heads), lambda: heads_of(mask, over, heads, kv_heads)
        )

    def portion(self, mask: Mask, batch: int, device: torch.device) -> Portion:
        """Return this rank's part of attention under a mask, for tensors of ``batch`` rows.

        Raises:
            ShapeMismatch: other rows than those that are dealt out each in its own way.
        """
        told = max(self.queries.batch, self.keys.batch)
        if told not in (1, batch):
            raise ShapeMismatch(
                f"got {batch} batch rows; wanted {told}, which the spread deals out each in its "
                "own way; make the spread for the mask of this batch."
            )

        def build() -> Portion:
            return Portion(mask, self.under(mask), self.ranks.rank, batch, device)

        return self._portions.get((mask, batch, str(device)), build)

    def has_portion(self, mask: Mask, batch: int, device: torch.device) -> bool:
        """Return whether such attention was asked of this sequence before (64 masks are kept)."""
        return (mask, batch, str(device)) in self._portions


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
    keys: Assignment | None = None,
    timeout: float | None = None,
) -> Spread:
    """Deal a sequence out to the ranks of a group; every rank must call it alike.

    Over a mesh of two dimensions, (context, heads), tokens are dealt out to all of its ranks. To
    attend, the ranks of a row of the mesh divide the heads among them, each with all tokens of
    the row, and columns share a sequence as the ranks of a group do.

    Args:
        mask: who may see whom; its work is what is balanced.
        length: how many queries the whole sequence has.
        kv_len: how many keys; None means ``length``.
        group: a process group or a ``DeviceMesh`` of one or two dimensions; None for all
            processes.
        block: tokens that stay together; None for 128, or fewer where the sequence is short.
        communication: what receiving one key costs, in allowed pairs, as for ``shard``.
        costs: what the engine's blocks cost, as for ``shard``.
        overlap: whether to attend to the keys at hand while the others are on their way, which
            rounds differently from one process.
        keys: who holds which keys, where they are another sequence that is dealt out already: the
            ``queries`` of its spread; None as for ``shard``.
        timeout: seconds after which a rank that does not come is given up, here and in whatever
            the same ranks do together from now on; None for what was said before, else the
            environment variable ``SIGHTLINE_RANKS_TIMEOUT``, else 300 or the group's own where
            that is shorter.

    Raises:
        InvalidArgument: torch.distributed is not initialised, or a timeout of no length.
        ShapeMismatch: fewer blocks than ranks, or ``keys`` of another length or for other ranks.
        RanksDisagree: ranks were told different things.
        RankLost: a rank died, stopped with an error, or does not come in time.
    """
    ranks, context, heads = across(group, timeout)
    if block is None:
        block = usual_block(length, ranks.size)
    facts = {"mask": mask, "length": length, "kv_len": kv_len, "block": block}
    options = {"communication": communication, "costs": tuple(costs), "overlap": overlap}
    if keys is not None:
        options["keys"] = fingerprint((Data(keys.owner), Data(keys.edges)))
    agree(ranks, "sl.distributed.spread", {**facts, **options})
    if -(-length // block) < ranks.size:
        raise ShapeMismatch(
            f"got {length} tokens in blocks of {block} for {ranks.size} ranks; wanted a block or "
            "more for each; take a smaller block or fewer ranks."
        )
    block_kv = block if keys is None else int(keys.sizes.max(initial=1))
    made = plan(mask, length, kv_len, block_q=block, block_kv=block_kv)
    if keys is not None and heads is not None:
        keys = _joined(keys, heads.size)
    cut = shard(made, context.size, communication=communication, costs=costs, keys=keys)
    result = Spread(context, cut, overlap)
    return result if heads is None else Spread.over_heads(ranks, result, heads)


def _divided(assignment: Assignment, heads: int) -> Assignment:
    """Return the tokens of each rank dealt out in order to ``heads`` ranks that stand for it."""
    owner = np.empty_like(assignment.owner)
    for row, told in zip(owner, assignment.owner, strict=True):
        for rank in range(assignment.ranks):
            (blocks,) = np.nonzero(told == rank)
            part = np.arange(len(blocks)) * heads // max(len(blocks), 1)
            row[blocks] = rank * heads + part
    return Assignment(owner, assignment.edges, assignment.ranks * heads)


def _joined(assignment: Assignment, heads: int) -> Assignment:
    """Return what ``_divided`` made its result from."""
    return Assignment(assignment.owner // heads, assignment.edges, assignment.ranks // heads)
