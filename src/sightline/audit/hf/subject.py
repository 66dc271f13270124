"""A model of transformers as a subject: found, built where it is only a config, and promised for.

Built on TorchSubject; the ways of running it stand in conditions.py, its inputs in inputs.py, and
how models are made from configs and classes in tiny.py.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from sightline.audit.hf.conditions import conditions_of
from sightline.audit.hf.doubled import doubled
from sightline.audit.hf.inputs import feed_for, has_decoder_inputs
from sightline.audit.hf.shrink import is_config
from sightline.audit.hf.tiny import reads_forward_only, tiny
from sightline.audit.probing.feed import Feed
from sightline.audit.probing.subject import Condition, Outputs
from sightline.audit.probing.torch_subject import TorchSubject
from sightline.errors import InvalidArgument
from sightline.masks.mask import Mask
from sightline.masks.positional import causal, everything

# Outputs that hold what a layer was given or kept, not what the model says: ends of their names.
_INNER = (
    "attentions",
    "cache_params",
    "hidden_states",
    "mems",
    "past_key_values",
    "router_logits",
    "router_probs",
)


class TransformersSubject(TorchSubject):
    """A model of transformers, copied. Takes what TorchSubject takes."""

    def __init__(self, model: Any, **options: Any) -> None:
        super().__init__(model, **options)
        self.torch = self._torch
        if self.dtype == "float64" and hasattr(self.model, "set_experts_implementation"):
            # Grouped products of experts exist in float32 only.
            self.model.set_experts_implementation("eager")
        self.is_causal = promises_causal(self.model)
        self.padded_input = "input_ids"

    def conditions(self, feed: Feed) -> list[Condition]:
        """Return the ways in which it can be run, the plain one first."""
        return conditions_of(self, feed)

    def run(self, feed: Feed, condition: Condition, seed: int = 0) -> Outputs:
        """Run it once; what it only hands through (caches, attention weights) is left out."""
        finer = doubled() if self.dtype == "float64" else nullcontext()
        with _seeded(seed), finer:
            outputs = super().run(feed, condition, seed)
        return {
            n: a for n, a in outputs.items() if not any(word in n for word in _INNER)
        } or outputs


def _is_inner(name: str) -> bool:
    first = name.partition(".")[0]  # tuples are numbered: attentions.0
    return first == "state" or first.endswith(_INNER)


def is_transformers(what: Any) -> bool:
    """Return whether something is a model or config of transformers, their class, or a path."""
    if isinstance(what, type):
        return hasattr(what, "model_type") or is_config_class(getattr(what, "config_class", None))
    config = getattr(what, "config", None)
    return isinstance(what, (str, Path)) or is_config(what) or is_config(config)


def is_config_class(what: Any) -> bool:
    """Return whether something is the class of a config."""
    return isinstance(what, type) and hasattr(what, "model_type")


def transformers_subject(what: Any, *, name: str, seed: int, **options: Any) -> TransformersSubject:
    """Return a subject for a model, or for a tiny one of a config, a class or a config file."""
    if hasattr(what, "named_modules") and not isinstance(what, type):
        return TransformersSubject(what, name=name, seed=seed, **options)
    model = tiny(what, seed=seed)
    name = name or f"{type(model).__name__} (tiny, random weights)"
    return TransformersSubject(model, name=name, seed=seed, **options)


def transformers_feed(
    model: Any, *, batch: int | None, length: int | None, vocab: int | None, seed: int
) -> Feed:
    """Return inputs for a text model.

    Raises:
        InvalidArgument: it does not take token ids alone.
    """
    if model.main_input_name != "input_ids":
        raise InvalidArgument(
            f"{type(model).__name__} reads {model.main_input_name}, for which an audit makes no "
            "inputs; give inputs= by keyword, such as a dict of arrays [batch, sequence, ...]."
        )
    return feed_for(model, batch=batch, length=length, vocab=vocab, seed=seed)


def contract_for(model: Any) -> Mask | dict[str, Mask]:
    """Return what a model of transformers promises by what it is.

    A decoder reads forward only. An encoder may read everything but padding, and so may the
    encoder of an encoder-decoder, whose decoder reads forward only.
    """
    if has_decoder_inputs(model):
        return {"input_ids": everything(), "decoder_input_ids": causal()}
    return causal() if promises_causal(model) else everything()


def promises_causal(model: Any) -> bool:
    """Return whether a model is a decoder: by transformers' tables, its config, or its modules."""
    config = model.config
    if config.is_encoder_decoder:
        return False
    if reads_forward_only(type(model)) or getattr(config, "is_decoder", False):
        return True
    auto = import_module("transformers.models.auto.modeling_auto")
    if config.model_type in auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES:
        return False
    if config.model_type in auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        return True
    return any(getattr(module, "is_causal", False) is True for module in model.modules())


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Let numpy's and Python's own random numbers, which some models draw, start anew."""
    kept, kept_numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    try:
        yield
    finally:
        random.setstate(kept)
        np.random.set_state(kept_numpy)  # noqa: NPY002
