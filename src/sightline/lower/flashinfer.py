"""Destination ``flashinfer``: mask bits for its prefill, or blocks for its block-sparse attention.

Both run forwards only. A row that may see nothing gives 0: flashinfer divides by the sum of a row
only where that is above 0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sightline.errors import CannotExpress, InvalidArgument
from sightline.lower.arguments import Asked, require_torch
from sightline.lower.destinations import Destination
from sightline.lower.devices import check_device
from sightline.lower.forms.key_runs import spread
from sightline.lower.forms.one_head import for_one_head
from sightline.masks.bits import as_bools
from sightline.plan.block_map import FULL_RUN, BlockMap
from sightline.plan.planner import plan

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Ints = NDArray[np.int64]

DESTINATION = Destination(
    name="flashinfer",
    gives='form="bits": packed_custom_mask of single_prefill_with_kv_cache, or for several batch '
    "rows qo_indptr, kv_indptr and custom_mask of BatchPrefillWithRaggedKVCacheWrapper.plan; "
    'form="blocks": indptr, indices, M, N, R, C and mask of BlockSparseAttentionWrapper.plan',
    expresses="every mask that is the same for all heads; forwards only",
    refuses="masks that tell heads apart; 2^31 pairs or more in a batch; blocks: several batch "
    "rows, block sizes that do not divide the lengths, more than 2^31 bools of mixed blocks",
    in_principle="block-sparse attention has variants with masks of blocks for each head; they "
    "take whole blocks only",
    options=("form", "batch", "block_q", "block_kv", "device"),
    needs="torch",
    extra="torch",
)

NAME = DESTINATION.name
# flashinfer counts pairs of a batch, and of the mixed blocks, in 32 bits.
MOST_PAIRS = 2**31 - 1
# Rows of the mask that are read at a time: 64 MiB of bools.
PAIRS_AT_ONCE = 2**26


def translate(
    asked: Asked,
    form: str = "bits",
    batch: Any = None,
    block_q: int = 128,
    block_kv: int = 128,
    device: Any = "cpu",
) -> dict[str, Any]:
    """Return the keywords of one of flashinfer's calls; see ``gives``.

    Given a packed mask for several requests, ``plan`` (0.7.2) counts where they begin in pairs,
    its kernels in bytes. So a batch gets bools, which ``plan`` packs itself; so do mixed blocks.

    Args:
        asked: the mask and its shape.
        form: "bits" or "blocks".
        batch: the number of batch rows (bits); None for as many as the mask tells apart.
        block_q: queries a block (blocks).
        block_kv: keys a block (blocks).
        device: where the tensors shall live.

    Raises:
        CannotExpress: the mask tells heads apart, or is too large; with ``form="blocks"``, several
            batch rows or sizes that do not divide the lengths.
        InvalidArgument: another form, or block sizes that are no sizes.
        ShapeMismatch: ``batch`` differs from the mask's own.

    Source: flashinfer's prefill.py, sparse.py and quantization/packbits.py, version 0.7.2.

    >>> import sightline as sl
    >>> sl.lower(sl.causal(), to="flashinfer", q_len=3)
    {'packed_custom_mask': tensor([217,   1], dtype=torch.uint8)}
    >>> mask = sl.causal() & sl.chunks(2)
    >>> keywords = sl.lower(mask, to="flashinfer", q_len=4, form="blocks", block_q=2, block_kv=2)
    >>> keywords["indptr"], keywords["indices"]
    (tensor([0, 1, 2], dtype=torch.int32), tensor([0, 1], dtype=torch.int32))
    """
    torch = require_torch(f"sl.lower(..., to='{NAME}')")
    target = check_device(torch, device, NAME)
    asked = for_one_head(asked, NAME)
    rows = asked.batch_rows(batch, NAME)
    if form == "bits":
        found = _bits(asked, rows)
    elif form == "blocks":
        _refuse_batch(rows)
        found = _blocks(asked, block_q, block_kv)
    else:
        raise InvalidArgument(f'got form={form!r} for {NAME}; wanted "bits" or "blocks".')
    return {
        name: torch.tensor(value, device=target) if isinstance(value, np.ndarray) else value
        for name, value in found.items()
    }


# -- bits --------------------------------------------------------------------------------------


def _bits(asked: Asked, rows: int) -> dict[str, Any]:
    if rows == 1:
        return {"packed_custom_mask": _packed(asked)}
    pairs = rows * asked.q_len * asked.kv_len
    if pairs > MOST_PAIRS:
        raise CannotExpress(
            destination=NAME,
            part=f"{pairs} pairs in a batch",
            reason=f"it counts them in 32 bits, up to {MOST_PAIRS}",
            alternative="one call for each batch row, with the mask of that row alone",
        )
    each = np.arange(rows + 1, dtype=np.int32)
    shape = (rows, 1, asked.q_len, asked.kv_len)
    return {
        "qo_indptr": each * np.int32(asked.q_len),
        "kv_indptr": each * np.int32(asked.kv_len),
        "custom_mask": np.broadcast_to(asked.dense, shape).reshape(-1),
    }


def _packed(asked: Asked) -> NDArray[np.uint8]:
    """Return the pairs of one batch row as bits, row after row, read in strips."""
    # Eight rows are whole bytes, whatever the number of keys.
    strip = max(PAIRS_AT_ONCE // max(asked.kv_len, 1) // 8 * 8, 8)
    stop = asked.q_offset + asked.q_len
    parts = [
        np.packbits(
            asked.mask.rows(first, min(first + strip, stop), asked.kv_len).reshape(-1),
            bitorder="little",
        )
        for first in range(asked.q_offset, stop, strip)
    ]
    return np.concatenate([np.zeros(0, dtype=np.uint8), *parts])


# -- blocks ------------------------------------------------------------------------------------


def _blocks(asked: Asked, block_q: int, block_kv: int) -> dict[str, Any]:
    found = plan(
        asked.mask,
        asked.q_len,
        asked.kv_len,
        q_offset=asked.q_offset,
        block_q=block_q,
        block_kv=block_kv,
    )
    _refuse_uneven("q_len", found.q_len, "block_q", block_q)
    _refuse_uneven("kv_len", found.kv_len, "block_kv", block_kv)
    length = found.last_block.astype(np.int64) - found.first_block + 1
    block, of_run = spread(found.first_block.astype(np.int64), length)
    counts = np.bincount(found.row[of_run], minlength=found.q_blocks)
    return {
        "indptr": np.concatenate([[0], np.cumsum(counts)]).astype(np.int32),
        "indices": block.astype(np.int32),
        "M": found.q_len,
        "N": found.kv_len,
        "R": block_q,
        "C": block_kv,
        "mask": _mixed(found, found.pattern[of_run].astype(np.int64)),
    }


def _mixed(found: BlockMap, pattern: Ints) -> NDArray[np.bool_] | None:
    """Return ``[blocks, block_q, block_kv]`` bools, or None where all blocks are full."""
    if not (pattern != FULL_RUN).any():
        return None
    shape = (len(pattern), found.block_q, found.block_kv)
    if len(pattern) * found.block_q * found.block_kv > MOST_PAIRS:
        raise CannotExpress(
            destination=NAME,
            part=f"{len(pattern)} blocks of {found.block_q} x {found.block_kv}, some of them mixed",
            reason=f"it counts their pairs in 32 bits, up to {MOST_PAIRS}",
            alternative="sl.lower(mask, to='torch.flex', ...), or smaller block_q and block_kv",
        )
    bits = as_bools(found.patterns, found.block_kv)
    result = np.ones(shape, dtype=np.bool_)
    result[pattern != FULL_RUN] = bits[pattern[pattern != FULL_RUN]]
    return result


def _refuse_batch(rows: int) -> None:
    if rows > 1:
        raise CannotExpress(
            destination=NAME,
            part=f"{rows} batch rows with form='blocks'",
            reason="one matrix of blocks serves a single sequence",
            alternative="form='bits', or one call for each batch row with the mask of that row",
        )


def _refuse_uneven(length_name: str, length: int, block_name: str, block: int) -> None:
    if length % block:
        raise CannotExpress(
            destination=NAME,
            part=f"{length_name}={length} in blocks of {block_name}={block}",
            reason="it reads the last block as a whole one",
            alternative=f"a {block_name} that divides {length}, or form='bits'",
        )
