"""What is audited, seen from outside: something that takes a feed and returns named arrays.

The torch side stands in torch_subject.py; here are the interface, plain functions, and how the
outputs of either become named arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from sightline.audit.probing.feed import Feed

Outputs = dict[str, NDArray[Any]]


@dataclass(frozen=True, eq=False)
class Condition:
    """One way of running a model; the first one of a subject is the plain way.

    Attributes:
        name: in a word or two, such as ``train`` or ``attention_mask=left-padded``.
        given: makes the keyword arguments that are given besides the feed's inputs.
        within: what the run happens in, such as ``model.train()``.
        valid: for a feed, which positions of which input are real tokens: bool ``[batch,
            sequence]`` by the input's name; None where all of them are.
    """

    name: str
    given: Callable[[Feed], Mapping[str, Any]] = lambda feed: {}
    within: Callable[[], AbstractContextManager[Any]] = nullcontext
    valid: Callable[[Feed], Mapping[str, NDArray[np.bool_]]] | None = None


class Subject(Protocol):
    """What can be audited.

    Attributes:
        name: in words, for reports.
        dtype: the numbers it runs in, such as ``float64``.
        model: the torch module that can be looked into; None for plain functions.
        watched: whether a pass notes which operations it calls, which may send it another way.
        own_passes: passes that it ran to find out how it can be run.
    """

    name: str
    dtype: str
    model: Any
    watched: bool
    own_passes: int

    def run(self, feed: Feed, condition: Condition, seed: int = 0) -> Outputs:
        """Run it once and return its outputs; the same seed gives the same dropout."""
        ...

    def conditions(self, feed: Feed) -> list[Condition]:
        """Return the ways in which it can be run, the plain one first."""
        ...

    def in_dtype(self, dtype: str) -> Subject | None:
        """Return the same subject in other numbers; None if that cannot be."""
        ...


class FunctionSubject:
    """A plain function of numpy or jax arrays."""

    model = None
    watched = False
    own_passes = 0

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self.name = getattr(function, "__name__", type(function).__name__)
        self.dtype = "as given"

    def run(self, feed: Feed, condition: Condition, seed: int = 0) -> Outputs:
        """Call the function; the seed is numpy's."""
        np.random.seed(seed)  # noqa: NPY002, the generator that functions without one use
        values = [each.values for each in feed.inputs.values()]
        named = dict(list(zip(feed.inputs, values, strict=True))[feed.positional :])
        given = {**named, **condition.given(feed)}
        with condition.within():
            return named_arrays(self._function(*values[: feed.positional], **given))

    def conditions(self, feed: Feed) -> list[Condition]:
        """Return the one way: the call as it is."""
        return [Condition("as called")]

    def in_dtype(self, dtype: str) -> None:
        """Return None: a function's numbers are its own."""
        return


def why_failed(error: Exception) -> str:
    r"""Return in a line why a model could not be run.

    >>> why_failed(ValueError("no mask; give one\nmore about it"))
    'ValueError: no mask; give one'
    """
    first = (str(error).strip().splitlines() or [""])[0]
    return f"{type(error).__name__}: {first[:160]}"


def named_arrays(result: Any) -> Outputs:
    """Return the arrays of a result by name: keys of dicts, fields, or numbers of tuples.

    Tensors become arrays; half precision becomes float32, which holds it exactly. What is not an
    array of numbers is left out.
    """
    return named_members(result, _as_array)


def named_members(result: Any, read: Callable[[Any], Any]) -> dict[str, Any]:
    """Return the members of a result by name, as far as ``read`` makes something of them."""
    return {name or "output": each for name, each in _members("", result, read)}


def _members(name: str, value: Any, read: Callable[[Any], Any]) -> Iterator[tuple[str, Any]]:
    found = read(value)
    if found is not None:
        yield name, found
        return
    members: list[tuple[Any, Any]] = []
    if isinstance(value, Mapping):
        members = list(cast("Mapping[Any, Any]", value).items())
    elif isinstance(value, tuple) and hasattr(value, "_fields"):
        members = list(zip(cast(Any, value)._fields, cast("tuple[Any, ...]", value), strict=True))
    elif isinstance(value, (list, tuple)):
        members = list(enumerate(cast("list[Any]", value)))
    elif is_dataclass(value) and not isinstance(value, type):
        members = [(each.name, getattr(value, each.name)) for each in fields(value)]
    for key, each in members:
        inner = f"output[{key}]" if isinstance(key, int) else str(key)
        yield from _members(f"{name}.{key}" if name else inner, each, read)


def _as_array(value: Any) -> NDArray[Any] | None:
    if hasattr(value, "detach"):
        value = value.detach()
        if value.is_floating_point() and value.element_size() < 4:
            value = value.float()
        return value.cpu().numpy().copy() if value.layout.__str__() == "torch.strided" else None
    if isinstance(value, np.ndarray):
        return value
    # jax and others that say how they become arrays
    if hasattr(value, "__array__") and hasattr(value, "dtype") and hasattr(value, "shape"):
        array = np.asarray(value)
        return array if array.dtype.kind in "fiub" else None
    return None
