"""What is said of one reference system. What it reached stands with the recorded runs (kept.py)."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from sightline.masks.mask import Mask
from sightline.masks.parser import parse

__all__ = ["Drawn", "System", "Trained"]


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
class Trained:
    """A way to train a system.

    Attributes:
        recipe: what ``sightline train`` is told.
        name: of the recorded run; the recipe's own if not said.
        changes: settings that differ from the preset's, as after ``--set``.
    """

    recipe: str
    name: str = ""
    changes: tuple[str, ...] = ()

    @property
    def run(self) -> str:
        """The name under which its recorded run is kept."""
        return self.name or self.recipe

    @property
    def command(self) -> str:
        """What makes it."""
        words = ["sightline", "train", self.recipe, "--preset", "small"]
        return shlex.join([*words, *(word for each in self.changes for word in ("--set", each))])


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
        trained: how it is trained, the main way first.
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
    trained: tuple[Trained, ...] = ()
    missing: str = ""

    @property
    def recipes(self) -> tuple[str, ...]:
        """The recipes that train it, each once."""
        return tuple(dict.fromkeys(each.recipe for each in self.trained))

    @property
    def commands(self) -> tuple[str, ...]:
        """What makes its figures: training, or the tests where there is nothing to train."""
        if self.trained:
            return tuple(each.command for each in self.trained)
        return (f"pytest {' '.join(self.tests)}",)


def _count(labels: int | tuple[str, ...]) -> int:
    return labels if isinstance(labels, int) else len(labels)
