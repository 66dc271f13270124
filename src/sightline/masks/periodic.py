"""Masks that repeat along the positions: chunks, block_causal, dilated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sightline.masks.arguments import as_int, as_size
from sightline.masks.arrays import Array, Cells
from sightline.masks.bounds import states
from sightline.masks.mask import Mask, Spec
from sightline.masks.nodes import Atom, Everything, Staircase, covered
from sightline.masks.positional import window_of

if TYPE_CHECKING:
    from sightline.masks.bounds import Ints, Rows, Run, States, Tiles


@dataclass(frozen=True, slots=True, repr=False)
class Chunks(Staircase):
    """Query and key lie in the same chunk of ``size`` positions."""

    size: int

    def allowed(self, cells: Cells) -> Array:
        return cells.query // self.size == cells.key // self.size

    def run(self, rows: Rows) -> Run:
        start = rows.query // self.size * self.size
        return start, start + self.size

    def signature(self, tiles: Tiles) -> list[Ints]:
        return same_chunks(tiles, self.size)

    def spec(self) -> Spec:
        return "chunks", {"size": self.size}

    def transposed(self) -> Mask:
        return self


@dataclass(frozen=True, slots=True, repr=False)
class BlockCausal(Staircase):
    """The key's chunk is the query's or an earlier one."""

    size: int

    def allowed(self, cells: Cells) -> Array:
        return cells.key // self.size <= cells.query // self.size

    def run(self, rows: Rows) -> Run:
        return rows.query * 0, (rows.query // self.size + 1) * self.size

    def signature(self, tiles: Tiles) -> list[Ints]:
        return same_chunks(tiles, self.size)

    def spec(self) -> Spec:
        return "block_causal", {"size": self.size}


@dataclass(frozen=True, slots=True, repr=False)
class Dilated(Atom):
    """The distance from key to query is ``phase`` modulo ``stride``."""

    stride: int
    phase: int

    @property
    def asks_distance_alone(self) -> bool:
        return True

    def allowed(self, cells: Cells) -> Array:
        return (cells.query - cells.key - self.phase) % self.stride == 0

    def bounds(self, tiles: Tiles) -> States:
        least, most = tiles.q_first - tiles.k_last, tiles.q_last - tiles.k_first
        met = multiples(self.stride, least - self.phase, most - self.phase)
        return states(met == 0, met == most - least + 1)

    def signature(self, tiles: Tiles) -> list[Ints]:
        return [(tiles.q_first - tiles.k_first) % self.stride]

    def spec(self) -> Spec:
        return "dilated", {"stride": self.stride, "phase": self.phase}

    def transposed(self) -> Mask:
        return dilated(self.stride, -self.phase)

    def moved(self, rows: int, columns: int) -> Mask:
        return covered(dilated(self.stride, self.phase + rows - columns), rows, columns)


def same_chunks(tiles: Tiles, size: int) -> list[Ints]:
    """Return the signature of a mask that sees only places within chunks, and which is later.

    How many chunks lie between does not matter once no chunk of the queries meets one of the keys.
    """
    apart = tiles.q_first // size - tiles.k_first // size
    far = 2 + max_extent(tiles) // size
    return [tiles.q_first % size, tiles.k_first % size, np.clip(apart, -far, far)]


def max_extent(tiles: Tiles) -> int:
    """Return the greatest number of queries or keys of a tile."""
    if not len(tiles):
        return 0
    return int(np.maximum(tiles.heights, tiles.widths).max())


def multiples(step: int, first: Ints, last: Ints) -> Ints:
    """Return how many multiples of ``step`` lie in ``first`` .. ``last``."""
    return last // step - (first - 1) // step


# -- what users call --------------------------------------------------------------------------


def chunks(size: int) -> Mask:
    """Query and key are in the same chunk of ``size`` positions: ⌊q/size⌋ = ⌊k/size⌋.

    >>> import sightline as sl
    >>> sl.chunks(2).dense(3, 5)[0, 0].astype(int)
    array([[1, 1, 0, 0, 0],
           [1, 1, 0, 0, 0],
           [0, 0, 1, 1, 0]])
    """
    size = as_size(size, "chunks(size=)")
    return window_of(0, 0) if size == 1 else Chunks(size)


def block_causal(size: int) -> Mask:
    """The key's chunk is the query's or an earlier one: ⌊k/size⌋ <= ⌊q/size⌋.

    >>> import sightline as sl
    >>> sl.block_causal(2).count(8) == (sl.causal() | sl.chunks(2)).count(8)
    True
    >>> sl.block_causal(2).dense(3, 5)[0, 0].astype(int)
    array([[1, 1, 0, 0, 0],
           [1, 1, 0, 0, 0],
           [1, 1, 1, 1, 0]])
    """
    size = as_size(size, "block_causal(size=)")
    return window_of(None, 0) if size == 1 else BlockCausal(size)


def dilated(stride: int, phase: int = 0) -> Mask:
    """The distance q - k is ``phase`` modulo ``stride``: (q - k - phase) mod stride = 0.

    >>> import sightline as sl
    >>> (sl.causal() & sl.dilated(2)).dense(4)[0, 0].astype(int)
    array([[1, 0, 0, 0],
           [0, 1, 0, 0],
           [1, 0, 1, 0],
           [0, 1, 0, 1]])
    """
    stride = as_size(stride, "dilated(stride=)")
    phase = as_int(phase, "dilated(phase=)") % stride
    return Everything() if stride == 1 else Dilated(stride, phase)


__all__ = ["block_causal", "chunks", "dilated"]
