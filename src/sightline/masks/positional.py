"""Masks that are formulas over positions: causal, window, prefix, keys, chunks, dilated.

Each class is one atom: its definition, its text form and what it becomes under ``.T``,
``.shift`` and ``~``. The functions at the end are what users call. Patterns from the sparse
attention literature are in sparse.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np

from sightline.errors import InvalidMask
from sightline.masks.arguments import as_distance, as_int, as_integers, as_size, describe
from sightline.masks.arrays import Array, Cells, Data
from sightline.masks.mask import Extent, Mask, Spec
from sightline.masks.nodes import Atom, Everything, Nothing, covered

if TYPE_CHECKING:
    from numpy.typing import NDArray

Axis = Literal["query", "key"]


@dataclass(frozen=True, slots=True, repr=False)
class Band(Atom):
    """``low <= key - query <= high``; None is without end. Causal and window masks are bands."""

    low: int | None
    high: int | None

    def allowed(self, cells: Cells) -> Array:
        gap = cells.key - cells.query
        if self.low is None:
            return gap <= self.high
        if self.high is None:
            return gap >= self.low
        return (gap >= self.low) & (gap <= self.high)

    def spec(self) -> Spec:
        low, high = self.low, self.high
        if low is None:
            if high == 0:
                return "causal", {}
            if high == -1:
                return "causal", {"strict": True}
        if low == 1 and high is None:
            return "not", ("causal", {})
        if (low is None or low <= 0) and (high is None or high >= 0):
            return "window", {"left": None if low is None else -low, "right": high}
        if low is None or high is None:
            return "not", self.complement().spec()
        if low > 0:
            return "shift", ("window", {"left": 0, "right": high - low}), {"query": -low}
        return "shift", ("window", {"left": high - low, "right": 0}), {"key": high}

    def transposed(self) -> Mask:
        return band(
            None if self.high is None else -self.high, None if self.low is None else -self.low
        )

    def moved(self, rows: int, columns: int) -> Mask:
        by = columns - rows
        low = None if self.low is None else self.low + by
        high = None if self.high is None else self.high + by
        return covered(band(low, high), rows, columns)

    def complement(self) -> Mask:
        """``~(gap <= high) == gap >= high + 1``; a band with two ends has no band as complement."""
        if self.low is None and self.high is not None:
            return band(self.high + 1, None)
        if self.high is None and self.low is not None:
            return band(None, self.low - 1)
        return Atom.complement(self)

    def join(self, other: Band) -> Mask | None:
        """``band(a, b) | band(c, d) == band(min(a, c), max(b, d))`` if they touch or overlap."""
        for first, second in ((self, other), (other, self)):
            if first.high is not None and second.low is not None and second.low > first.high + 1:
                return None
        low = None if None in (self.low, other.low) else min(self.low or 0, other.low or 0)
        high = None if None in (self.high, other.high) else max(self.high or 0, other.high or 0)
        return band(low, high)


def band(low: int | None, high: int | None) -> Mask:
    """Return the mask ``low <= key - query <= high`` in canonical form."""
    if low is None and high is None:
        return Everything()
    if low is not None and high is not None and low > high:
        return Nothing()
    return Band(low, high)


@dataclass(frozen=True, slots=True, repr=False)
class Positions(Atom):
    """The query (or the key) lies in one of some disjoint, sorted, non-touching intervals.

    ``bounds`` is ``[n, 2]``: start and stop of each interval; the last stop may be ``ENDLESS``.
    """

    axis: Axis
    bounds: Data

    def allowed(self, cells: Cells) -> Array:
        position = cells.query if self.axis == "query" else cells.key
        # The bounds rise, and inside an interval an odd number of them lies at or before.
        return cells.count_at_or_before(self.bounds.array.reshape(-1), position) % 2 == 1

    def spec(self) -> Spec:
        name = "keys" if self.axis == "key" else "queries"
        intervals = [(int(a), int(b)) for a, b in self.bounds.array]
        if self.axis == "key" and intervals == [(0, intervals[0][1])]:
            return "prefix", {"n": intervals[0][1]}
        if self.axis == "key" and intervals == [(intervals[0][0], ENDLESS)]:
            return "not", ("prefix", {"n": intervals[0][0]})
        short = [i for i in intervals if i[1] - i[0] <= 2]
        parts: list[Spec] = []
        if len(short) > 1 or (short and short[0][1] - short[0][0] == 1):
            single = [p for a, b in short for p in range(a, b)]
            parts.append((name, {"positions": single}))
            intervals = [i for i in intervals if i not in short]
        for start, stop in intervals:
            whole = slice(start, None) if stop == ENDLESS else range(start, stop)
            parts.append((name, {"positions": whole}))
        return parts[0] if len(parts) == 1 else ("or", *parts)

    def transposed(self) -> Mask:
        return Positions("key" if self.axis == "query" else "query", self.bounds)

    def moved(self, rows: int, columns: int) -> Mask:
        by = rows if self.axis == "query" else columns
        bounds = self.bounds.array
        moved = np.where(bounds == ENDLESS, ENDLESS, np.maximum(bounds + by, 0))
        return covered(positions(self.axis, moved), rows, columns)

    def complement(self) -> Mask:
        ends = self.bounds.array.reshape(-1)
        return positions(self.axis, np.concatenate([[0], ends, [ENDLESS]]).reshape(-1, 2))

    def extent(self) -> Extent:
        last = int(self.bounds.array[-1, 1])
        known = int(self.bounds.array[-1, 0]) + 1 if last == ENDLESS else last
        return (known, None) if self.axis == "query" else (None, known)


# A stop that no position reaches; arithmetic with positions stays inside int64.
ENDLESS = 2**60


def positions(axis: Axis, intervals: NDArray[np.int64]) -> Mask:
    """Return the mask of the union of ``[n, 2]`` intervals of positions, in canonical form."""
    intervals = intervals[intervals[:, 0] < intervals[:, 1]]
    if not len(intervals):
        return Nothing()
    intervals = intervals[np.argsort(intervals[:, 0], kind="stable")]
    reach = np.maximum.accumulate(intervals[:, 1])
    starts_anew = np.concatenate([[True], intervals[1:, 0] > reach[:-1]])
    first = np.flatnonzero(starts_anew)
    stops = np.maximum.reduceat(intervals[:, 1], first)
    merged = np.stack([intervals[first, 0], stops], axis=1)
    if merged.tolist() == [[0, ENDLESS]]:
        return Everything()
    return Positions(axis, Data(merged))


def join_of(axis: Axis, masks: list[Positions]) -> Mask:
    """Return the mask of the union of the masks' positions."""
    return positions(axis, np.concatenate([mask.bounds.array for mask in masks]))


def meet_of(axis: Axis, masks: list[Positions]) -> Mask:
    """Return the mask of the positions that all masks share: ``~(~a | ~b | ...)``."""
    outside = [mask.complement() for mask in masks]  # never empty: canonical masks are not all
    return join_of(axis, [mask for mask in outside if isinstance(mask, Positions)]).complement()


def from_position(axis: Axis, start: int) -> Mask:
    """Return the mask of the positions from ``start`` on, on the query or the key axis."""
    if start <= 0:
        return Everything()
    return positions(axis, np.array([[start, ENDLESS]], dtype=np.int64))


@dataclass(frozen=True, slots=True, repr=False)
class Chunks(Atom):
    """Query and key lie in the same chunk of ``size`` positions."""

    size: int

    def allowed(self, cells: Cells) -> Array:
        return cells.query // self.size == cells.key // self.size

    def spec(self) -> Spec:
        return "chunks", {"size": self.size}

    def transposed(self) -> Mask:
        return self


@dataclass(frozen=True, slots=True, repr=False)
class BlockCausal(Atom):
    """The key's chunk is the query's or an earlier one."""

    size: int

    def allowed(self, cells: Cells) -> Array:
        return cells.key // self.size <= cells.query // self.size

    def spec(self) -> Spec:
        return "block_causal", {"size": self.size}


@dataclass(frozen=True, slots=True, repr=False)
class Dilated(Atom):
    """The distance from key to query is ``phase`` modulo ``stride``."""

    stride: int
    phase: int

    def allowed(self, cells: Cells) -> Array:
        return (cells.query - cells.key - self.phase) % self.stride == 0

    def spec(self) -> Spec:
        return "dilated", {"stride": self.stride, "phase": self.phase}

    def transposed(self) -> Mask:
        return dilated(self.stride, -self.phase)

    def moved(self, rows: int, columns: int) -> Mask:
        return covered(dilated(self.stride, self.phase + rows - columns), rows, columns)


# -- what users call --------------------------------------------------------------------------


def everything() -> Mask:
    """Every query may see every key: k and q are not looked at.

    >>> import sightline as sl
    >>> ~sl.everything() == sl.nothing()
    True
    """
    return Everything()


def nothing() -> Mask:
    """No query may see any key. Every row is empty; outputs and gradients are 0.

    >>> import sightline as sl
    >>> sl.nothing().count(100)
    0
    """
    return Nothing()


def causal(strict: bool = False) -> Mask:
    """The key is not after the query: k <= q; with ``strict``, before it: k < q.

    A strict mask keeps a query from its own key, not from its own query vector: what a model
    computes at i still depends on its input at i.

    >>> import sightline as sl
    >>> sl.causal().dense(2, 4, q_offset=1)[0, 0].astype(int)
    array([[1, 1, 0, 0],
           [1, 1, 1, 0]])
    """
    if not isinstance(cast(Any, strict), (bool, np.bool_)):
        raise InvalidMask(f"causal(strict=) must be True or False, got {describe(strict)}.")
    return band(None, -1 if strict else 0)


def window(left: int | None = None, right: int | None = None) -> Mask:
    """The key is at most ``left`` before and at most ``right`` after the query.

    -left <= k - q <= right. Distances are inclusive: ``window(left=3, right=0)`` sees the key
    itself and 3 before it, 4 keys. None is unbounded on that side. Hugging Face's
    ``sliding_window=W`` of a causal model is ``window(left=W - 1, right=0)``.

    >>> import sightline as sl
    >>> sl.window(left=1, right=0).dense(4)[0, 0].astype(int)
    array([[1, 0, 0, 0],
           [1, 1, 0, 0],
           [0, 1, 1, 0],
           [0, 0, 1, 1]])
    """
    before, after = as_distance(left, "window(left=)"), as_distance(right, "window(right=)")
    return band(None if before is None else -before, after)


def prefix(n: int) -> Mask:
    """The key is one of the first ``n``: k < n.

    >>> import sightline as sl
    >>> sl.prefix(2) | sl.causal()      # a prefix that all may see, causal after it
    causal() | prefix(2)
    """
    return positions("key", np.array([[0, as_int(n, "prefix(n=)", least=0)]], dtype=np.int64))


def sinks(n: int) -> Mask:
    """The key is one of the first ``n``, kept as attention sinks: k < n, as ``prefix(n)``.

    Xiao et al. 2023, "Efficient Streaming Language Models with Attention Sinks".

    >>> import sightline as sl
    >>> sl.causal() & (sl.window(left=2) | sl.sinks(1)) == sl.causal() & (
    ...     sl.prefix(1) | sl.window(left=2))
    True
    """
    return positions("key", np.array([[0, as_int(n, "sinks(n=)", least=0)]], dtype=np.int64))


def keys(positions: object) -> Mask:
    """The key is one of ``positions``: k in P, whatever the query.

    ``positions`` is an int, a slice or range over non-negative positions (a slice without a stop
    goes on for ever), or a list or array of ints.

    >>> import sightline as sl
    >>> sl.keys([0, 3]).dense(1, 5)[0, 0].astype(int)
    array([[1, 0, 0, 1, 0]])
    >>> ~sl.keys(slice(2, None))
    prefix(2)
    """
    return _positions("key", positions, "keys(positions=)")


def queries(positions: object) -> Mask:
    """The query is one of ``positions``: q in P, whatever the key; ``keys(P).T``.

    >>> import sightline as sl
    >>> sl.queries(range(1, 3)) == sl.keys([1, 2]).T
    True
    """
    return _positions("query", positions, "queries(positions=)")


def _positions(axis: Axis, given: object, what: str) -> Mask:
    wanted = cast(Any, given)
    if isinstance(wanted, slice):
        wanted = cast("slice[Any, Any, Any]", wanted)
        start = as_int(0 if wanted.start is None else wanted.start, f"{what} start", least=0)
        step = as_size(1 if wanted.step is None else wanted.step, f"{what} step")
        if wanted.stop is None and step > 1:
            raise InvalidMask(
                f"{what} cannot be an endless slice with step {step}; give it a stop."
            )
        if wanted.stop is None:
            return from_position(axis, start)
        wanted = range(start, as_int(wanted.stop, f"{what} stop", least=0), step)
    if isinstance(wanted, range) and wanted.step == 1 and len(wanted):
        as_int(wanted.start, what, least=0)
        return positions(axis, np.array([[wanted.start, as_int(wanted.stop, what)]]))
    if isinstance(wanted, (set, frozenset)):
        wanted = sorted(cast("set[Any]", wanted))
    points = as_integers(wanted, what, ranks=(0, 1)).reshape(-1)
    return positions(axis, np.stack([points, points + 1], axis=1))


def chunks(size: int) -> Mask:
    """Query and key are in the same chunk of ``size`` positions: ⌊q/size⌋ = ⌊k/size⌋.

    >>> import sightline as sl
    >>> sl.chunks(2).dense(3, 5)[0, 0].astype(int)
    array([[1, 1, 0, 0, 0],
           [1, 1, 0, 0, 0],
           [0, 0, 1, 1, 0]])
    """
    size = as_size(size, "chunks(size=)")
    return band(0, 0) if size == 1 else Chunks(size)


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
    return band(None, 0) if size == 1 else BlockCausal(size)


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


__all__ = [
    "block_causal",
    "causal",
    "chunks",
    "dilated",
    "everything",
    "keys",
    "nothing",
    "prefix",
    "queries",
    "sinks",
    "window",
]
