"""The nodes of a mask expression: the base of every atom, two constants, ``& | ~``.

Moves and swaps are in moves.py.

Nodes are frozen values in canonical form; make them with the operators of ``Mask``, never by
hand, which would skip the laws of rewrite.py.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from sightline.errors import ShapeMismatch
from sightline.masks.arrays import Array, Cells, Data
from sightline.masks.bounds import (
    EMPTY,
    FULL,
    PARTIAL,
    every,
    join_runs,
    meet_runs,
    outside_runs,
    states,
)
from sightline.masks.intervals import ENDLESS
from sightline.masks.mask import Extent, Mask, Spec

if TYPE_CHECKING:
    from sightline.masks.bounds import Ints, Rows, Run, States, Tiles


class Atom(Mask):
    """A mask that is defined by itself: one class holds all that is known of it."""

    __slots__ = ()

    def transposed(self) -> Mask:
        from sightline.masks.moves import Transposed  # it is an atom itself

        return Transposed(self)

    def moved(self, rows: int, columns: int) -> Mask:
        from sightline.masks.moves import Shifted

        return Shifted(self, rows, columns)

    def complement(self) -> Mask:
        return Not(self)

    def order_key(self) -> tuple[Any, ...]:
        return _fields_key(self)


class Staircase(Atom):
    """An atom that shows each query one run of keys, whose ends never fall from query to query."""

    __slots__ = ()

    def run(self, rows: Rows) -> Run:
        """Return the start and stop of the keys of each row."""
        raise NotImplementedError

    def bounds(self, tiles: Tiles) -> States:
        first_start, first_stop = self.run(tiles.top)
        last_start, last_stop = self.run(tiles.bottom)
        empty = (tiles.k_last < first_start) | (tiles.k_first >= last_stop)
        return states(empty, (tiles.k_first >= last_start) & (tiles.k_last < first_stop))

    def runs(self, rows: Rows) -> list[Run] | None:
        return [self.run(rows)]


@dataclass(frozen=True, slots=True, repr=False)
class Everything(Atom):
    """Every query may see every key."""

    @property
    def asks_distance_alone(self) -> bool:
        return True

    def allowed(self, cells: Cells) -> Array:
        return cells.key >= 0

    def bounds(self, tiles: Tiles) -> States:
        return every(FULL, tiles)

    def runs(self, rows: Rows) -> list[Run] | None:
        return [(rows.query * 0, rows.query * 0 + ENDLESS)]

    def spec(self) -> Spec:
        return "everything", {}

    def transposed(self) -> Mask:
        return self

    def complement(self) -> Mask:
        return Nothing()

    def moved(self, rows: int, columns: int) -> Mask:
        return covered(self, rows, columns)


@dataclass(frozen=True, slots=True, repr=False)
class Nothing(Atom):
    """No query may see any key."""

    @property
    def asks_distance_alone(self) -> bool:
        return True

    def allowed(self, cells: Cells) -> Array:
        return cells.key < 0

    def bounds(self, tiles: Tiles) -> States:
        return every(EMPTY, tiles)

    def runs(self, rows: Rows) -> list[Run] | None:
        return [(rows.query * 0, rows.query * 0)]

    def spec(self) -> Spec:
        return "nothing", {}

    def transposed(self) -> Mask:
        return self

    def complement(self) -> Mask:
        return Everything()

    def moved(self, rows: int, columns: int) -> Mask:
        return self


class _Connective(Mask):
    """What ``And`` and ``Or`` share: at least two parts, none of them of the same connective."""

    __slots__ = ()

    parts: tuple[Mask, ...]

    @property
    def batch(self) -> int:
        return common_size(self.parts, "batch")

    @property
    def heads(self) -> int:
        return common_size(self.parts, "heads")

    @property
    def asks_distance_alone(self) -> bool:
        return all(part.asks_distance_alone for part in self.parts)

    def extent(self) -> Extent:
        return widest(part.extent() for part in self.parts)

    def check_reach(self, q_stop: int, k_stop: int) -> None:
        for part in self.parts:
            part.check_reach(q_stop, k_stop)

    def signature(self, tiles: Tiles) -> list[Ints]:
        """Only the parts that are mixed in a tile tell it from others."""
        columns: list[Ints] = []
        for part in self.parts:
            found, told = part.bounds_and_signature(tiles)
            mixed = found == PARTIAL
            columns.append(found.astype(np.int64))
            columns.extend(np.where(mixed, column, 0) for column in told)
        return columns

    def cuts(self) -> Ints:
        return side_by_side([part.cuts() for part in self.parts])

    def node_count(self) -> int:
        return 1 + sum(part.node_count() for part in self.parts)

    def order_key(self) -> tuple[Any, ...]:
        return _fields_key(self)


@dataclass(frozen=True, slots=True, repr=False)
class And(_Connective):
    """Allowed where every part allows. Made by ``&``; never by hand, which skips the laws."""

    parts: tuple[Mask, ...]

    def allowed(self, cells: Cells) -> Array:
        result = self.parts[0].allowed(cells)
        for part in self.parts[1:]:
            result = result & part.allowed(cells)
        return result

    def bounds(self, tiles: Tiles) -> States:
        return _combined(self.parts, tiles, np.minimum, EMPTY)

    def runs(self, rows: Rows) -> list[Run] | None:
        found = self.parts[0].runs(rows)
        for part in self.parts[1:]:
            found = None if found is None else meet_runs(found, part.runs(rows))
        return found

    def spec(self) -> Spec:
        return "and", *(part.spec() for part in self.parts)

    def transposed(self) -> Mask:
        return all_of(part.transposed() for part in self.parts)

    def moved(self, rows: int, columns: int) -> Mask:
        return all_of(part.moved(rows, columns) for part in self.parts)

    def complement(self) -> Mask:
        # The laws treat & and | alike, so the complement of a canonical form is canonical.
        return Or(in_order(part.complement() for part in self.parts))


@dataclass(frozen=True, slots=True, repr=False)
class Or(_Connective):
    """Allowed where at least one part allows. Made by ``|``; never by hand."""

    parts: tuple[Mask, ...]

    def allowed(self, cells: Cells) -> Array:
        result = self.parts[0].allowed(cells)
        for part in self.parts[1:]:
            result = result | part.allowed(cells)
        return result

    def bounds(self, tiles: Tiles) -> States:
        return _combined(self.parts, tiles, np.maximum, FULL)

    def runs(self, rows: Rows) -> list[Run] | None:
        found = self.parts[0].runs(rows)
        for part in self.parts[1:]:
            found = None if found is None else join_runs(found, part.runs(rows))
        return found

    def spec(self) -> Spec:
        return "or", *(part.spec() for part in self.parts)

    def transposed(self) -> Mask:
        return any_of(part.transposed() for part in self.parts)

    def moved(self, rows: int, columns: int) -> Mask:
        return any_of(part.moved(rows, columns) for part in self.parts)

    def complement(self) -> Mask:
        return And(in_order(part.complement() for part in self.parts))


class Wrapper(Atom):
    """What the one-part nodes share; in canonical form their part is an atom (or moved atom)."""

    __slots__ = ()

    part: Mask

    @property
    def batch(self) -> int:
        return self.part.batch

    @property
    def heads(self) -> int:
        return self.part.heads

    def extent(self) -> Extent:
        return self.part.extent()

    def check_reach(self, q_stop: int, k_stop: int) -> None:
        self.part.check_reach(q_stop, k_stop)

    def cuts(self) -> Ints:
        return self.part.cuts()


@dataclass(frozen=True, slots=True, repr=False)
class Not(Wrapper):
    """Allowed exactly where the part forbids. Made by ``~``."""

    part: Mask

    @property
    def asks_distance_alone(self) -> bool:
        return self.part.asks_distance_alone

    def allowed(self, cells: Cells) -> Array:
        return ~self.part.allowed(cells)

    def bounds(self, tiles: Tiles) -> States:
        return FULL - self.part.bounds(tiles)

    def signature(self, tiles: Tiles) -> list[Ints]:
        return self.part.signature(tiles)

    def runs(self, rows: Rows) -> list[Run] | None:
        return outside_runs(self.part.runs(rows), ENDLESS)

    def spec(self) -> Spec:
        return "not", self.part.spec()

    def transposed(self) -> Mask:
        return self.part.transposed().complement()

    def moved(self, rows: int, columns: int) -> Mask:
        return covered(self.part.moved(rows, columns).complement(), rows, columns)

    def complement(self) -> Mask:
        return self.part

    def order_key(self) -> tuple[Any, ...]:
        return (*self.part.order_key(), "~")  # ~a stands next to a


# -- helpers for the atoms --------------------------------------------------------------------


def common_size(masks: Iterable[Mask], axis: str) -> int:
    """Return the size of the batch or head axis on which all masks agree; 1 broadcasts."""
    sizes = {int(getattr(mask, axis)) for mask in masks} - {1}
    if len(sizes) > 1:
        word = "batch rows" if axis == "batch" else "heads"
        got = " and ".join(str(size) for size in sorted(sizes))
        raise ShapeMismatch(
            f"masks of {got} {word} cannot be combined; they must be equal, or 1 to serve all."
        )
    return sizes.pop() if sizes else 1


# A part is asked of all tiles unless this share of them or less is still open.
WORTH_ALL = 0.8


def _combined(parts: tuple[Mask, ...], tiles: Tiles, choose: np.ufunc, decided: int) -> States:
    """Return the parts' states combined; a part is only asked of tiles that are not decided."""
    result = parts[0].bounds(tiles)
    for part in parts[1:]:
        open_tiles = np.flatnonzero(result != decided)
        if len(open_tiles) < WORTH_ALL * len(tiles):
            if len(open_tiles):
                found = part.bounds(tiles.at(open_tiles))
                result[open_tiles] = choose(result[open_tiles], found)
        else:
            result = choose(result, part.bounds(tiles))
    return result


def _fields_key(mask: Mask) -> tuple[Any, ...]:
    """Return a sort key made of the class and its fields, of which arrays give their digest."""
    names = [f.name for f in fields(mask) if f.compare]  # pyright: ignore[reportArgumentType]
    return (type(mask).__name__, *(_sortable(getattr(mask, name)) for name in names))


def _sortable(value: object) -> tuple[Any, ...]:
    """Return a form of a field's value that sorts among those of every other type."""
    if value is None:
        return (0,)
    if isinstance(value, int):
        return (1, value)
    if isinstance(value, str):
        return (2, value)
    if isinstance(value, Data):
        return (3, value.digest)
    if isinstance(value, Mask):
        return (4, value.order_key())
    if isinstance(value, tuple):
        return (5, tuple(_sortable(v) for v in cast("tuple[object, ...]", value)))
    return (6, id(value))


def in_order(parts: Iterable[Mask]) -> tuple[Mask, ...]:
    """``a & b == b & a`` and ``a | b == b | a``."""
    return tuple(sorted(parts, key=lambda part: part.order_key()))


def all_of(masks: Iterable[Mask]) -> Mask:
    """Return the conjunction of the masks in canonical form."""
    from sightline.masks.rewrite import conjunction

    return conjunction(list(masks))


def any_of(masks: Iterable[Mask]) -> Mask:
    """Return the disjunction of the masks in canonical form."""
    from sightline.masks.rewrite import disjunction

    return disjunction(list(masks))


def covered(mask: Mask, rows: int, columns: int) -> Mask:
    """Return the mask without the cells that a move by ``rows`` and ``columns`` uncovers."""
    from sightline.masks.positional import from_position

    return all_of([mask, from_position("query", rows), from_position("key", columns)])


def side_by_side(cuts: Iterable[Ints]) -> Ints:
    """Return the cuts of several masks together; one batch row serves all."""
    each = list(cuts)
    batch = max(len(some) for some in each)
    return np.concatenate([np.broadcast_to(c, (batch, c.shape[1])) for c in each], axis=1)


def widest(extents: Iterable[Extent]) -> Extent:
    """Return the largest finite extent on each axis; None where no mask has one."""
    queries, keys = zip(*extents, strict=True)
    return (
        max((n for n in queries if n is not None), default=None),
        max((n for n in keys if n is not None), default=None),
    )
