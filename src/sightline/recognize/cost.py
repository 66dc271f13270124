"""How long an expression is: by it the search prefers one to another."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from sightline.masks.mask import Mask, Spec

# A part more is worth so many letters less: one long list of bits against two plain words.
LETTERS_A_PART = 30
# A list of what each row sees explains nothing: it costs more than any expression.
LISTED = 1000


class Cost(NamedTuple):
    """The price of parts and letters together; of equal prices, that of fewer parts first."""

    price: int
    parts: int

    @classmethod
    def of(cls, mask: Mask) -> Cost:
        """Return the cost of a mask as it is written."""
        parts = count_parts(mask.spec())
        letters = len(mask.text()) if parts < LISTED else 0
        return cls(parts * LETTERS_A_PART + letters, parts)

    @property
    def listed(self) -> bool:
        """Whether a list of what each row sees is among the parts."""
        return self.parts >= LISTED


@dataclass(frozen=True)
class Found:
    """An expression and what it costs."""

    mask: Mask
    cost: Cost

    @classmethod
    def of(cls, mask: Mask) -> Found:
        """Weigh a mask."""
        return cls(mask, Cost.of(mask))


def shortest(found: Iterable[Found | None]) -> Found | None:
    """Return the cheapest of those that were found; of equal ones the first."""
    return min((f for f in found if f is not None), key=lambda f: f.cost, default=None)


def count_parts(spec: Spec) -> int:
    """Return the number of atoms; a list of intervals counts for every batch row and head of it.

    >>> import sightline as sl
    >>> count_parts((sl.causal() & ~sl.padding(lengths=[3, 2])).spec())
    2
    """
    kind, *rest = spec
    if kind in ("and", "or"):
        return sum(count_parts(part) for part in rest)
    if kind in ("not", "transpose", "shift"):
        return count_parts(rest[0])
    arguments: dict[str, Any] = rest[0]
    if "masks" in arguments:
        return sum(count_parts(each) for each in arguments["masks"])
    return LISTED * _lists(arguments["start"]) if kind == "intervals" else 1


def _lists(start: list[Any]) -> int:
    """Return the number of batch rows and heads of the argument of ``intervals``."""
    axes, inner = 0, start
    while isinstance(inner, list):
        axes, inner = axes + 1, inner[0]
    return (len(start) if axes > 2 else 1) * (len(start[0]) if axes > 3 else 1)
