"""Positions grouped by equal ids: documents, which are stretches, and spans, which need not be."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sightline.masks.data import documents, spans
from sightline.recognize.families.cliques import cliques, components, joined
from sightline.recognize.region import BEYOND

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sightline.masks.mask import Mask
    from sightline.recognize.region import Region

    Bools = NDArray[np.bool_]
    Ints = NDArray[np.int64]

# Longer rows are not searched for groups of positions that lie apart.
MOST_POSITIONS = 2048


def above(need: Region) -> list[Mask]:
    """The least stretches that no needed pair leaves, and the least groups of positions."""
    found = [_documents([_least(*reach) for reach in _reaches(need)])]
    if need.canvas.positions <= MOST_POSITIONS:
        found.append(_spans([components(need, b).tolist() for b in range(need.canvas.batch)]))
    return [mask for mask in found if mask is not None]


def below(avoid: Region) -> list[Mask]:
    """Large stretches without a pair to avoid, in two layers, and large groups of positions.

    The greatest ones are not unique: two documents that overlap are in no mask of documents.
    """
    walls = _walls(avoid)
    layers = zip(*(_two_layers(*wall) for wall in walls), strict=True)
    found = [_spans(list(layer)) for layer in layers]
    if avoid.canvas.positions <= MOST_POSITIONS:
        found.append(_spans([cliques(avoid, b).tolist() for b in range(avoid.canvas.batch)]))
    return [mask for mask in found if mask is not None]


def between(need: Region, avoid: Region) -> list[Mask]:
    """As few documents as do, for all batch rows if there are some; else as few spans."""
    found = _documents_between(need, avoid)
    if found is None and need.canvas.positions <= MOST_POSITIONS:
        found = _spans_between(need, avoid)
    return [] if found is None else [found]


def _documents_between(need: Region, avoid: Region) -> Mask | None:
    reaches, walls = _reaches(need), _walls(avoid)
    low, high = (np.stack(ends) for ends in zip(*reaches, strict=True))
    before, after = (np.stack(ends) for ends in zip(*walls, strict=True))
    common = _fewest((low.min(0), high.max(0)), (before.max(0), after.min(0)))
    if common is not None or len(reaches) == 1:
        return None if common is None else _documents([common])
    rows = [_fewest(reach, wall) for reach, wall in zip(reaches, walls, strict=True)]
    return None if None in rows else _documents([row for row in rows if row is not None])


def _spans_between(need: Region, avoid: Region) -> Mask | None:
    batch = range(need.canvas.batch)
    common = joined(need, avoid, batch)
    if common is not None or len(batch) == 1:
        return None if common is None else _spans([common.tolist()])
    groups = [joined(need, avoid, [row]) for row in batch]
    if any(group is None for group in groups):
        return None
    return _spans([group.tolist() for group in groups if group is not None])


# -- documents ------------------------------------------------------------------------------------


def _reaches(need: Region) -> list[tuple[Ints, Ints]]:
    """Return for each batch row how far from each position its row of cells reaches, both ways.

    Positions without a cell reach nowhere: (BEYOND, -1).
    """
    canvas, query = need.canvas, need.canvas.query
    found: list[tuple[Ints, Ints]] = []
    for row in range(canvas.batch):
        low = np.full(canvas.positions, BEYOND)
        high = np.full(canvas.positions, -1)
        first, last = need.first[row], need.last[row]
        some = last >= 0
        low[query[some]] = np.minimum(first[some], query[some])
        high[query[some]] = np.maximum(last[some], query[some])
        touched = need.keys[row]
        place = np.flatnonzero(touched)
        low[place], high[place] = np.minimum(low[place], place), np.maximum(high[place], place)
        found.append((low, high))
    return found


def _crossed(low: Ints, high: Ints) -> Bools:
    """Return for each position whether a needed pair lies across its left edge."""
    size = len(low)
    steps = np.zeros(size + 2, dtype=np.int64)
    some = high >= 0
    np.add.at(steps, low[some] + 1, 1)
    np.add.at(steps, high[some] + 1, -1)
    return np.cumsum(steps)[:size] > 0


def _least(low: Ints, high: Ints) -> list[int]:
    """Return the lengths of the least documents up to the last needed position."""
    some = np.flatnonzero(high >= 0)
    if not len(some):
        return []
    end = int(high.max()) + 1
    starts = np.flatnonzero(~_crossed(low, high)[:end])
    return np.diff(np.concatenate([starts, [end]])).tolist()


def _walls(avoid: Region) -> list[tuple[Ints, Ints]]:
    """Return for each batch row and position the nearest keys to avoid, at or before and after."""
    canvas, query = avoid.canvas, avoid.canvas.query
    found: list[tuple[Ints, Ints]] = []
    for row in range(canvas.batch):
        before = np.full(canvas.positions, -1)
        after = np.full(canvas.positions, BEYOND)
        before[query], after[query] = avoid.before[row], avoid.after[row]
        found.append((before, after))
    return found


def _farthest(start: int, before: Ints, after: Ints) -> int:
    """Return the farthest end of a document that begins at ``start``; itself if there is none."""
    clear = np.logical_and.accumulate(before[start:] < start)
    ends = np.arange(start + 1, len(before) + 1)
    fits = clear & (np.minimum.accumulate(after[start:]) >= ends)
    return start + int(np.count_nonzero(fits))


def _fewest(reach: tuple[Ints, Ints], wall: tuple[Ints, Ints]) -> list[int] | None:
    """Return the lengths of the fewest documents that do; None if none do.

    What a document may hold, a part of it may: so the longest one first leaves the fewest.
    """
    crossed = _crossed(*reach)
    needed = int(reach[1].max()) + 1
    start, lengths = 0, list[int]()
    while start < needed:
        end = _farthest(start, *wall)
        while start < end < len(crossed) and crossed[end]:
            end -= 1
        if end == start:
            return None
        if needed <= end < len(crossed):
            end = needed  # what comes after is nobody's
        lengths.append(end - start)
        start = end
    return lengths


def _documents(rows: list[list[int]]) -> Mask | None:
    if not any(rows):
        return None
    return documents(lengths=rows if rows[1:] != rows[:-1] else rows[0])


def _two_layers(before: Ints, after: Ints) -> list[list[int]]:
    """Return the ids of the largest stretches without a wall, in two layers that may overlap."""
    size = len(before)
    layers = [[-1] * size, [-1] * size]
    ends = [0, 0]
    last_end = 0
    for start in range(size):
        end = _farthest(start, before, after)
        if end <= last_end:
            continue
        last_end = end
        layer = next((i for i in (0, 1) if ends[i] <= start), None)
        if layer is not None:
            layers[layer][start:end] = [start] * (end - start)
            ends[layer] = end
    return layers


# -- spans ----------------------------------------------------------------------------------------


def _spans(rows: list[list[int]]) -> Mask | None:
    if all(max(row) < 0 for row in rows):
        return None
    return spans(ids=rows if rows[1:] != rows[:-1] else rows[0])
