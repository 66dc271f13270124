"""Engine ``varlen``: packed sequences, each by itself, so that documents cost what they hold.

On CUDA the work is torch's ``varlen_attn``, with what ``lower(mask, "torch.varlen", ...)`` makes.
On the CPU it is scaled_dot_product_attention, called once for all sequences of one size, or of
one piece of a window. Queries that see nothing are not computed; what is spoiled is kept from the
kernels, as guarded/around_kernel.py says.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from inspect import signature
from typing import Any

import torch

from sightline.engines.dense_masks import dense_mask
from sightline.engines.guarded.arithmetic import nothing_seen, plain_arithmetic
from sightline.engines.guarded.around_kernel import Call, enter, find_spoils, leave
from sightline.engines.kept import BUDGET_BYTES, Store
from sightline.engines.rectangles import Rectangles, cut
from sightline.engines.request import Request
from sightline.errors import CannotExpress
from sightline.lower.arguments import Asked
from sightline.lower.forms.packed import Packed
from sightline.lower.lower import lower

NAME = "engine 'varlen'"
# What FlashAttention, the kernel behind varlen_attn, takes.
_CUDA_DTYPES = (torch.float16, torch.bfloat16)
_CUDA_DIMS = range(8, 257, 8)
# What keeping a layout takes besides its tensors, about: so that a store of them is bounded.
_OVERHEAD = 2**10


@dataclass(frozen=True)
class Layout:
    """How a mask is packed at a shape: what the engine keeps of it.

    Attributes:
        form: a Packed on CUDA, Rectangles on the CPU; None where no query sees any key.
        refusal: why the mask cannot be packed, or None.
        nbytes: how much memory it takes.
    """

    form: Packed | Rectangles | None
    refusal: CannotExpress | None
    nbytes: int


LAYOUTS: Store[Layout] = Store(BUDGET_BYTES)


def obstacles(request: Request) -> Iterator[tuple[str, str]]:
    """Yield (part of the call, why this engine cannot do it), as far as the row does not say."""
    if request.query.device.type == "cuda":
        yield from _cuda_obstacles(request)
    refusal = _layout(request).refusal
    if refusal is not None:
        yield refusal.part, refusal.reason


def run(request: Request) -> tuple[torch.Tensor, None]:
    """Return the output [batch, heads, q_len, value_dim] and None for the logsumexp."""
    form = _layout(request).form
    if form is None:
        value_dim = request.value.shape[3]
        return nothing_seen(request.query, value_dim, *request.tensors[1:])[0], None
    call = Call(*request.tensors, request.scale, lambda: dense_mask(request).allowed, None)
    with plain_arithmetic(request.query.device):
        spoils = find_spoils(call)
        clean = enter(call, spoils)
        if isinstance(form, Rectangles):
            output = form.attend(*clean, request.scale)
        else:
            output = _on_cuda(form, *clean, request.scale)
        return leave(call, spoils, output)[0], None


def _layout(request: Request) -> Layout:
    batch, _, q_len, kv_len = request.scores_shape
    device = request.query.device
    asked = Asked(request.mask, q_len, kv_len, request.q_offset)
    name = (request.mask, batch, q_len, kv_len, request.q_offset, str(device))
    return LAYOUTS.get(name, lambda: _build(asked, batch, device))


def _build(asked: Asked, batch: int, device: torch.device) -> Layout:
    if asked.empty_rows.all():
        return Layout(None, None, _OVERHEAD)
    # Tensors made in inference mode could not be kept for a later backward pass.
    with torch.inference_mode(False):
        try:
            if device.type == "cpu":
                rectangles = cut(NAME, asked, batch)
                return Layout(rectangles, None, _OVERHEAD + rectangles.nbytes)
            sizes = asked.q_len, asked.kv_len, asked.q_offset
            packed = lower(asked.mask, "torch.varlen", *sizes, batch=batch, device=device)
        except CannotExpress as refusal:
            # Without its traceback, which would keep alive all that the call held.
            return Layout(None, refusal.with_traceback(None), _OVERHEAD)
        tokens = len(packed.query_index) + len(packed.key_index)
    return Layout(packed, None, _OVERHEAD + 8 * tokens)


def _cuda_obstacles(request: Request) -> Iterator[tuple[str, str]]:
    head_dim, value_dim = request.query.shape[3], request.value.shape[3]
    if request.query.dtype not in _CUDA_DTYPES:
        yield f"{request.query.dtype} on cuda", "FlashAttention takes float16 and bfloat16"
    if head_dim != value_dim:
        yield f"value_dim {value_dim} with head_dim {head_dim}", "FlashAttention wants them equal"
    if head_dim not in _CUDA_DIMS:
        yield f"head_dim {head_dim}", "FlashAttention wants a multiple of 8 up to 256"
    missing = {"scale", "enable_gqa"} - signature(_varlen_attn()).parameters.keys()
    if missing:
        yield f"torch {torch.__version__}", f"its varlen_attn has no {' and no '.join(missing)}"


def _on_cuda(
    packed: Packed, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float
) -> torch.Tensor:
    output = _varlen_attn()(
        packed.pack_queries(query),
        packed.pack_keys(key),
        packed.pack_keys(value),
        **packed.keywords,
        scale=scale,
        enable_gqa=query.shape[1] != key.shape[1],
    )
    return packed.unpack(output)


def _varlen_attn() -> Any:
    """Return torch's function; lower() has refused the releases that have none."""
    from torch.nn.attention.varlen import varlen_attn

    return varlen_attn
