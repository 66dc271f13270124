"""Which sets of atoms do all that there is to do: the covers of a search.

An atom leaves some cells to do: of those to avoid the ones that it allows, or of those that are
needed the ones that it does not. A set of atoms leaves what all of them leave.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from sightline.masks.bits import Words
    from sightline.masks.mask import Mask

    # Atoms, and the cells that they leave.
    Left = tuple[tuple[Mask, ...], Words]

# Covers that are given before the search takes the shortest.
MOST_COVERS = 8
# Atoms of which triples are tried.
MOST_IN_TRIPLES = 20


def least(each: list[tuple[Mask, Words]], whole: Words) -> list[Left]:
    """Return the atoms that leave least to do: without those that leave all that another leaves.

    One that leaves nothing is an answer by itself and would hide all that take two.
    """
    useful = [(m, rest) for m, rest in each if rest.any() and not np.array_equal(rest, whole)]
    kept: list[Left] = []
    for i, (mask, rest) in enumerate(useful):
        if not any(
            not (other & ~rest).any() and (j < i or (rest & ~other).any())
            for j, (_, other) in enumerate(useful)
            if j != i
        ):
            kept.append(((mask,), rest))
    return kept


def covers(left: list[Left], most: int) -> Iterator[tuple[Mask, ...]]:
    """Yield the smallest sets of atoms that leave nothing to do, a few of them."""
    for size in range(1, most + 1):
        found = 0
        for some in combinations(left[: MOST_IN_TRIPLES if size > 2 else None], size):
            rest = some[0][1]
            for _, other in some[1:]:
                rest = rest & other
            if not rest.any():
                yield tuple(mask for masks, _ in some for mask in masks)
                found += 1
                if found == MOST_COVERS:
                    return
        if found:
            return


def joined(left: list[Left]) -> list[Left]:
    """Return every two of the atoms together."""
    pairs = combinations(left[:MOST_IN_TRIPLES], 2)
    return [(a + b, rest & other) for (a, rest), (b, other) in pairs]
