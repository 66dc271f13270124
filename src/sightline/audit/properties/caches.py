"""How models keep what they have read: the protocols by which a text is run piece by piece.

Known are the caches of transformers and of models like them, which take the cache by a keyword and
return it, recurrent layers' states, and Sightline's own. What comes out is compared elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from sightline.audit.probing.feed import Feed, Input
from sightline.audit.probing.subject import Condition, Outputs, Subject
from sightline.audit.probing.torch_conditions import parameters_of
from sightline.errors import InvalidArgument

# Keywords that take what the pass before returned.
RETURNED = (
    "past_key_values",
    "cache_params",
    "past_key_value",
    "past_kv",
    "past",
    "kv_cache",
    "cache",
    "caches",
    "state",
    "states",
    "hx",
    "hidden",
)


class CacheProtocol(Protocol):
    """How one model is run piece by piece."""

    def before(self, count: int) -> Mapping[str, Any]:
        """Return the keyword arguments of the next piece, of that many tokens."""
        ...

    def after(self, result: Any) -> None:
        """Take in what the pass returned."""
        ...


class Returned:
    """A cache that a pass returns and the next one takes by a keyword."""

    def __init__(self, keyword: str, asks: bool, name: str) -> None:
        self._keyword = keyword
        self._asked = {"use_cache": True} if asks else {}
        self._name = name
        self._kept: Any = None

    def before(self, count: int) -> Mapping[str, Any]:
        """See ``CacheProtocol``."""
        past = {} if self._kept is None else {self._keyword: self._kept}
        return {**self._asked, **past}

    def after(self, result: Any) -> None:
        """See ``CacheProtocol``.

        Raises:
            InvalidArgument: the pass returned no cache.
        """
        found = getattr(result, self._keyword, None)
        if found is None and isinstance(result, Mapping):
            found = cast("Mapping[str, Any]", result).get(self._keyword)
        if found is None and type(result) in (tuple, list) and len(result) > 1:
            found = result[1] if len(result) == 2 else result[-1]
        if found is None:
            raise InvalidArgument(
                f"{self._name} takes {self._keyword} but returned none; wanted an output of that "
                "name, or (output, cache); a model that is no decoder has no cache to test."
            )
        self._kept = found


class Extended:
    """Sightline's own: ``model.new_cache(batch, max_len)``, and ``cache=cache.extend(n)``."""

    def __init__(self, model: Any, batch: int, length: int) -> None:
        self._cache = model.new_cache(batch, length)

    def before(self, count: int) -> Mapping[str, Any]:
        """See ``CacheProtocol``."""
        return {"cache": self._cache.extend(count)}

    def after(self, result: Any) -> None:
        """See ``CacheProtocol``."""


def protocol_of(model: Any, name: str, batch: int, length: int) -> CacheProtocol:
    """Return how a model is run piece by piece, its cache empty.

    Raises:
        InvalidArgument: in no way that is known.
    """
    taken = parameters_of(model) if model is not None else {}
    if callable(getattr(model, "new_cache", None)) and "cache" in taken:
        return Extended(model, batch, length)
    for keyword in RETURNED:
        if keyword in taken:
            return Returned(keyword, "use_cache" in taken, name)
    raise InvalidArgument(
        f"{name} has no cache that is known: looked for new_cache(batch, max_len) with cache=, and "
        f"for one of {', '.join(RETURNED)} among the arguments of forward "
        f"({', '.join(taken) or 'none'})."
    )


@dataclass(frozen=True, eq=False)
class Text:
    """Inputs that can be cut into pieces.

    Attributes:
        feed: all of them, whole.
        target: the input that is cut; others of its length are cut with it.
        masks: inputs that speak of the past as well: a piece gets them from the first position on.
    """

    feed: Feed
    target: str
    masks: tuple[str, ...] = ()

    @property
    def length(self) -> int:
        """The number of positions."""
        return self.feed.inputs[self.target].length

    def piece(self, start: int, stop: int) -> Feed:
        """Return the inputs of some positions."""
        inputs: dict[str, Input] = {}
        decoder = self.target.startswith("decoder")
        for name, each in self.feed.inputs.items():
            values = each.values
            along = isinstance(values, np.ndarray) and values.shape[1:2] == (self.length,)
            if name in self.masks:
                values = values[:, :stop]
            elif along and (not decoder or name.startswith("decoder")):
                values = values[:, start:stop]
            inputs[name] = replace(each, values=values)
        return replace(self.feed, inputs=inputs, make=None)


def run_pieces(
    subject: Subject, condition: Condition, text: Text, splits: Sequence[int], seed: int
) -> dict[str, NDArray[Any]]:
    """Return the outputs ``[batch, length, ...]`` of a text that is run in pieces of those lengths.

    A position whose output a piece does not return, because it gives that of its last token only,
    holds NaN.
    """
    model = subject.model
    protocol = protocol_of(model, subject.name, text.feed.batch, text.length)
    found: dict[str, list[NDArray[Any]]] = {}
    start = 0
    for count in splits:
        piece = text.piece(start, start + count)
        outputs = _run_piece(subject, condition, piece, protocol, count, seed)
        for name, array in _of_tokens(outputs, count):
            found.setdefault(name, []).append(array)
        start += count
    return {
        name: np.concatenate(parts, axis=1)
        for name, parts in found.items()
        if len(parts) == len(splits) and len({part.shape[2:] for part in parts}) == 1
    }


def _run_piece(
    subject: Subject,
    condition: Condition,
    piece: Feed,
    protocol: CacheProtocol,
    count: int,
    seed: int,
) -> Outputs:
    results: list[Any] = []
    extra = protocol.before(count)
    under = replace(condition, given=lambda feed: {**condition.given(feed), **extra})
    handle = subject.model.register_forward_hook(lambda module, given, out: results.append(out))
    try:
        outputs = subject.run(piece, under, seed)
    finally:
        handle.remove()
    protocol.after(results[-1])
    return outputs


def _of_tokens(outputs: Outputs, count: int) -> Iterator[tuple[str, NDArray[Any]]]:
    for name, array in outputs.items():
        if array.ndim < 2 or array.dtype.kind != "f":
            continue
        if array.shape[1] == count:
            yield name, array
        elif array.shape[1] == 1:
            unknown = np.full((len(array), count - 1, *array.shape[2:]), np.nan)
            yield name, np.concatenate([unknown, array], axis=1)
