"""``sl.distributed.context_parallel``: layers that attend over all ranks, their code unchanged.

Which tokens a layer holds is told by how many they are: those of the sequence, or of a memory.
What layers ask is in engines/shared.py, and so is what refuses to run on a share.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch

from sightline.distributed.attention import attend
from sightline.distributed.failures import telling
from sightline.distributed.layout import Spread
from sightline.engines.shared import asked_inside, in_backward, sharing
from sightline.errors import CannotExpress, InvalidArgument, ShapeMismatch
from sightline.masks.mask import Mask
from sightline.masks.positional import everything
from sightline.plan.planner import plan
from sightline.plan.shard import Assignment, Shard

__all__ = ["context_parallel"]

# torch.compile cannot follow what ranks say to each other.
_apart: Any = torch.compiler.disable


@contextmanager
def context_parallel(
    spread: Spread | None, *, memory: Spread | None = None
) -> Iterator[Spread | None]:
    """Let every attention inside the block reach over all ranks.

    Inside, the tokens of a layer are this rank's share, masks are over absolute positions (of the
    whole sequence, None being everything), positions that a layer or model counts are those of the
    share, and ``sl.attend`` is ``sl.distributed.attend``. What would be wrong on a share refuses:
    masks as tensors, weights, caches, and layers that mix tokens in another way. What Sightline
    does not see is the user's to keep out: a convolution of torch's own, say, or tokens of another
    kind that happen to be as many as the share. Dropout is drawn on each rank by itself: give each
    a seed of its own.

    ``backward()`` may be called outside of the block, except where activations are worked out
    again (``torch.utils.checkpoint``), which is refused there, and in the block of another spread
    where its masks are others. Blocks may be nested; the innermost counts. An error that leaves
    the block on one rank is told to the others, where they wait for it.

    Args:
        spread: who holds which tokens; None where all tokens of the layers inside are at hand, for
            a part of a model within another block.
        memory: likewise of a second sequence, such as a source whose encoding a decoder looks at.
            Encoder, decoder and what lies between then run in one block.

    Raises:
        InvalidArgument: a spread and a memory of other ranks, or ranks that hold as many tokens of
            one as of the other, which nothing would tell apart; take another ``block=`` for one,
            or one spread for both where they are equally long.

    >>> import sightline as sl, torch, torch.distributed as dist
    >>> dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    >>> lone = sl.distributed.spread(sl.causal(), 3)
    >>> layer = sl.nn.MultiheadAttention(8, 2, positions=sl.nn.Rotary(4), batch_first=True)
    >>> with sl.distributed.context_parallel(lone):
    ...     output, _ = layer(torch.ones(1, 3, 8), mask=sl.causal(), need_weights=False)
    >>> output.shape
    torch.Size([1, 3, 8])
    >>> dist.destroy_process_group()
    """
    if spread is None:
        with sharing(None):
            yield None
        return
    with telling(spread.ranks), sharing(_Answers(spread, memory)):
        yield spread


class _Answers:
    """What the engines and layers ask while the block runs."""

    def __init__(self, spread: Spread, memory: Spread | None) -> None:
        self._spread, self._memory = spread, memory
        self._positions: dict[tuple[int, str], torch.Tensor] = {}
        self._crossings: dict[tuple[int, int], Spread] = {}
        self._sides = _told_apart(spread, memory)

    @_apart
    def attend(self, query: Any, key: Any, value: Any, mask: Any, **options: Any) -> Any:
        q_offset = options.pop("q_offset", 0)
        if q_offset:
            raise CannotExpress(
                destination="context parallelism",
                part=f"q_offset={q_offset}",
                reason="the tokens of a rank have positions of their own",
                alternative="the same call outside of sl.distributed.context_parallel",
            )
        over = self._spread
        if all(isinstance(each, torch.Tensor) and each.ndim == 4 for each in (query, key)):
            asked_inside(query.shape[2], key.shape[2])
            over = self._between(query.shape[2], key.shape[2])
            if in_backward() and isinstance(mask, Mask):
                _refuse_anothers(query, key, mask, over)
        return attend(query, key, value, mask, spread=over, **options)

    @_apart
    def positions(self, length: int, device: torch.device) -> torch.Tensor:
        name = length, str(device)
        if name not in self._positions:
            held = self._holder(length).tokens.positions(self._spread.ranks.rank)
            self._positions[name] = torch.from_numpy(held).to(device)
        return self._positions[name]

    @_apart
    def stop(self, length: int) -> int:
        return int(self._holder(length).tokens.edges[-1])

    def _holder(self, length: int) -> _Side:
        """Return who holds which tokens of the sequence of which this rank has ``length``."""
        rank = self._spread.ranks.rank
        for side in self._sides:
            if int(side.tokens.lengths[rank]) == length:
                return side
        held = " or ".join(str(int(each.tokens.lengths[rank])) for each in self._sides)
        raise ShapeMismatch(
            f"got {length} tokens on rank {rank}; wanted its share, {held}; cut the batch with "
            "sl.distributed.shard_batch."
        )

    def _between(self, queries: int, keys: int) -> Spread:
        """Return the spread of an attention of so many queries and keys of this rank."""
        own = self._spread
        if self._memory is None:
            return own  # which refuses other lengths
        query, key = self._holder(queries), self._holder(keys)
        for each in (own, self._memory):
            if each.queries is query.tokens and each.keys is key.tokens:
                return each
        name = queries, keys
        if name not in self._crossings:
            self._crossings[name] = _crossing(own, query, key)
        return self._crossings[name]


def _refuse_anothers(query: torch.Tensor, key: torch.Tensor, mask: Mask, over: Spread) -> None:
    """Refuse what a backward pass works out again of another block, whose shares are as long.

    What belongs here was asked here before.
    """
    mine = over.at_heads(mask, query.shape[1], key.shape[1])
    if over.context.has_portion(mine, query.shape[0], query.device):
        return
    raise CannotExpress(
        destination="context parallelism",
        part=f"attention under {mask} that a backward pass works out again in another block",
        reason="this block's spread was never asked for it before",
        alternative="backward() inside context_parallel of the spread of its forward pass",
    )


class _Side(NamedTuple):
    """Who holds which tokens of a sequence, and who attends with them: over heads, fewer ranks."""

    tokens: Assignment
    context: Assignment


def _crossing(like: Spread, query: _Side, key: _Side) -> Spread:
    """Return the spread of queries of one sequence over keys of another."""
    queries, keys = query.context, key.context
    rows, columns = int(queries.sizes.max()), int(keys.sizes.max())
    made = plan(everything(), queries.length, keys.length, block_q=rows, block_kv=columns)
    cut = Shard(made, queries, keys, like.cut.costs)
    context = Spread(like.context.ranks, cut, like.overlap)
    return context if like.heads is None else Spread.over_heads(like.ranks, context, like.heads)


def _told_apart(spread: Spread, memory: Spread | None) -> list[_Side]:
    """Return who holds what of the sequences there are, which lengths must tell apart."""
    found: list[_Side] = []
    for each in (spread, memory):
        if each is None:
            continue
        if _processes(each) != _processes(spread):
            raise InvalidArgument(
                f"got a sequence on the ranks {_processes(spread)} and a memory on "
                f"{_processes(each)}; wanted the same, over the same heads; make both with the "
                "same group=."
            )
        for side in (
            _Side(each.queries, each.context.queries),
            _Side(each.keys, each.context.keys),
        ):
            if not any(_alike(side.tokens, other.tokens) for other in found):
                _check_other_lengths(side, found)
                found.append(side)
    return found


def _processes(spread: Spread) -> tuple[tuple[int, ...], int]:
    """Return the ranks of a spread, and among how many of them heads are divided."""
    return spread.ranks.names, 1 if spread.heads is None else spread.heads.size


def _check_other_lengths(side: _Side, found: list[_Side]) -> None:
    for other in found:
        both = np.flatnonzero(side.tokens.lengths == other.tokens.lengths)
        if len(both):
            raise InvalidArgument(
                f"got two sequences of which rank {int(both[0])} holds equally many tokens, "
                f"{int(side.tokens.lengths[both[0]])}; wanted numbers that tell them apart; take "
                "another block= for one, or one spread for both if they are equally long."
            )


def _alike(one: Assignment, other: Assignment) -> bool:
    same_blocks = np.array_equal(one.edges, other.edges)
    return one is other or (same_blocks and np.array_equal(one.owner, other.owner))
