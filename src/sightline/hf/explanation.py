"""``explain``: what a patched model attended to at its last call, layer kind by layer kind."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np

from sightline.errors import InvalidArgument
from sightline.hf.attention_function import LAST, Attended
from sightline.hf.carrier import Carrier
from sightline.hf.modules import attending, kinds, outside
from sightline.hf.patching import is_patched
from sightline.masks.mask import Mask
from sightline.masks.padding import Padding, padding_runs


@dataclass(frozen=True)
class Seen:
    """What some modules of one class attended to alike.

    Attributes:
        modules: their names inside the model.
        kind: their class.
        mask: the whole expression over absolute positions; None if they were not called yet.
        q_len: the number of queries.
        kv_len: the number of keys.
        q_offset: the absolute position of query 0.
        engine: the engine that was asked for.
    """

    modules: tuple[str, ...]
    kind: str
    mask: Mask | None = None
    q_len: int = 0
    kv_len: int = 0
    q_offset: int = 0
    engine: str = "auto"

    def __str__(self) -> str:
        """Return it as two lines."""
        head = f"{len(self.modules)} x {self.kind}: "
        if self.mask is None:
            return head + "not called yet"
        at = f" from position {self.q_offset} on" if self.q_offset else ""
        sizes = f"{_count(self.q_len, 'query', 'queries')}{at}, {_count(self.kv_len, 'key')}"
        return f"{head}{self.mask}\n  {sizes}, engine {self.engine}"


@dataclass(frozen=True, repr=False)
class Explanation:
    """What a patched model did at its last call; prints as text.

    Attributes:
        seen: one entry for each class of module and mask.
        kept: the modules that attend in their own code, as words; empty if there are none.
    """

    seen: tuple[Seen, ...]
    kept: str = ""

    def __str__(self) -> str:
        """Return all entries as lines."""
        return "\n".join(self._lines())

    __repr__ = __str__

    def _lines(self) -> Iterator[str]:
        yield from map(str, self.seen)
        if self.kept:
            yield f"as they were: {self.kept}"


def explain(model: Any) -> Explanation:
    """Return what each kind of attention module of a patched model was allowed at its last call.

    Calls inside code compiled by ``torch.compile`` are not seen.

    Raises:
        InvalidArgument: the model is not patched.

    >>> import sightline as sl, torch, transformers
    >>> config = transformers.GPT2Config(n_layer=2, n_head=2, n_embd=8)
    >>> model = sl.hf.patch(transformers.GPT2Model(config), mask=sl.window(left=2))
    >>> _ = model(torch.tensor([[1, 2, 3, 4]]))
    >>> sl.hf.explain(model)
    2 x GPT2Attention: window(left=2, right=0)
      4 queries, 4 keys, engine auto
    """
    if not is_patched(model):
        raise InvalidArgument(
            f"got a {type(model).__name__} that is not patched; wanted a patched model; call "
            "sl.hf.patch(model) first."
        )
    groups: dict[Any, list[str]] = {}
    for name, module in attending(model).items():
        last = LAST.get(module)
        entry = Seen((), type(module).__name__) if last is None else _seen(module, last)
        groups.setdefault(entry, []).append(name)
    seen = [Seen(tuple(names), *_rest(entry)) for entry, names in groups.items()]
    return Explanation(tuple(seen), kinds(outside(model).values()))


def _seen(module: Any, last: Attended) -> Seen:
    given = last.given
    offset = given.kv_offset if isinstance(given, Carrier) else 0
    return Seen(
        modules=(),
        kind=type(module).__name__,
        mask=_whole(given) if isinstance(given, Carrier) else given,
        q_len=last.q_len,
        kv_len=given.keys if isinstance(given, Carrier) else last.kv_len,
        q_offset=last.q_offset + offset,
        engine=last.engine,
    )


def _rest(entry: Seen) -> tuple[Any, ...]:
    return entry.kind, entry.mask, entry.q_len, entry.kv_len, entry.q_offset, entry.engine


def _whole(carrier: Carrier) -> Mask:
    """Return the parts together, with padding cut where the keys end."""
    end = carrier.kv_offset + carrier.keys
    structure, real, extra = carrier.parts
    if isinstance(real, Padding):
        start, stop = real.start.array, real.stop.array
        real = padding_runs(start, np.minimum(stop, end))
    return reduce(
        lambda a, b: a & b, [each for each in (structure, real, extra) if each is not None]
    )


def _count(number: int, one: str, more: str = "") -> str:
    return f"{number} {one if number == 1 else more or one + 's'}"
