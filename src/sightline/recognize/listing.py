"""The exact way out where no expression fits: the runs of keys that each query sees."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sightline.masks.key_intervals import intervals

if TYPE_CHECKING:
    from sightline.masks.mask import Mask
    from sightline.recognize.region import Region


def listed(region: Region) -> Mask:
    """Return the mask that allows just the cells of a region, as intervals of keys."""
    cells = region.canvas.unpack(region.words)
    edges = np.diff(np.pad(cells.view(np.int8), ((0, 0), (0, 0), (0, 0), (1, 1))), axis=-1)
    starting = edges == 1
    most = max(1, int(starting.sum(axis=-1).max()))
    rows = region.canvas.q_offset + region.canvas.q_len
    start = np.zeros((*cells.shape[:2], rows, most), dtype=np.int64)
    end = np.zeros_like(start)
    batch, head, query, key = np.nonzero(starting)
    # The cells come in order, so that a run's number in its row is its place since the row began.
    row = (batch * cells.shape[1] + head) * cells.shape[2] + query
    number = np.arange(len(row)) - np.searchsorted(row, row)
    at = batch, head, query + region.canvas.q_offset, number
    start[at] = key
    end[at] = np.nonzero(edges == -1)[3]
    return intervals(start, end)
