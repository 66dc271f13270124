"""Sparse attention patterns from the literature, each as its authors define it.

Sparse Transformer's strided and fixed patterns, LogSparse (the paper's and the widely used
code's, which differ). Those made of blocks are in block_sparse.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from sightline.masks.arguments import as_int, as_size
from sightline.masks.arrays import Array, Cells
from sightline.masks.bounds import among, states
from sightline.masks.intervals import ENDLESS, union
from sightline.masks.mask import Extent, Mask, Spec
from sightline.masks.nodes import Atom
from sightline.masks.periodic import Chunks, max_extent, multiples, same_chunks
from sightline.masks.positional import causal

if TYPE_CHECKING:
    from sightline.masks.bounds import Ints, States, Tiles


@dataclass(frozen=True, slots=True, repr=False)
class Strided(Atom):
    """Causal: the last ``stride`` keys and every ``stride``-th key before."""

    stride: int

    def allowed(self, cells: Cells) -> Array:
        back = cells.query - cells.key
        return (back >= 0) & ((back <= self.stride) | (back % self.stride == 0))

    def bounds(self, tiles: Tiles) -> States:
        least, most = backs(tiles)
        some = (most >= 0) & ((least <= self.stride) | (multiples(self.stride, least, most) > 0))
        one = (least == most) & (least % self.stride == 0)
        return states(~some, (least >= 0) & ((most <= self.stride) | one))

    def signature(self, tiles: Tiles) -> list[Ints]:
        back = tiles.q_first - tiles.k_first
        # Far below the diagonal the pattern only repeats.
        far = self.stride + max_extent(tiles)
        return [np.where(back > far, far + 1 + (back - far) % self.stride, back)]

    def spec(self) -> Spec:
        return "strided", {"stride": self.stride}


@dataclass(frozen=True, slots=True, repr=False)
class Fixed(Atom):
    """Causal: the query's own chunk and the last ``summary`` keys of every chunk."""

    stride: int
    summary: int

    def allowed(self, cells: Cells) -> Array:
        same_chunk = cells.query // self.stride == cells.key // self.stride
        is_summary = cells.key % self.stride >= self.stride - self.summary
        return (cells.key <= cells.query) & (same_chunk | is_summary)

    def bounds(self, tiles: Tiles) -> States:
        first, last = (k // self.stride for k in (tiles.k_first, tiles.k_last))
        start, stop = (q // self.stride for q in (tiles.q_first, tiles.q_last))
        summaries = self._summaries_to(tiles.k_last) - self._summaries_to(tiles.k_first - 1)
        apart = (last < start) | (stop < first)
        together = (start == stop) & (first == last) & (start == first)
        none = (tiles.k_first > tiles.q_last) | (apart & (summaries == 0))
        all_summaries = summaries == tiles.widths
        return states(none, (tiles.k_last <= tiles.q_first) & (together | all_summaries))

    def _summaries_to(self, key: Ints) -> Ints:
        """Return how many of the keys 0 .. ``key`` are the last ones of their chunks."""
        whole, rest = (key + 1) // self.stride, (key + 1) % self.stride
        return whole * self.summary + np.maximum(rest - (self.stride - self.summary), 0)

    def signature(self, tiles: Tiles) -> list[Ints]:
        return same_chunks(tiles, self.stride)

    def spec(self) -> Spec:
        return "fixed", {"stride": self.stride, "summary": self.summary}


@dataclass(frozen=True, slots=True, repr=False)
class LogSparse(Atom):
    """Causal: oneself, ``local`` keys before, and those a power of two before."""

    local: int
    restart: int | None

    def allowed(self, cells: Cells) -> Array:
        back = cells.query - cells.key
        # A power of two shares no bit with the number below it; 0 counts as one here: oneself.
        near = (back <= self.local) | ((back & (back - 1)) == 0)
        result = (back >= 0) & near
        if self.restart is None:
            return result
        return result & (cells.query // self.restart == cells.key // self.restart)

    def bounds(self, tiles: Tiles) -> States:
        near = among(_near(self.local), *backs(tiles))
        if self.restart is None:
            return near
        return np.minimum(near, self._chunks().bounds(tiles))

    def _chunks(self) -> Chunks:
        return Chunks(self.restart or 1)

    def signature(self, tiles: Tiles) -> list[Ints]:
        back = [tiles.q_first - tiles.k_first]
        return back if self.restart is None else [*back, *self._chunks().signature(tiles)]

    def spec(self) -> Spec:
        return "log_sparse", {"local": self.local, "restart": self.restart}


@dataclass(frozen=True, slots=True, repr=False)
class LogSparseRowMask(Atom):
    """LogSparse as public code builds it: dense at first, then restarting every ``sub_len``."""

    sub_len: int
    win_len: int

    @property
    def log_len(self) -> int:
        """⌈log2 sub_len⌉, the length of the local window."""
        return (self.sub_len - 1).bit_length()

    def allowed(self, cells: Cells) -> Array:
        query, key = cells.query, cells.key
        sub, log = self.sub_len, self.log_len
        whole_past = query < (self.win_len // sub) * 2 * log
        # Anchors are query, query - sub, ...; the last one before 0 may lack a full local window.
        last = query % sub
        local = (((query - key) % sub) < log) & (key + (query - key) % sub >= log - 1)
        tail = (last < log - 1) & (key < last)
        points = key < 0
        for step in self.point_distances():
            behind = query - key - step
            points = points | ((behind >= 0) & (behind % sub == 0))
        seen = whole_past | local | tail | points
        return (key <= query) & (query < self.win_len) & seen

    def point_distances(self) -> list[int]:
        """Distances from an anchor to its sparse points: log_len - 1 + 2^i, up to ``sub_len``."""
        distances = (self.log_len - 1 + 2**i for i in range(self.log_len))
        return [distance for distance in distances if distance <= self.sub_len]

    def bounds(self, tiles: Tiles) -> States:
        least, most = backs(tiles)
        sub, log = self.sub_len, self.log_len
        dense_rows = (self.win_len // sub) * 2 * log
        # Only before key log_len - 1 do the anchors' local windows break off.
        regular = tiles.k_first >= log - 1
        local = (least // sub == most // sub) & (most % sub < log)
        seen = (tiles.q_last < dense_rows) | (regular & local)
        reached = tiles.q_first * 0
        for distance in {*range(log), *(step % sub for step in self.point_distances())}:
            reached = reached + multiples(sub, least - distance, most - distance)
        unreached = (tiles.q_first >= dense_rows) & regular & (reached == 0)
        none = (most < 0) | (tiles.q_first >= self.win_len) | unreached
        return states(none, (least >= 0) & (tiles.q_last < self.win_len) & seen)

    def spec(self) -> Spec:
        return "log_sparse_row_mask", {"sub_len": self.sub_len, "win_len": self.win_len}

    def extent(self) -> Extent:
        return self.win_len, self.win_len


@lru_cache(maxsize=32)
def _near(local: int) -> Ints:
    """Return LogSparse's distances back, as the ends of the intervals of their set."""
    powers = 2 ** np.arange(ENDLESS.bit_length() - 1)
    near = np.array([[0, local + 1]], dtype=np.int64)
    return union([near, np.stack([powers, powers + 1], axis=1)]).reshape(-1)


def backs(tiles: Tiles) -> tuple[Ints, Ints]:
    """Return the least and the greatest distance back from a query to a key in each tile."""
    return tiles.q_first - tiles.k_last, tiles.q_last - tiles.k_first


# -- what users call --------------------------------------------------------------------------


def strided(stride: int) -> Mask:
    """Sparse Transformer's strided pattern: the last ``stride`` keys, and every ``stride``-th.

    k <= q and (q - k <= stride or (q - k) mod stride = 0): the paper's two head patterns
    together (Child et al. 2019, section 4.2). To give each to its own heads, write
    ``per_head([window(stride, 0), causal() & dilated(stride)])``.

    >>> import sightline as sl
    >>> sl.strided(2).dense(2, 7, q_offset=5)[0, 0].astype(int)
    array([[0, 1, 0, 1, 1, 1, 0],
           [1, 0, 1, 0, 1, 1, 1]])
    """
    stride = as_size(stride, "strided(stride=)")
    return causal() if stride == 1 else Strided(stride)


def fixed(stride: int, summary: int) -> Mask:
    """Sparse Transformer's fixed pattern: one's own chunk, and each chunk's last ``summary`` keys.

    k <= q and (⌊q/stride⌋ = ⌊k/stride⌋ or k mod stride >= stride - summary), with
    1 <= summary <= stride (Child et al. 2019, section 4.2).

    >>> import sightline as sl
    >>> sl.fixed(stride=3, summary=1).dense(2, 7, q_offset=5)[0, 0].astype(int)
    array([[0, 0, 1, 1, 1, 1, 0],
           [0, 0, 1, 0, 0, 1, 1]])
    """
    stride = as_size(stride, "fixed(stride=)")
    summary = as_int(summary, "fixed(summary=)", least=1, most=stride)
    return causal() if summary == stride else Fixed(stride, summary)


def log_sparse(local: int = 0, restart: int | None = None) -> Mask:
    """LogSparse attention: oneself and the cells 1, 2, 4, 8, ... before (Li et al. 2019).

    Causal. With d = q - k: d = 0, d a power of two, or d <= ``local``. ``restart`` confines this
    to sub-blocks of that many positions: ⌊q/restart⌋ = ⌊k/restart⌋. Section 4.2 of "Enhancing the
    Locality and Breaking the Memory Bottleneck of Transformer on Time Series Forecasting"
    (arXiv 1907.00235). Public code builds another mask under the same name:
    ``log_sparse_row_mask``.

    >>> import sightline as sl
    >>> sl.log_sparse().dense(1, 10, q_offset=9)[0, 0].astype(int)
    array([[0, 1, 0, 0, 0, 1, 0, 1, 1, 1]])
    """
    size = None if restart is None else as_size(restart, "log_sparse(restart=)")
    return LogSparse(as_int(local, "log_sparse(local=)", least=0), size)


def log_sparse_row_mask(sub_len: int, win_len: int) -> Mask:
    """LogSparse as the widely copied ``row_mask(index, sub_len, win_len)`` function builds it.

    With L = ⌈log2 sub_len⌉: a row below ⌊win_len/sub_len⌋·2·L sees its whole past. Any other row
    walks an anchor back from q in steps of ``sub_len``; at each it sees the L keys up to the
    anchor and the keys L - 1 + 2^i before it, as far as ``sub_len``. An anchor with fewer than L
    keys up to it sees those before it, without itself. Positions from ``win_len`` on see nothing.
    It is not the paper's mask; see ``log_sparse``.

    >>> import sightline as sl
    >>> sl.log_sparse_row_mask(sub_len=4, win_len=12).dense(1, 14, q_offset=13).any()
    np.False_
    """
    sub_len = as_int(sub_len, "log_sparse_row_mask(sub_len=)", least=2)
    return LogSparseRowMask(sub_len, as_size(win_len, "log_sparse_row_mask(win_len=)"))


__all__ = [
    "fixed",
    "log_sparse",
    "log_sparse_row_mask",
    "strided",
]
