"""Destination ``xformers``: the attention bias of ``xformers.ops.memory_efficient_attention``.

Its classes are sequences of one length, or of several in blocks along a diagonal, each with a
window. Its causal windows count the query's own key too, its two-sided ones do not.
"""

from __future__ import annotations

from typing import Any

from sightline.errors import CannotExpress
from sightline.lower.arguments import Asked, require_module, require_torch
from sightline.lower.destinations import Destination
from sightline.lower.devices import check_device
from sightline.lower.forms.packed import Packed
from sightline.lower.forms.packing import EXPRESSES, REFUSES, Packing, packing

DESTINATION = Destination(
    name="xformers",
    gives="a Packed with the keyword attn_bias of memory_efficient_attention, and the way of the "
    "tensors into packed [rows, tokens, heads, dim] and back",
    expresses=EXPRESSES,
    refuses=f"{REFUSES}; sequences of several lengths with a window that is not causal",
    in_principle="every mask, as a tensor of numbers for all pairs, which numpy.additive makes and "
    "torch.sdpa runs as well; for windows over sequences of several lengths, biases with padded "
    "keys, forwards only",
    options=("batch", "device"),
    needs="xformers",
    extra="xformers",
    writes_pairs=False,
)

NAME = DESTINATION.name


def translate(asked: Asked, batch: Any = None, device: Any = "cpu") -> Packed:
    """Return the bias, and how the tensors become ``[rows, tokens, heads, dim]``.

    Sequences of one length become rows of a batch; others stand one behind the other in one row.
    Queries that may see nothing are left out and come back as 0.

    Args:
        asked: the mask and its shape.
        batch: the number of batch rows of the tensors; None for as many as the mask tells apart.
        device: where the tensors shall live.

    Raises:
        CannotExpress: no bias says the mask.
        MissingExtra: xformers is not installed.
        ShapeMismatch: ``batch`` differs from the mask's own.

    Source: the docstrings of xformers.ops.fmha.attn_bias, version 0.0.35.

    Example: for ``sl.causal() & sl.documents(lengths=[3, 2])`` at ``q_len=5`` the bias is a
    ``BlockDiagonalCausalMask`` of sequences of 3 and 2 tokens.
    """
    torch = require_torch(f"sl.lower(..., to='{NAME}')")
    what = f"sl.lower(..., to='{NAME}')"
    biases = require_module("xformers.ops.fmha.attn_bias", what, extra=NAME)
    target = check_device(torch, device, NAME)
    found = packing(NAME, asked, batch)
    uniform = _of_one_length(found)
    bias = _uniform(biases, found) if uniform else _blocks(biases, found, target)
    leading = len(found.q_lengths) if uniform else 1
    return found.packed(torch, {"attn_bias": bias}, target, leading)


def _of_one_length(found: Packing) -> bool:
    """Return whether all sequences have as many queries as the first, and as many keys."""
    return all((each == each[0]).all() for each in (found.q_lengths, found.k_lengths))


def _uniform(biases: Any, found: Packing) -> Any:
    """Return the bias of sequences of one length."""
    queries, keys = int(found.q_lengths[0]), int(found.k_lengths[0])
    left, right = found.left, found.right
    if left is None and right is None:
        return None
    if right == 0 and left is not None:
        return biases.LowerTriangularFromBottomRightLocalAttentionMask(left + 1)
    if right == 0:
        if queries == keys:
            return biases.LowerTriangularMask()
        return biases.LowerTriangularFromBottomRightMask()
    if right is not None and right >= keys:
        raise CannotExpress(
            destination=NAME,
            part=f"a window of {right} keys to the right over sequences of {keys} keys",
            reason="its kernels take a side that long for unlimited",
            alternative="sl.lower(mask, to='flash_attn', ...), or "
            "sl.attend(query, key, value, mask)",
        )
    # A side without limit is one that reaches to the end from everywhere.
    return biases.LocalAttentionFromBottomRightMask(
        window_left=keys - 1 if left is None else left,
        window_right=queries - 1 if right is None else right,
    )


def _blocks(biases: Any, found: Packing, device: Any) -> Any:
    """Return the bias of sequences of several lengths."""
    left, right = found.left, found.right
    if right != 0 and (left is not None or right is not None):
        raise CannotExpress(
            destination=NAME,
            part=f"a window of {left} keys to the left and {right} to the right (None: all) over "
            "sequences of several lengths",
            reason="its biases for such sequences see all or are causal",
            alternative="sl.lower(mask, to='flash_attn', ...) or to='torch.varlen', or "
            "sl.attend(query, key, value, mask)",
        )
    queries, keys = found.q_lengths.tolist(), found.k_lengths.tolist()
    bias = biases.BlockDiagonalMask.from_seqlens(queries, keys, device=device)
    if right is None:
        return bias
    if left is not None:
        return bias.make_local_attention_from_bottomright(left + 1)
    return bias.make_causal() if queries == keys else bias.make_causal_from_bottomright()
