"""Padded batches through a model without their padding: ``sl.hf.unpad``.

Before the model runs, the real tokens are packed into one row, each with the position it would
have had; its mask becomes one over that row; afterwards the outputs are laid out as if nothing had
happened. Whether a model allows it is found out by running it both ways (unpad_probe.py); how
arguments and outputs are turned stands in unpad_calls.py.
"""

from __future__ import annotations

from contextlib import ExitStack
from contextvars import ContextVar
from typing import Any

from sightline.errors import CannotExpress
from sightline.hf.patching import is_patched, patch
from sightline.hf.settings import NAME
from sightline.hf.unpad_calls import Rule, narrow, pack_call, running_packed, unpack_output, widen
from sightline.hf.unpad_probe import find_rule, levels
from sightline.nn.batch import Batch

_KEY = "_sightline_unpad"
# (module, its batch, what ends the packing) of the calls that are under way, the innermost last.
_Call = tuple[Any, "Batch | None", ExitStack]
_UNDER_WAY: ContextVar[tuple[_Call, ...]] = ContextVar("sightline_unpad", default=())


def unpad(model: Any, *, example: dict[str, Any] | None = None) -> Any:
    """Make a model spend no time on padding; what it returns at real tokens stays the same.

    The model is patched (``sl.hf.patch``) if it is not yet. Then it is run on a small padded batch
    both ways. Where the outputs agree at every real token, every call with a two-dimensional
    ``attention_mask`` runs packed from then on, gradients included; outputs at padding are 0. If
    the whole model does not allow it, such as one that pools in its head, its backbone is tried,
    then the encoder of an encoder-decoder.

    Calls that have nothing to gain, or cannot be packed, run as before and give the same: without
    padding, with gaps in the ``attention_mask``, with a cache, with ``output_attentions``.

    Args:
        model: a model of transformers that takes tokens.
        example: keyword arguments of a small padded call (with ``attention_mask`` of both zeros
            and ones) to try it on, for models that take something else than ``input_ids``.

    Returns:
        The model itself. ``sl.hf.repad(model)`` takes it back.

    Raises:
        CannotExpress: some module mixes positions, and is named: a convolution, a recurrence, a
            normalisation over time, or relative positions that no ``position_ids`` rule.

    >>> import sightline as sl, torch
    >>> from transformers import BertConfig, BertModel
    >>> sizes = dict(hidden_size=16, intermediate_size=32, vocab_size=50)
    >>> model = BertModel(BertConfig(num_hidden_layers=1, num_attention_heads=2, **sizes)).eval()
    >>> ids = torch.tensor([[7, 8, 9, 4], [5, 6, 0, 0]])
    >>> padded = model(input_ids=ids, attention_mask=(ids > 0).long()).last_hidden_state
    >>> model = sl.hf.unpad(model)
    >>> output = model(input_ids=ids, attention_mask=(ids > 0).long()).last_hidden_state
    >>> torch.allclose(output[ids > 0], padded[ids > 0], atol=1e-5)
    True
    """
    if not is_patched(model):
        patch(model)
    if hasattr(model, _KEY):
        return model
    reasons: list[str] = []
    for name, module in levels(model):
        found = find_rule(module, example)
        if isinstance(found, Rule):
            handles = _install(module, found)
            object.__setattr__(model, _KEY, (name, found, handles))
            return model
        reasons.append(f"{name or 'the whole model'}: {found}")
    raise CannotExpress(
        destination="sl.hf.unpad",
        part=type(model).__name__,
        reason="; ".join(dict.fromkeys(reasons)),
        alternative="sl.hf.patch alone, which runs padded batches exactly",
    )


def repad(model: Any) -> Any:
    """Take ``unpad`` back; the model stays patched."""
    state = getattr(model, _KEY, None)
    if state is not None:
        for handle in state[2]:
            handle.remove()
        object.__delattr__(model, _KEY)
    return model


def is_unpadded(model: Any) -> bool:
    """Return whether ``unpad`` was called on this very model."""
    return hasattr(model, _KEY)


def how_unpadded(model: Any) -> str:
    """Say in a sentence what of a model runs without padding."""
    state = getattr(model, _KEY, None)
    if state is None:
        return "runs padded batches with their padding"
    name, rule, _ = state
    what = f"{name} runs" if name else "runs"
    around = ", ".join(rule.padded)
    side = "" if len(rule.sides) > 1 else f" where it is on the {rule.sides[0]}"
    return f"{what} without padding{side}" + (f"; {around} on padded rows" if around else "")


def _install(module: Any, rule: Rule) -> list[Any]:
    handles = [
        module.register_forward_pre_hook(_before(rule), with_kwargs=True),
        module.register_forward_hook(_after(rule), with_kwargs=True, always_call=True),
    ]
    for name in rule.padded:
        inner = module.get_submodule(name)
        handles.append(inner.register_forward_pre_hook(_widen, with_kwargs=True))
        handles.append(inner.register_forward_hook(_narrow))
    return handles


def _before(rule: Rule) -> Any:
    def hook(module: Any, args: Any, kwargs: Any) -> Any:
        call = pack_call(module, rule, args, kwargs)
        batch = None if call is None else call.batch
        until_done = ExitStack()
        if batch is not None:
            _check_attention(module)
            until_done.enter_context(running_packed(batch))
        _UNDER_WAY.set((*_UNDER_WAY.get(), (module, batch, until_done)))
        return None if call is None else ((), call.keywords)

    return hook


def _check_attention(module: Any) -> None:
    """Refuse to pack rows that another attention would let read each other.

    Raises:
        CannotExpress: the attention was changed since ``unpad``.
    """
    name = getattr(getattr(module, "config", None), "_attn_implementation", NAME)
    if not str(name).startswith(NAME):
        raise CannotExpress(
            destination="sl.hf.unpad",
            part=f"{type(module).__name__} with its attention set to {name!r} since",
            reason="the packed rows of a batch would read each other",
            alternative="sl.hf.repad(model) first, or sl.hf.patch(model) again",
        )


def _after(rule: Rule) -> Any:
    def hook(module: Any, args: Any, kwargs: Any, output: Any) -> Any:
        calls = _UNDER_WAY.get()
        if not calls or calls[-1][0] is not module:  # the call failed before ours began
            return None
        _UNDER_WAY.set(calls[:-1])
        _, batch, until_done = calls[-1]
        until_done.close()
        if batch is None or output is None:
            return None
        return unpack_output(output, batch, rule.per_token)

    return hook


def _widen(module: Any, args: Any, kwargs: Any) -> Any:
    """Give a module that looks at whole rows its rows, padding included."""
    batch = _UNDER_WAY.get()[-1][1] if _UNDER_WAY.get() else None
    return None if batch is None else (widen(args, batch), widen(kwargs, batch))


def _narrow(module: Any, args: Any, output: Any) -> Any:
    batch = _UNDER_WAY.get()[-1][1] if _UNDER_WAY.get() else None
    return None if batch is None else narrow(output, batch)
