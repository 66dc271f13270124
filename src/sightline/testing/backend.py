"""What a backend shows of itself to the conformance suite, and the words for what it may lack."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline.errors import InvalidArgument
from sightline.masks.mask import Mask
from sightline.testing.cases import CAPABILITIES, Case
from sightline.testing.expanders.shape import Shape

Floats = NDArray[np.floating[Any]]
Attend = Callable[[Floats, Floats, Floats, Mask, int], Floats]
Expand = Callable[[Mask, Shape], NDArray[np.bool_]]
Cannot = Callable[[NDArray[np.bool_], Shape], bool]
Gradients = Callable[[Floats, Floats, Floats, Mask, int, Floats], tuple[Floats, Floats, Floats]]


@dataclass(frozen=True)
class Backend:
    """A way to run or to write down a mask, as the conformance suite asks it.

    At least one of ``attend`` and ``allowed`` is there. Where a backend cannot do something, it
    has to raise CannotExpress; ``lacks`` says so beforehand, and the suite then expects it
    (strictly: a backend that does more than it says fails, too).

    Attributes:
        name: what to show in reports.
        attend: (query [B, H, Q, D], key [B, H, K, D], value [B, H, K, V], mask, q_offset) ->
            output [B, H, Q, V]; numpy arrays in and out, scale 1/sqrt(D).
        allowed: (mask, shape) -> bools [B, H, Q, K]: what the arguments made for the backend
            mean by its own documentation.
        cannot: (bools [B, H, Q, K], shape) -> whether the backend's form really cannot say them;
            if given, a refusal of anything else fails.
        gradients: (query, key, value, mask, q_offset, gradient of the output) -> the gradients of
            query, key and value.
        lacks: keys of CAPABILITIES that it refuses.
        refuses: names of single cases that it refuses besides.
        keeps_out: whether a key that may not be seen cannot change the output by one bit, NaN and
            Inf included.
        tolerance: how far outputs and gradients may be from the oracle's, absolutely, in float32.
    """

    name: str
    attend: Attend | None = None
    allowed: Expand | None = None
    cannot: Cannot | None = None
    gradients: Gradients | None = None
    lacks: frozenset[str] = frozenset()
    refuses: frozenset[str] = frozenset()
    keeps_out: bool = False
    tolerance: float = 1e-5

    def must_refuse(self, case: Case) -> bool:
        """Whether the backend has said that it cannot do a case."""
        return bool(case.needs & self.lacks) or case.name in self.refuses

    def __post_init__(self) -> None:
        unknown = sorted(self.lacks - CAPABILITIES.keys())
        if unknown:
            raise InvalidArgument(
                f"got lacks={unknown} for backend {self.name}; wanted some of "
                f"{', '.join(CAPABILITIES)}."
            )
        if self.attend is None and self.allowed is None:
            raise InvalidArgument(
                f"got backend {self.name} with nothing to ask; wanted attend=, allowed= or both."
            )
