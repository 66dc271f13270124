"""Bands of gaps key - query: causal, strictly causal, windows, and their complements."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from sightline.masks.positional import window_of

if TYPE_CHECKING:
    from sightline.masks.mask import Mask
    from sightline.recognize.region import Region

# Runs of free gaps that are offered as bands; those nearest to the diagonal come first.
MOST_RUNS = 4


def _frame(region: Region) -> tuple[int, int]:
    """Return the least and the greatest gap of the canvas."""
    canvas = region.canvas
    return 1 - canvas.q_len - canvas.q_offset, canvas.kv_len - 1 - canvas.q_offset


def _band(low: int, high: int, frame: tuple[int, int]) -> Mask:
    """Return the band, without end where it ends with the frame."""
    return window_of(None if low <= frame[0] else low, None if high >= frame[1] else high)


def above(need: Region) -> list[Mask]:
    """The least band is that from the least to the greatest gap."""
    gaps = need.gaps
    found = [_band(int(gaps[0]), int(gaps[-1]), _frame(need))]
    # What is missing in the middle may be one run: the complement of a band.
    inner = np.flatnonzero(np.diff(gaps) > 1)
    if len(inner) == 1:
        found.append(~window_of(int(gaps[inner[0]]) + 1, int(gaps[inner[0] + 1]) - 1))
    return found


def below(avoid: Region) -> list[Mask]:
    """The greatest bands are the runs of gaps without a cell."""
    least, most = _frame(avoid)
    ends = np.concatenate([[least - 1], avoid.gaps, [most + 1]])
    wide = np.flatnonzero(np.diff(ends) > 1)
    runs = [(int(ends[i]) + 1, int(ends[i + 1]) - 1) for i in wide]
    runs.sort(key=lambda run: (max(run[0], -run[1], 0), run))
    found = [_band(low, high, (least, most)) for low, high in runs[:MOST_RUNS]]
    if len(runs) == 2 and runs[0][1] - runs[0][0] + runs[1][1] - runs[1][0] > 2:
        found.append(found[0] | found[1])
    return found


def between(need: Region, avoid: Region) -> list[Mask]:
    """Around the needed gaps as far as none is to be avoided, by the shortest ends."""
    gaps, others = need.gaps, avoid.gaps
    if not len(gaps) or not len(others):
        return []
    found = _around(gaps, others, need)
    if not found and gaps[0] < others[0] and others[-1] < gaps[-1]:
        found = [~mask for mask in _around(others, gaps, need)]
    return found


def _around(gaps: np.ndarray, others: np.ndarray, region: Region) -> list[Mask]:
    low, high = int(gaps[0]), int(gaps[-1])
    place = int(np.searchsorted(others, low))
    if place < len(others) and others[place] <= high:
        return []
    lower = int(others[place - 1]) + 1 if place else None
    upper = int(others[place]) - 1 if place < len(others) else None
    lows = {low, min(low, 0) if lower is None else min(low, max(lower, 0)), lower}
    highs = {high, max(high, 0) if upper is None else max(high, min(upper, 0)), upper}
    if lower is None:
        highs |= {end for end in (0, -1) if high <= end and (upper is None or end <= upper)}
    return [
        window_of(start, stop)
        for start, stop in product(sorted(lows, key=str), sorted(highs, key=str))
        if (start is None or start <= low) and (stop is None or stop >= high)
    ]
