"""Groups of positions that see each other, for spans: rows of cells as Python's long integers."""

from __future__ import annotations

from functools import reduce
from operator import or_
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from sightline.recognize.region import Region

    Ints = NDArray[np.int64]


def _neighbours(region: Region, batch: int) -> list[int]:
    """Return for each position the set of those that it has a cell with, either way. Kept."""
    if batch in region.neighbours:
        return region.neighbours[batch]
    canvas = region.canvas
    size, base = canvas.positions, canvas.q_offset
    table = np.zeros((size, size), dtype=np.bool_)
    table[base : base + canvas.q_len, : canvas.kv_len] = region.rows[batch]
    table |= table.T
    packed = np.packbits(table, axis=1, bitorder="little")
    octets, each = packed.tobytes(), packed.shape[1]
    rows = [int.from_bytes(octets[i : i + each], "little") for i in range(0, len(octets), each)]
    region.neighbours[batch] = rows
    return rows


def _together(region: Region, rows: Sequence[int]) -> list[int]:
    first, *others = (_neighbours(region, row) for row in rows)
    return [reduce(or_, sets) for sets in zip(first, *others, strict=True)] if others else first


def _members(group: int) -> Iterator[int]:
    while group:
        lowest = group & -group
        yield lowest.bit_length() - 1
        group ^= lowest


def _labels(groups: list[int], size: int) -> Ints:
    """Return the number of the group of each position; -1 for none."""
    labels = np.full(size, -1, dtype=np.int64)
    for number, group in enumerate(groups):
        labels[list(_members(group))] = number
    return labels


def _connected(rows: list[int]) -> list[int]:
    """Return the groups of positions that are connected by cells, in order of their first."""
    groups: list[int] = []
    seen = 0
    for start, row in enumerate(rows):
        if not row or seen >> start & 1:
            continue
        group, waiting = 0, 1 << start
        while waiting:
            lowest = waiting & -waiting
            group |= lowest
            waiting = (waiting | rows[lowest.bit_length() - 1]) & ~group
        seen |= group
        groups.append(group)
    return groups


def components(need: Region, batch: int) -> Ints:
    """Return the least groups such that every needed pair is in one."""
    rows = _neighbours(need, batch)
    return _labels(_connected(rows), len(rows))


def cliques(avoid: Region, batch: int) -> Ints:
    """Return groups of positions of which no pair is to be avoided, as large as they come."""
    rows = _neighbours(avoid, batch)
    free = sum(1 << i for i, row in enumerate(rows) if not row >> i & 1)
    groups: list[int] = []
    while free:
        group, candidates = 0, free
        while candidates:
            lowest = candidates & -candidates
            group |= lowest
            candidates &= ~(rows[lowest.bit_length() - 1] | lowest)
        free &= ~group
        groups.append(group)
    return _labels(groups, len(rows))


def joined(need: Region, avoid: Region, rows: Sequence[int]) -> Ints | None:
    """Return the least groups that serve all of these batch rows; None if there are none.

    Groups are joined where nothing keeps them apart, the nearest first.
    """
    walls = _together(avoid, rows)
    groups: list[int] = []
    for group in _connected(_together(need, rows)):
        forbidden = 0
        for member in _members(group):
            forbidden |= walls[member]
        if forbidden & group:
            return None
        for number in range(len(groups) - 1, -1, -1):
            # Walls have two sides: what the group must not hold must not hold the group.
            if not forbidden & groups[number]:
                groups[number] |= group
                break
        else:
            groups.append(group)
    return _with_free_ones(_labels(groups, len(walls)), groups, walls)


def _with_free_ones(labels: Ints, groups: list[int], walls: list[int]) -> Ints:
    """Return the groups with every free position in that of a neighbour, where nothing is by."""
    for order in (range(1, len(labels)), range(len(labels) - 2, -1, -1)):
        step = 1 if order.step < 0 else -1
        for position in order:
            number = int(labels[position + step])
            if labels[position] >= 0 or number < 0:
                continue
            if not walls[position] & (groups[number] | 1 << position):
                labels[position] = number
                groups[number] |= 1 << position
    return labels
