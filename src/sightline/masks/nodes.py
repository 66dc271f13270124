"""The nodes of a mask expression: the base of every atom, two constants, ``& | ~``, moves, swaps.

Nodes are frozen values in canonical form; make them with the operators of ``Mask``, never by
hand, which would skip the laws of rewrite.py.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any, cast

from sightline.errors import ShapeMismatch
from sightline.masks.arrays import Array, Cells, Data
from sightline.masks.mask import Extent, Mask, Spec


class Atom(Mask):
    """A mask that is defined by itself: one class holds all that is known of it."""

    __slots__ = ()

    def transposed(self) -> Mask:
        return Transposed(self)

    def moved(self, rows: int, columns: int) -> Mask:
        return Shifted(self, rows, columns)

    def complement(self) -> Mask:
        return Not(self)

    def order_key(self) -> tuple[Any, ...]:
        return _fields_key(self)


@dataclass(frozen=True, slots=True, repr=False)
class Everything(Atom):
    """Every query may see every key."""

    def allowed(self, cells: Cells) -> Array:
        return cells.key >= 0

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

    def allowed(self, cells: Cells) -> Array:
        return cells.key < 0

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

    def extent(self) -> Extent:
        return widest(part.extent() for part in self.parts)

    def check_reach(self, q_stop: int, k_stop: int) -> None:
        for part in self.parts:
            part.check_reach(q_stop, k_stop)

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

    def spec(self) -> Spec:
        return "or", *(part.spec() for part in self.parts)

    def transposed(self) -> Mask:
        return any_of(part.transposed() for part in self.parts)

    def moved(self, rows: int, columns: int) -> Mask:
        return any_of(part.moved(rows, columns) for part in self.parts)

    def complement(self) -> Mask:
        return And(in_order(part.complement() for part in self.parts))


class _Wrapper(Atom):
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


@dataclass(frozen=True, slots=True, repr=False)
class Not(_Wrapper):
    """Allowed exactly where the part forbids. Made by ``~``."""

    part: Mask

    def allowed(self, cells: Cells) -> Array:
        return ~self.part.allowed(cells)

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


@dataclass(frozen=True, slots=True, repr=False)
class Transposed(_Wrapper):
    """The part with the roles of query and key swapped. Made by ``.T``."""

    part: Mask

    def allowed(self, cells: Cells) -> Array:
        return self.part.allowed(cells.at(query=cells.key, key=cells.query))

    def spec(self) -> Spec:
        return "transpose", self.part.spec()

    def transposed(self) -> Mask:
        return self.part

    def extent(self) -> Extent:
        queries, keys = self.part.extent()
        return keys, queries

    def check_reach(self, q_stop: int, k_stop: int) -> None:
        self.part.check_reach(k_stop, q_stop)


@dataclass(frozen=True, slots=True, repr=False)
class Shifted(_Wrapper):
    """The part moved ``rows`` down and ``columns`` to the right. Made by ``.shift``."""

    part: Mask
    rows_down: int
    columns_right: int

    def allowed(self, cells: Cells) -> Array:
        query = cells.query - self.rows_down
        key = cells.key - self.columns_right
        covered = (query >= 0) & (key >= 0)
        # Uncovered cells are asked at position 0: masks answer for positions >= 0 only.
        there = cells.at(query=query * (query >= 0), key=key * (key >= 0))
        return self.part.allowed(there) & covered

    def spec(self) -> Spec:
        amounts = {"query": self.rows_down, "key": self.columns_right}
        return "shift", self.part.spec(), {k: v for k, v in amounts.items() if v}

    def transposed(self) -> Mask:
        return self.part.transposed().moved(self.columns_right, self.rows_down)

    def moved(self, rows: int, columns: int) -> Mask:
        total = (self.rows_down + rows, self.columns_right + columns)
        moved = self.part if total == (0, 0) else self.part.moved(*total)
        # A move back into view does not bring back what a move out of view has lost.
        lost = (self.rows_down < 0 < rows, self.columns_right < 0 < columns)
        return covered(moved, rows if lost[0] else 0, columns if lost[1] else 0)

    def extent(self) -> Extent:
        queries, keys = self.part.extent()
        return (
            None if queries is None else max(0, queries + self.rows_down),
            None if keys is None else max(0, keys + self.columns_right),
        )

    def check_reach(self, q_stop: int, k_stop: int) -> None:
        self.part.check_reach(max(0, q_stop - self.rows_down), max(0, k_stop - self.columns_right))


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


def widest(extents: Iterable[Extent]) -> Extent:
    """Return the largest finite extent on each axis; None where no mask has one."""
    queries, keys = zip(*extents, strict=True)
    return (
        max((n for n in queries if n is not None), default=None),
        max((n for n in keys if n is not None), default=None),
    )
