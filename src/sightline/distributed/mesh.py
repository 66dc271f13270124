"""A mesh of two dimensions: along one a sequence is shared, along the other the heads.

Before they attend, the ranks of a row of the mesh exchange tokens for heads: each gets its heads of
all tokens of the row. Afterwards they exchange back.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import DeviceMesh

from sightline.distributed.collectives import Flight
from sightline.distributed.ranks import Ranks
from sightline.errors import InvalidArgument, ShapeMismatch
from sightline.masks.explicit import per_head
from sightline.masks.heads import at_head
from sightline.masks.mask import Mask

__all__ = ["Across", "across", "heads_of", "to_heads", "to_tokens"]


class Across(NamedTuple):
    """The ranks of a group or a mesh.

    Attributes:
        all: every rank.
        context: those that share a sequence with this one.
        heads: those that share heads with this one; None where there is no such dimension.
    """

    all: Ranks
    context: Ranks
    heads: Ranks | None


def across(where: Any, timeout: float | None = None) -> Across:
    """Return the ranks of a process group, a mesh of one or two dimensions, or all processes.

    ``timeout`` is as for ``Ranks.of``.

    Raises:
        InvalidArgument: what ``Ranks.of`` refuses, a mesh of more dimensions or out of order.
    """
    if not isinstance(where, DeviceMesh) or where.ndim == 1:
        ranks = Ranks.of(where, timeout=timeout)
        return Across(ranks, ranks, None)
    names = tuple(where.mesh.reshape(-1).tolist())
    if where.ndim != 2 or list(names) != sorted(names):
        raise InvalidArgument(
            f"got a mesh of {where.ndim} dimensions with the ranks {list(names)}; wanted one or "
            "two dimensions, (context, heads), and rising ranks; take a part of the mesh by name."
        )
    world = names == tuple(range(dist.get_world_size()))
    whole = Ranks.of(None if world else where._flatten(), timeout=timeout)
    context, heads = (Ranks.of(where.get_group(axis), timeout=timeout) for axis in (0, 1))
    return Across(whole, context, heads)


def heads_of(mask: Mask, ranks: Ranks, heads: int, kv_heads: int) -> Mask:
    """Return the mask of this rank's heads among ``heads``.

    Raises:
        ShapeMismatch: a mask for another number of heads, or ranks that do not divide them.
    """
    if mask.heads not in (1, heads) or heads % ranks.size or kv_heads % ranks.size:
        raise ShapeMismatch(
            f"got {heads} query heads, {kv_heads} key heads and a mask for {mask.heads}, to be "
            f"divided among {ranks.size} ranks; wanted numbers that {ranks.size} divides, and a "
            "mask for 1 head or for all; take a mesh whose second dimension divides the heads."
        )
    if mask.heads == 1:
        return mask
    each = heads // ranks.size
    first = ranks.rank * each
    return per_head(at_head(mask, head) for head in range(first, first + each))


def to_heads(tensor: torch.Tensor, lengths: list[int], heads: Ranks) -> torch.Tensor:
    """Return this rank's heads of all tokens of its row, from all heads of this rank's tokens.

    Args:
        tensor: [batch, heads, this rank's tokens, ...].
        lengths: how many tokens each rank of the row holds.
        heads: the ranks of the row; their number divides the heads.
    """
    return _Swapped.apply(tensor, _gather_tokens, _gather_heads, lengths, heads)


def to_tokens(tensor: torch.Tensor, lengths: list[int], heads: Ranks) -> torch.Tensor:
    """Return what ``to_heads`` was given, from its result."""
    return _Swapped.apply(tensor, _gather_heads, _gather_tokens, lengths, heads)


class _Swapped(torch.autograd.Function):
    """One way forwards; the gradients go the other way."""

    @staticmethod
    def forward(ctx: Any, tensor, there, back, lengths, heads):
        ctx.back, ctx.told = back, (lengths, heads)
        return there(tensor, lengths, heads)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad):
        return ctx.back(grad, *ctx.told), None, None, None, None


def _gather_tokens(tensor: torch.Tensor, lengths: list[int], heads: Ranks) -> torch.Tensor:
    batch, count, own, *rest = tensor.shape
    each = count // heads.size
    # Rows [heads of this rank first, token], of which a rank gets its heads.
    sent = tensor.transpose(0, 1).transpose(1, 2).flatten(0, 1)
    receives = [each * length for length in lengths]
    got = _swap(sent, [each * own] * heads.size, receives, heads)
    parts = [
        part.view(each, length, batch, *rest)
        for part, length in zip(got.split(receives), lengths, strict=True)
    ]
    return torch.cat(parts, dim=1).movedim(2, 0)


def _gather_heads(tensor: torch.Tensor, lengths: list[int], heads: Ranks) -> torch.Tensor:
    batch, each, _, *rest = tensor.shape
    own = lengths[heads.rank]
    rows = tensor.movedim(0, 2)  # [heads, tokens, batch, ...]
    parts = [part.flatten(0, 1) for part in rows.split(lengths, dim=1)]
    sends = [each * length for length in lengths]
    got = _swap(torch.cat(parts), sends, [each * own] * heads.size, heads)
    return got.view(each * heads.size, own, batch, *rest).movedim(2, 0)


def _swap(rows: torch.Tensor, sends: list[int], receives: list[int], heads: Ranks) -> torch.Tensor:
    return Flight(rows, sends, receives, heads, "heads of context parallelism").land()
