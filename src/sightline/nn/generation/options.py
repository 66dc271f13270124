"""What ``generate`` was asked for, checked: numbers in range, and nothing that would be ignored."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

from sightline.errors import InvalidArgument

STRATEGIES = ("greedy", "sample", "beam")

# What only one strategy reads, with the value that means "not given".
_ONLY = {
    "temperature": ("sample", 1.0),
    "top_k": ("sample", None),
    "top_p": ("sample", None),
    "beams": ("beam", 1),
    "length_penalty": ("beam", 1.0),
    "early_stopping": ("beam", False),
}


@dataclass(frozen=True)
class Options:
    """The arguments of ``generate`` that say how tokens are chosen; documented there."""

    max_new_tokens: int
    strategy: str = "greedy"
    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    beams: int = 1
    length_penalty: float = 1.0
    early_stopping: bool = False
    eos: tuple[int, ...] = ()
    prefill_chunk: int | None = None
    draft_tokens: int = 4
    draft_branches: int = 1

    def __post_init__(self) -> None:
        if self.strategy not in STRATEGIES:
            raise InvalidArgument(
                f"got strategy={self.strategy!r}; wanted one of {', '.join(STRATEGIES)}; check "
                "the word."
            )
        for name, (strategy, idle) in _ONLY.items():
            if getattr(self, name) != idle and self.strategy != strategy:
                raise InvalidArgument(
                    f"got {name}={getattr(self, name)!r} with strategy={self.strategy!r}; wanted "
                    f"{name} with strategy={strategy!r} only; leave it out, or change the strategy."
                )
        for name in ("max_new_tokens", "beams", "draft_tokens", "draft_branches"):
            _at_least_one(name, getattr(self, name))
        for name in ("top_k", "prefill_chunk"):
            if getattr(self, name) is not None:
                _at_least_one(name, getattr(self, name))
        _check_number("temperature", self.temperature, "a number above 0", above=0.0)
        _check_number("length_penalty", self.length_penalty, "a finite number")
        if self.top_p is not None:
            _check_number("top_p", self.top_p, "a share above 0 and at most 1", above=0.0, most=1.0)


def read_eos(eos: Any) -> tuple[int, ...]:
    """Return the tokens that end a row: none, one or several.

    Raises:
        InvalidArgument: something else.
    """
    if eos is None:
        return ()
    tokens = list(eos) if isinstance(eos, Iterable) and not isinstance(eos, str) else [eos]
    if not all(isinstance(t, Integral) and not isinstance(t, bool) and int(t) >= 0 for t in tokens):
        raise InvalidArgument(
            f"got eos={eos!r}; wanted a token number, several of them, or None; tokens count from "
            "0."
        )
    return tuple(int(token) for token in tokens)


def _at_least_one(name: str, value: Any) -> None:
    if not isinstance(value, Integral) or isinstance(value, bool) or value < 1:
        raise InvalidArgument(f"got {name}={value!r}; wanted a whole number of at least 1.")


def _check_number(
    name: str, value: Any, wanted: str, *, above: float = -math.inf, most: float = math.inf
) -> None:
    number = float(value) if isinstance(value, Real) and not isinstance(value, bool) else math.nan
    if not (math.isfinite(number) and above < number <= most):
        raise InvalidArgument(f"got {name}={value!r}; wanted {wanted}.")
