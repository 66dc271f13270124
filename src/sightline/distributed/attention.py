"""``sl.distributed.attend``: attention over a sequence whose tokens lie on several ranks.

Each rank keeps its queries and is sent exactly the blocks of keys that those may see. The kernels
are those of ``sl.attend``, whose mask is asked at the absolute positions of what is at hand.
"""

from __future__ import annotations

from typing import Any

import torch

from sightline.distributed.agreement import agree
from sightline.distributed.exchange import gather_keys
from sightline.distributed.layout import Spread
from sightline.distributed.routes import route
from sightline.engines.attend import attend_here
from sightline.errors import ShapeMismatch
from sightline.masks.gathered import gathered
from sightline.masks.mask import Mask

__all__ = ["attend"]


def attend(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: Mask,
    *,
    spread: Spread,
    scale: float | None = None,
    bias: Any = None,
    dropout: float = 0.0,
    return_lse: bool = False,
    engine: str = "auto",
) -> Any:
    """Return what ``sl.attend`` returns for this rank's queries over the keys of all ranks.

    Args:
        query: [batch, heads, this rank's queries, head_dim], in the order of their positions.
        key: [batch, kv_heads, this rank's keys, head_dim], likewise.
        value: [batch, kv_heads, this rank's keys, value_dim].
        mask: who may see whom, over the absolute positions of the whole sequence.
        spread: who holds which tokens.
        scale: as for ``sl.attend``.
        bias: refused so far.
        dropout: as for ``sl.attend``.
        return_lse: as for ``sl.attend``.
        engine: as for ``sl.attend``.

    Raises:
        ShapeMismatch: tensors that are not this rank's share.
    """
    rank = spread.ranks.rank
    given = {"query": query, "key": key, "value": value}
    wanted = spread.length, int(spread.keys.lengths[rank])
    if (query.shape[2], key.shape[2]) != wanted:
        raise ShapeMismatch(
            f"got {query.shape[2]} queries and {key.shape[2]} keys on rank {rank}; wanted its "
            f"share, {wanted[0]} and {wanted[1]}; cut the batch with sl.distributed.shard_batch."
        )
    shapes = {name: tuple(x.shape[i] for i in (0, 1, 3)) for name, x in given.items()}
    dtype = str(query.dtype)
    agree(spread.ranks, "sl.distributed.attend", {"mask": repr(mask), "dtype": dtype, **shapes})
    cut = spread.under(mask)
    way = route(cut, rank, query.shape[0])
    keys, values = gather_keys(key, value, way, spread.ranks)
    here = gathered(mask, spread.queries.positions(rank), way.positions)
    return attend_here(
        query,
        keys,
        values,
        here,
        scale=scale,
        bias=bias,
        dropout=dropout,
        return_lse=return_lse,
        engine=engine,
    )
