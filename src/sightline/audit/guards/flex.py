"""Watches ``torch.nn.attention.flex_attention.flex_attention`` where it is called as it stands.

A compiled one is not seen. What a ``score_mod`` does to the scores is not known, so a call with one
is only told of what its block mask hides.
"""

from __future__ import annotations

from typing import Any

import torch

from sightline.audit.guards.here import HERE, MOST_DENSE, Given
from sightline.audit.guards.records import Call

ENTRY = "flex_attention"


def look(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    score_mod: Any = None,
    block_mask: Any = None,
    **_: Any,
) -> None:
    """Look at a call: what its block mask lets through."""
    if not HERE.readable(ENTRY, query, key) or query.ndim != 4 or key.ndim != 4:
        return
    sizes = query.shape[0], query.shape[1], query.shape[2], key.shape[2]
    see_block_mask(ENTRY, sizes, query.dtype, block_mask, unknown=score_mod is not None)


def see_block_mask(
    entry: str,
    sizes: tuple[int, int, int, int],
    dtype: torch.dtype,
    block_mask: Any,
    *,
    unknown: bool = False,
) -> None:
    """Judge a call by its BlockMask, or None.

    Args:
        entry: the call's name.
        sizes: batch, heads, queries, keys.
        dtype: of the query.
        block_mask: who may see whom.
        unknown: whether more may be hidden than the block mask says.
    """
    if 0 in sizes:
        return
    given: tuple[Given, ...] = ()
    if block_mask is not None:
        allowed = written_out(block_mask, sizes[2], sizes[3])
        if allowed is None:
            HERE.unseen(f"{entry}: a block mask that is too large to write out, or a slice")
            return
        given = (Given("block_mask", tuple(allowed.shape), "attend", allowed),)
    if unknown:
        HERE.unseen(f"{entry}: what its score_mod hides is not known")
        if block_mask is None:
            return
    read = HERE.parts(entry, *given)
    if read is None:
        return
    name = str(dtype).removeprefix("torch.")
    HERE.see(Call(entry, *sizes, name, read[0], step=read[1]))


def written_out(block_mask: Any, q_len: int, kv_len: int) -> torch.Tensor | None:
    """Return bools ``[batch|1, heads|1, q_len, kv_len]``; None if they are not to be had.

    A cell is allowed in a full block, or in another one that is listed if ``mask_mod`` says so.
    """
    from torch.nn.attention.flex_attention import create_mask

    batch, heads = block_mask.kv_num_blocks.shape[:2]
    if batch * heads * q_len * kv_len > MOST_DENSE:
        return None
    device = str(block_mask.kv_num_blocks.device)
    with torch.no_grad():
        try:
            inside = create_mask(block_mask.mask_mod, batch, heads, q_len, kv_len, device)
        except (RuntimeError, NotImplementedError, IndexError):
            return None
        cells = (slice(None), slice(None), slice(q_len), slice(kv_len))
        partial = _blocks(block_mask, block_mask.kv_num_blocks, block_mask.kv_indices)[cells]
        allowed = inside & partial
        if block_mask.full_kv_num_blocks is not None:
            counts, indices = block_mask.full_kv_num_blocks, block_mask.full_kv_indices
            allowed = allowed | _blocks(block_mask, counts, indices)[cells]
    return allowed


def _blocks(block_mask: Any, counts: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
    """Return bools for the cells of the listed blocks.

    Args:
        block_mask: whose blocks they are.
        counts: how many blocks of keys each block of queries has, ``[batch, heads, blocks]``.
        indices: which, the first ``counts`` of ``[batch, heads, blocks, blocks of keys]``.
    """
    height, width = block_mask.BLOCK_SIZE
    listed = torch.arange(indices.shape[-1], device=indices.device) < counts[..., None]
    # The rest of a list holds anything, the number of a listed block too: hence a sum.
    count = torch.zeros(indices.shape, dtype=torch.int32, device=indices.device)
    grid = count.scatter_add_(-1, indices.long(), listed.int()) > 0
    return grid.repeat_interleave(height, 2).repeat_interleave(width, 3)
