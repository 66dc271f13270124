"""What is said of one reference system. What it reached stands with the recorded runs (kept.py)."""

from __future__ import annotations

from dataclasses import dataclass

from sightline.masks.mask import Mask
from sightline.masks.parser import parse

__all__ = ["Drawn", "System"]


@dataclass(frozen=True)
class Drawn:
    """A mask of a system at a small size, to be drawn.

    Attributes:
        title: what sees what.
        expression: the mask.
        queries, keys: how many, or their labels.
    """

    title: str
    expression: str
    queries: int | tuple[str, ...]
    keys: int | tuple[str, ...]

    @property
    def mask(self) -> Mask:
        """The mask itself."""
        return parse(self.expression)

    @property
    def size(self) -> tuple[int, int]:
        """How many queries and keys."""
        return _count(self.queries), _count(self.keys)


@dataclass(frozen=True)
class System:
    """A reference system.

    Attributes:
        name: the word after ``sightline systems``.
        title: its full name.
        definition: what it is and what it is for, in about two lines.
        source: who published it.
        masks: the masks that make it what it is.
        parts: where it stands in Sightline.
        parity: what it is held against, and how closely.
        tests: the files that hold it, from the project's root.
        recipes: what trains it, the main one first.
        missing: what is not there yet, or nothing.
    """

    name: str
    title: str
    definition: str
    source: str
    masks: tuple[Drawn, ...]
    parts: tuple[str, ...]
    parity: str
    tests: tuple[str, ...]
    recipes: tuple[str, ...] = ()
    missing: str = ""

    @property
    def commands(self) -> tuple[str, ...]:
        """What makes its figures: training, or the tests where there is nothing to train."""
        if self.recipes:
            return tuple(f"sightline train {name} --preset small" for name in self.recipes)
        return (f"pytest {' '.join(self.tests)}",)


def _count(labels: int | tuple[str, ...]) -> int:
    return labels if isinstance(labels, int) else len(labels)
