"""What is known about a leak when its cause is looked for; the rules stand in causes.py."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from sightline.audit.findings import Place
from sightline.audit.locating.facts import Facts
from sightline.errors import SightlineError
from sightline.masks.mask import Mask

Bools = NDArray[np.bool_]

# Scores this far below the largest of their row have no weight, in float64 too.
_NOTHING = 740.0
# Scores below this are hidden by a finite constant, -1e4 or larger.
_CONSTANT = -9e3


@dataclass(frozen=True, eq=False)
class Case:
    """What is known about a leak; rules look at it.

    Attributes:
        place: where it starts; None if that is not known.
        facts: the operation there.
        declared: the mask of the contract; None if it is not a mask.
        measured: what the model really does; None if that was not measured.
    """

    place: Place | None
    facts: Facts | None
    declared: Mask | None
    measured: Mask | None

    @cached_property
    def name(self) -> str:
        """The operation, as torch has it; empty if unknown."""
        return self.facts.name if self.facts is not None else ""

    @cached_property
    def axis(self) -> int | None:
        """The axis along which the operation works, counted from 0."""
        if self.facts is None or not self.facts.shapes:
            return None
        values, ndim = self.facts.values, len(next(iter(self.facts.shapes.values())))
        given = next(
            (values[n] for n in ("dim", "axis", "dims") if values.get(n) is not None), None
        )
        if isinstance(given, (tuple, list)) and len(given) == 1:
            given = given[0]
        return given % ndim if isinstance(given, int) and not isinstance(given, bool) else None

    @cached_property
    def scores(self) -> NDArray[np.float32] | None:
        """What attention was given, ``[batch, heads, queries, keys]``."""
        return None if self.facts is None else self.facts.scores

    @cached_property
    def visible(self) -> Bools | None:
        """Which keys attention let each query see, ``[batch, heads, queries, keys]``."""
        if self.scores is None:
            return None
        top = self.scores.max(axis=-1, keepdims=True)
        return (self.scores > top - _NOTHING) & (self.scores > _CONSTANT)

    @cached_property
    def allowed(self) -> Bools | None:
        """The contract at the operation's lengths, with four axes."""
        if self.scores is None or self.declared is None:
            return None
        try:
            return self.declared.dense(*self.scores.shape[2:])
        except (SightlineError, ValueError):
            return None
