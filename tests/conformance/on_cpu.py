"""What the tests of engine ``cpu`` under torch's machinery share: small tensors, plain calls."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

import sightline as sl
from sightline.engines.cpu_parts.kernels import Tensors

B, HEADS, KV_HEADS, Q, K, DIM = 3, 4, 2, 5, 6, 8
OFFSET = 1
PADDED = sl.causal() & sl.padding(lengths=[6, 2, 4])
SHARED = sl.window(left=2, right=1)


def tensors(dtype: torch.dtype = torch.float32, *, grad: bool = True) -> Tensors:
    rng = torch.Generator().manual_seed(0)
    shapes = (B, HEADS, Q, DIM), (B, KV_HEADS, K, DIM), (B, KV_HEADS, K, DIM), (HEADS, 1, K)
    drawn = [torch.randn(shape, generator=rng).to(dtype) for shape in shapes]
    return Tensors(*(tensor.requires_grad_(grad) for tensor in drawn))


def attend(given: Tensors, mask: sl.Mask = PADDED, **options: Any) -> Any:
    query, key, value, bias = given
    options = {"q_offset": OFFSET, "bias": bias, "engine": "cpu"} | options
    return sl.attend(query, key, value, mask, **options)


def gradients(output: torch.Tensor, given: Tensors) -> tuple[torch.Tensor, ...]:
    rng = torch.Generator().manual_seed(1)
    upstream = torch.randn(output.shape, generator=rng).to(output.dtype)
    return torch.autograd.grad(output, [t for t in given if t is not None], upstream)


def assert_same(ours: Any, theirs: Any) -> None:
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)


def compiled(function: Callable[..., Any], backend: str = "aot_eager") -> Callable[..., Any]:
    return torch.compile(function, fullgraph=True, backend=backend)
