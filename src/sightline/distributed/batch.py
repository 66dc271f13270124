"""A rank's share of a batch, and the whole from the shares.

What is cut is moved, never changed: labels must be the next tokens before they are cut (labels.py).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import torch

from sightline.distributed.collectives import all_gather, all_to_all
from sightline.distributed.failures import telling
from sightline.distributed.layout import Spread
from sightline.distributed.ranks import Ranks
from sightline.errors import InvalidArgument, ShapeMismatch
from sightline.nn.batch import Batch

__all__ = ["shard_batch", "unshard"]


def shard_batch(
    batch: Any,
    spread: Spread,
    *,
    dim: int = 1,
    names: Collection[str] | None = None,
    positions: bool = False,
) -> Any:
    """Return this rank's share of a batch; every rank gives the whole.

    The tokens of a share stand in the order of their positions. Only the sequence is cut: what
    holds a number for each pair of tokens must not be cut but said as a mask, and labels must be
    the next tokens already (``sl.distributed.next_token_labels``), for the last token of a share
    is not followed by its next one.

    Args:
        batch: a tensor [batch, length, ...]; a tuple or list of such; a mapping, of which tensors
            of that length along ``dim`` are cut and all else is passed on as it is; or a
            ``sl.Batch``, of which "tokens" (if it has any), "positions" (in each sequence) and
            "valid" are cut.
        spread: who holds which tokens.
        dim: the axis of the sequence; the batch is the first of the others.
        names: which entries of a mapping are cut, all of which must have that length; None goes
            by the length.
        positions: add "positions", int64 [batch|1, share], where the tokens stand in the whole
            sequence; for a mapping.

    Returns:
        A tensor for a tensor, else the same kind of collection; a dict for a ``sl.Batch``.

    Raises:
        ShapeMismatch: a tensor of another length, or of more batch rows than the spread tells
            apart.
        InvalidArgument: something that cannot be cut, or a name that the mapping lacks.

    >>> import sightline as sl, torch, torch.distributed as dist
    >>> dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    >>> lone = sl.distributed.spread(sl.causal(), 3)  # of one process: its share is all
    >>> batch = {"tokens": torch.tensor([[7, 8, 9]]), "name": "it"}
    >>> sl.distributed.shard_batch(batch, lone, positions=True)
    {'tokens': tensor([[7, 8, 9]]), 'name': 'it', 'positions': tensor([[0, 1, 2]])}
    >>> dist.destroy_process_group()
    """
    if positions and not isinstance(batch, Mapping):
        raise InvalidArgument(
            f"got positions=True and a {type(batch).__name__}; wanted a mapping to add them to; "
            "spread.positions() returns them."
        )
    if isinstance(batch, torch.Tensor):
        return _take(batch, spread, dim)
    if isinstance(batch, Batch):
        parts = {"positions": batch.positions, "valid": batch.valid}
        parts |= {} if batch.tokens is None else {"tokens": batch.tokens}
        return {name: _take(each, spread, 1, name) for name, each in parts.items()}
    if isinstance(batch, (tuple, list)):
        cut = [_take(each, spread, dim, f"number {place}") for place, each in enumerate(batch)]
        named = hasattr(batch, "_fields")  # a named tuple takes its parts one by one
        return type(batch)(*cut) if named else type(batch)(cut)
    if not isinstance(batch, Mapping):
        raise InvalidArgument(
            f"got a batch of type {type(batch).__name__}; wanted a tensor, a tuple, a list or a "
            "mapping of tensors, or a sl.Batch."
        )
    chosen = _names(batch, spread, dim) if names is None else _known(names, batch)
    made = {
        name: _take(each, spread, dim, name) if name in chosen else each
        for name, each in batch.items()
    }
    if positions:
        made["positions"] = spread.positions(_device(made, chosen))
    return made


def unshard(share: torch.Tensor, spread: Spread, *, dim: int = 1) -> torch.Tensor:
    """Return the whole on every rank, from the share of each; all ranks must call it.

    Gradients go back to whom a token came from, those of all ranks added up. So where every rank
    works out the same loss from the whole, the mean of the gradients over the ranks, as data
    parallelism takes it, is that of the loss; and every rank must work one out and go back.

    Args:
        share: [batch, share, ...], what ``shard_batch`` gave or a result for it.
        spread: who holds which tokens.
        dim: the axis of the sequence; the batch is the first of the others.

    Raises:
        ShapeMismatch: a share of another length.
        RanksDisagree: ranks give shares of other shapes or dtypes, or do something else.
        RankLost: a rank does not answer.

    >>> import sightline as sl, torch, torch.distributed as dist
    >>> dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    >>> lone = sl.distributed.spread(sl.causal(), 3)
    >>> share = sl.distributed.shard_batch(torch.tensor([[7, 8, 9]]), lone)
    >>> sl.distributed.unshard(share, lone)
    tensor([[7, 8, 9]])
    >>> dist.destroy_process_group()
    """
    with telling(spread.ranks):
        if not -share.ndim <= dim < share.ndim or share.shape[dim] != spread.length:
            raise ShapeMismatch(
                f"got a share of shape {list(share.shape)} and dim={dim} on rank "
                f"{spread.ranks.rank}; wanted {spread.length} tokens there; give what shard_batch "
                "gave, or a result for it."
            )
        rows, alone = _batch_first(share, dim)
        whole = _Whole.apply(rows, spread)
    assert isinstance(whole, torch.Tensor)
    return _laid_back(whole, dim % share.ndim, alone)


def _take(tensor: Any, spread: Spread, dim: int, name: str = "") -> torch.Tensor:
    told = f" for {name}" if name else ""
    if not isinstance(tensor, torch.Tensor):
        raise InvalidArgument(f"got {type(tensor).__name__}{told}; wanted a tensor to cut.")
    whole = spread.queries.length
    if not -tensor.ndim <= dim < tensor.ndim or tensor.shape[dim] != whole:
        raise ShapeMismatch(
            f"got a tensor of shape {list(tensor.shape)}{told} to be cut along dim {dim}; wanted "
            f"{whole} there, the length of the whole sequence; cut before anything else is done "
            "to a batch."
        )
    rows, alone = _batch_first(tensor, dim)
    if len(rows) == 1 and not alone:  # the same for all batch rows, which may be cut each its way
        rows = rows.expand(spread.queries.batch, *rows.shape[1:])
    place = _places(spread, spread.ranks.rank, len(rows), rows.device)
    row = torch.arange(len(rows), device=rows.device)[:, None]
    return _laid_back(rows[row, place], dim % tensor.ndim, alone)


def _names(batch: Mapping[str, Any], spread: Spread, dim: int) -> set[str]:
    """Return which entries have the length of the whole sequence."""
    whole = spread.queries.length
    fit = {
        name
        for name, each in batch.items()
        if isinstance(each, torch.Tensor)
        and -each.ndim <= dim < each.ndim
        and each.shape[dim] == whole
    }
    if not fit:
        shapes = {k: list(v.shape) for k, v in batch.items() if isinstance(v, torch.Tensor)}
        raise ShapeMismatch(
            f"got tensors {shapes}; wanted at least one of {whole} tokens along dim {dim}, the "
            "length of the whole sequence; make the spread for the length of the batch."
        )
    return fit


def _known(names: Collection[str], batch: Mapping[str, Any]) -> set[str]:
    missing = [name for name in names if name not in batch]
    if isinstance(names, str) or missing:
        raise InvalidArgument(
            f"got names={names!r}; wanted a list of the batch's: {', '.join(map(str, batch))}."
        )
    return set(names)


def _device(made: Mapping[str, Any], chosen: set[str]) -> Any:
    return next((made[name].device for name in made if name in chosen), None)


def _batch_first(tensor: torch.Tensor, dim: int) -> tuple[torch.Tensor, bool]:
    """Return [batch, length, ...], and whether there was no batch axis."""
    if tensor.ndim == 1:
        return tensor[None], True
    return tensor.movedim(dim, 0).transpose(0, 1), False


def _laid_back(rows: torch.Tensor, dim: int, alone: bool) -> torch.Tensor:
    return rows[0] if alone else rows.transpose(0, 1).movedim(0, dim)


def _places(spread: Spread, rank: int, batch: int, device: Any) -> torch.Tensor:
    """Return where in the whole the tokens of a rank stand, int64 [batch, share]."""
    told = spread.queries.batch
    if told not in (1, batch):
        raise ShapeMismatch(
            f"got {batch} batch rows; wanted {told}, which the spread deals out each in its own "
            "way; make the spread for the mask of this batch."
        )
    place = torch.from_numpy(spread.queries.positions(rank) - int(spread.queries.edges[0]))
    return place.to(device).expand(batch, -1)


class _Whole(torch.autograd.Function):
    """Everybody's share [batch, share, ...] as the whole [batch, length, ...]."""

    @staticmethod
    def forward(ctx: Any, rows, spread):
        ctx.spread = spread
        ranks, batch = spread.ranks, len(rows)
        most = int(spread.queries.lengths.max())
        padded = rows.new_zeros(batch, most, *rows.shape[2:])
        padded[:, : rows.shape[1]] = rows
        parts = all_gather(padded, ranks, "sl.distributed.unshard")
        whole = rows.new_empty(batch, spread.queries.length, *rows.shape[2:])
        row = torch.arange(batch, device=rows.device)[:, None]
        for rank, part in enumerate(parts):
            place = _places(spread, rank, batch, rows.device)
            whole[row, place] = part[:, : place.shape[1]]
        return whole

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad):
        return _added_up(grad, ctx.spread), None


def _added_up(grad: torch.Tensor, spread: Spread) -> torch.Tensor:
    """Return the sum over the ranks, in their order, of the gradients of this rank's tokens."""
    ranks: Ranks = spread.ranks
    batch = len(grad)
    row = torch.arange(batch, device=grad.device)[:, None]
    places = [_places(spread, rank, batch, grad.device) for rank in range(ranks.size)]
    sent = torch.cat([grad[row, place].flatten(0, 1) for place in places])
    sends = [place.numel() for place in places]
    own = sends[ranks.rank]
    what = "the backward pass of sl.distributed.unshard"
    got = all_to_all(sent, sends, [own] * ranks.size, ranks, what)
    total = got[:own].clone()
    for rank in range(1, ranks.size):
        total += got[rank * own : (rank + 1) * own]
    return total.view(batch, -1, *grad.shape[2:])
