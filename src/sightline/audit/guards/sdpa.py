"""Watches ``torch.nn.functional.scaled_dot_product_attention``."""

from __future__ import annotations

from typing import Any

import torch

from sightline.audit.guards.here import HERE, Given, with_four_axes
from sightline.audit.guards.records import Call

ENTRY = "scaled_dot_product_attention"


def look(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attn_mask: torch.Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    **_: Any,
) -> None:
    """Look at a call: True may attend, floats are added, masks line up from the last axis."""
    if not HERE.readable(ENTRY, query, key, attn_mask):
        return
    if not 2 <= query.ndim <= 4 or key.ndim != query.ndim:
        HERE.unseen(f"{ENTRY}: more than four axes")
        return
    if HERE.one_query and query.ndim == 4:
        query = query.flatten(1, 2)[:, :, None]
        if attn_mask is not None and attn_mask.ndim == 4 and attn_mask.shape[2] > 1:
            attn_mask = attn_mask.flatten(1, 2)[:, :, None]
    batch = max(query.shape[0], key.shape[0]) if query.ndim > 2 else 1
    heads = query.shape[1] if query.ndim == 4 else 1
    sizes = batch, heads, query.shape[-2], key.shape[-2]
    given: tuple[Given, ...] = ()
    if attn_mask is not None:
        tensor = with_four_axes(attn_mask, sizes, batched=query.ndim == 3)
        if tensor is None:
            return  # torch refuses it
        means = "added" if attn_mask.is_floating_point() else "attend"
        given = (Given("attn_mask", tuple(attn_mask.shape), means, tensor),)
    read = HERE.parts(ENTRY, *given)
    if read is None or 0 in sizes:
        return
    parts, step = read
    causal = bool(is_causal)
    dtype = str(query.dtype).removeprefix("torch.")
    HERE.see(
        Call(
            ENTRY,
            *sizes,
            dtype,
            parts,
            causal=causal,
            said_causal=causal,
            empty=_empty_gives(parts),
            step=step,
        )
    )


def _empty_gives(parts: Any) -> Any:
    """Return what a query that sees nothing gets: 0, or the mean where -inf is not used."""
    numbers = [part.table.numbers for part in parts if part.table.numbers is not None]
    return "average" if any(n.least < -999.0 and not n.minus_inf for n in numbers) else "zero"
