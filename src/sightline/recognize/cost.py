"""How long an expression is: by it the search prefers one to another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from sightline.masks.mask import Mask, Spec

# A list of what each row sees explains nothing: it costs more than any expression.
LISTED = 100


class Cost(NamedTuple):
    """Fewer parts first, then shorter text."""

    parts: int
    letters: int

    @classmethod
    def of(cls, mask: Mask) -> Cost:
        """Return the cost of a mask as it is written."""
        parts = weight(mask.spec())
        return cls(parts, len(mask.text()) if parts < LISTED else 0)


def weight(spec: Spec) -> int:
    """Return how many parts an expression counts as: one for each atom, with two exceptions.

    A list of intervals counts for every batch row and head of its own. Windows on a grid that are
    a single line count as the two parts that say the same: a dilation in chunks.

    >>> import sightline as sl
    >>> weight((sl.causal() & ~sl.padding(lengths=[3, 2])).spec())
    2
    """
    kind, *rest = spec
    if kind in ("and", "or"):
        return sum(weight(part) for part in rest)
    if kind in ("not", "transpose", "shift"):
        return weight(rest[0])
    arguments: dict[str, Any] = rest[0]
    if "masks" in arguments:
        return sum(weight(each) for each in arguments["masks"])
    if kind == "intervals":
        return LISTED * _lists(arguments["start"])
    return 2 if kind == "shifted_window" and min(arguments["window"]) == 1 else 1


def _lists(start: list[Any]) -> int:
    """Return the number of batch rows and heads of the argument of ``intervals``."""
    axes, inner = 0, start
    while isinstance(inner, list):
        axes, inner = axes + 1, inner[0]
    return (len(start) if axes > 2 else 1) * (len(start[0]) if axes > 3 else 1)
