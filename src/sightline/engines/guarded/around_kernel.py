"""Around a fast kernel: nothing spoiled goes in, and rows that may see it are put in afterwards.

Kernels add -inf to forbidden scores and multiply forbidden values by 0, so NaN, Inf and overflow
get through (NaN - Inf, 0 * NaN, 0 * Inf). Here nothing of the kind reaches them: queries, keys,
values and incoming gradients that hold such numbers are replaced by 0, and the rows that may
rightly see them are computed apart, in spoiled_rows.py. Whether a number is out of bounds depends
on that number alone, and the kernel is called in the same way whatever the numbers are, so the
other rows keep every bit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from sightline.engines.guarded.arithmetic import (
    Inputs,
    drop_forbidding,
    plain_arithmetic,
    spread_heads,
    working_dtype,
)
from sightline.engines.guarded.spoiled_rows import attend_rows, attend_rows_backward

# Within these bounds no score, no gradient of a weight and no sum of them over a head_dim can
# overflow (2**40 squared, times scale, times head_dim; 2**400 likewise), forbidden pairs included.
# The half types are summed in float32.
_BOUNDS = {torch.float32: 2.0**40, torch.float64: 2.0**400}
# The kernels' backward pass computes exp(score - logsumexp) anew, from scores that are rounded
# differently: the larger they are, the further off the gradients, until exp gives Inf. Rows that
# may reach scores beyond these are computed apart.
_LARGEST_SCORE = {torch.float32: 2.0**16, torch.float64: 2.0**44}


@dataclass(frozen=True)
class Call:
    """One attention that a kernel shall compute.

    Attributes:
        query: [batch, heads, q_len, head_dim].
        key: [batch, kv_heads, kv_len, head_dim].
        value: [batch, kv_heads, kv_len, value_dim].
        bias: broadcastable to the scores, or None.
        scale: the factor of the scores.
        allowed: gives bool [batch|1, heads|1, q_len, kv_len]; called only where there is a bias or
            something is spoiled, so that a kernel without all pairs need not make them.
        empty: bool [batch|1, heads|1, q_len], the rows that see nothing and yet reach the kernel;
            None if there is none.
    """

    query: torch.Tensor
    key: torch.Tensor
    value: torch.Tensor
    bias: torch.Tensor | None
    scale: float
    allowed: Callable[[], torch.Tensor]
    empty: torch.Tensor | None

    @property
    def rows_shape(self) -> tuple[int, ...]:
        """[batch, heads, q_len]."""
        return tuple(self.query.shape[:3])

    @property
    def bound(self) -> float:
        """How large a number may be that a kernel meets."""
        return _BOUNDS[working_dtype(self.query.dtype)] / max(1.0, abs(self.scale))

    @property
    def limit(self) -> float:
        """How large norm(query) * norm(key) may be: it bounds the score (Cauchy, Schwarz)."""
        return _LARGEST_SCORE[working_dtype(self.query.dtype)] / max(abs(self.scale), 1e-30)


@dataclass(frozen=True)
class Spoils:
    """Which parts of the inputs the kernel must not meet; None where there are none.

    Attributes:
        allowed: gives bool [batch|1, heads|1, q_len, kv_len], the pairs that mask and bias allow.
        empty: bool [batch|1, heads|1, q_len], rows without an allowed pair.
        keys: bool [batch, kv_heads, kv_len], keys of which the norm of the key or a number of
            the value is out of bounds, or NaN.
        biased: bool [batch|1, heads|1, q_len], rows with NaN, Inf or huge numbers in their bias.
        rows: bool [batch, heads, q_len], the rows to compute apart: those, the rows that may see
            such a key, and those that may reach huge scores, or NaN.
    """

    allowed: Callable[[], torch.Tensor]
    empty: torch.Tensor | None
    keys: torch.Tensor | None
    biased: torch.Tensor | None
    rows: torch.Tensor | None

    @property
    def queries(self) -> torch.Tensor | None:
        """Which queries are kept from the kernel: those of empty rows as well."""
        return _either(self.rows, self.empty)


def find_spoils(call: Call) -> Spoils:
    """Return what a kernel must not meet in this call."""
    with torch.no_grad():
        return _find_spoils(call)


def enter(call: Call, spoils: Spoils) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return query, key and value as the kernel may have them, in one layout."""
    return _Entry.apply(call.query, call.key, call.value, spoils)


def enter_bias(bias: torch.Tensor) -> torch.Tensor:
    """Return the bias, whose gradient shall have no -0; the caller has yet to clean it."""
    return _BiasEntry.apply(bias)


def leave(
    call: Call, spoils: Spoils, output: torch.Tensor, logsumexp: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Return what the kernel gave with the rows put in that were computed apart.

    Args:
        call: the call.
        spoils: what was kept from the kernel.
        output: [batch, heads, q_len, value_dim].
        logsumexp: [batch, heads, q_len] in the working dtype, or None.
    """
    tensors = (call.query, call.key, call.value, call.bias)
    return _Exit.apply(output, logsumexp, *tensors, spoils, call.scale, call.bound)


def _find_spoils(call: Call) -> Spoils:
    query_norms, key_norms = _norms(call.query), _norms(call.key)
    longest_query, longest_key = query_norms.amax(), key_norms.amax()
    keys = None if bool(longest_key <= call.bound) else ~(key_norms <= call.bound)
    keys = _either(keys, _out_of_bounds(call.value, call.bound))
    allowed, empty, biased, rows = call.allowed, call.empty, None, None
    if call.bias is not None:
        pairs = drop_forbidding(allowed(), call.bias)
        allowed = lambda: pairs  # noqa: E731
        empty = ~pairs.any(dim=-1)
        biased = rows = _extreme_bias(call, pairs) & ~empty
    if keys is not None or not bool(longest_query * longest_key <= call.limit):
        rows = _either(rows, _rows_with_spoiled_scores(call, allowed(), query_norms, key_norms))
        rows = _either(rows, _rows_that_see(call, allowed(), keys))
    if rows is not None:
        rows = rows.expand(call.rows_shape) if bool(rows.any()) else None
    return Spoils(allowed, empty, keys, biased, rows)


def _rows_with_spoiled_scores(
    call: Call, allowed: torch.Tensor, query_norms: torch.Tensor, key_norms: torch.Tensor
) -> torch.Tensor | None:
    """Return which rows may reach huge scores, or NaN, with the keys that they may see.

    Times anything, even 0, the norm of a query with NaN or Inf is NaN or Inf.
    """
    # First without the keys that no row may see, such as padding: most often that settles it.
    visible = torch.where(allowed.any(dim=2, keepdim=True), _spread(call, key_norms), 0)
    if bool(query_norms.amax() * visible.amax() <= call.limit):
        return None
    longest_seen = torch.where(allowed, visible, 0).amax(dim=-1)
    return ~(query_norms * longest_seen <= call.limit)


def _rows_that_see(
    call: Call, allowed: torch.Tensor, keys: torch.Tensor | None
) -> torch.Tensor | None:
    """Return which rows may see one of the keys, bool [batch, kv_heads, kv_len]."""
    if keys is None:
        return None
    wide = _spread(call, keys)
    if not bool((allowed.any(dim=2, keepdim=True) & wide).any()):
        return None
    return (allowed & wide).any(dim=-1)


def _norms(vectors: torch.Tensor) -> torch.Tensor:
    return torch.linalg.vector_norm(vectors, dim=-1, dtype=working_dtype(vectors.dtype))


def _extreme_bias(call: Call, allowed: torch.Tensor) -> torch.Tensor:
    """Return which rows [..., q_len] have a bias that makes their logsumexp huge, or NaN.

    Huge negative numbers beside usual ones are harmless: their weight is 0.
    """
    assert call.bias is not None
    working = working_dtype(call.query.dtype)
    highest = torch.where(allowed, call.bias.to(working), -torch.inf).amax(dim=-1)
    return ~(highest.abs() <= _LARGEST_SCORE[working])


def _spread(call: Call, per_key: torch.Tensor) -> torch.Tensor:
    """Return [batch, kv_heads, kv_len] as [batch, heads, 1, kv_len]."""
    return spread_heads(per_key[..., None], call.query.shape[1]).mT


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


def _unsigned_zeros(tensor: torch.Tensor) -> torch.Tensor:
    """Turn -0 into 0, so that not even the sign of a forbidden product is left."""
    return tensor + 0.0


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
    """The same for a bias."""

    @staticmethod
    def forward(ctx, bias):
        return bias

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad):
        return _unsigned_zeros(grad)


class _Exit(torch.autograd.Function):
    """Put in the rows that were computed apart, empty the empty ones, and guard the way back."""

    @staticmethod
    def forward(ctx, output, logsumexp, query, key, value, bias, spoils, scale, bound):
        ctx.save_for_backward(query, key, value, bias)
        ctx.spoils, ctx.scale, ctx.bound = spoils, scale, bound
        output = _unsigned_zeros(output)
        logsumexp = None if logsumexp is None else _unsigned_zeros(logsumexp)
        if spoils.empty is not None:
            output = output.masked_fill(spoils.empty[..., None], 0)
            if logsumexp is not None:
                logsumexp = logsumexp.masked_fill(spoils.empty, -torch.inf)
        if spoils.rows is not None:
            inputs = Inputs(query, key, value, spoils.allowed(), bias, scale)
            output, logsumexp = attend_rows(inputs, spoils.rows, output, logsumexp)
        return output, logsumexp

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad_output, grad_logsumexp):
        spoils = ctx.spoils
        apart = _either(spoils.rows, _out_of_bounds(grad_output, ctx.bound))
        if grad_logsumexp is not None:
            apart = _either(apart, _out_of_bounds(grad_logsumexp[..., None], ctx.bound))
        aside = _either(apart, spoils.empty)
        grad, grad_lse = _cleaned(grad_output, aside), grad_logsumexp
        if grad_lse is not None and aside is not None:
            grad_lse = grad_lse.masked_fill(aside, 0)
        if apart is None:
            return (grad, grad_lse, *[None] * 7)
        query, key, value, bias = ctx.saved_tensors
        inputs = Inputs(query, key, value, spoils.allowed(), bias, ctx.scale)
        with plain_arithmetic(query.device):
            grads = attend_rows_backward(inputs, apart, grad_output, grad_logsumexp)
        return (grad, grad_lse, *grads, None, None, None)
