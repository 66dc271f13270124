"""Tensors handed to the compiled kernels, forwards and backwards; no autograd, no dispatcher.

The kernels take addresses and strides, in elements. They want the last axis to be contiguous;
everything else is read and written where it lies.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, overload

import torch

from sightline import native

_NUMBERS = {torch.float32: 0, torch.float64: 1, torch.bfloat16: 2, torch.float16: 3}


class Tensors(NamedTuple):
    """What attention reads: the tensors of a Request."""

    query: torch.Tensor
    key: torch.Tensor
    value: torch.Tensor
    bias: torch.Tensor | None


@dataclass(frozen=True, slots=True)
class Call:
    """What attention is told besides.

    Attributes:
        plan: the mask at the shape, as the kernels want it.
        scale: the factor of the scores.
        dropout: the rate at which weights are dropped.
        seed: which weights those are; 0 <= seed < 2**63.
    """

    plan: Any
    scale: float
    dropout: float = 0.0
    seed: int = 0


class Result(NamedTuple):
    """What a forward pass gives.

    Attributes:
        output: [batch, heads, q_len, value_dim].
        stats: [batch, heads, q_len, 2], what the backward pass goes by; None if not wanted.
        logsumexp: [batch, heads, q_len]; None if not wanted.
    """

    output: torch.Tensor
    stats: torch.Tensor | None
    logsumexp: torch.Tensor | None


def run_forward(given: Tensors, call: Call, *, stats: bool, logsumexp: bool) -> Result:
    """Return attention, with what is wanted besides."""
    query, key, value = (_readable(tensor) for tensor in given[:3])
    bias = None if given.bias is None else _plain(given.bias)  # held: its address is passed on
    result = new_result(query, value, stats, logsumexp)
    native.kernels().forward(
        call.plan,
        _NUMBERS[query.dtype],
        _sizes(query, value),
        _view(query),
        _view(key),
        _view(value),
        _bias_view(bias),
        _view(result.output),
        _address(result.stats),
        _address(result.logsumexp),
        call.scale,
        call.dropout,
        call.seed,
        torch.get_num_threads(),
    )
    return result


def run_backward(
    given: Tensors,
    call: Call,
    output: torch.Tensor,
    stats: torch.Tensor,
    grad_output: torch.Tensor | None,
    grad_logsumexp: torch.Tensor | None,
    wanted: tuple[bool, ...],
) -> list[torch.Tensor | None]:
    """Return the gradients of query, key, value and bias, None for those not wanted.

    A ``grad_output`` or ``grad_logsumexp`` of None stands for zeros.
    """
    query, key, value = (_readable(tensor) for tensor in given[:3])
    bias = None if given.bias is None else _plain(given.bias)
    upstream = torch.zeros_like(output) if grad_output is None else _readable(grad_output)
    if grad_logsumexp is not None:
        grad_logsumexp = _plain(grad_logsumexp).contiguous()
    grad_query, grad_key, grad_value = (
        laid_like(tensor, tensor.shape) if want else None
        for tensor, want in zip((query, key, value), wanted[:3], strict=True)
    )
    grad_bias = None
    if bias is not None and wanted[3]:
        grad_bias = torch.zeros(bias.shape, dtype=working_dtype(query.dtype))
    native.kernels().backward(
        call.plan,
        _NUMBERS[query.dtype],
        _sizes(query, value),
        _view(query),
        _view(key),
        _view(value),
        _bias_view(bias),
        _view(output),
        _address(stats),
        _view(upstream),
        _address(grad_logsumexp),
        _view(grad_query),
        _view(grad_key),
        _view(grad_value),
        _bias_view(grad_bias),
        call.scale,
        call.dropout,
        call.seed,
        torch.get_num_threads(),
    )
    if grad_bias is not None and bias is not None:
        grad_bias = grad_bias.to(bias.dtype)
    return [grad_query, grad_key, grad_value, grad_bias]


def working_dtype(dtype: torch.dtype) -> torch.dtype:
    """Return the dtype that the kernels count in."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def new_result(query: torch.Tensor, value: torch.Tensor, stats: bool, logsumexp: bool) -> Result:
    """Return room for a result, the output laid out as the query."""
    batch, heads, q_len, _ = query.shape
    output = laid_like(query, (batch, heads, q_len, value.shape[3]))
    working = working_dtype(query.dtype)
    return Result(
        output,
        query.new_empty((batch, heads, q_len, 2), dtype=working) if stats else None,
        query.new_empty((batch, heads, q_len), dtype=working) if logsumexp else None,
    )


def laid_like(tensor: torch.Tensor, shape: Any) -> torch.Tensor:
    """Return room of a shape [batch, heads, sequence, dim] that lies in memory as a tensor does.

    So ``output.transpose(1, 2).flatten(2)`` costs nothing where the query is such a view of
    [batch, sequence, heads, head_dim]. What is neither that nor contiguous has contiguous room.
    """
    if tensor.stride(1) < tensor.stride(2):
        batch, heads, length, dim = shape
        return tensor.new_empty((batch, length, heads, dim)).transpose(1, 2)
    return tensor.new_empty(shape)


def _readable(tensor: torch.Tensor) -> torch.Tensor:
    """Return the tensor with a contiguous last axis: a copy only if it has another one."""
    tensor = _plain(tensor)
    if tensor.stride(3) == 1 or tensor.shape[3] == 1:
        return tensor
    return tensor.contiguous()


def _plain(tensor: torch.Tensor) -> torch.Tensor:
    """Return the tensor with the numbers that it stands for in memory.

    torch negates some views only when they are read, and keeps some zeros without memory.
    """
    if tensor.is_neg():
        return tensor.resolve_neg()
    return tensor.clone() if tensor._is_zerotensor() else tensor


def _sizes(query: torch.Tensor, value: torch.Tensor) -> tuple[int, int, int, int, int, int, int]:
    batch, heads, q_len, head_dim = query.shape
    _, kv_heads, kv_len, value_dim = value.shape
    return batch, heads, kv_heads, q_len, kv_len, head_dim, value_dim


@overload
def _view(tensor: torch.Tensor) -> tuple[int, int, int, int]: ...
@overload
def _view(tensor: None) -> None: ...
def _view(tensor: torch.Tensor | None) -> tuple[int, int, int, int] | None:
    if tensor is None:
        return None
    batch, head, row, _ = tensor.stride()
    return tensor.data_ptr(), batch, head, row


def _bias_view(bias: torch.Tensor | None) -> tuple[int, int, int, int, int, int] | None:
    """Return address, dtype and four strides, 0 along axes that broadcast."""
    if bias is None:
        return None
    own = [0 if size == 1 else step for size, step in zip(bias.shape, bias.stride(), strict=True)]
    batch, head, row, column = [0] * (4 - len(own)) + own
    return bias.data_ptr(), _NUMBERS[bias.dtype], batch, head, row, column


def _address(tensor: torch.Tensor | None) -> int:
    return 0 if tensor is None else tensor.data_ptr()
