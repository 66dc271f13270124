"""What a row of the zoo says: a wrong model, its right twin, what was claimed, and where it shows.

Claims are plain data here, so that plain_check.py can test them without the library's audit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from sightline.masks.mask import Mask

Make = Callable[[], nn.Module]
Inputs = Callable[[int], dict[str, Any]]


@dataclass(frozen=True)
class Sees:
    """Output position q may depend on position k of an input only where its mask allows (q, k)."""

    masks: Mapping[str, Mask]


@dataclass(frozen=True)
class PadInvariant:
    """What stands at padding, and how much of it there is, changes no real position's output."""

    side: str = "right"


@dataclass(frozen=True)
class BatchInvariant:
    """A sample's output does not depend on the samples beside it."""


@dataclass(frozen=True)
class Isolated:
    """A packed document's output is that of the document alone (``segment_ids`` says which)."""


@dataclass(frozen=True)
class CacheParity:
    """A pass over everything equals a prefill of ``split`` tokens and one step for each other."""

    split: int = 4


@dataclass(frozen=True)
class MaskSensitive:
    """Marking a real token as padding changes the output of another."""

    name: str = "attention_mask"


Claim = Sees | PadInvariant | BatchInvariant | Isolated | CacheParity | MaskSensitive


@dataclass(frozen=True)
class Condition:
    """Under what the fault shows: mode, gradients, length, further inputs, a batch run before."""

    training: bool = False
    gradients: bool = True
    length: int = 11
    extra: Inputs | None = None
    before: Inputs | None = None

    @property
    def words(self) -> str:
        """What is special about this condition; empty when nothing is."""
        parts = {
            "in training": self.training,
            "without gradients": not self.gradients,
            f"at length {self.length}": self.length != 11,
            "with further inputs": self.extra is not None,
            "after another batch": self.before is not None,
        }
        return ", ".join(part for part, holds in parts.items() if holds)


ALWAYS = Condition()


@dataclass(frozen=True)
class Fault:
    """One kind of mistake.

    ``module`` is the innermost module whose inputs are still as claimed and whose output is not;
    "" is the model itself. ``cause`` lists words of which a report on the cause should hold one.
    """

    name: str
    family: str
    wrong: Make
    right: Make
    claim: Claim
    inputs: Inputs
    module: str
    cause: tuple[str, ...]
    when: Condition = ALWAYS


@dataclass(frozen=True)
class Right:
    """A model that looks suspicious and is right."""

    name: str
    make: Make
    claim: Claim
    inputs: Inputs
    when: Condition = ALWAYS
