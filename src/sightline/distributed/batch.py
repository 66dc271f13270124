"""A rank's share of a batch, and the whole from the shares."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist

from sightline.distributed.layout import Spread
from sightline.distributed.routes import table_of
from sightline.errors import ShapeMismatch

__all__ = ["shard_batch", "unshard"]


def shard_batch(batch: Any, spread: Spread, *, dim: int = 1) -> Any:
    """Return this rank's share of a tensor [batch, length, ...], or of each tensor of a mapping.

    In a mapping, tensors of that length are cut and all else is passed on.
    """
    if isinstance(batch, torch.Tensor):
        return _take(batch, spread, dim)
    whole = spread.queries.length
    return {
        name: _take(each, spread, dim)
        if isinstance(each, torch.Tensor) and each.ndim > dim and each.shape[dim] == whole
        else each
        for name, each in batch.items()
    }


def unshard(share: torch.Tensor, spread: Spread, *, dim: int = 1) -> torch.Tensor:
    """Return the whole [batch, length, ...] on every rank, from the share of each."""
    if share.shape[dim] != spread.length:
        raise ShapeMismatch(
            f"got a share of {share.shape[dim]} tokens on rank {spread.ranks.rank}; wanted "
            f"{spread.length}; give what shard_batch gave, or a result for it."
        )
    rows = share.movedim(dim, 1)
    most = int(spread.queries.lengths.max())
    padded = rows.new_zeros(rows.shape[0], most, *rows.shape[2:])
    padded[:, : rows.shape[1]] = rows
    parts = [torch.empty_like(padded) for _ in range(spread.ranks.size)]
    dist.all_gather(parts, padded.contiguous(), group=spread.ranks.group)
    whole = rows.new_zeros(rows.shape[0], spread.queries.length, *rows.shape[2:])
    for rank, part in enumerate(parts):
        table = torch.from_numpy(table_of(spread.queries, rank)).expand(rows.shape[0], -1)
        row, place = torch.nonzero(table >= 0, as_tuple=True)
        whole[row, place] = part[row, table[row, place]]
    return whole.movedim(1, dim)


def _take(tensor: torch.Tensor, spread: Spread, dim: int) -> torch.Tensor:
    if tensor.shape[dim] != spread.queries.length:
        raise ShapeMismatch(
            f"got {tensor.shape[dim]} tokens along dim {dim}; wanted {spread.queries.length}, the "
            "length of the whole sequence; cut before anything else is done to a batch."
        )
    place = (spread.positions(tensor.device) - int(spread.queries.edges[0])).expand(
        tensor.shape[0], -1
    )
    if dim == 0:
        return tensor[place[0]]
    row = torch.arange(tensor.shape[0], device=tensor.device)[:, None]
    return tensor.movedim(dim, 1)[row, place].movedim(1, dim)
