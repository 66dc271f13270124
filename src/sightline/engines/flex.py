"""Engine ``flex``: torch's FlexAttention, compiled, with the block mask of Sightline's plan.

Compilation takes seconds for each form of mask and each shape, so on a CPU it is never chosen
automatically; there it has no backward pass either. What is spoiled is kept from the kernel, as
guarded/around_kernel.py says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from inspect import signature
from typing import Any

import torch

from sightline.engines.dense_masks import dense_mask
from sightline.engines.guarded.arithmetic import nothing_seen, plain_arithmetic
from sightline.engines.guarded.around_kernel import Call, enter, find_spoils, leave
from sightline.engines.kept import BUDGET_BYTES, Store
from sightline.engines.request import Request
from sightline.errors import CannotExpress, InvalidArgument
from sightline.lower.arguments import Asked
from sightline.lower.lower import lower

NAME = "engine 'flex'"
# Forms of masks, times shapes, that one process may compile; torch's own limit of 8 is soon met.
MOST_COMPILED = 1024
# What the GPU kernels of torch's FlexAttention need at least.
LEAST_DIM = 16
# Queries and keys a block, lower's default.
_BLOCK = 128
# A BlockMask's lists share memory in ways that are tedious to count: this much a block of queries.
_BYTES_A_ROW = 256


@dataclass(frozen=True)
class FlexMask:
    """What the engine keeps of a mask at a shape.

    Attributes:
        block_mask: torch's BlockMask; None where no query sees any key, or there is a refusal.
        empty: bool [batch|1, heads|1, q_len], True where a query may see nothing; None if none.
        refusal: why there is no BlockMask, or None.
        nbytes: about how much memory it takes.
    """

    block_mask: Any
    empty: torch.Tensor | None
    refusal: CannotExpress | None
    nbytes: int


MASKS: Store[FlexMask] = Store(BUDGET_BYTES)


def obstacles(request: Request) -> Iterator[tuple[str, str]]:
    """Yield (part of the call, why this engine cannot do it), as far as the row does not say."""
    if request.query.device.type == "cpu":
        if request.wants_gradients:
            yield "gradients on cpu", "FlexAttention has no backward pass there"
        if request.return_lse:
            yield "return_lse=True on cpu", "compiled, FlexAttention does not hand it out there"
        kv_len = request.scores_shape[3]
        if kv_len < _BLOCK and kv_len % 16 == 8:
            # Seen with torch 2.13 and its own create_block_mask: it reads what nobody wrote.
            yield f"{kv_len} keys on cpu", "torch's kernel gives wrong numbers for such a width"
    else:
        least = min(request.query.shape[3], request.value.shape[3])
        if least < LEAST_DIM:
            yield f"head_dim {least}", f"FlexAttention wants at least {LEAST_DIM} on a GPU"
    refusal = _flex_mask(request).refusal
    if refusal is not None:
        yield refusal.part, refusal.reason


def run(request: Request) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Return the output [batch, heads, q_len, value_dim] and, if wanted, the logsumexp.

    Raises:
        CannotExpress: torch cannot compile FlexAttention here.
    """
    mask = _flex_mask(request)
    if mask.block_mask is None:
        return nothing_seen(request.query, request.value.shape[3], *request.tensors[1:])
    call = Call(*request.tensors, request.scale, lambda: dense_mask(request).allowed, mask.empty)
    with plain_arithmetic(request.query.device):
        spoils = find_spoils(call)
        clean = enter(call, spoils)
        if not request.wants_gradients:
            clean = tuple(tensor.detach() for tensor in clean)
        output, logsumexp = _call_kernel(request, mask, clean)
        return leave(call, spoils, output, logsumexp)


def _call_kernel(
    request: Request, mask: FlexMask, clean: tuple[torch.Tensor, ...]
) -> tuple[torch.Tensor, torch.Tensor | None]:
    keywords: dict[str, Any] = {
        "block_mask": mask.block_mask,
        "scale": request.scale,
        "enable_gqa": request.query.shape[1] != request.key.shape[1],
    }
    if request.return_lse:
        keywords |= _asking_for_logsumexp()
    try:
        found = kernel()(*clean, **keywords)
    except _compiler_errors() as error:
        raise CannotExpress(
            destination=NAME,
            part=f"FlexAttention on {request.query.device.type}, which must be compiled",
            reason=f"torch could not compile it: {str(error).strip().splitlines()[0]}",
            alternative="sl.attend(..., engine='auto'), or the compiler that torch.compile needs",
        ) from error
    if not request.return_lse:
        return found, None
    output, beside = found
    return output, getattr(beside, "lse", beside)


@cache
def kernel() -> Callable[..., Any]:
    """Return FlexAttention, to be compiled at the first call of each form of mask and shape."""
    from torch.nn.attention.flex_attention import flex_attention

    options: dict[str, Any] = {"dynamic": False, "fullgraph": True}
    if "recompile_limit" in signature(torch.compile).parameters:
        options["recompile_limit"] = MOST_COMPILED
    return torch.compile(flex_attention, **options)


def _compiler_errors() -> tuple[type[Exception], ...]:
    """Return what torch raises where it cannot compile."""
    from torch._dynamo import exc

    names = ("TorchDynamoException", "FailOnRecompileLimitHit")
    return tuple(getattr(exc, name) for name in names if hasattr(exc, name))


def _asking_for_logsumexp() -> dict[str, Any]:
    from torch.nn.attention import flex_attention

    if hasattr(flex_attention, "AuxRequest"):
        return {"return_aux": flex_attention.AuxRequest(lse=True)}
    return {"return_lse": True}


def _flex_mask(request: Request) -> FlexMask:
    _, _, q_len, kv_len = request.scores_shape
    device = request.query.device
    asked = Asked(request.mask, q_len, kv_len, request.q_offset)
    name = (request.mask, q_len, kv_len, request.q_offset, str(device))
    return MASKS.get(name, lambda: _build(asked, device))


def _build(asked: Asked, device: torch.device) -> FlexMask:
    rows = asked.empty_rows
    nbytes = rows.nbytes + _BYTES_A_ROW * (1 + rows.size // 128)
    if rows.all():
        return FlexMask(None, None, None, nbytes)
    # Tensors made in inference mode could not be kept for a later backward pass.
    with torch.inference_mode(False):
        empty = torch.tensor(rows, device=device) if rows.any() else None
        sizes = asked.q_len, asked.kv_len, asked.q_offset
        try:
            made = lower(asked.mask, "torch.flex", *sizes, device=device)["block_mask"]
        except CannotExpress as refusal:
            # Without its traceback, which would keep alive all that the call held.
            return FlexMask(None, None, refusal.with_traceback(None), nbytes)
        except InvalidArgument as unplanned:
            refusal = CannotExpress(
                destination=NAME,
                part="a mask of that many mixed blocks",
                reason=str(unplanned),
                alternative="another engine",
            )
            return FlexMask(None, None, refusal, nbytes)
    return FlexMask(made, empty, None, nbytes)
