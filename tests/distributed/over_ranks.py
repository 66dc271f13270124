"""One attention, computed on several ranks: what a rank runs, and the whole from its answers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch

import sightline as sl
from sightline import reference


@dataclass(frozen=True)
class Problem:
    """An attention with gradients, whose tensors follow from the seed.

    Attributes:
        mask: who may see whom.
        shape: batch, heads, kv_heads, q_len, kv_len, head_dim, value_dim.
        options: what ``spread`` is told besides.
        call: what ``attend`` is told besides.
        bias: the shape of a bias, or None.
        poison: (batch row, key) of keys and values that hold NaN and Inf if ``poisoned``; the
            loss does not depend on the rows that see them, poisoned or not.
        poison_keys: whether keys hold them too, or values alone.
        mesh: the sizes of a mesh, (context, heads) after others whose part is taken; or None.
        infinite: keys of which a number is -inf, so that scores are.
        by: what of query, key and value has gradients.
        on_gpu: whether each rank has a GPU of its own, and NCCL moves the data.
    """

    mask: sl.Mask
    shape: tuple[int, ...]
    options: dict[str, Any]
    call: dict[str, Any]
    bias: tuple[int, ...] | None = None
    dtype: torch.dtype = torch.float64
    seed: int = 0
    poison: tuple[tuple[int, int], ...] = ()
    poisoned: bool = False
    poison_keys: bool = True
    mesh: tuple[int, ...] | None = None
    infinite: tuple[int, ...] = ()
    by: str = "qkv"
    on_gpu: bool = False

    def tensors(self) -> list[torch.Tensor]:
        """Return query, key, value, and the gradients of output and logsumexp."""
        made = torch.Generator().manual_seed(self.seed)
        b, h, g, q, k, d, v = self.shape
        shapes = [(b, h, q, d), (b, g, k, d), (b, g, k, v), (b, h, q, v), (b, h, q)]
        drawn = [torch.randn(s, generator=made, dtype=torch.float64) for s in shapes]
        drawn = [each.to(self.dtype) for each in drawn[:4]] + [drawn[4]]
        for key in self.infinite:
            drawn[1][:, :, key, 0] = -torch.inf
            drawn[0][..., 0] = drawn[0][..., 0].abs() + 0.1
        sees = self.sees_poison()
        drawn[3][sees] = 0
        drawn[4][sees] = 0
        for number, (row, key) in enumerate(self.poison if self.poisoned else ()):
            if self.poison_keys:
                drawn[1][row, :, key] = (torch.nan, torch.inf, -torch.inf)[number % 3]
            drawn[2][row, :, key] = (torch.inf, torch.nan, -torch.inf)[number % 3]
        return drawn

    def sees_poison(self) -> torch.Tensor:
        """Return which rows [batch, heads, q_len] may see a poisoned key."""
        b, h, _, q, k, _, _ = self.shape
        allowed = np.broadcast_to(self.mask.dense(q, k), (b, h, q, k))
        sees = np.zeros((b, h, q), dtype=np.bool_)
        for row, key in self.poison:
            sees[row] |= allowed[row, :, :, key]
        return torch.from_numpy(sees)

    def made_bias(self) -> torch.Tensor | None:
        if self.bias is None:
            return None
        made = torch.Generator().manual_seed(self.seed + 1)
        bias = torch.randn(self.bias, generator=made, dtype=torch.float64)
        return bias.masked_fill(bias < -1.2, -torch.inf)


@cache
def mesh_of(sizes: tuple[int, ...]) -> Any:
    """Return a mesh of all processes, or this one's part of it, made once."""
    from torch.distributed.device_mesh import init_device_mesh

    names = ("data", "context", "heads")[-len(sizes) :]
    return init_device_mesh("cpu", sizes, mesh_dim_names=names)["context", "heads"]


@cache
def gpu_group() -> Any:
    """Return a group of all processes on NCCL, made once."""
    torch.cuda.set_device(torch.distributed.get_rank())
    return torch.distributed.new_group(backend="nccl")


def solve(problem: Problem) -> dict[str, np.ndarray]:
    """Return this rank's answers, and where they belong."""
    *_, q_len, kv_len, _, _ = problem.shape
    options = dict(problem.options)
    group = None if problem.mesh is None else mesh_of(problem.mesh)
    group = gpu_group() if problem.on_gpu else group
    if options.pop("kept_keys", False):
        block = options["block"]
        other = sl.distributed.spread(sl.window(left=3), kv_len, block=block + 1, group=group)
        options["keys"] = other.queries
    spread = sl.distributed.spread(problem.mask, q_len, kv_len, group=group, **options)
    rank = spread.ranks.rank
    at, key_at = spread.queries.positions(rank), spread.keys.positions(rank)
    query, key, value, upstream, upstream_lse = problem.tensors()
    query, upstream, upstream_lse = (_taken(x, at) for x in (query, upstream, upstream_lse))
    key, value = _taken(key, key_at), _taken(value, key_at)
    if problem.on_gpu:
        query, key, value = query.cuda(), key.cuda(), value.cuda()
        upstream, upstream_lse = upstream.cuda(), upstream_lse.cuda()
    wanted = [x for x, name in zip((query, key, value), "qkv", strict=True) if name in problem.by]
    for each in wanted:
        each.requires_grad_()
    bias = problem.made_bias()
    call = dict(problem.call)
    if bias is not None:
        bias = bias.requires_grad_()
        shape = bias.shape
        call["bias"] = bias if len(shape) < 2 or shape[-2] == 1 else _rows_taken(bias, at)
        wanted.append(bias)
    call.setdefault("return_lse", True)
    found = sl.distributed.attend(query, key, value, problem.mask, spread=spread, **call)
    output, lse = found if call["return_lse"] else (found, None)
    total = _total(output, lse, upstream, upstream_lse)
    if wanted:
        total.backward()
    found = {"output": output, "lse": lse, "query": query.grad, "key": key.grad}
    found |= {"value": value.grad, "bias": None if bias is None else bias.grad}
    told = {name: _array(each) for name, each in found.items() if each is not None}
    return {**told, "at": at, "key_at": key_at}


def whole(problem: Problem, answers: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Return the answers of all ranks as those of one process."""
    b, h, g, q, k, d, v = problem.shape
    shapes = {"output": (b, h, q, v), "lse": (b, h, q), "query": (b, h, q, d)}
    shapes |= {"key": (b, g, k, d), "value": (b, g, k, v)}
    result: dict[str, np.ndarray] = {}
    for name, shape in shapes.items():
        if name in answers[0]:
            result[name] = np.full(shape, 7777.0)
            for each in answers:
                at = each["key_at" if name in ("key", "value") else "at"]
                for row in range(b):
                    where = at[row if len(at) > 1 else 0]
                    result[name][row][:, where] = each[name][row]
    if "bias" in answers[0]:
        result["bias"] = np.sum([each["bias"] for each in answers], axis=0)
    return result


def judged(problem: Problem) -> dict[str, np.ndarray]:
    """Return what the oracle says."""
    *_, q_len, kv_len, _, _ = problem.shape
    query, key, value, upstream, upstream_lse = map(_array, problem.tensors())
    if not problem.call.get("return_lse", True):
        upstream_lse = upstream_lse * 0
    bias = problem.made_bias()
    allowed = reference.dense(problem.mask, q_len, kv_len)
    added = None if bias is None else bias.numpy()
    found = reference.attention(query, key, value, allowed, bias=added)
    grads = reference.attention_gradients(
        query, key, value, allowed, upstream, grad_logsumexp=upstream_lse, bias=added
    )
    result = {"output": found.output, "lse": found.logsumexp, "query": grads.query}
    result |= {"key": grads.key, "value": grads.value}
    if grads.bias is not None:
        result["bias"] = grads.bias
    return result


def alone(problem: Problem) -> dict[str, np.ndarray]:
    """Return what ``sl.attend`` says in one process."""
    *inputs, upstream, upstream_lse = problem.tensors()
    query, key, value = (each.requires_grad_() for each in inputs)
    output, lse = sl.attend(query, key, value, problem.mask, return_lse=True, **problem.call)
    _total(output, lse, upstream, upstream_lse).backward()
    names = ("output", "lse", "query", "key", "value")
    found = [output, lse, *(each.grad for each in inputs)]
    return {name: _array(each) for name, each in zip(names, found, strict=True)}


def _total(
    output: torch.Tensor, lse: torch.Tensor | None, grad: torch.Tensor, grad_lse: torch.Tensor
) -> torch.Tensor:
    """Return a number with those gradients, that of the logsumexp where a row is not empty."""
    total = (output * grad).sum()
    if lse is None:
        return total
    return total + torch.where(lse == -torch.inf, 0.0, lse * grad_lse.to(lse.dtype)).sum()


def _taken(tensor: torch.Tensor, at: np.ndarray) -> torch.Tensor:
    rows = [tensor[b][:, at[b if len(at) > 1 else 0]] for b in range(len(tensor))]
    return torch.stack(rows)


def _rows_taken(bias: torch.Tensor, at: np.ndarray) -> torch.Tensor:
    if len(at) == 1:
        return bias[..., at[0], :]
    wide = bias if len(bias) > 1 else bias.expand(len(at), *bias.shape[1:])
    return torch.stack([wide[b][:, at[b]] for b in range(len(at))])


def _array(tensor: torch.Tensor | None) -> np.ndarray:
    assert tensor is not None
    return tensor.detach().double().cpu().numpy()
