"""Calls of engine ``cpu`` at any size, compared with the oracle: output, logsumexp, gradients.

Helper of test_cpu_oracle.py and test_cpu_isas.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

import sightline as sl
from sightline.reference.attention import attention, attention_gradients


@dataclass(frozen=True)
class Problem:
    """Sizes of a call, and how its tensors are made."""

    q_len: int
    kv_len: int
    q_offset: int = 0
    batch: int = 2
    heads: int = 3
    kv_heads: int = 1
    dims: tuple[int, int] = (8, 6)
    dtype: torch.dtype = torch.float32
    layout: str = "contiguous"
    scale: float | None = None
    bias_shape: tuple[int, ...] | None = None
    bias_dtype: torch.dtype = torch.float32

    def draw(self, seed: int) -> dict[str, torch.Tensor]:
        """Return query, key, value and, if there is one, the bias."""
        rng = torch.Generator().manual_seed(seed)
        dim, value_dim = self.dims
        shapes = {
            "query": (self.batch, self.heads, self.q_len, dim),
            "key": (self.batch, self.kv_heads, self.kv_len, dim),
            "value": (self.batch, self.kv_heads, self.kv_len, value_dim),
        }
        drawn = {
            name: _laid(torch.randn(shape, generator=rng).to(self.dtype), self.layout)
            for name, shape in shapes.items()
        }
        if self.bias_shape is not None:
            bias = torch.randn(self.bias_shape, generator=rng)
            bias[torch.rand(self.bias_shape, generator=rng) < 0.1] = -torch.inf
            drawn["bias"] = bias.to(self.bias_dtype)
        return {name: tensor.requires_grad_() for name, tensor in drawn.items()}


def _laid(tensor: torch.Tensor, layout: str) -> torch.Tensor:
    """Return the same numbers, otherwise in memory."""
    if layout == "swapped":  # [B, S, H, D], as projections give them
        return tensor.transpose(1, 2).contiguous().transpose(1, 2)
    if layout == "sliced":  # heads and tokens out of more
        room = torch.full((*tensor.shape[:1], *(2 * n + 1 for n in tensor.shape[1:])), torch.nan)
        room = room.to(tensor.dtype)
        view = room[:, 1::2, 1::2, : tensor.shape[3]]
        return view.copy_(tensor)
    if layout == "columns":  # the last axis is not the contiguous one
        return tensor.transpose(2, 3).contiguous().transpose(2, 3)
    return tensor


def numbers(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().double().numpy()


def roundings(problem: Problem) -> float:
    """Return the error allowed, relative to the largest number of each result.

    Scores of ``head_dim`` products and sums over keys have some roundings of the working type, in
    proportion to their size; 16 of them are some times what is found. The output is rounded once
    to its dtype, and the backward pass starts from that.
    """
    working = torch.float64 if problem.dtype == torch.float64 else torch.float32
    dim, value_dim = problem.dims
    scale = abs(problem.scale if problem.scale is not None else dim**-0.5)
    size = 1 + scale * dim**0.5 * 3  # of the scores
    stored = value_dim**0.5 * torch.finfo(problem.dtype).eps if problem.dtype != working else 0
    return 16 * size * torch.finfo(working).eps + stored


def compare(problem: Problem, mask: sl.Mask, seed: int = 0) -> None:
    """Compare output, logsumexp and all gradients with the oracle's."""
    given: dict[str, Any] = problem.draw(seed)
    allowed = mask.dense(problem.q_len, problem.kv_len, problem.q_offset)
    output, logsumexp = sl.attend(
        **given,
        mask=mask,
        q_offset=problem.q_offset,
        scale=problem.scale,
        engine="cpu",
        return_lse=True,
    )
    rng = torch.Generator().manual_seed(seed + 1)
    upstream = torch.randn(output.shape, generator=rng).to(output.dtype)
    upstream_lse = torch.randn(logsumexp.shape, generator=rng, dtype=logsumexp.dtype)
    grads = torch.autograd.grad((output, logsumexp), list(given.values()), (upstream, upstream_lse))

    plain = {name: numbers(tensor) for name, tensor in given.items()}
    options = {"scale": problem.scale, "bias": plain.pop("bias", None)}
    tensors = plain["query"], plain["key"], plain["value"]
    wanted = attention(*tensors, allowed, **options)
    expected = attention_gradients(
        *tensors, allowed, numbers(upstream), grad_logsumexp=numbers(upstream_lse), **options
    )
    error = roundings(problem)
    close("output", output, wanted.output, error)
    close("logsumexp", logsumexp, wanted.logsumexp, error)
    for name, grad in zip(given, grads, strict=True):
        # Where products of large numbers cancel, what is left has their roundings.
        slack = 2 * max(1.0, abs(problem.scale or 0)) if name != "bias" else 4
        # A bias that is broadcast sums over all pairs that share a number: their roundings add up
        # as the root of how many they are, while what they add up to may be small.
        if name == "bias":
            pairs = problem.batch * problem.heads * problem.q_len * problem.kv_len
            slack += (allowed.mean() * pairs / grad.numel()) ** 0.5 / 8
        loss = torch.finfo(problem.bias_dtype).eps if name == "bias" else 0
        close(f"grad of {name}", grad, getattr(expected, name), slack * error + loss)


def close(name: str, ours: torch.Tensor, theirs: np.ndarray, error: float) -> None:
    assert tuple(ours.shape) == theirs.shape, name
    finite = np.abs(theirs[np.isfinite(theirs)])
    size = max(1.0, finite.max()) if finite.size else 1.0
    np.testing.assert_allclose(numbers(ours), theirs, rtol=0, atol=error * size, err_msg=name)
