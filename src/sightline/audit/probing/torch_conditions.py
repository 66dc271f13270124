"""The ways in which a torch module is run: modes, kernels, weights asked for, forms of the mask.

A fault often lies on one path only, so that one dependency matrix is demanded of all of them.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sightline.audit.probing.feed import Feed
from sightline.audit.probing.subject import Condition

if TYPE_CHECKING:
    from sightline.audit.probing.torch_subject import TorchSubject

# Keywords by which models are asked for their attention weights.
_WEIGHTS = (
    "need_weights",
    "output_attentions",
    "return_attention",
    "return_attentions",
    "return_attn",
    "return_weights",
)
# Keywords of torch's own layers: bool [batch, length], True = padding.
_PADDING = {"key_padding_mask": "key", "src_key_padding_mask": "src"}
# Whoever gives the first gives the second: the memory's padding is that of the source.
COMPANIONS = {"src_key_padding_mask": "memory_key_padding_mask"}


def conditions_of(subject: TorchSubject, feed: Feed) -> list[Condition]:
    """Return the conditions for a module, the plain one (evaluation, no gradients) first."""
    torch = subject._torch
    found = [Condition("eval")]
    # torch's encoder layers and attention take another path without gradients.
    found.append(Condition("eval with gradients", within=torch.enable_grad))
    found.append(Condition("train", within=lambda: _training(torch, subject.model)))
    if "scaled_dot_product_attention" in subject.called:
        found.append(Condition("sdpa=math", within=_math_kernel))
    taken = parameters_of(subject.model)
    for name in _WEIGHTS:
        if name in taken and name not in feed.inputs:
            wanted = taken[name].default is not True
            found.append(Condition(f"{name}={wanted}", lambda feed, n=name, w=wanted: {n: w}))
    for name, of in _PADDING.items():
        target = padded_input(feed, of)
        if name in taken and name not in feed.inputs and target is not None:
            also = COMPANIONS.get(name, "")
            names = (name, also) if also in taken and also not in feed.inputs else (name,)
            for side in ("right", "left"):
                found.append(padded(f"{name}={side}-padded", names, target, side, ignore=True))
    if "attention_mask" in taken and "attention_mask" not in feed.inputs:
        found += _attention_masks(subject, feed)
    return found


def _attention_masks(subject: TorchSubject, feed: Feed) -> list[Condition]:
    """Return the forms of an ``attention_mask`` in which 1 is a real token, as transformers has it.

    A model for which 1 is padding says so by giving its plain outputs for zeros: it gets none.
    """
    target = padded_input(feed, "input_ids")
    if target is None or not subject.called:
        return []

    def filled(value: int) -> Condition:
        shape = feed.inputs[target].values.shape[:2]
        mask = np.full(shape, value, dtype=np.int64)
        return Condition("attention_mask=ones", lambda feed: {"attention_mask": _like(mask, feed)})

    try:
        plain, zeros = (subject.run(feed, each) for each in (Condition("plain"), filled(0)))
        subject.own_passes += 2
        if all(np.allclose(a, zeros[n], equal_nan=True) for n, a in plain.items()):
            return []
    except Exception:  # zeros are refused: then ones are what it takes
        pass
    sides = [
        padded(f"attention_mask={side}-padded", ("attention_mask",), target, side, ignore=False)
        for side in ("right", "left")
    ]
    return [filled(1), *sides]


def _like(mask: NDArray[Any], feed: Feed) -> NDArray[Any]:
    """Return the mask at the size of another feed: it holds one value only."""
    first = next(iter(feed.varying.values()))
    return np.full(first.values.shape[:2], mask.flat[0], dtype=mask.dtype)


def parameters_of(model: Any) -> Mapping[str, inspect.Parameter]:
    """Return what ``forward`` takes by name."""
    model = getattr(model, "_orig_mod", model)  # what torch.compile has wrapped
    try:
        return inspect.signature(model.forward).parameters
    except (TypeError, ValueError):
        return {}


def padded_input(feed: Feed, name: str) -> str | None:
    """Return the input that a padding mask speaks of: that of the name, or else the only one."""
    varying = list(feed.varying)
    return name if name in varying else varying[0] if len(varying) == 1 else None


def valid_rows(batch: int, length: int, side: str) -> NDArray[np.bool_]:
    """Return bool ``[batch, length]``: a third of the rows whole, the others padded."""
    pads = [(0, max(1, length // 5), max(2, length // 3))[row % 3] for row in range(batch)]
    valid = np.ones((batch, length), dtype=bool)
    for row, pad in enumerate(pads):
        at = slice(0, pad) if side == "left" else slice(length - pad, length)
        valid[row, at] = False
    return valid


def padded(
    name: str, keywords: tuple[str, ...], target: str, side: str, *, ignore: bool
) -> Condition:
    """Return a condition in which the model is told that some positions are padding.

    Args:
        name: of the condition.
        keywords: by which the model is told; all get the same.
        target: the input that is padded.
        side: ``"left"`` or ``"right"``.
        ignore: bools, True = padding; else integers, 1 = real.
    """

    def valid(feed: Feed) -> NDArray[np.bool_]:
        each = feed.inputs[target]
        return valid_rows(each.batch, each.length, side)

    def given(feed: Feed) -> dict[str, Any]:
        return dict.fromkeys(keywords, ~valid(feed) if ignore else valid(feed).astype(np.int64))

    return Condition(name, given, valid=lambda feed: {target: valid(feed)})


@contextmanager
def _training(torch: Any, model: Any) -> Iterator[None]:
    model.train()
    with torch.enable_grad():
        yield


def _math_kernel() -> Any:
    from torch.nn.attention import SDPBackend, sdpa_kernel

    return sdpa_kernel(SDPBackend.MATH)
