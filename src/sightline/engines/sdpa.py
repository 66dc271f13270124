"""Engine ``sdpa``: torch's scaled_dot_product_attention, made to keep our two promises.

What is spoiled is kept from the kernel, as guarded/around_kernel.py says. Empty rows see one key
and are set to 0 afterwards.
"""

from __future__ import annotations

import torch

from sightline.engines.dense_masks import DenseMask, dense_mask
from sightline.engines.guarded.arithmetic import (
    Inputs,
    drop_forbidding,
    plain_arithmetic,
    working_dtype,
)
from sightline.engines.guarded.around_kernel import (
    Call,
    Spoils,
    enter,
    enter_bias,
    find_spoils,
    leave,
)
from sightline.engines.guarded.dropout import attend_with_dropout
from sightline.engines.request import Request


def run(request: Request) -> tuple[torch.Tensor, None]:
    """Return the output [batch, heads, q_len, value_dim] and None for the logsumexp."""
    mask = dense_mask(request)
    with plain_arithmetic(request.query.device):
        if request.dropout > 0:
            allowed = drop_forbidding(mask.allowed, request.bias)
            tensors = (request.query, request.key, request.value)
            inputs = Inputs(*tensors, allowed, request.bias, request.scale)
            return attend_with_dropout(inputs, request.dropout), None
        return _run_guarded(request, mask), None


def _run_guarded(request: Request, mask: DenseMask) -> torch.Tensor:
    call = Call(*request.tensors, request.scale, lambda: mask.allowed, mask.empty)
    spoils = find_spoils(call)
    output = torch.nn.functional.scaled_dot_product_attention(
        *enter(call, spoils),
        attn_mask=_kernel_mask(request, mask, spoils),
        is_causal=_may_say_causal(request, mask),
        scale=request.scale,
        enable_gqa=request.query.shape[1] != request.key.shape[1],
    )
    return leave(call, spoils, output)[0]


def _may_say_causal(request: Request, mask: DenseMask) -> bool:
    """Return whether is_causal is the same as the mask, and right.

    The CPU kernel of torch 2.13 multiplies the -inf of is_causal by the scale: NaN for 0, +inf
    for negative ones.
    """
    return mask.form == "causal" and request.bias is None and request.scale > 0


def _kernel_mask(request: Request, mask: DenseMask, spoils: Spoils) -> torch.Tensor | None:
    """Return what the kernel gets as attn_mask: bool without a bias, additive with one."""
    if request.bias is None or spoils.empty is None or spoils.biased is None:
        return None if mask.form == "everything" or _may_say_causal(request, mask) else mask.opened
    bias = enter_bias(request.bias).to(working_dtype(request.query.dtype))
    additive = torch.where(spoils.allowed(), bias, -torch.inf)
    aside = spoils.empty | spoils.biased
    first = torch.arange(additive.shape[-1], device=bias.device) == 0
    # Two steps, so that the gradient of what is replaced is 0 and not 0 * NaN.
    additive = torch.where(aside[..., None], torch.where(first, 0.0, -torch.inf), additive)
    return additive.contiguous()
