"""The families of masks that an array is searched for: one file per kind, this table.

A family answers three questions with candidates, of which the search checks every one: a wrong
candidate costs time, a missing one an expression.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sightline.recognize.families import (
    bands,
    blocks,
    gap_sets,
    grids,
    marks,
    prefixes,
    segments,
)

if TYPE_CHECKING:
    from sightline.masks.mask import Mask
    from sightline.recognize.region import Region


@dataclass(frozen=True)
class Family:
    """Masks of one kind, told by their parameters.

    Attributes:
        above: the least ones that allow all cells of a region.
        below: the greatest ones that allow none of them.
        between: the shortest to write that allow all of one region and none of another.
    """

    above: Callable[[Region], list[Mask]]
    below: Callable[[Region], list[Mask]]
    between: Callable[[Region, Region], list[Mask]]


def _of_queries(family: Family) -> Family:
    """Return the family's masks of queries: ``.T`` of those of the swapped region."""
    return Family(
        lambda need: [mask.T for mask in family.above(need.transposed)],
        lambda avoid: [mask.T for mask in family.below(avoid.transposed)],
        lambda need, avoid: [mask.T for mask in family.between(need.transposed, avoid.transposed)],
    )


_MARKS = Family(marks.above, marks.below, marks.between)
_PREFIXES = Family(prefixes.above, prefixes.below, prefixes.between)
_STAIRS = Family(blocks.stairs_above, blocks.stairs_below, blocks.stairs_between)

FAMILIES = (
    Family(bands.above, bands.below, bands.between),
    _MARKS,
    _PREFIXES,
    Family(blocks.chunks_above, blocks.chunks_below, blocks.chunks_between),
    _STAIRS,
    Family(gap_sets.above, gap_sets.below, gap_sets.between),
    Family(grids.above, grids.below, grids.between),
)
# Those that keep something for each position, the queries' part of it included.
BY_POSITION = (
    Family(segments.above, segments.below, segments.between),
    *(_of_queries(family) for family in (_MARKS, _PREFIXES, _STAIRS)),
)
MOST_POSITIONS = 8192


def families_for(region: Region) -> tuple[Family, ...]:
    """Return the families that can say something on the region's canvas."""
    if region.canvas.q_len == 1:
        return (_MARKS,)  # one query does not tell distances from positions
    near = region.canvas.positions <= MOST_POSITIONS
    return FAMILIES + BY_POSITION if near else FAMILIES
