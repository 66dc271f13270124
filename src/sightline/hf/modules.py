"""Which modules of a transformers model attend, and whether they go through its interface.

Judged from the source of their classes, as transformers itself does. A model of which only a part
would be patched is refused here; nothing is changed.
"""

from __future__ import annotations

import inspect
import re
from collections import Counter
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import torch

from sightline.errors import CannotExpress
from sightline.masks.mask import Mask

_THROUGH = "get_interface("
_OWN = re.compile(r"softmax\(|scaled_dot_product_attention\(|MultiheadAttention\(|_fft\(")
_NAMED = re.compile(r"attention|attn", re.IGNORECASE)


def attending(model: torch.nn.Module) -> dict[str, Any]:
    """Return the modules, by name, that attend through transformers' interface."""
    return {name: module for name, module in model.named_modules() if _goes_through(type(module))}


def outside(model: torch.nn.Module) -> dict[str, torch.nn.Module]:
    """Return the modules, by name, that attend in a way of their own."""
    return {name: module for name, module in model.named_modules() if _goes_alone(type(module))}


def configs_of(model: torch.nn.Module) -> list[Any]:
    """Return the configs that a model and its parts hold, each once, the outermost first."""
    found: dict[int, Any] = {}

    def add(config: Any) -> None:
        if config is None or id(config) in found or not hasattr(config, "sub_configs"):
            return
        found[id(config)] = config
        for name in config.sub_configs:
            add(getattr(config, name, None))

    for module in model.modules():
        add(getattr(module, "config", None))
    return list(found.values())


def check_modules(model: Any, extra: Mask | None, others: str) -> None:
    """Refuse a model of which not all attention, or not all of its meaning, can be taken over.

    Raises:
        CannotExpress: naming the modules, and why.
    """
    name = type(model).__name__
    inside = attending(model)
    if not inside:
        raise _refusal(name, "no module attends through transformers' attention interface")
    alone = outside(model)
    if alone and others == "refuse":
        raise _refusal(
            f"{kinds(alone.values())} of {name}",
            "they attend in their own code, out of reach of the interface",
            'sl.hf.patch(model, others="keep"), which leaves these modules as they are',
        )
    capped = [m for m in inside.values() if getattr(m, "attn_logit_softcapping", None)]
    if capped:
        raise _refusal(
            f"the capped scores of {kinds(capped)} (attn_logit_softcapping)",
            "attend has no such cap",
        )
    if extra is not None:
        _check_extra(model, inside)


def _check_extra(model: Any, inside: dict[str, Any]) -> None:
    """Refuse an extra mask where it would fall on positions of more than one kind."""
    configs = {id(module.config): module.config for module in inside.values()}
    crossing = any(
        getattr(config, flag, False)
        for config in configs.values()
        for flag in ("is_encoder_decoder", "add_cross_attention")
    )
    if len(configs) > 1 or crossing:
        raise _refusal(
            f"mask= for {type(model).__name__}",
            "it attends over more than one kind of sequence, and the mask would fall on all",
            "patch the part that it is meant for: sl.hf.patch(model.language_model, mask=...)",
        )


def kinds(modules: Iterable[torch.nn.Module]) -> str:
    """Return the classes of modules with how many there are of each, as words."""
    counted = Counter(type(module).__name__ for module in modules)
    return ", ".join(f"{count} x {name}" for name, count in counted.items())


def _refusal(part: str, reason: str, alternative: str = "") -> CannotExpress:
    return CannotExpress(
        destination="sl.hf.patch",
        part=part,
        reason=reason,
        alternative=alternative or "the model with its own attention, as it was",
    )


@lru_cache(maxsize=4096)
def _source(kind: type) -> str:
    """Return the source of a class and of those it inherits from, but for the libraries' bases."""
    texts: list[str] = []
    for each in kind.__mro__:
        library, _, room = each.__module__.partition(".")
        if library in ("torch", "builtins") or (
            library == "transformers" and not room.startswith("models.")
        ):
            continue
        try:
            texts.append(inspect.getsource(each))
        except (OSError, TypeError):
            continue
    return "\n".join(texts)


@lru_cache(maxsize=4096)
def _goes_through(kind: type) -> bool:
    return _THROUGH in _source(kind)


@lru_cache(maxsize=4096)
def _goes_alone(kind: type) -> bool:
    if issubclass(kind, torch.nn.MultiheadAttention):
        return True
    if not _NAMED.search(kind.__name__) or _goes_through(kind):
        return False
    return bool(_OWN.search(_source(kind)))
