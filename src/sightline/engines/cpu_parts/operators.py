"""The way in through torch's dispatcher: two custom operators, for all that looks at operations.

torch.compile, torch.export, torch.func and modes that see every operation come this way. The mask
travels as its number (numbers.py) where it lives as long as the graph is used with it, and as its
text where the graph may outlive it or be saved. A number is an input like any other: no new mask
makes torch.compile trace again, and none is mistaken for another.
"""

from __future__ import annotations

from collections import OrderedDict
from functools import lru_cache
from threading import Lock
from typing import Any, NoReturn

import torch
from torch.fx.experimental.proxy_tensor import get_proxy_mode

from sightline.engines.cpu_parts.eager import draw_seed
from sightline.engines.cpu_parts.folding import Folding
from sightline.engines.cpu_parts.kernels import (
    Call,
    Tensors,
    laid_like,
    new_result,
    run_backward,
    run_forward,
)
from sightline.engines.cpu_parts.plans import native_plan
from sightline.engines.request import Request, check_mask_axes
from sightline.errors import CannotExpress, ParseError
from sightline.masks.mask import Mask
from sightline.masks.numbers import mask_of
from sightline.masks.parser import parse

_TOLD = "str mask, SymInt number, SymInt q_offset, float scale, float dropout, Tensor? seed"
# Masks on their way from a forward to a backward pass, the ones used last.
_MOST_HELD = 256
_held: OrderedDict[int, Mask] = OrderedDict()
_lock = Lock()


def attend(request: Request) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the output and the logsumexp."""
    bias = request.bias
    if bias is not None:
        bias = bias.reshape((1,) * (4 - bias.ndim) + tuple(bias.shape))
    text = _text(request.mask) if _outlives_masks() else ""
    arguments = (
        request.query,
        request.key,
        request.value,
        bias,
        text,
        0 if text else request.mask.number,
        request.q_offset,
        request.scale,
        request.dropout,
        draw_seed() if request.dropout > 0 else None,
    )
    if _is_transformed():
        output, _, logsumexp = _Transformed.apply(*arguments)
    else:
        output, _, logsumexp = torch.ops.sightline.attend_forward(*arguments)
    return output, logsumexp


def _is_transformed() -> bool:
    """Return whether torch.func is at work, which does not know the operators' own gradients."""
    return not torch.compiler.is_compiling() and torch._C._are_functorch_transforms_active()


def _outlives_masks() -> bool:
    """Return whether what is being recorded may be saved, or used when the mask is gone."""
    if torch.compiler.is_compiling():
        return torch.compiler.is_exporting()
    return torch._C._get_tracing_state() is not None or get_proxy_mode() is not None


@torch.compiler.assume_constant_result
def _text(mask: Mask) -> str:
    """Return the mask as text that reads back.

    Raises:
        CannotExpress: it does not, as a ``predicate`` is a function.
    """
    text = mask.text()
    try:
        _parsed(text)
    except ParseError as error:
        raise CannotExpress(
            destination="a program that is saved",
            part=text,
            reason="the mask goes into it as text, and this text does not read back",
            alternative="the same mask without predicate, or as sl.dense(array, means=...)",
        ) from error
    return text


@lru_cache(maxsize=64)
def _parsed(text: str) -> Mask:
    return parse(text)


def _resolve(text: str, number: int) -> Mask:
    """Return the mask that travelled as text or as a number, and hold it for the way back."""
    if text:
        return _parsed(text)
    with _lock:
        mask = _held.get(number)
        if mask is None:
            mask = _held[number] = mask_of(number)
        _held.move_to_end(number)
        if len(_held) > _MOST_HELD:
            _held.popitem(last=False)
    return mask


def _call(query: Any, key: Any, told: tuple[Any, ...]) -> Call:
    text, number, q_offset, scale, dropout, seed = told
    mask = _resolve(text, number)
    batch, heads, q_len, _ = query.shape
    check_mask_axes(mask, batch, heads)
    plan = native_plan(mask, q_len, key.shape[2], q_offset)
    return Call(plan, scale, dropout, 0 if seed is None else int(seed))


# -- forwards ---------------------------------------------------------------------------------


@torch.library.custom_op(
    "sightline::attend_forward",
    mutates_args=(),
    device_types="cpu",
    schema=f"(Tensor query, Tensor key, Tensor value, Tensor? bias, {_TOLD})"
    " -> (Tensor output, Tensor stats, Tensor logsumexp)",
)
def attend_forward(query, key, value, bias, *told):
    """Return output, stats and logsumexp, as kernels.Result has them."""
    call = _call(query, key, told)
    if 0 in query.shape or 0 in key.shape:
        return _nothing_to_see(query, value)
    return tuple(run_forward(Tensors(query, key, value, bias), call, stats=True, logsumexp=True))


@attend_forward.register_fake
def _(query, key, value, bias, *told):
    return tuple(new_result(query, value, stats=True, logsumexp=True))


def _nothing_to_see(query: torch.Tensor, value: torch.Tensor) -> tuple[Any, ...]:
    result = new_result(query, value, stats=True, logsumexp=True)
    assert result.stats is not None
    assert result.logsumexp is not None
    return result.output.zero_(), result.stats.zero_(), result.logsumexp.fill_(-torch.inf)


# -- backwards --------------------------------------------------------------------------------


@torch.library.custom_op(
    "sightline::attend_backward",
    mutates_args=(),
    device_types="cpu",
    schema="(Tensor? grad_output, Tensor? grad_logsumexp, Tensor query, Tensor key, Tensor value,"
    f" Tensor? bias, Tensor output, Tensor stats, bool[] wanted, {_TOLD})"
    " -> (Tensor, Tensor, Tensor, Tensor)",
)
def attend_backward(
    grad_output, grad_logsumexp, query, key, value, bias, output, stats, wanted, *told
):
    """Return the gradients of query, key, value and bias; [0] for those not wanted."""
    given = Tensors(query, key, value, bias)
    if 0 in query.shape or 0 in key.shape:
        return tuple(room.zero_() for room in _room_for_gradients(given, wanted))
    call = _call(query, key, told)
    upstream = grad_output, grad_logsumexp
    grads = run_backward(given, call, output, stats, *upstream, tuple(wanted))
    return tuple(
        room if grad is None else grad
        for room, grad in zip(_room_for_gradients(given, wanted), grads, strict=True)
    )


@attend_backward.register_fake
def _(grad_output, grad_logsumexp, query, key, value, bias, output, stats, wanted, *told):
    return _room_for_gradients(Tensors(query, key, value, bias), wanted)


def _room_for_gradients(given: Tensors, wanted: Any) -> tuple[Any, ...]:
    rooms = [
        laid_like(tensor, tensor.shape if want else (0, 0, 0, 0))
        for tensor, want in zip(given[:3], wanted[:3], strict=True)
    ]
    if given.bias is None or not wanted[3]:
        return *rooms, given.query.new_empty(0)
    return *rooms, given.bias.new_empty(given.bias.shape)


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Any, ...]) -> None:
    *given, mask, number, q_offset, scale, dropout, seed = inputs
    ctx.save_for_backward(*given, *output[:2], seed)
    ctx.told = mask, number, q_offset, scale, dropout
    ctx.mark_non_differentiable(output[1])


def _differentiate(ctx: Any, grad_output: Any, _: Any, grad_logsumexp: Any) -> tuple[Any, ...]:
    *saved, seed = ctx.saved_tensors
    wanted = list(ctx.needs_input_grad[:4])
    arguments = grad_output, grad_logsumexp, *saved, wanted, *ctx.told, seed
    if _is_transformed():
        grads = _TransformedBackward.apply(*arguments)
    else:
        grads = torch.ops.sightline.attend_backward(*arguments)
    passed = (grad if want else None for grad, want in zip(grads, wanted, strict=True))
    return *passed, *[None] * 6


def _refuse(ctx: Any, *grads: Any) -> NoReturn:
    raise CannotExpress(
        destination="engine 'cpu'",
        part="a derivative of a gradient",
        reason="its kernels give first derivatives only",
        alternative="leave create_graph=True, and the second transform, out",
    )


attend_forward.register_autograd(_differentiate, setup_context=_save)
attend_backward.register_autograd(_refuse)


class _Transformed(torch.autograd.Function):
    """The same for torch.func, which builds its own transforms from it."""

    generate_vmap_rule = True

    @staticmethod
    def forward(*arguments):
        return torch.ops.sightline.attend_forward(*arguments)

    @staticmethod
    def setup_context(ctx: Any, inputs, output):
        _save(ctx, inputs, output)

    @staticmethod
    def backward(ctx: Any, *grads):
        return _differentiate(ctx, *grads)


class _TransformedBackward(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(*arguments):
        return torch.ops.sightline.attend_backward(*arguments)

    @staticmethod
    def setup_context(ctx: Any, inputs, output):
        pass

    @staticmethod
    def backward(ctx: Any, *grads):
        return _refuse(ctx, *grads)


# -- vmap -------------------------------------------------------------------------------------


@attend_forward.register_vmap
def _(info, dims, query, key, value, bias, text, number, q_offset, scale, dropout, seed):
    folding = Folding.of(info.batch_size, _resolve(text, number), seed, dims[-1])
    q, k, v = (folding.fold(*each) for each in zip((query, key, value), dims[:3], strict=True))
    b = None if bias is None else folding.fold_bias(bias, dims[3], q.shape)
    told = text, number, q_offset, scale, dropout, _first(seed, dims[-1])
    results = torch.ops.sightline.attend_forward(q, k, v, b, *told)
    return tuple(folding.unfold(result) for result in results), (0, 0, 0)


@attend_backward.register_vmap
def _(info, dims, *arguments):
    *told, seed = arguments[9:]
    folding = Folding.of(info.batch_size, _resolve(*told[:2]), seed, dims[-1])
    tensors = [
        None if tensor is None else folding.fold(tensor, dim)
        for tensor, dim in zip(arguments[:8], dims[:8], strict=True)
    ]
    bias, folded_query = arguments[5], tensors[2]
    if bias is not None and folded_query is not None:
        tensors[5] = folding.fold_bias(bias, dims[5], folded_query.shape)
    wanted = arguments[8]
    grads = torch.ops.sightline.attend_backward(*tensors, wanted, *told, _first(seed, dims[-1]))
    unfolded = [
        folding.unfold(grad) if want else grad for grad, want in zip(grads, wanted, strict=True)
    ]
    if bias is not None and wanted[3]:
        unfolded[3] = folding.gather_bias(unfolded[3], bias, dims[5])
    return tuple(unfolded), tuple(0 if want else None for want in wanted)


def _first(seed: torch.Tensor | None, dim: int | None) -> torch.Tensor | None:
    """Return the seed of the first member, which serves all: each has batch rows of its own."""
    return seed if seed is None or dim is None else seed.select(dim, 0)
