"""Keys and values on their way: out to the ranks that need them, gradients back to who holds them.

One all-to-all with uneven splits each way; gradients of a key are added up in the order of ranks.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist

from sightline.distributed.ranks import Ranks
from sightline.distributed.routes import Route

__all__ = ["gather_keys"]


def gather_keys(
    key: torch.Tensor, value: torch.Tensor, way: Route, ranks: Ranks
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the keys and values [batch, kv_heads, kv_len, dim] that this rank's queries need."""
    tokens = torch.cat([key, value], dim=3).transpose(1, 2).flatten(0, 1)
    there = _Travel.apply(tokens, way, ranks)
    every = torch.cat([tokens, there, tokens.new_zeros(1, *tokens.shape[1:])])
    place = torch.where(way.place < 0, len(every) - 1, way.place).to(key.device)
    found = every[place].transpose(1, 2)
    return found.split([key.shape[3], value.shape[3]], dim=3)  # pyright: ignore[reportReturnType]


class _Travel(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tokens, way, ranks):
        ctx.way, ctx.ranks, ctx.count = way, ranks, len(tokens)
        sent = tokens[way.send.to(tokens.device)]
        return _all_to_all(sent, way.sends, way.receives, ranks)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad):
        way = ctx.way
        back = _all_to_all(grad.contiguous(), way.receives, way.sends, ctx.ranks)
        total = back.new_zeros(ctx.count, *back.shape[1:])
        return total.index_add(0, way.send.to(back.device), back), None, None


def _all_to_all(
    rows: torch.Tensor, sends: list[int], receives: list[int], ranks: Ranks
) -> torch.Tensor:
    """Send rows [sum(sends), ...] in order; return those received [sum(receives), ...]."""
    got = rows.new_empty(sum(receives), *rows.shape[1:])
    dist.all_to_all_single(got, rows.contiguous(), receives, sends, group=ranks.group)
    return got
