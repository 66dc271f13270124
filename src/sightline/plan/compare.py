"""Are two masks the same, does one lie within the other: a proof, or a cell where it fails.

Two kinds of answer. Canonical forms that are equal (or of which the laws of rewrite.py show that
one implies the other) prove it for every length. What they do not decide is decided at a shape,
exactly, by following both masks from large tiles to small ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, cast

import numpy as np

from sightline.errors import InvalidArgument
from sightline.masks.arguments import describe
from sightline.masks.bits import WORD, bits, distinct, parts
from sightline.masks.bounds import FULL, Rows
from sightline.masks.descent import Grid, descend
from sightline.masks.evaluate import SIDE
from sightline.masks.frame import Frame
from sightline.masks.mask import Mask
from sightline.masks.nodes import And, common_size
from sightline.masks.rewrite import implied

if TYPE_CHECKING:
    from sightline.masks.bounds import Ints, Run, States, Tiles

Relation = Literal["equivalent", "implies"]

# Rows whose runs of keys are compared at a time.
ROWS_AT_ONCE = 2**15


class Witness(NamedTuple):
    """A cell that shows that an answer is no, by absolute positions."""

    batch: int
    head: int
    query: int
    key: int


@dataclass(frozen=True)
class Answer:
    """Whether something holds of two masks; true or false in an ``if``.

    Attributes:
        holds: whether it does.
        proved_for: "every shape", if canonical forms decide it; else "this shape".
        witness: a cell at which it fails; None where it holds.
    """

    holds: bool
    proved_for: Literal["every shape", "this shape"]
    witness: Witness | None = None

    def __bool__(self) -> bool:
        return self.holds


def equivalent(
    a: Mask,
    b: Mask,
    q_len: int | None = None,
    kv_len: int | None = None,
    *,
    q_offset: int = 0,
    kv_offset: int = 0,
) -> Answer:
    """Return whether two masks allow the same cells, with a proof or a witness.

    Without a shape only canonical forms are compared: if they are equal, the masks are the same at
    every length. If they differ, that proves nothing, and a shape is needed.

    Args:
        a: a mask.
        b: another; a batch or heads axis of 1 serves all of the other's.
        q_len: number of queries; None asks for a proof for every shape.
        kv_len: number of keys; None means ``q_len``.
        q_offset: absolute position of the first query.
        kv_offset: absolute position of the first key.

    Raises:
        InvalidArgument: no shape was given and the canonical forms differ.
        ShapeMismatch: different numbers of batch rows or heads, or a negative length.

    >>> import sightline as sl
    >>> sl.equivalent(sl.causal() & sl.window(left=3), sl.window(left=3, right=0))
    Answer(holds=True, proved_for='every shape', witness=None)
    >>> sl.equivalent(sl.causal(), sl.window(left=3, right=0), q_len=8).witness
    Witness(batch=0, head=0, query=4, key=0)
    """
    return _answer("equivalent", (a, b), q_len, kv_len, q_offset, kv_offset)


def implies(
    a: Mask,
    b: Mask,
    q_len: int | None = None,
    kv_len: int | None = None,
    *,
    q_offset: int = 0,
    kv_offset: int = 0,
) -> Answer:
    """Return whether every cell that ``a`` allows is allowed by ``b``, with a proof or a witness.

    The arguments and errors are those of ``equivalent``.

    >>> import sightline as sl
    >>> bool(sl.implies(sl.window(left=3, right=0), sl.causal()))
    True
    >>> sl.implies(sl.causal(), sl.chunks(4), q_len=8).witness
    Witness(batch=0, head=0, query=4, key=0)
    """
    return _answer("implies", (a, b), q_len, kv_len, q_offset, kv_offset)


def _answer(
    relation: Relation,
    masks: tuple[Mask, Mask],
    q_len: int | None,
    kv_len: int | None,
    q_offset: int,
    kv_offset: int,
) -> Answer:
    for name, mask in zip(("first", "second"), masks, strict=True):
        if not isinstance(cast(Any, mask), Mask):
            raise InvalidArgument(
                f"{relation} wants two masks, but the {name} is {describe(mask)}; wrap an array "
                "as sl.dense(array, means=...)."
            )
    failing = Failing(relation, *masks)
    _ = failing.batch, failing.heads  # masks that do not fit each other are refused here
    if _proved(relation, *masks):
        return Answer(True, "every shape")
    if q_len is None:
        raise InvalidArgument(
            f"the canonical forms of the two masks do not show whether {relation} holds, which "
            "proves nothing either way; say at which shape: q_len=, and kv_len= if it differs."
        )
    frame = Frame.of(q_len, kv_len, q_offset, kv_offset)
    witness = _witness(failing, frame) if frame.q_len and frame.kv_len else None
    return Answer(witness is None, "this shape", witness)


def _proved(relation: Relation, a: Mask, b: Mask) -> bool:
    if a == b:
        return True
    forward = implied(b, _facts(a))
    return forward if relation == "implies" else forward and implied(a, _facts(b))


def _facts(mask: Mask) -> tuple[Mask, ...]:
    return mask.parts if isinstance(mask, And) else (mask,)


# -- at a shape ---------------------------------------------------------------------------------


class Failing(Mask):
    """The cells at which a relation of two masks fails, as far as descending needs to know them."""

    __slots__ = ("a", "b", "relation")

    def __init__(self, relation: Relation, a: Mask, b: Mask) -> None:
        self.relation, self.a, self.b = relation, a, b

    @property
    def batch(self) -> int:
        """The number of batch rows of either mask."""
        return common_size((self.a, self.b), "batch")

    @property
    def heads(self) -> int:
        """The number of heads of either mask."""
        return common_size((self.a, self.b), "heads")

    def bounds(self, tiles: Tiles) -> States:
        """Return where surely no cell fails, or every one."""
        a, b = self.a.bounds(tiles), self.b.bounds(tiles)
        only_a = np.minimum(a, FULL - b)
        if self.relation == "implies":
            return only_a
        return np.maximum(only_a, np.minimum(b, FULL - a))

    def signature(self, tiles: Tiles) -> list[Ints]:
        """Return what tells tiles apart for either mask."""
        return [*self.a.signature(tiles), *self.b.signature(tiles)]

    def failing_bits(self, tiles: Tiles, height: int, width: int) -> Any:
        """Return the cells that fail."""
        a, b = (bits(mask, tiles, height, width) for mask in (self.a, self.b))
        return a & ~b if self.relation == "implies" else a ^ b


def _witness(failing: Failing, frame: Frame) -> Witness | None:
    """Return a cell at which the relation fails; None if there is none."""
    for mask in (failing.a, failing.b):
        frame.check(mask)
    if _single_run(failing.a) and _single_run(failing.b):
        return _witness_in_runs(failing, frame)
    grid = Grid.uniform(frame, SIDE, SIDE)
    for state, blocks in descend(failing, grid):
        tiles = grid.tiles(blocks)
        found = _cell(tiles, 0, 0, 0) if state == FULL else _witness_in_tiles(failing, tiles)
        if found is not None:
            return found
    return None


def _witness_in_tiles(failing: Failing, tiles: Tiles) -> Witness | None:
    height, width = int(tiles.heights.max()), int(tiles.widths.max())
    first, _ = distinct(failing, tiles)
    for part in parts(len(first), height, width):
        some = tiles.at(first[part])
        wrong = failing.failing_bits(some, height, width)
        if wrong.any():
            tile, row, word = (int(n[0]) for n in np.nonzero(wrong))
            bits_of_word = int(wrong[tile, row, word])
            lowest = (bits_of_word & -bits_of_word).bit_length() - 1
            return _cell(some, tile, row, WORD * word + lowest)
    return None


def _cell(tiles: Tiles, tile: int, row: int, column: int) -> Witness:
    return Witness(
        int(tiles.batch[tile]),
        int(tiles.head[tile]),
        int(tiles.q_first[tile]) + row,
        int(tiles.k_first[tile]) + column,
    )


# -- masks whose rows are one run of keys each ---------------------------------------------------


def _single_run(mask: Mask) -> bool:
    zero = np.zeros((1, 1), dtype=np.int64)
    runs = mask.runs(Rows(zero, zero, zero))
    return runs is not None and len(runs) == 1


def _witness_in_runs(failing: Failing, frame: Frame) -> Witness | None:
    side = min(SIDE, frame.q_len)
    tops = np.arange(0, frame.q_len, side, dtype=np.int64) + frame.q_offset
    last = frame.q_offset + frame.q_len - 1
    step = max(1, ROWS_AT_ONCE // side)
    for batch, head in np.ndindex(failing.batch, failing.heads):
        owner = np.full((1, 1), batch), np.full((1, 1), head)
        for start in range(0, len(tops), step):
            query = np.minimum(tops[start : start + step, None] + np.arange(side), last)
            key = _failing_key(failing, Rows(*owner, query), frame)
            wrong = np.flatnonzero(key >= 0)
            if len(wrong):
                at = wrong[0]
                return Witness(batch, head, int(query.reshape(-1)[at]), int(key.reshape(-1)[at]))
    return None


def _failing_key(failing: Failing, rows: Rows, frame: Frame) -> Ints:
    """Return a key at which the relation fails for each row; -1 if there is none."""
    a, b = (_run_in_frame(mask, rows, frame) for mask in (failing.a, failing.b))
    key = _outside(a, b)
    return key if failing.relation == "implies" else np.where(key < 0, _outside(b, a), key)


def _outside(run: Run, other: Run) -> Ints:
    """Return a key of each run that is not in the other one; -1 if there is none."""
    (start, stop), (other_start, other_stop) = run, other
    apart = (other_start >= other_stop) | (start < other_start) | (start >= other_stop)
    key = np.where(apart, start, np.where(stop > other_stop, other_stop, -1))
    return np.where(start < stop, key, -1)


def _run_in_frame(mask: Mask, rows: Rows, frame: Frame) -> Run:
    runs = mask.runs(rows) or []
    start = np.maximum(runs[0][0], frame.kv_offset)
    stop = np.minimum(runs[0][1], frame.kv_offset + frame.kv_len)
    return np.broadcast_to(start, rows.query.shape), np.broadcast_to(stop, rows.query.shape)
