"""The inputs of an audit: those that are given, read; or those that a torch module seems to want.

Given inputs say by their types what varies: integers are tokens, floats are features, and what is
called a mask stays. Where none are given they are made from the module's first layers.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

import numpy as np

from sightline.audit.probing.feed import Feed, Input, Kind
from sightline.audit.probing.hints import is_prime, sizes_of
from sightline.audit.probing.subject import Condition, Subject, why_failed
from sightline.audit.probing.torch_conditions import parameters_of
from sightline.errors import InvalidArgument
from sightline.masks.arguments import describe

# Words in the names of inputs that are not perturbed: they say what may be seen.
FIXED_WORDS = ("mask", "valid", "length", "cu_seqlens", "segment", "document", "cache")
# The length that is tried first, odd and no power of two, and the least that says anything.
LENGTH, LEAST = 37, 5
# Rows of the batch by the number of parameters: each row carries a test of its own, so that a tiny
# model is tested in full by one pass.
BATCHES = ((200_000, 41), (20_000_000, 11))
LARGE_BATCH = 3


def given_feed(given: Any, model: Any, vocab: int | None, time_first: bool) -> Feed:
    """Return a feed of inputs that a user gives: an array, several in a tuple, or a dict.

    Raises:
        InvalidArgument: nothing among them varies.
    """
    if isinstance(given, Mapping):
        named = {str(k): v for k, v in cast("Mapping[Any, Any]", given).items()}
        positional = 0
    else:
        values = list(cast("list[Any]", given)) if isinstance(given, (tuple, list)) else [given]
        names = [n for n, p in _parameters(model).items() if p.kind not in (p.VAR_KEYWORD,)]
        names += [f"input{place}" for place in range(len(names), len(values))]
        named = dict(zip(names, values, strict=False))
        positional = len(values)
    arrays = {name: _as_numpy(value) for name, value in named.items()}
    inputs = {n: _read(n, a, vocab, time_first) for n, a in arrays.items()}
    batches = [e.batch for e in inputs.values() if e.kind != "fixed"]
    if not batches:
        raise InvalidArgument(
            f"nothing among the inputs varies: {', '.join(map(_about, inputs.values()))}; "
            "wanted an array [batch, sequence, ...] of floats, or of at least two different "
            "integers (or vocab=, how many there are)."
        )
    if len(set(batches)) > 1:
        raise InvalidArgument(
            f"the inputs have different numbers of batch rows: "
            f"{', '.join(_about(each) for each in inputs.values())}; wanted one number."
        )
    return Feed(inputs, positional=positional)


def _parameters(model: Any) -> Mapping[str, inspect.Parameter]:
    if hasattr(model, "forward"):
        return parameters_of(model)
    try:
        return inspect.signature(model).parameters
    except (TypeError, ValueError):
        return {}


def _as_numpy(value: Any) -> Any:
    if hasattr(value, "detach"):
        value = value.detach()
        return (
            value.float().cpu().numpy() if "bfloat16" in str(value.dtype) else value.cpu().numpy()
        )
    if isinstance(value, (int, float, str, bool, type(None))):
        return value
    return np.asarray(value) if hasattr(value, "shape") else value


def _read(name: str, value: Any, vocab: int | None, time_first: bool) -> Input:
    kind, choices = _kind(name, value, vocab)
    if kind != "fixed" and time_first:
        value = value.swapaxes(0, 1)
    return Input(name, value, kind, choices)


def _kind(name: str, value: Any, vocab: int | None) -> tuple[Kind, Any]:
    if not isinstance(value, np.ndarray) or value.ndim < 2 or not value.size:
        return "fixed", None
    if value.dtype == np.bool_ or any(word in name.lower() for word in FIXED_WORDS):
        return "fixed", None
    if value.dtype.kind == "f":
        return "features", None
    if value.dtype.kind not in "iu":
        return "fixed", None
    choices = np.unique(value) if vocab is None else np.arange(vocab)
    return ("tokens", choices) if len(choices) > 1 else ("fixed", None)


def _about(each: Input) -> str:
    shape = getattr(each.values, "shape", None)
    return f"{each.name} {list(shape)}" if shape is not None else f"{each.name}={each.values!r}"


# -- made from the module -----------------------------------------------------------------------


def made_feed(
    subject: Subject, batch: int | None, length: int | None, vocab: int | None, seed: int
) -> Feed:
    """Return a feed that a torch module accepts, its length beyond every window found in it.

    Raises:
        InvalidArgument: no form that was tried is accepted.
    """
    model = subject.model
    wanted = _required(model)
    if not wanted:
        raise InvalidArgument(
            f"{subject.name}.forward asks for no input by name; give inputs=, such as "
            "inputs={'tokens': tensor} with a tensor [batch, sequence]."
        )
    if not any(True for _ in _guesses(model, vocab)):
        raise InvalidArgument(
            f"{subject.name} has no layer that tells what its inputs are; give inputs=, a tensor "
            "[batch, sequence, ...] or a dict of them."
        )
    numbers = sizes_of(model)
    rows = batch or rows_for(model)
    first = length or _beyond(numbers.windows)
    shorter = [] if length else [n for n in numbers.all if LEAST <= n < first]
    tried: list[str] = []
    for size in dict.fromkeys([first, *sorted(shorter, reverse=True)[:8], 16, 11, 8]):
        for guess, equal in _forms(model, len(wanted), vocab):
            make = _maker(wanted, guess, equal, seed)
            try:
                feed = make(rows, size)
                subject.run(feed, Condition("trial"))
            except Exception as error:
                tried.append(why_failed(error))
                continue
            return feed
        if length:
            break
    raise InvalidArgument(
        f"{subject.name} accepts none of the inputs that were tried (the first refusal: "
        f"{tried[0]}); give inputs=, a tensor [batch, sequence, ...] or a dict of them."
    )


def _required(model: Any) -> list[str]:
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return [
        name
        for name, each in parameters_of(model).items()
        if each.default is inspect.Parameter.empty and each.kind in kinds
    ]


def rows_for(model: Any) -> int:
    """Return the number of batch rows: more for small models, since each carries a test."""
    total = sum(parameter.numel() for parameter in model.parameters())
    return next((rows for most, rows in BATCHES if total < most), LARGE_BATCH)


def _beyond(windows: list[int]) -> int:
    """Return a length that is prime, and beyond twice the largest window, within reason."""
    largest = max([w for w in windows if w <= 256], default=0)
    size = max(LENGTH, 2 * largest + 3)
    while not is_prime(size):
        size += 1
    return size


def _forms(model: Any, count: int, vocab: int | None) -> Iterator[tuple[tuple[str, int], bool]]:
    """Yield guesses of what the inputs are, and whether all of them are of one length.

    ("tokens", how many) or ("features", width).
    """
    for guess in _guesses(model, vocab):
        if count > 1:
            yield guess, False
        yield guess, True


def _guesses(model: Any, vocab: int | None) -> Iterator[tuple[str, int]]:
    if vocab is not None:
        yield "tokens", vocab
    seen: set[tuple[str, int]] = set()
    for module in model.modules():
        for guess in _layer(module):
            if guess not in seen and len(seen) < 8:
                seen.add(guess)
                yield guess


def _layer(module: Any) -> Iterator[tuple[str, int]]:
    name = type(module).__name__
    if "Embedding" in name and hasattr(module, "num_embeddings"):
        yield "tokens", int(module.num_embeddings)
    for attribute in ("embed_dim", "d_model", "in_features", "input_size", "in_channels"):
        width = getattr(module, attribute, None)
        if isinstance(width, int):
            yield "features", width
    shape = getattr(module, "normalized_shape", None)
    if isinstance(shape, tuple) and shape:
        yield "features", int(cast("tuple[int, ...]", shape)[-1])


def _maker(
    names: list[str], guess: tuple[str, int], equal: bool, seed: int
) -> Callable[[int, int], Feed]:
    """Return what makes a feed; unless they are equal, the inputs after the first are shorter."""
    kind, size = guess

    def make(batch: int, length: int) -> Feed:
        generator = np.random.default_rng(seed)
        inputs: dict[str, Input] = {}
        for place, name in enumerate(names):
            shape = batch, length if equal or not place else max(length * 4 // 5, 2)
            if kind == "tokens":
                ids = np.arange(size)
                inputs[name] = Input(name, generator.integers(0, size, shape), "tokens", ids)
            else:
                inputs[name] = Input(name, generator.standard_normal((*shape, size)), "features")
        return Feed(inputs, make)

    return make


def check_subject(model: object) -> None:
    """Refuse what cannot be called.

    Raises:
        InvalidArgument: it cannot.
    """
    if not callable(model):
        raise InvalidArgument(
            f"got {describe(model)} to audit; wanted a torch.nn.Module, a Hugging Face model, "
            "config or class, or a function of arrays."
        )
