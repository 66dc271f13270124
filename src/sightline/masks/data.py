"""Masks that carry data about each batch row: documents, spans, prefixes.

Data are kept in the smallest canonical form (runs rather than ids), so that two ways of saying
the same are equal. Positions beyond the data are nobody's: they see nothing and nobody sees them.
Padding is in padding.py, orders and trees in orders.py, masks given cell by cell in explicit.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from sightline.errors import InvalidMask
from sightline.masks.arguments import (
    as_column,
    as_int,
    as_integers,
    as_rows,
    describe,
)
from sightline.masks.arrays import Array, Cells, Data
from sightline.masks.bounds import states
from sightline.masks.mask import Extent, Mask, Spec
from sightline.masks.nodes import Atom, Nothing, Staircase
from sightline.masks.segment_runs import SegmentRuns

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sightline.masks.bounds import Ints, Rows, Run, States, Tiles

# A table with the segment of each position is only made to ask single cells: 256 MiB at most.
MOST_EXPANDED = 2**26
# It is made where there are more positions than this share of it, 1 in so many, to look up.
WORTH_A_TABLE = 16


@dataclass(frozen=True, slots=True, repr=False)
class Segments(Atom):
    """Query and key carry the same segment id: documents packed into a row, or spans.

    ``ids`` and ``lengths`` are ``[B, R]``: the runs of equal ids of each row, numbered in the
    order in which they first appear; -1 is a gap, and a run of length 0 fills up a short row.
    """

    ids: Data
    lengths: Data
    expanded: list[Any] = field(default_factory=list[Any], compare=False)
    indexed: list[SegmentRuns] = field(default_factory=list[SegmentRuns], compare=False)

    @property
    def batch(self) -> int:
        return len(self.ids.array)

    def id_of_position(self) -> NDArray[np.int32]:
        """Return the segment id of every position, ``[B, N]``; -1 where there is none. Kept."""
        if not self.expanded:
            if self.batch * self.size() > MOST_EXPANDED:
                raise InvalidMask(
                    f"documents of {self.size()} positions are too long to ask cell by cell; "
                    f"at most {MOST_EXPANDED} positions are."
                )
            table = np.full((self.batch, self.size()), -1, dtype=np.int32)
            for row, ids, lengths in zip(table, self.ids.array, self.lengths.array, strict=True):
                run = np.repeat(ids.astype(np.int32), lengths)
                row[: len(run)] = run
            self.expanded.append(table)
        return self.expanded[0]

    def size(self) -> int:
        """Return the number of positions that the data cover, in the longest row."""
        return int(self.lengths.array.sum(axis=1).max())

    def allowed(self, cells: Cells) -> Array:
        if self._few(cells.query) and self._few(cells.key):
            query, key = (self._ids_at(cells.batch, at) for at in (cells.query, cells.key))
            return (query == key) & (query >= 0)
        table = self.id_of_position()
        query, query_inside = cells.lookup(table, cells.query)
        key, key_inside = cells.lookup(table, cells.key)
        return (query == key) & (query >= 0) & query_inside & key_inside

    def _few(self, position: Array) -> bool:
        """Return whether searching the runs costs less than a table of all positions, not made."""
        if not isinstance(position, np.ndarray) or not position.ndim or self.expanded:
            return False
        return position.size * WORTH_A_TABLE < self.size()

    def _ids_at(self, batch: Array, position: Array) -> Array:
        index = self.index()
        batch, position = np.broadcast_arrays(batch, position)
        return index.ids.take(index.place(batch, position))

    def index(self) -> SegmentRuns:
        """Return the runs, ready to be asked for many positions. Kept."""
        if not self.indexed:
            self.indexed.append(SegmentRuns(self.ids.array, self.lengths.array))
        return self.indexed[0]

    def bounds(self, tiles: Tiles) -> States:
        return self._bounds(*self._places(tiles))

    def _bounds(self, queries: Run, keys: Run) -> States:
        index = self.index()
        query = index.ids.take(queries[0])
        alone = (queries[0] == queries[1]) & (keys[0] == keys[1])
        full = alone & (query == index.ids.take(keys[0])) & (query >= 0)
        return states(~full & index.surely_apart(queries, keys), full)

    def _places(self, tiles: Tiles) -> tuple[Run, Run]:
        """Return the first and the last run of the queries and of the keys of each tile."""
        ends, batch = self.index().ends, tiles.batch
        on_queries, on_keys = tiles.on_grid or (None, None)
        return (
            ends(batch, tiles.q_first, tiles.q_last, on_queries),
            ends(batch, tiles.k_first, tiles.k_last, on_keys),
        )

    def signature(self, tiles: Tiles) -> list[Ints]:
        return self.bounds_and_signature(tiles)[1]

    def bounds_and_signature(self, tiles: Tiles) -> tuple[States, list[Ints]]:
        """Two runs on each axis at most are told by their cuts and by which of them are equal."""
        index = self.index()
        queries, keys = self._places(tiles)
        equal = tiles.q_first * 0 + 1
        for q in queries:
            query = index.ids.take(q)
            for k in keys:
                equal = 2 * equal + ((query == index.ids.take(k)) & (query >= 0))
        cuts = [
            np.where(run < last, index.stops.take(run) - first, 0)
            for (run, last), first in ((queries, tiles.q_first), (keys, tiles.k_first))
        ]
        simple = (queries[1] - queries[0] <= 1) & (keys[1] - keys[0] <= 1)
        told = zip((equal, *cuts), (tiles.batch, tiles.q_first, tiles.k_first), strict=True)
        columns = [np.where(simple, cut, place) for cut, place in told]
        return self._bounds(queries, keys), [simple.astype(np.int64), *columns]

    def runs(self, rows: Rows) -> list[Run] | None:
        index = self.index()
        if not index.in_order:
            return None
        run = index.place_along(rows.batch, rows.query)
        return [(index.starts.take(run), index.seen.take(run))]

    def cuts(self) -> Ints:
        return np.pad(np.cumsum(self.lengths.array, axis=1), ((0, 0), (1, 0)))

    def spec(self) -> Spec:
        rows: list[list[int]] = []
        for ids, lengths in zip(self.ids.array, self.lengths.array, strict=True):
            real = lengths > 0
            if not np.array_equal(ids[real], np.arange(np.count_nonzero(real))):
                return "spans", {"ids": flat_if_one(self.id_of_position().tolist())}
            rows.append(lengths[real].tolist())
        return "documents", {"lengths": flat_if_one(rows)}

    def transposed(self) -> Mask:
        return self

    def extent(self) -> Extent:
        return self.size(), self.size()


@dataclass(frozen=True, slots=True, repr=False)
class PrefixLM(Staircase):
    """The key is in the prefix of its row, or not after the query."""

    lengths: Data

    @property
    def batch(self) -> int:
        return len(self.lengths.array)

    def allowed(self, cells: Cells) -> Array:
        return (cells.key < cells.per_row(self.lengths.array)) | (cells.key <= cells.query)

    def run(self, rows: Rows) -> Run:
        prefix = rows.per_row(self.lengths.array)
        return rows.query * 0, np.maximum(prefix, rows.query + 1)

    def signature(self, tiles: Tiles) -> list[Ints]:
        prefix = tiles.top.per_row(self.lengths.array)
        prefix = np.clip(prefix - tiles.k_first, 0, tiles.widths)
        # Above the diagonal only the prefix shows, however far above.
        return [prefix, np.minimum(tiles.k_first - tiles.q_last, 1)]

    def spec(self) -> Spec:
        return "prefix_lm", {"lengths": self.lengths.array.tolist()}

    def extent(self) -> Extent:
        return None, int(self.lengths.array.max())


def flat_if_one(rows: list[Any]) -> list[Any]:
    return rows[0] if len(rows) == 1 else rows


# -- what users call --------------------------------------------------------------------------


def documents(lengths: object = None, ids: object = None, cu_seqlens: object = None) -> Mask:
    """Query and key belong to the same document of those packed into one row.

    Args:
        lengths: the documents' lengths in order, ``[n]``, or one list for each batch row (of any
            number of documents).
        ids: or the document of each position, ``[N]`` or ``[B, N]``, non-negative; equal numbers
            are the same document, side by side or not.
        cu_seqlens: or the offsets 0, l1, l1 + l2, ..., N as variable-length kernels take them,
            ``[n + 1]`` or ``[B, n + 1]``.

    A position beyond the last document belongs to none and sees nothing. Combine with
    ``causal()`` for a packed language-model batch.

    >>> import sightline as sl
    >>> sl.documents(lengths=[2, 1]).dense(4)[0, 0].astype(int)
    array([[1, 1, 0, 0],
           [1, 1, 0, 0],
           [0, 0, 1, 0],
           [0, 0, 0, 0]])
    >>> sl.documents(ids=[7, 7, 9]) == sl.documents(cu_seqlens=[0, 2, 3])
    True
    """
    given = [x for x in (lengths, ids, cu_seqlens) if x is not None]
    if len(given) != 1:
        raise InvalidMask(
            f"documents wants exactly one of lengths=, ids= and cu_seqlens=, got {len(given)}."
        )
    if lengths is not None:
        return from_runs([(np.arange(len(row)), row) for row in _length_rows(lengths)])
    if ids is not None:
        rows = as_rows(ids, "documents(ids=)", least=None)
        if rows.min() < 0:
            raise InvalidMask(
                f"documents(ids=) must not be negative, got {rows.min()}; for positions of no "
                "document use spans(ids), where -1 is in none."
            )
        return _segments_from_ids(rows)
    offsets = as_rows(cu_seqlens, "documents(cu_seqlens=)")
    steps = np.diff(offsets, axis=1)
    if offsets[:, 0].any() or (steps < 0).any():
        raise InvalidMask(
            "documents(cu_seqlens=) must start at 0 and never fall, such as [0, 3, 7]; "
            f"got {describe(offsets.tolist())}. Lengths go in as lengths=."
        )
    return from_runs([(np.arange(len(row)), row) for row in steps])


def _length_rows(lengths: object) -> list[Ints]:
    """Return the document lengths of each batch row; rows may hold different numbers of them."""
    if isinstance(lengths, (list, tuple)):
        rows = cast("Sequence[Any]", lengths)
        if any(isinstance(row, (list, tuple)) or np.ndim(row) == 1 for row in rows):
            what = "documents(lengths=)"
            return [as_integers(r, f"{what}[{i}]", ranks=(1,)) for i, r in enumerate(rows)]
    array = as_integers(cast(Any, lengths), "documents(lengths=)", ranks=(1, 2))
    if not len(array) and array.ndim == 2:
        raise InvalidMask(f"documents(lengths=) has no batch rows: shape {list(array.shape)}.")
    return [array] if array.ndim == 1 else list(array)


def from_runs(rows: Sequence[tuple[Ints, Ints]]) -> Mask:
    """Return the mask of the (ids, lengths) runs of each row, with the runs made canonical."""
    longest = max(sum(lengths.tolist()) for _, lengths in rows)  # as ints, which do not overflow
    as_int(longest, "the length of a row of documents", least=0, most=2**31 - 1)
    clean = [_canonical_runs(ids, lengths) for ids, lengths in rows]
    width = max(len(ids) for ids, _ in clean)
    if not width:
        return Nothing()
    all_ids = np.full((len(clean), width), -1, dtype=np.int64)
    all_lengths = np.zeros((len(clean), width), dtype=np.int64)
    for row, (ids, lengths) in enumerate(clean):
        all_ids[row, : len(ids)] = ids
        all_lengths[row, : len(ids)] = lengths
    return Segments(Data(all_ids), Data(all_lengths))


def _canonical_runs(ids: Ints, lengths: Ints) -> tuple[Ints, Ints]:
    """Drop empty runs and the gap at the end; number the ids as they appear, gaps -1."""
    ids, lengths = ids[lengths > 0], lengths[lengths > 0]
    real = np.flatnonzero(ids >= 0)
    last = int(real[-1]) + 1 if len(real) else 0
    ids, lengths = ids[:last], lengths[:last]
    _, first, inverse = np.unique(ids[ids >= 0], return_index=True, return_inverse=True)
    numbered = np.full_like(ids, -1)
    numbered[ids >= 0] = np.argsort(np.argsort(first))[inverse]
    return numbered, lengths


def _segments_from_ids(ids: Ints) -> Mask:
    rows: list[tuple[Ints, Ints]] = []
    for row in np.maximum(ids, -1):
        starts = np.concatenate([[0], np.flatnonzero(np.diff(row)) + 1])
        rows.append((row[starts], np.diff(np.concatenate([starts, [len(row)]]))))
    return from_runs(rows)


def spans(ids: object) -> Mask:
    """Query and key carry the same non-negative id; -1 (any negative id) is in no span.

    For stretches that see each other in both directions inside a causal text, such as the tokens
    of one image: ``causal() | spans(ids)``. ``ids`` is ``[N]`` or ``[B, N]``.

    >>> import sightline as sl
    >>> (sl.causal() | sl.spans([-1, 0, 0, -1])).dense(4)[0, 0].astype(int)
    array([[1, 0, 0, 0],
           [1, 1, 1, 0],
           [1, 1, 1, 0],
           [1, 1, 1, 1]])
    """
    return _segments_from_ids(as_rows(ids, "spans(ids=)", least=None))


def prefix_lm(lengths: object) -> Mask:
    """The key is in its row's prefix, or not after the query: k < length_b or k <= q.

    ``lengths`` is an int, or one for each batch row, ``[B]``.

    >>> import sightline as sl
    >>> sl.prefix_lm(2).dense(3)[0, 0].astype(int)
    array([[1, 1, 0],
           [1, 1, 0],
           [1, 1, 1]])
    """
    return PrefixLM(Data(as_column(lengths, "prefix_lm(lengths=)")))


def seq2seq(source_lengths: object) -> Mask:
    """UniLM's sequence-to-sequence mask: all see the source, the target is causal.

    Source and target are one row of tokens; ``source_lengths`` counts the source tokens with
    their special tokens. It is ``prefix_lm(source_lengths)`` (Dong et al. 2019, "Unified Language
    Model Pre-training"). Combine with ``padding``.

    >>> import sightline as sl
    >>> sl.seq2seq([2, 3]) == sl.prefix_lm([2, 3])
    True
    """
    return PrefixLM(Data(as_column(source_lengths, "seq2seq(source_lengths=)")))


__all__ = ["documents", "prefix_lm", "seq2seq", "spans"]
