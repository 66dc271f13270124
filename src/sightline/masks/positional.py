"""Masks that are formulas over positions: causal, window, prefix, keys, queries.

Each class is one atom: its definition, its text form and what it becomes under ``.T``,
``.shift`` and ``~``. The functions at the end are what users call. Masks that repeat are in
periodic.py, patterns from the sparse attention literature in sparse.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np

from sightline.errors import InvalidMask
from sightline.masks import intervals
from sightline.masks.arguments import as_distance, as_int, as_integers, as_size, describe
from sightline.masks.arrays import Array, Cells, Data
from sightline.masks.bounds import FULL, MOST_RUNS, among, states
from sightline.masks.intervals import ENDLESS
from sightline.masks.mask import Extent, Mask, Spec
from sightline.masks.nodes import Atom, Everything, Nothing, covered

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sightline.masks.bounds import Ints, Rows, Run, States, Tiles

Axis = Literal["query", "key"]

# Positions listed one by one are kept one by one; more than this is a formula, not a list.
MOST_SINGLE_POSITIONS = 2**24


@dataclass(frozen=True, slots=True, repr=False)
class Band(Atom):
    """The gap key - query lies in ``gaps``: causal and window masks, and what they combine to."""

    gaps: Data

    @property
    def asks_distance_alone(self) -> bool:
        return True

    def allowed(self, cells: Cells) -> Array:
        gap = cells.key - cells.query
        if len(self.gaps.array) > 1:
            # The ends rise, and inside an interval an odd number of them lies at or before.
            return cells.count_at_or_before(self.gaps.array.reshape(-1), gap) % 2 == 1
        low, high = self.ends()
        if low is None:
            return gap <= high
        return gap >= low if high is None else (gap >= low) & (gap <= high)

    def bounds(self, tiles: Tiles) -> States:
        least, most = tiles.k_first - tiles.q_last, tiles.k_last - tiles.q_first
        if len(self.gaps.array) > 1:
            return among(self.gaps.array.reshape(-1), least, most)
        start, stop = self.gaps.array[0]
        return states((most < start) | (least >= stop), (least >= start) & (most < stop))

    def signature(self, tiles: Tiles) -> list[Ints]:
        return [tiles.k_first - tiles.q_first]

    def runs(self, rows: Rows) -> list[Run] | None:
        if len(self.gaps.array) > MOST_RUNS:
            return None
        nowhere = rows.query[:1, :1] * 0
        return [
            (
                nowhere if start == -ENDLESS else rows.query + start,
                nowhere + ENDLESS if stop == ENDLESS else rows.query + stop,
            )
            for start, stop in self.gaps.array
        ]

    def ends(self) -> tuple[int | None, int | None]:
        """Return the least and the greatest allowed gap; None where there is none."""
        start, stop = int(self.gaps.array[0, 0]), int(self.gaps.array[-1, 1])
        return None if start == -ENDLESS else start, None if stop == ENDLESS else stop - 1

    def spec(self) -> Spec:
        singles = [Band(Data(self.gaps.array[i : i + 1])) for i in range(len(self.gaps.array))]
        if len(singles) == 1:
            return _window_spec(*self.ends())
        others = intervals.complement(self.gaps.array, -ENDLESS)
        if len(others) < len(singles):
            return "not", Band(Data(others)).spec()
        return "or", *(single.spec() for single in singles)

    def transposed(self) -> Mask:
        return band(intervals.mirrored(self.gaps.array))

    def moved(self, rows: int, columns: int) -> Mask:
        return covered(
            band(intervals.moved(self.gaps.array, columns - rows, -ENDLESS)), rows, columns
        )

    def complement(self) -> Mask:
        return band(intervals.complement(self.gaps.array, -ENDLESS))


def band(gaps: NDArray[np.int64]) -> Mask:
    """Return the mask of the pairs whose gap key - query lies in the union of ``[n, 2]`` gaps."""
    merged = intervals.union([gaps])
    if not len(merged):
        return Nothing()
    return Everything() if merged.tolist() == [[-ENDLESS, ENDLESS]] else Band(Data(merged))


def window_of(low: int | None, high: int | None) -> Mask:
    """Return the mask ``low <= key - query <= high``, None without end, for any signs."""
    start = -ENDLESS if low is None else low
    return band(np.array([[start, ENDLESS if high is None else high + 1]], dtype=np.int64))


def _window_spec(low: int | None, high: int | None) -> Spec:
    """Return how to write one interval of gaps: by a name, a complement or a shifted window."""
    if low is None and high in (0, -1):
        return "causal", {"strict": True} if high else {}
    if (low is None or low <= 0) and (high is None or high >= 0):
        return "window", {"left": None if low is None else -low, "right": high}
    if high is None:
        return "not", _window_spec(None, (low or 0) - 1)
    if low is None:
        return "not", _window_spec(high + 1, None)
    if low > 0:
        return "shift", ("window", {"left": 0, "right": high - low}), {"query": -low}
    return "shift", ("window", {"left": high - low, "right": 0}), {"key": high}


@dataclass(frozen=True, slots=True, repr=False)
class Positions(Atom):
    """The query (or the key) lies in a set of positions."""

    axis: Axis
    members: Data

    def allowed(self, cells: Cells) -> Array:
        position = cells.query if self.axis == "query" else cells.key
        return cells.count_at_or_before(self.members.array.reshape(-1), position) % 2 == 1

    def bounds(self, tiles: Tiles) -> States:
        return among(self.members.array.reshape(-1), *self._span(tiles))

    def signature(self, tiles: Tiles) -> list[Ints]:
        ends = self.members.array.reshape(-1)
        first, last = self._span(tiles)
        before = np.searchsorted(ends, first, "right")
        crossed = np.searchsorted(ends, last, "right") - before
        next_end = ends[np.minimum(before, len(ends) - 1)]
        # One end within the tile is told by its place there, several by the tile's own place.
        place = np.where(crossed == 1, next_end - first, np.where(crossed > 1, first, 0))
        return [before % 2, np.minimum(crossed, 2), place]

    def runs(self, rows: Rows) -> list[Run] | None:
        if self.axis == "query":
            inside = among(self.members.array.reshape(-1), rows.query, rows.query)
            return [(rows.query * 0, np.where(inside == FULL, ENDLESS, 0))]
        if len(self.members.array) > MOST_RUNS:
            return None
        return [(rows.query * 0 + a, rows.query * 0 + b) for a, b in self.members.array]

    def _span(self, tiles: Tiles) -> tuple[Ints, Ints]:
        if self.axis == "query":
            return tiles.q_first, tiles.q_last
        return tiles.k_first, tiles.k_last

    def spec(self) -> Spec:
        name = "keys" if self.axis == "key" else "queries"
        stretches = [(int(a), int(b)) for a, b in self.members.array]
        if self.axis == "key" and len(stretches) == 1:
            start, stop = stretches[0]
            if start == 0:
                return "prefix", {"n": stop}
            if stop == ENDLESS:
                return "not", ("prefix", {"n": start})
        short = [s for s in stretches if s[1] - s[0] <= 2]
        parts: list[Spec] = []
        if len(short) > 1 or (short and short[0][1] - short[0][0] == 1):
            parts.append((name, {"positions": [p for a, b in short for p in range(a, b)]}))
            stretches = [s for s in stretches if s not in short]
        for start, stop in stretches:
            whole = slice(start, None) if stop == ENDLESS else range(start, stop)
            parts.append((name, {"positions": whole}))
        return parts[0] if len(parts) == 1 else ("or", *parts)

    def transposed(self) -> Mask:
        return Positions("key" if self.axis == "query" else "query", self.members)

    def moved(self, rows: int, columns: int) -> Mask:
        by = rows if self.axis == "query" else columns
        return covered(
            positions(self.axis, intervals.moved(self.members.array, by, 0)), rows, columns
        )

    def complement(self) -> Mask:
        return positions(self.axis, intervals.complement(self.members.array, 0))

    def extent(self) -> Extent:
        last = int(self.members.array[-1, 1])
        known = int(self.members.array[-1, 0]) + 1 if last == ENDLESS else last
        return (known, None) if self.axis == "query" else (None, known)


def positions(axis: Axis, members: NDArray[np.int64]) -> Mask:
    """Return the mask of the union of ``[n, 2]`` intervals of positions, in canonical form."""
    merged = intervals.union([members])
    if not len(merged):
        return Nothing()
    return Everything() if merged.tolist() == [[0, ENDLESS]] else Positions(axis, Data(merged))


def from_position(axis: Axis, start: int) -> Mask:
    """Return the mask of the positions from ``start`` on, on the query or the key axis."""
    if start <= 0:
        return Everything()
    return positions(axis, np.array([[start, ENDLESS]], dtype=np.int64))


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
    return window_of(None, -1 if strict else 0)


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
    return window_of(None if before is None else -before, after)


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
    if isinstance(wanted, range):
        start, stop = (as_int(n, what) for n in (wanted.start, wanted.stop))
        if wanted and min(wanted[0], wanted[-1]) < 0:
            raise InvalidMask(f"{what} must be at least 0, got {wanted}.")
        if wanted.step == 1:
            return positions(axis, np.array([[start, stop]], dtype=np.int64))
        if len(wanted) > MOST_SINGLE_POSITIONS:
            raise InvalidMask(
                f"{what} lists {len(wanted)} single positions, more than {MOST_SINGLE_POSITIONS}; "
                "every n-th key of a query is dilated(n), every n-th position a predicate."
            )
    if isinstance(wanted, (set, frozenset)):
        wanted = list(cast("set[Any]", wanted))
    points = as_integers(wanted, what, ranks=(0, 1)).reshape(-1)
    return positions(axis, np.stack([points, points + 1], axis=1))


__all__ = [
    "causal",
    "everything",
    "keys",
    "nothing",
    "prefix",
    "queries",
    "sinks",
    "window",
]
