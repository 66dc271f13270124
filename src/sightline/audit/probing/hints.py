"""Numbers in a model that say where faults may lie: windows, chunks, blocks, longest lengths."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

# Words in the names of attributes that are distances along the sequence.
_WORDS = ("window", "chunk", "block", "segment", "span", "local", "stride", "kernel", "dilat")
# Names with such a word that are not: how long a model's table of positions is.
_LIMITS = ("block_size", "max_", "n_positions", "context")
_MOST = 4096


@dataclass(frozen=True)
class Sizes:
    """Numbers found in a model.

    Attributes:
        windows: those that say how far something reaches, ascending.
        all: all numbers that may be a length, ascending.
    """

    windows: list[int]
    all: list[int]


def sizes_of(model: Any) -> Sizes:
    """Return the numbers that a torch module and its config hold."""
    windows: set[int] = set()
    every: set[int] = set()
    for name, value in _numbers(model):
        if not 2 <= value <= _MOST:
            continue
        every.add(value)
        if any(word in name for word in _WORDS) and not any(word in name for word in _LIMITS):
            windows.add(value)
    for parameter in (*model.parameters(), *model.buffers()):
        every.update(size for size in parameter.shape if 2 <= size <= _MOST)
    return Sizes(sorted(windows), sorted(every))


def _numbers(model: Any) -> Iterator[tuple[str, int]]:
    places = [vars(module) for module in model.modules()]
    config = getattr(model, "config", None)
    for source in (config, getattr(config, "text_config", None)):
        if source is not None and hasattr(source, "__dict__"):
            places.append(vars(source))
    for place in places:
        for name, value in place.items():
            for each in cast("Any", value) if isinstance(value, (tuple, list)) else (value,):
                if isinstance(each, int) and not isinstance(each, bool):
                    yield name.lower(), each


def is_prime(number: int) -> bool:
    """Return whether a number has no divisor but 1 and itself."""
    return number > 1 and all(number % divisor for divisor in range(2, int(number**0.5) + 1))
