"""``sl.distributed.attend``: attention over a sequence whose tokens lie on several ranks.

Each rank keeps its queries and is sent exactly the keys that those may see. The kernels are those
of ``sl.attend``, whose mask is asked at the absolute positions of what is at hand.
"""

from __future__ import annotations

from typing import Any

import torch

from sightline.distributed.agreement import agree
from sightline.distributed.failures import telling
from sightline.distributed.layout import Spread
from sightline.distributed.mesh import to_heads, to_tokens
from sightline.distributed.passes import Options, attend_portion, refusal
from sightline.distributed.portions import Portion
from sightline.engines.request import check_request
from sightline.errors import CannotExpress, ShapeMismatch
from sightline.masks.mask import Mask
from sightline.masks.positional import everything

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

    With ``spread(..., overlap=True)`` a rank attends to the keys it holds while the others are on
    their way, then to those, and merges the two by their logsumexps: equal to one process up to
    rounding. Where an engine does not hand out the logsumexp, where a number is not finite, or
    with ``overlap=False``, it attends once when all keys are there, in the order of their
    positions. Then output, logsumexp and the gradient of the query have, with the cpu engine,
    every bit of those of one process; so have the gradients of a key and its value that only one
    rank's queries see. Others are sums over ranks, in the order of the ranks, rounded once.

    Dropped weights are drawn on each rank by itself: as many as in one process, but not the same.

    Args:
        query: [batch, heads, this rank's queries, head_dim], in the order of their positions.
        key: [batch, kv_heads, this rank's keys, head_dim], likewise.
        value: [batch, kv_heads, this rank's keys, value_dim].
        mask: who may see whom, over the absolute positions of the whole sequence.
        spread: who holds which tokens.
        scale: as for ``sl.attend``.
        bias: floats broadcastable to [batch, heads, this rank's queries, all keys of the
            sequence], as for ``sl.attend``; its gradient is this rank's part. Refused over a mesh
            with heads.
        dropout: as for ``sl.attend``.
        return_lse: as for ``sl.attend``.
        engine: as for ``sl.attend``.

    Raises:
        ShapeMismatch: tensors that are not this rank's share, or heads that cannot be divided.
        RanksDisagree: ranks were told different things.
        RankLost: a rank does not answer.
        CannotExpress: a bias over a mesh with heads, or what the engine cannot do.

    >>> import sightline as sl, torch, torch.distributed as dist
    >>> dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    >>> lone = sl.distributed.spread(sl.causal(), 3)
    >>> x = torch.tensor([1.0, 3.0, 5.0]).view(1, 1, 3, 1)
    >>> sl.distributed.attend(x * 0, x, x, sl.causal(), spread=lone).flatten().tolist()
    [1.0, 2.0, 3.0]
    >>> dist.destroy_process_group()
    """
    options = Options(scale, bias, dropout, return_lse, engine)
    with telling(spread.ranks):
        check_request(query, key, value, mask, scale=scale, dropout=dropout)
        _check_bias(bias, query, spread)
        mine = spread.at_heads(mask, query.shape[1], key.shape[1])
        portion = spread.context.portion(mine, query.shape[0], query.device)
        beyond = _beyond_share(query, key, spread)
        facts = {
            "mask": mask,
            "who holds which tokens": spread.fingerprint,
            "dtype": str(query.dtype),
            "query": (*query.shape[:2], query.shape[3]),
            "key": (*key.shape[:2], key.shape[3]),
            "value": (*value.shape[:2], value.shape[3]),
            "tokens beyond the share": beyond,
            "gradients": _sent_back(query, key, value, spread),
            "scale": scale,
            "dropout": dropout,
            "engine": engine,
            "overlap": spread.overlap,
            "refused by the engine": None
            if any(beyond)
            else refusal(query, key, value, portion, spread, options),
        }
        agree(spread.ranks, "sl.distributed.attend", facts)
        if any(beyond):
            raise _not_its_share(query, key, spread)
        run = attend_portion if spread.heads is None else _over_heads
        found = run(query, key, value, portion, spread, options)
    output, lse = found if return_lse else (found, None)
    output, lse = _SameMoment.apply(output, lse)
    return (output, lse) if return_lse else output


class _SameMoment(torch.autograd.Function):
    """Its arguments, with something kept for the backward pass that is asked for first.

    ``torch.utils.checkpoint`` works a layer out again when the backward pass first asks for what
    it kept, and up to the last that was kept. Of its own, a rank that sees nothing keeps nothing:
    it would not come when the others send again.
    """

    @staticmethod
    def forward(ctx: Any, output, lse):
        ctx.save_for_backward(output.new_empty(0))
        ctx.set_materialize_grads(False)
        return output.view_as(output), None if lse is None else lse.view_as(lse)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad, grad_lse):
        _ = ctx.saved_tensors
        return grad, grad_lse


def _over_heads(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    portion: Portion,
    spread: Spread,
    options: Options,
) -> Any:
    """Attend with this rank's heads of all tokens of its row of the mesh."""
    heads, context = spread.heads, spread.context
    assert heads is not None
    first = context.ranks.rank * heads.size
    row = slice(first, first + heads.size)
    queries, keys = (each.lengths[row].tolist() for each in (spread.queries, spread.keys))
    found = attend_portion(
        to_heads(query, queries, heads),
        to_heads(key, keys, heads),
        to_heads(value, keys, heads),
        portion,
        context,
        options,
    )
    if not options.return_lse:
        return to_tokens(found, queries, heads)
    output, lse = found
    return to_tokens(output, queries, heads), to_tokens(lse, queries, heads)


def _sent_back(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, spread: Spread
) -> bool | tuple[bool, ...]:
    """Return which gradients travel: what one rank sends, another must wait for."""
    query_has, key_has, value_has = (
        torch.is_grad_enabled() and each.requires_grad for each in (query, key, value)
    )
    if spread.heads is None:
        return key_has or value_has
    return query_has, key_has, value_has  # tokens are exchanged for heads one by one


def _beyond_share(query: torch.Tensor, key: torch.Tensor, spread: Spread) -> tuple[int, int]:
    """Return how many queries and keys there are more than this rank's share."""
    held = int(spread.keys.lengths[spread.ranks.rank])
    return query.shape[2] - spread.length, key.shape[2] - held


def _not_its_share(query: torch.Tensor, key: torch.Tensor, spread: Spread) -> ShapeMismatch:
    rank = spread.ranks.rank
    return ShapeMismatch(
        f"got {query.shape[2]} queries and {key.shape[2]} keys on rank {rank}; wanted its share, "
        f"{spread.length} and {spread.keys.lengths[rank]}; cut the batch with "
        "sl.distributed.shard_batch, along its tokens (dim=1 where layers are batch_first)."
    )


def _check_bias(bias: Any, query: torch.Tensor, spread: Spread) -> None:
    if bias is None:
        return
    if spread.heads is not None:
        raise CannotExpress(
            destination="context parallelism over a mesh with heads",
            part="a bias",
            reason="it would have to be exchanged for heads too, as large as all pairs",
            alternative="a mesh of one dimension",
        )
    # As for one process, but that the keys are those of the whole sequence.
    whole = query.new_empty((query.shape[0], 1, 1, query.shape[3]))
    whole = whole.expand(-1, -1, spread.keys.length, -1)
    check_request(query, whole, whole, everything(), bias=bias)
