"""What the oracle's definitions are made of: a relation on (batch, head, query, key) and sizes.

The definitions themselves stand in positional.py, grid.py and data.py; dense.py asks them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from sightline.errors import ShapeMismatch

__all__ = ["Meaning", "Relation", "common_size", "int_list"]

Relation = Callable[[int, int, int, int], bool]
"""``allowed(batch, head, query, key)``; query and key are absolute positions."""


@dataclass(frozen=True)
class Meaning:
    """Who may see whom, and over how many batch rows and heads this differs.

    A size of 1 means "the same for all": ``allowed`` is then only ever asked for index 0.
    """

    allowed: Relation
    batch: int = 1
    heads: int = 1

    def at(self, b: int, h: int, q: int, k: int) -> bool:
        """Ask for one pair; an axis of size 1 answers for every index."""
        return self.allowed(b if self.batch > 1 else 0, h if self.heads > 1 else 0, q, k)


def common_size(axis: str, sizes: Iterable[int]) -> int:
    """Return the one size that all sizes broadcast to: each is either 1 or that size.

    Raises:
        ShapeMismatch: two sizes differ and neither is 1.

    >>> common_size("batch", [1, 3, 1])
    3
    """
    result = 1
    for size in sizes:
        if size != 1 and result not in (1, size):
            raise ShapeMismatch(
                f"the parts of the mask have {axis} sizes {result} and {size}; "
                f"wanted the same size, or 1; give every part the same {axis} size."
            )
        result = size if size != 1 else result
    return result


def int_list(data: Any) -> list[int]:
    """Return one int, or a sequence or array of ints, as a list of ints.

    >>> int_list(7), int_list(range(3))
    ([7], [0, 1, 2])
    """
    return [int(number) for number in np.ravel(data)]
