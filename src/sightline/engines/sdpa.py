"""Engine ``sdpa``: torch's scaled_dot_product_attention, made to keep our two promises.

Its kernels add -inf to forbidden scores and multiply forbidden values by 0, so NaN, Inf and
overflow get through (NaN - Inf, 0 * NaN, 0 * Inf). Here nothing of the kind reaches the kernel:
queries, keys, values, biases and incoming gradients that hold such numbers are replaced by 0, and
the rows that may rightly see them are computed apart, in guarded.py. Whether a number is out of
bounds depends on that number alone, and the kernel is called in the same way whatever the numbers
are, so the other rows keep every bit. Empty rows see one key and are set to 0 afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from sightline.engines.dense_masks import DenseMask, dense_mask
from sightline.engines.guarded.arithmetic import (
    Inputs,
    drop_forbidding,
    plain_arithmetic,
    spread_heads,
    working_dtype,
)
from sightline.engines.guarded.dropout import attend_with_dropout
from sightline.engines.guarded.spoiled_rows import attend_rows, attend_rows_backward
from sightline.engines.request import Request

# Within these bounds no score, no gradient of a weight and no sum of them over a head_dim can
# overflow (2**40 squared, times scale, times head_dim; 2**400 likewise), forbidden pairs included.
# The half types are summed in float32.
_BOUNDS = {torch.float32: 2.0**40, torch.float64: 2.0**400}
# The kernels' backward pass computes exp(score - logsumexp) anew, from scores that are rounded
# differently: the larger they are, the further off the gradients, until exp gives Inf. Rows that
# may reach scores beyond these are computed apart.
_LARGEST_SCORE = {torch.float32: 2.0**16, torch.float64: 2.0**44}


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
    bound = _BOUNDS[working_dtype(request.query.dtype)] / max(1.0, abs(request.scale))
    with torch.no_grad():
        spoils = _find_spoils(request, mask, bound)
    clean = _Entry.apply(request.query, request.key, request.value, spoils)
    output = torch.nn.functional.scaled_dot_product_attention(
        *clean,
        attn_mask=_kernel_mask(request, mask, spoils),
        is_causal=_may_say_causal(request, mask),
        scale=request.scale,
        enable_gqa=request.query.shape[1] != request.key.shape[1],
    )
    tensors = (request.query, request.key, request.value, request.bias)
    return _Exit.apply(output, *tensors, spoils, request.scale, bound)


@dataclass(frozen=True)
class Spoils:
    """Which parts of the inputs the kernel must not meet; None where there are none.

    Attributes:
        allowed: bool [batch|1, heads|1, q_len, kv_len], the pairs that mask and bias allow.
        empty: bool [batch|1, heads|1, q_len], rows without an allowed pair.
        keys: bool [batch, kv_heads, kv_len], keys of which the norm of the key or a number of
            the value is out of bounds, or NaN.
        biased: bool [batch|1, heads|1, q_len], rows with NaN, Inf or huge numbers in their bias.
        rows: bool [batch, heads, q_len], the rows to compute apart: those, the rows that may see
            such a key, and those that may reach huge scores, or NaN.
    """

    allowed: torch.Tensor
    empty: torch.Tensor | None
    keys: torch.Tensor | None
    biased: torch.Tensor | None
    rows: torch.Tensor | None

    @property
    def queries(self) -> torch.Tensor | None:
        """Which queries are kept from the kernel: those of empty rows, lent a key, as well."""
        return _either(self.rows, self.empty)


def _find_spoils(request: Request, mask: DenseMask, bound: float) -> Spoils:
    query_norms, key_norms = _norms(request.query), _norms(request.key)
    longest_query, longest_key = query_norms.amax(), key_norms.amax()
    keys = None if bool(longest_key <= bound) else ~(key_norms <= bound)
    keys = _either(keys, _out_of_bounds(request.value, bound))
    allowed, empty, biased, rows = mask.allowed, mask.empty, None, None
    if request.bias is not None:
        allowed = drop_forbidding(allowed, request.bias)
        empty = ~allowed.any(dim=-1)
        biased = rows = _extreme_bias(request, allowed) & ~empty
    if keys is not None or not bool(longest_query * longest_key <= _limit(request)):
        rows = _either(rows, _rows_with_spoiled_scores(request, allowed, query_norms, key_norms))
        rows = _either(rows, _rows_that_see(request, allowed, keys))
    if rows is not None:
        rows = rows.expand(request.scores_shape[:3]) if bool(rows.any()) else None
    return Spoils(allowed, empty, keys, biased, rows)


def _limit(request: Request) -> float:
    """Return how large norm(query) * norm(key) may be: it bounds the score (Cauchy, Schwarz)."""
    return _LARGEST_SCORE[working_dtype(request.query.dtype)] / max(abs(request.scale), 1e-30)


def _rows_with_spoiled_scores(
    request: Request, allowed: torch.Tensor, query_norms: torch.Tensor, key_norms: torch.Tensor
) -> torch.Tensor | None:
    """Return which rows may reach huge scores, or NaN, with the keys that they may see.

    Times anything, even 0, the norm of a query with NaN or Inf is NaN or Inf.
    """
    # First without the keys that no row may see, such as padding: most often that settles it.
    visible = torch.where(allowed.any(dim=2, keepdim=True), _spread(request, key_norms), 0)
    if bool(query_norms.amax() * visible.amax() <= _limit(request)):
        return None
    longest_seen = torch.where(allowed, visible, 0).amax(dim=-1)
    return ~(query_norms * longest_seen <= _limit(request))


def _rows_that_see(
    request: Request, allowed: torch.Tensor, keys: torch.Tensor | None
) -> torch.Tensor | None:
    """Return which rows may see one of the keys, bool [batch, kv_heads, kv_len]."""
    if keys is None:
        return None
    wide = _spread(request, keys)
    if not bool((allowed.any(dim=2, keepdim=True) & wide).any()):
        return None
    return (allowed & wide).any(dim=-1)


def _norms(vectors: torch.Tensor) -> torch.Tensor:
    return torch.linalg.vector_norm(vectors, dim=-1, dtype=working_dtype(vectors.dtype))


def _extreme_bias(request: Request, allowed: torch.Tensor) -> torch.Tensor:
    """Return which rows [..., q_len] have a bias that makes their logsumexp huge, or NaN.

    Huge negative numbers beside usual ones are harmless: their weight is 0.
    """
    assert request.bias is not None
    working = working_dtype(request.query.dtype)
    highest = torch.where(allowed, request.bias.to(working), -torch.inf).amax(dim=-1)
    return ~(highest.abs() <= _LARGEST_SCORE[working])


def _spread(request: Request, per_key: torch.Tensor) -> torch.Tensor:
    """Return [batch, kv_heads, kv_len] as [batch, heads, 1, kv_len]."""
    return spread_heads(per_key[..., None], request.query.shape[1]).mT


def _out_of_bounds(tensor: torch.Tensor, bound: float) -> torch.Tensor | None:
    """Return which vectors [...] of [..., dim] hold NaN or a number beyond the bound, or None."""
    low, high = (extreme.item() for extreme in torch.aminmax(tensor))
    if low >= -bound and high <= bound:  # False if there is a NaN
        return None
    return ~(tensor.to(working_dtype(tensor.dtype)).abs() <= bound).all(dim=-1)


def _either(a: torch.Tensor | None, b: torch.Tensor | None) -> torch.Tensor | None:
    if a is None or b is None:
        return b if a is None else a
    return a | b


def _steady(tensor: torch.Tensor) -> torch.Tensor:
    """Return the tensor in the one layout that kernels are given, cleaned or not.

    Matrix products may round in another order for other strides or another alignment.
    """
    tensor = tensor.contiguous()
    return tensor if tensor.data_ptr() % 64 == 0 else tensor.clone()


def _cleaned(tensor: torch.Tensor, spoiled: torch.Tensor | None) -> torch.Tensor:
    tensor = _steady(tensor)
    return tensor if spoiled is None else tensor.masked_fill(spoiled[..., None], 0)


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
    bias = _BiasEntry.apply(request.bias).to(working_dtype(request.query.dtype))
    additive = torch.where(spoils.allowed, bias, -torch.inf)
    aside = spoils.empty | spoils.biased
    first = torch.arange(additive.shape[-1], device=bias.device) == 0
    # Two steps, so that the gradient of what is replaced is 0 and not 0 * NaN.
    additive = torch.where(aside[..., None], torch.where(first, 0.0, -torch.inf), additive)
    return additive.contiguous()


class _Entry(torch.autograd.Function):
    """Keep what is spoiled from the kernel.

    Its gradient is 0 without further ado: _Exit gives the kernel no gradient for the rows that
    see it.
    """

    @staticmethod
    def forward(ctx, query, key, value, spoils):
        return (
            _cleaned(query, spoils.queries),
            _cleaned(key, spoils.keys),
            _cleaned(value, spoils.keys),
        )

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, *grads):
        return (*map(_unsigned_zeros, grads), None)


class _BiasEntry(torch.autograd.Function):
    """The same for a bias, which _kernel_mask has yet to clean."""

    @staticmethod
    def forward(ctx, bias):
        return bias

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad):
        return _unsigned_zeros(grad)


def _unsigned_zeros(tensor: torch.Tensor) -> torch.Tensor:
    """Turn -0 into 0, so that not even the sign of a forbidden product is left."""
    return tensor + 0.0


class _Exit(torch.autograd.Function):
    """Put in the rows that were computed apart, empty the empty ones, and guard the way back."""

    @staticmethod
    def forward(ctx, output, query, key, value, bias, spoils, scale, bound):
        ctx.save_for_backward(query, key, value, bias)
        ctx.spoils, ctx.scale, ctx.bound = spoils, scale, bound
        output = _unsigned_zeros(output)
        if spoils.empty is not None:
            output = output.masked_fill(spoils.empty[..., None], 0)
        if spoils.rows is not None:
            inputs = Inputs(query, key, value, spoils.allowed, bias, scale)
            output = attend_rows(inputs, spoils.rows, output)
        return output

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad_output):
        spoils = ctx.spoils
        apart = _either(spoils.rows, _out_of_bounds(grad_output, ctx.bound))
        grad = _cleaned(grad_output, _either(apart, spoils.empty))
        if apart is None:
            return (grad, *[None] * 7)
        query, key, value, bias = ctx.saved_tensors
        inputs = Inputs(query, key, value, spoils.allowed, bias, ctx.scale)
        with plain_arithmetic(query.device):
            grads = attend_rows_backward(inputs, apart, grad_output)
        return (grad, *grads, None, None, None)
