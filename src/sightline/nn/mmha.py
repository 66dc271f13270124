"""One decode step of masked multi-head attention, as Paddle's fused operator is called.

Packed query, key and value and their bias come in; they are rotated, the new key and value are
written to the cache in place, and the new token looks at all that is there. The layout in which
Paddle keeps keys is paddle_layout.py; caches that grow by more than a token are kv_cache.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from sightline.engines.attend import attend
from sightline.engines.shared import refuse_shared
from sightline.errors import InvalidArgument, ShapeMismatch
from sightline.masks.nodes import Everything
from sightline.masks.padding import padding
from sightline.nn.caches.arguments import Ints, as_each_row, as_size
from sightline.nn.positions import Rotary, turn

RotaryLike = Rotary | tuple[torch.Tensor, torch.Tensor]


@dataclass(frozen=True)
class Step:
    """The sizes of a step: batch rows, query heads, kv heads, head_dim, room in the cache."""

    batch: int
    heads: int
    kv_heads: int
    head_dim: int
    max_len: int


def mmha_step(
    x: torch.Tensor,
    cache_kv: torch.Tensor,
    *,
    bias: torch.Tensor | None = None,
    src_mask: torch.Tensor | None = None,
    sequence_lengths: Any = None,
    timestep: int | None = None,
    rotary: RotaryLike | None = None,
    rotary_style: str | None = None,
    kv_heads: int | None = None,
    scale: float | None = None,
    engine: str = "auto",
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the attention of one new token a row, whose key and value go into the cache.

    softmax(scale * q . k + src_mask) over the t cached tokens and the new one, times v; the
    softmax is in float32. It is the last row of the full pass. The cache is written in place at
    position t of each row and keeps its memory.

    Args:
        x: [batch, (heads + 2 kv_heads) * head_dim]: query, key and value of the new token, heads
            one after another. Query heads share kv heads as in ``sl.attend``.
        cache_kv: [2, batch, kv_heads, max_len, head_dim], keys then values; what stands from t on
            is not read.
        bias: [(heads + 2 kv_heads) * head_dim] or [heads + 2 kv_heads, head_dim], added to x.
        src_mask: floats added to the scores, [batch|1, heads|1, 1, length] with a length of t + 1
            or more (what is beyond is cut off); -inf forbids.
        sequence_lengths: [batch]: how many tokens are cached, t, for each row. One of these, or
            ``timestep``, is needed unless ``src_mask`` tells by its length, t + 1.
        timestep: t, where it is the same for all rows.
        rotary: turns query and key to position t: a ``Rotary``, or (cos, sin) of the angles, each
            [batch|1, head_dim / 2], or [batch|1, head_dim] with both of a pair given.
        rotary_style: "neox" or "interleaved", which features pair; None means the ``Rotary``'s
            own, and "neox" for (cos, sin).
        kv_heads: only to check the cache by.
        scale: factor of the scores; None means ``1 / sqrt(head_dim)``.
        engine: which engine of ``sl.attend``.

    Returns:
        The output [batch, heads * head_dim], and ``cache_kv`` itself.

    Raises:
        ShapeMismatch: sizes that do not fit.
        InvalidArgument: no room at position t, t unknown, dtypes or devices that differ, or a
            tensor that wants a gradient.

    Source: PaddlePaddle, ``incubate.nn.functional.masked_multihead_attention``, without its
    quantisation and beam offsets.

    >>> import sightline as sl, torch
    >>> cache = torch.zeros(2, 1, 1, 8, 4)
    >>> for t in range(3):
    ...     output, cache = sl.nn.mmha_step(torch.full((1, 12), float(t)), cache, timestep=t)
    >>> cache[1, 0, 0, :4, 0].tolist(), round(output[0, 0].item(), 4)
    ([0.0, 1.0, 2.0, 0.0], 1.9814)
    """
    refuse_shared("sl.nn.mmha_step")
    step = _sizes(x, cache_kv, kv_heads)
    _refuse_gradients(x=x, bias=bias, src_mask=src_mask)
    held = _held(sequence_lengths, timestep, src_mask, step)
    tokens = x if bias is None else x + _bias(bias, x)
    tokens = tokens.view(step.batch, -1, 1, step.head_dim)
    with torch.no_grad():
        query, key, value = tokens.split([step.heads, step.kv_heads, step.kv_heads], dim=1)
        if rotary is not None:
            cos, sin, style = _turns(rotary, rotary_style, held, x, step)
            query, key = turn(query, cos, sin, style), turn(key, cos, sin, style)
        elif rotary_style is not None:
            raise InvalidArgument("got rotary_style without rotary; wanted both, or neither.")
        kv_len = int(held.max()) + 1
        added = None if src_mask is None else _added(src_mask, kv_len, step, x)
        _write(cache_kv, held, key, value)
        level = bool((held == held[0]).all())
        output = attend(
            query,
            cache_kv[0, :, :, :kv_len],
            cache_kv[1, :, :, :kv_len],
            Everything() if level else padding(lengths=held + 1),
            scale=scale,
            bias=added,
            engine=engine,
        )
    return output.flatten(1), cache_kv


def _sizes(x: Any, cache_kv: Any, kv_heads: int | None) -> Step:
    """Return the sizes, if the two tensors fit each other."""
    for name, tensor in (("x", x), ("cache_kv", cache_kv)):
        if not isinstance(tensor, torch.Tensor) or not tensor.dtype.is_floating_point:
            raise InvalidArgument(f"got {name} of type {type(tensor).__name__}; wanted floats.")
    if cache_kv.ndim != 5 or cache_kv.shape[0] != 2 or 0 in cache_kv.shape:
        raise ShapeMismatch(
            f"got cache_kv of shape {list(cache_kv.shape)}; wanted [2, batch, kv_heads, max_len, "
            "head_dim]; sl.nn.unpack_cache makes it of Paddle's own layout."
        )
    if x.dtype != cache_kv.dtype or x.device != cache_kv.device:
        raise InvalidArgument(
            f"got x {x.dtype} on {x.device} and cache_kv {cache_kv.dtype} on {cache_kv.device}; "
            "wanted one dtype and one device; convert x with x.to(cache_kv)."
        )
    _, batch, own_heads, max_len, head_dim = cache_kv.shape
    if kv_heads is not None and as_size(kv_heads, "kv_heads") != own_heads:
        raise ShapeMismatch(
            f"got kv_heads={kv_heads} and a cache of {own_heads} heads; wanted equal numbers."
        )
    packed = x.shape[1] // head_dim if x.ndim == 2 else 0
    heads = packed - 2 * own_heads
    if x.ndim != 2 or x.shape != (batch, packed * head_dim) or heads < 1 or heads % own_heads:
        raise ShapeMismatch(
            f"got x of shape {list(x.shape)} and a cache of shape {list(cache_kv.shape)}; wanted "
            f"x [{batch}, (heads + {2 * own_heads}) * {head_dim}] with query heads that "
            f"{own_heads} kv heads divide: query, key and value one after another."
        )
    return Step(batch, heads, own_heads, head_dim, max_len)


def _held(lengths: Any, timestep: int | None, src_mask: Any, step: Step) -> Ints:
    """Return t for each row."""
    if lengths is not None and timestep is not None:
        raise InvalidArgument("got sequence_lengths and timestep; wanted one of them.")
    if lengths is not None:
        flat = lengths.reshape(-1) if hasattr(lengths, "reshape") else lengths
        held = as_each_row(flat, "sequence_lengths", step.batch)
    elif timestep is not None:
        held = as_each_row(timestep, "timestep", step.batch)
    elif src_mask is not None:
        held = np.full(step.batch, src_mask.shape[-1] - 1, dtype=np.int64)
    else:
        raise InvalidArgument(
            "got no sequence_lengths, no timestep and no src_mask; wanted one of them, which says "
            "how many tokens are cached."
        )
    row = int(held.argmax())
    if held[row] >= step.max_len:
        raise InvalidArgument(
            f"got a new token for batch row {row}, which holds {held[row]} of {step.max_len}; "
            f"wanted room for it; make cache_kv with max_len={held[row] + 1} or more."
        )
    return held


def _bias(bias: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    if bias.numel() != x.shape[1] or bias.ndim > 3 or bias.dtype != x.dtype:
        raise ShapeMismatch(
            f"got a bias of shape {list(bias.shape)} and {bias.dtype}; wanted {x.shape[1]} numbers "
            f"of {x.dtype}, one for each column of x, [heads + 2 kv_heads, head_dim] or flat."
        )
    return bias.reshape(-1)


def _turns(
    rotary: Any, style: str | None, held: Ints, x: torch.Tensor, step: Step
) -> tuple[torch.Tensor, torch.Tensor, str]:
    """Return cosines and sines [batch|1, 1, 1, pairs], and which features pair."""
    if isinstance(rotary, Rotary):
        if style not in (None, rotary.style):
            raise InvalidArgument(
                f"got rotary_style={style!r} and a Rotary of style {rotary.style!r}; wanted one; "
                "leave rotary_style out."
            )
        positions = torch.from_numpy(held[:, None]).to(x.device)
        dtype = torch.float64 if x.dtype == torch.float64 else torch.float32
        cos, sin = rotary.cos_sin(positions, dtype)
        return cos[:, None], sin[:, None], rotary.style
    style = "neox" if style is None else style
    if style not in ("neox", "interleaved"):
        raise InvalidArgument(f"got rotary_style={style!r}; wanted 'neox' or 'interleaved'.")
    cos, sin = (_pairs(each, style, x, step) for each in rotary)
    return cos, sin, style


def _pairs(angles: torch.Tensor, style: str, x: torch.Tensor, step: Step) -> torch.Tensor:
    """Return cosines or sines, given for pairs or for both of each, as [batch|1, 1, 1, pairs].

    Raises:
        ShapeMismatch: another shape.
        InvalidArgument: the two of a pair differ.
    """
    size = step.head_dim
    columns = angles.shape[-1] if angles.ndim else 0
    if columns not in (size, size / 2) or angles.numel() not in (columns, step.batch * columns):
        raise ShapeMismatch(
            f"got cosines or sines of shape {list(angles.shape)}; wanted [{step.batch}|1, "
            f"{size // 2}] or [{step.batch}|1, {size}]; to rotate a part of the features give a "
            "sl.nn.Rotary with fraction=."
        )
    flat = angles.reshape(-1, columns)
    if columns == size:
        halves = flat.chunk(2, dim=1) if style == "neox" else (flat[:, 0::2], flat[:, 1::2])
        if not torch.equal(*halves):
            raise InvalidArgument(
                f"got cosines or sines that differ within a pair of style {style!r}; wanted the "
                "same for both; give the other rotary_style."
            )
        flat = halves[0]
    dtype = torch.float64 if x.dtype == torch.float64 else torch.float32
    return flat.to(x.device, dtype)[:, None, None]


def _write(cache_kv: torch.Tensor, held: Ints, key: torch.Tensor, value: torch.Tensor) -> None:
    rows = torch.arange(len(held), device=cache_kv.device)
    slots = torch.from_numpy(held).to(cache_kv.device)
    for tensor, new in zip(cache_kv, (key, value), strict=True):
        tensor.transpose(1, 2).index_put_((rows, slots), new[:, :, 0])


def _added(src_mask: torch.Tensor, kv_len: int, step: Step, x: torch.Tensor) -> torch.Tensor:
    """Return src_mask cut to the keys that there are."""
    if not src_mask.dtype.is_floating_point or src_mask.device != x.device:
        raise InvalidArgument(
            f"got src_mask {src_mask.dtype} on {src_mask.device}; wanted floats on {x.device} that "
            "are added to the scores: 0 where a token may be seen, -inf where not."
        )
    sizes = (step.batch, 1), (step.heads, 1), (1,)
    fits = src_mask.ndim == 4 and all(
        n in wanted for n, wanted in zip(src_mask.shape, sizes, strict=False)
    )
    if not fits or src_mask.shape[3] < kv_len:
        raise ShapeMismatch(
            f"got src_mask of shape {list(src_mask.shape)}; wanted [{step.batch}|1, "
            f"{step.heads}|1, 1, {kv_len}], a number for each cached token and the new one."
        )
    return src_mask[..., :kv_len]


def _refuse_gradients(**tensors: torch.Tensor | None) -> None:
    for name, tensor in tensors.items():
        if tensor is not None and tensor.requires_grad and torch.is_grad_enabled():
            raise InvalidArgument(
                f"got {name} that wants a gradient; the cache is written in place and keeps none; "
                "run under torch.no_grad(), or train with sl.attend."
            )
