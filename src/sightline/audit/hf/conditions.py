"""The ways in which a model of transformers is run: attention implementation and form of the mask.

A fault often lies on one path only: the right mask reaches one implementation and not the other,
or is dropped for one form. One contract is demanded of all of them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from sightline.audit.probing.feed import Feed
from sightline.audit.probing.subject import Condition
from sightline.audit.probing.torch_conditions import padded, parameters_of

if TYPE_CHECKING:
    from sightline.audit.hf.subject import TransformersSubject

IMPLEMENTATIONS = ("sdpa", "eager")
OWN_CODE = "own code"
MASK = "attention_mask"
Within = Callable[[], AbstractContextManager[Any]]


def conditions_of(subject: TransformersSubject, feed: Feed) -> list[Condition]:
    """Return the conditions, the plain one (no mask, its own implementation) first."""
    found: list[Condition] = []
    for name in implementations(subject.model):
        within = partial(using, subject.model, name)
        found.append(Condition(name, within=within))
        found += _forms(subject, feed, name, within)
    return [*found, *_modes(subject, feed)]


def implementations(model: Any) -> list[str]:
    """Return the implementations that a model can be told to attend by, its own first.

    ``own code`` is one that has no choice.
    """
    own = getattr(model.config, "_attn_implementation", None) or "eager"
    if not _has_choice(model):
        return [OWN_CODE]
    others = [name for name in IMPLEMENTATIONS if name != own and _takes(model, name)]
    return [own, *others]


def _has_choice(model: Any) -> bool:
    """Return whether some part of a model attends through transformers' interface."""
    parts = (each for each in model.modules() if hasattr(each, "_can_set_attn_implementation"))
    return any(
        each._can_set_attn_implementation() and _uses_interface(type(each)) for each in parts
    )


def _uses_interface(model: type) -> bool:
    return hasattr(sys.modules[model.__module__], "ALL_ATTENTION_FUNCTIONS")


def _takes(model: Any, name: str) -> bool:
    try:
        with using(model, name):
            return model.config._attn_implementation == name
    except (ValueError, ImportError, NotImplementedError, AttributeError):
        return False


@contextmanager
def using(model: Any, name: str) -> Iterator[None]:
    """Let a model attend by the named implementation inside the block."""
    own = getattr(model.config, "_attn_implementation", None)
    if name in (own, OWN_CODE):
        yield
        return
    model.set_attn_implementation(name)
    try:
        yield
    finally:
        model.set_attn_implementation(own)


def _forms(
    subject: TransformersSubject, feed: Feed, implementation: str, within: Within
) -> Iterator[Condition]:
    """Yield the forms of the mask: all ones, padded on either side, and 4-D."""
    if MASK in feed.inputs or MASK not in parameters_of(subject.model):
        return
    target = subject.padded_input
    if target not in feed.varying:
        return
    prefix = f"{implementation}, {MASK}="

    def ones(feed: Feed) -> dict[str, Any]:
        each = feed.inputs[target]
        return {MASK: np.ones((each.batch, each.length), dtype=np.int64)}

    def causal(feed: Feed) -> dict[str, Any]:
        each = feed.inputs[target]
        allowed = np.tri(each.length, dtype=bool)[None, None].repeat(each.batch, axis=0)
        if takes_bools:
            return {MASK: allowed}
        least = np.finfo(np.float32).min  # which holds in float64 too
        return {MASK: np.where(allowed, 0.0, least)}

    yield Condition(f"{prefix}ones", ones, within)
    for side in ("left", "right"):
        some = padded(f"{prefix}{side}-padded", (MASK,), target, side, ignore=False)
        yield Condition(some.name, some.given, within, some.valid)
    if subject.is_causal:
        # sdpa takes bools; eager attention and own code add what they get to the scores.
        with within():
            takes_bools = attended_by(subject.model) == {"sdpa"}
        yield Condition(f"{prefix}4-D", causal, within)


def attended_by(model: Any) -> set[str]:
    """Return the implementations that the parts of a model have, which may differ."""
    if not _has_choice(model):
        return {OWN_CODE}
    configs = (getattr(each, "config", None) for each in model.modules())
    found = {getattr(each, "_attn_implementation", None) for each in configs}
    return {name for name in found if isinstance(name, str)}


def _modes(subject: TransformersSubject, feed: Feed) -> Iterator[Condition]:
    """Yield training, gradients, no cache, and attention weights asked for."""
    torch, model = subject.torch, subject.model
    taken = parameters_of(model)
    yield Condition("with gradients", within=torch.enable_grad)
    yield Condition("train", within=partial(_training, torch, model))
    if "use_cache" in taken or hasattr(model.config, "use_cache"):
        yield Condition("use_cache=False", lambda feed: {"use_cache": False})
    for name in implementations(model):
        if name in ("eager", OWN_CODE):  # the others have no weights to return
            yield Condition(
                f"{name}, output_attentions=True",
                lambda feed: {"output_attentions": True},
                partial(using, model, name),
            )


@contextmanager
def _training(torch: Any, model: Any) -> Iterator[None]:
    with ExitStack() as stack:
        stack.enter_context(torch.enable_grad())
        model.train()
        yield
