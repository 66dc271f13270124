"""Which queries see no key at all, found from the top: a full square settles all of its rows.

Only rows that no full square crosses are read, in strips, so that memory stays small at any size.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sightline.masks.bits import distinct
from sightline.masks.bounds import FULL, PARTIAL, Tiles
from sightline.views.atlas.tally import BLOCK, Clock, in_batches, parts
from sightline.views.survey import power_of_two

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sightline.masks.frame import Frame
    from sightline.masks.mask import Mask

    Ints = NDArray[np.int64]
    Runs = list[tuple[int, int]]

__all__ = ["empty_runs"]

# Rows that are looked at together, and tiles.
_STRIP = 2**20
_MOST_TILES = 2**11


def empty_runs(mask: Mask, owner: tuple[int, int], frame: Frame, clock: Clock) -> Ints:
    """Return the empty rows as runs (first, last) of absolute positions, ``[n, 2]``.

    Raises:
        OutOfTime: the clock was over before all rows were settled.
    """
    found: list[Ints] = []
    for start in range(0, frame.q_len, _STRIP):
        strip = _Strip(mask, owner, frame, start)
        strip.settle(clock)
        edge = np.flatnonzero(np.diff(np.pad(~strip.filled, 1).astype(np.int8)))
        found.append(edge.reshape(-1, 2) + (frame.q_offset + start))
    runs = np.concatenate([np.zeros((0, 2), np.int64), *found])
    # Runs that meet where two strips do are one.
    apart = np.flatnonzero(runs[1:, 0] != runs[:-1, 1]) + 1
    first = np.concatenate([[0], apart]) if len(runs) else apart
    last = np.concatenate([apart, [len(runs)]]) - 1 if len(runs) else apart
    return np.stack([runs[first, 0], runs[last, 1] - 1], axis=1)


class _Strip:
    """Some rows of a mask, of which it is found out whether they are filled."""

    def __init__(self, mask: Mask, owner: tuple[int, int], frame: Frame, start: int) -> None:
        self._mask, self._clock = mask, Clock()
        self._first = frame.q_offset + start
        self._rows = min(_STRIP, frame.q_len - start)
        self._side = max(BLOCK, power_of_two(self._rows))
        # Whole squares, of which the last may reach beyond the last row.
        self._filled = np.zeros(self._side, np.bool_)
        self._filled[self._rows :] = True
        k_first = np.arange(0, frame.kv_len, self._side, dtype=np.int64) + frame.kv_offset
        batch, head, q_first = (np.full(len(k_first), n) for n in (*owner, self._first))
        k_last = np.minimum(k_first + self._side, frame.kv_offset + frame.kv_len) - 1
        self._whole = Tiles(batch, head, q_first, q_first + self._rows - 1, k_first, k_last)

    @property
    def filled(self) -> NDArray[np.bool_]:
        """Whether each row sees a key."""
        return self._filled[: self._rows]

    def settle(self, clock: Clock) -> None:
        """Follow squares that are mixed, the smallest first, and none of rows that are filled."""
        waiting = [(self._side, self._whole)]
        while waiting:
            clock.check()
            side, tiles = waiting.pop()
            tiles = self._open(tiles, side)
            found = self._mask.bounds(tiles)
            filled = (tiles.q_first[found == FULL] - self._first) // side
            self._filled.reshape(-1, side)[filled] = True
            tiles = self._open(tiles.at(np.flatnonzero(found == PARTIAL)), side)
            if side == BLOCK:
                self._read(tiles, clock)
                continue
            inner = parts(tiles, (side, side), (side // 2, side // 2))[1]
            starts = range(0, len(inner), _MOST_TILES)
            waiting += [(side // 2, inner.at(slice(at, at + _MOST_TILES))) for at in starts][::-1]

    def _open(self, tiles: Tiles, side: int) -> Tiles:
        """Return the tiles with rows that are not known to be filled."""
        row = (tiles.q_first - self._first) // side
        is_open = ~self._filled.reshape(-1, side)[np.unique(row)].all(axis=1)
        return tiles.at(np.isin(row, np.unique(row)[is_open]))

    def _read(self, tiles: Tiles, clock: Clock) -> None:
        first, group = distinct(self._mask, tiles)
        rows = self._filled.reshape(-1, BLOCK)
        place = (tiles.q_first - self._first) // BLOCK
        for here, words in in_batches(self._mask, tiles.at(first), clock):
            mine = np.flatnonzero((group >= here.start) & (group < here.stop))
            seen = np.zeros((len(words), BLOCK), np.bool_)
            seen[:, : words.shape[1]] = words.any(axis=2)
            np.logical_or.at(rows, place[mine], seen[group[mine] - here.start])
