"""What a model of transformers is run on: token ids that mean nothing special, long enough."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline.audit.hf.shrink import is_config, is_token_id
from sightline.audit.probing.feed import Feed, Input
from sightline.audit.probing.hints import is_prime, sizes_of
from sightline.audit.probing.making import rows_for

# Odd and no power of two; and what is beyond reason for a probe.
LENGTH, LONGEST = 37, 300
# Parameters of functions in a model's code that say where work is cut along the sequence.
_CUTS = ("chunk", "block", "window")


def feed_for(
    model: Any, *, batch: int | None, length: int | None, vocab: int | None, seed: int
) -> Feed:
    """Return the inputs of a text model: ``input_ids``, and those of the decoder if it has one.

    The decoder's are fewer, so that the two cannot be taken for each other. Special tokens
    (padding, end of text, images) are neither given nor exchanged for others.
    """
    words = words_of(model, vocab)
    names = ["input_ids"]
    if has_decoder_inputs(model):
        names.append("decoder_input_ids")

    def make(batch: int, longest: int) -> Feed:
        generator = np.random.default_rng(seed)
        inputs: dict[str, Input] = {}
        for place, name in enumerate(names):
            shape = batch, longest if not place else max(longest * 3 // 4, 2)
            inputs[name] = Input(name, generator.choice(words, shape), "tokens", words)
        return Feed(inputs, make)

    return make(batch or rows_for(model), length or length_for(model))


def has_decoder_inputs(model: Any) -> bool:
    """Return whether a model has a decoder behind its encoder that is given tokens of its own."""
    taken = _parameters(model.forward)
    return bool(model.config.is_encoder_decoder) and "decoder_input_ids" in taken


def words_of(model: Any, vocab: int | None = None) -> NDArray[np.int64]:
    """Return the ids of ordinary tokens."""
    table = model.get_input_embeddings()
    size = vocab or getattr(table, "num_embeddings", None)
    told = getattr(model.config.get_text_config(), "vocab_size", None)
    sizes = [each for each in (size, told) if isinstance(each, int) and each > 0]
    ids = np.arange(min(sizes) if sizes else 2)
    ordinary = np.setdiff1d(ids, list(special_ids(model.config)))
    return ordinary if len(ordinary) > 1 else ids


def special_ids(config: Any) -> Iterator[int]:
    """Yield the ids of special tokens that a config names, those of configs inside included."""
    for name, value in vars(config).items():
        if is_config(value):
            yield from special_ids(value)
        elif is_token_id(name) or name.endswith("_token_ids"):
            yield from (int(each) for each in np.ravel(value) if isinstance(each, np.integer))


def length_for(model: Any) -> int:
    """Return a prime length beyond every window, chunk and block of a model.

    Those of its config and modules, and those that functions in its code have as a default.
    """
    windows = [each for each in sizes_of(model).windows if each <= LONGEST // 2]
    cuts = [each for each in cuts_in_code(model) if each < LONGEST]
    size = max(LENGTH, 2 * max(windows, default=0) + 3, max(cuts, default=0) + 3)
    while not is_prime(size):
        size += 1
    return size


def cuts_in_code(model: Any) -> set[int]:
    """Return the sizes of chunks, blocks and windows that a model's code has as defaults.

    Linear attention is computed in chunks of 64 whatever the config says, so that a shorter
    sequence never sees a second chunk.
    """
    found: set[int] = set()
    homes = {type(module).__module__ for module in model.modules()}
    for home in homes:
        if not home.startswith("transformers.models."):
            continue
        for function in vars(sys.modules[home]).values():
            if inspect.isfunction(function) and function.__module__ == home:
                for name, each in _parameters(function).items():
                    size = each.default
                    if any(w in name for w in _CUTS) and isinstance(size, int) and size > 1:
                        found.add(size)
    return found


def _parameters(function: Any) -> dict[str, inspect.Parameter]:
    return dict(inspect.signature(function).parameters)
