"""Destination ``torch.flex``: keywords of ``torch.nn.attention.flex_attention.flex_attention``.

torch makes a BlockMask by asking every pair, and keeps it as a dense grid of blocks. Here it comes
from the plan: flex_indices.py lists the blocks, flex_formula.py writes the ``mask_mod``.
"""

from __future__ import annotations

from inspect import signature
from typing import Any

from sightline.errors import CannotExpress
from sightline.lower.arguments import Asked, require_torch
from sightline.lower.destinations import Destination
from sightline.lower.devices import check_device
from sightline.lower.flex_formula import mask_mod
from sightline.lower.flex_indices import partial_and_full
from sightline.plan.block_map import BlockMap
from sightline.plan.planner import plan

DESTINATION = Destination(
    name="torch.flex",
    gives="the keyword block_mask of flex_attention: a BlockMask whose full and mixed blocks, "
    "forwards and backwards, take the memory that the mask needs, not that of a grid",
    expresses="every mask whose predicates can be recorded: operators on b, h, q and k",
    refuses="other predicates; no queries or no keys; on the CPU, a block_kv that is no "
    "multiple of 16, and a single query that may see nothing in any batch row and head",
    in_principle="every mask; a predicate in plain Python could be asked for a table of all pairs, "
    "which sl.dense says better; the rest are wrong numbers of the CPU kernels",
    options=("block_q", "block_kv", "device"),
    needs="torch",
    extra="torch",
    writes_pairs=False,
)

NAME = DESTINATION.name
# The compiled CPU kernel of torch 2.13 gives wrong numbers after a full block of another width
# (24 x 40, 32 x 24, 16 x 8), with torch's own create_block_mask as well.
CPU_WIDTH = 16


def translate(
    asked: Asked, block_q: int = 128, block_kv: int = 128, device: Any = "cpu"
) -> dict[str, Any]:
    """Return ``{"block_mask": BlockMask}``, all that ``flex_attention`` needs.

    The BlockMask is what ``create_block_mask`` makes, block for block, with the lists for the
    backward pass; but time and memory follow the mask's boundary, since rows of ``kv_indices`` (and
    of its three sisters) lie over each other in memory; never write into them.

    What torch does with a BlockMask costs more: ``.to(another device)``, indexing and printing
    write out the grid of blocks, and ``.to`` leaves behind the tensors that the ``mask_mod`` reads;
    so give ``device=`` here. torch.compile compiles once for each form of mask: other documents,
    lengths or offsets are only other tensors (a few times more for other row strides).

    On the CPU flex_attention has no backward pass; the kernels of other devices want block sizes
    that are multiples of their own, 128 as a rule. Rows that may see nothing give 0: on the CPU
    this is tested, with and without torch.compile; other devices are not.

    Args:
        asked: the mask and its shape.
        block_q: queries a block.
        block_kv: keys a block; on the CPU a multiple of 16.
        device: where the tensors shall live.

    Raises:
        CannotExpress: no queries or no keys; a predicate that cannot be recorded; on the CPU
            a block_kv that is no multiple of 16, and one query that may see nothing, in any batch
            row and head.
        InvalidArgument: more blocks than can be read that are neither empty nor full.

    >>> import sightline as sl
    >>> mask = sl.causal() & sl.documents(lengths=[300, 212])
    >>> block_mask = sl.lower(mask, to="torch.flex", q_len=512)["block_mask"]
    >>> block_mask.kv_num_blocks, block_mask.full_kv_num_blocks
    (tensor([[[1, 1, 3, 2]]], dtype=torch.int32), tensor([[[0, 1, 0, 0]]], dtype=torch.int32))
    """
    torch = require_torch(f"sl.lower(..., to='{NAME}')")
    target = check_device(torch, device, NAME)
    block_mask = _block_mask_type(torch)
    asked.refuse_no_pairs(NAME, "a BlockMask divides by the number of pairs")
    mask, (q_len, kv_len), at = asked.mask, (asked.q_len, asked.kv_len), asked.q_offset
    forward = plan(mask, q_len, kv_len, q_offset=at, block_q=block_q, block_kv=block_kv)
    backward = plan(mask.T, kv_len, q_len, kv_offset=at, block_q=block_kv, block_kv=block_q)
    if target.type == "cpu":
        _refuse_uneven_blocks(block_kv)
        _refuse_nothing_to_decode(forward)
    lists: dict[str, Any] = {}
    for axis, each in (("kv", forward), ("q", backward)):
        for kind, found in zip(("", "full_"), partial_and_full(each), strict=True):
            count, indices = found.tensors(torch, target)
            lists |= {f"{kind}{axis}_num_blocks": count, f"{kind}{axis}_indices": indices}
    made = block_mask(
        seq_lengths=(q_len, kv_len),
        BLOCK_SIZE=(forward.block_q, forward.block_kv),
        mask_mod=mask_mod(torch, mask, at, target),
        **lists,
    )
    return {"block_mask": made}


def _block_mask_type(torch: Any) -> Any:
    """Return torch's BlockMask, if it is one that knows lengths which are no whole blocks."""
    from torch.nn.attention.flex_attention import BlockMask

    if "seq_lengths" not in signature(BlockMask.__init__).parameters:
        raise CannotExpress(
            destination=NAME,
            part="the lengths",
            reason=f"the BlockMask of torch {torch.__version__} counts whole blocks only",
            alternative="torch 2.6 or newer, or sl.attend(query, key, value, mask)",
        )
    return BlockMask


def _refuse_uneven_blocks(block_kv: int) -> None:
    if block_kv % CPU_WIDTH:
        raise CannotExpress(
            destination=NAME,
            part=f"block_kv={block_kv} on the CPU",
            reason="the compiled CPU kernel gives wrong numbers for such widths",
            alternative=f"a multiple of {CPU_WIDTH}, such as the default of 128",
        )


def _refuse_nothing_to_decode(forward: BlockMap) -> None:
    """Refuse what makes the CPU kernel for one query read memory that nobody wrote (torch 2.13)."""
    if forward.q_len == 1 and not len(forward.pattern):
        raise CannotExpress(
            destination=NAME,
            part="a single query that may see nothing, in any batch row and head",
            reason="the compiled CPU kernel for one query gives arbitrary numbers where no row has "
            "a block",
            alternative="sl.attend(query, key, value, mask), which gives 0",
        )
