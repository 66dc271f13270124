"""The layers of one forward pass: does one of them use another mask than all the others?

Many models mix kinds of layers on purpose: every n-th one global, the first or the last few apart,
kinds named in the config. Those are regular, and nothing is said of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from sightline.audit.guards.places import Place
from sightline.audit.guards.records import Call, Said

# The longest period of a pattern of layers; and how many layers make a stack worth judging.
_LONGEST_PERIOD = 6
_FEWEST = 5


@dataclass(frozen=True, eq=False)
class Layer:
    """One call within a stack of layers: what it let through, by digest, and where it stands."""

    sight: bytes
    call: Call
    place: Place


@dataclass
class Stacks:
    """The calls of each line, as they come, cut into forward passes."""

    _running: dict[Any, tuple[Any, list[Layer]]] = field(default_factory=dict)

    def add(self, layer: Layer) -> Iterator[tuple[Said, Layer]]:
        """Add a call; report on the pass that it ends, if it begins another one."""
        site = layer.place.where, layer.call.entry
        call = layer.call
        sizes = call.batch, call.heads, call.q_len, call.kv_len, call.step
        before, layers = self._running.get(site, (sizes, []))
        again = any(each.place.module is layer.place.module for each in layers)
        if again or before != sizes:
            yield from judge(layers)
            layers = []
        self._running[site] = sizes, [*layers, layer] if layer.place.module is not None else []

    def finish(self) -> Iterator[tuple[Said, Layer]]:
        """Report on the passes that were still running."""
        for _, layers in self._running.values():
            yield from judge(layers)
        self._running = {}


def judge(layers: Sequence[Layer]) -> Iterator[tuple[Said, Layer]]:
    """Report the one layer of a pass whose mask differs from that of all the others."""
    odd = odd_one([each.sight for each in layers])
    if odd is None or _by_design(layers[odd], layers[odd - 1]):
        return
    said = Said(
        "layer-differs",
        "note",
        f"layer {odd} of {len(layers)} uses another mask than all the others, which share one, "
        f"such as {layers[odd - 1].call}.",
    )
    yield said, layers[odd]


def odd_one(sights: Sequence[object]) -> int | None:
    """Return the position of the only one that differs, if no pattern explains it; else None.

    >>> odd_one("aaaabaaaaaaa")
    4
    >>> odd_one("aaaaabaaaaab"), odd_one("baaaaaaaaaaa"), odd_one("abab")
    (None, None, None)
    """
    counts = Counter(sights).most_common()
    if len(sights) < _FEWEST or len(counts) != 2 or counts[1][1] != 1:
        return None
    odd = list(sights).index(counts[1][0])
    if odd in (0, len(sights) - 1):
        return None
    # Every n-th layer, of which so few layers show one only.
    every = range(2, _LONGEST_PERIOD + 1)
    return None if any(n > odd and odd + n >= len(sights) for n in every) else odd


def _by_design(odd: Layer, other: Layer) -> bool:
    """Return whether the model itself says that two of its layers are of different kinds."""
    for (one, *_), (two, *_) in zip(odd.place.modules, other.place.modules, strict=False):
        if one is two:
            return len(set(getattr(getattr(one, "config", None), "layer_types", None) or ())) > 1
        if type(one) is not type(two) or _settings(one) != _settings(two):
            return True
    return False


def _settings(module: nn.Module) -> dict[str, Any]:
    """Return a module's plain settings, its number among the layers left out."""
    plain = (bool, int, float, str, type(None))
    return {
        name: value
        for name, value in vars(module).items()
        if isinstance(value, plain) and not name.startswith("_") and "idx" not in name
        if not name.endswith(("_id", "index", "number"))
    }
