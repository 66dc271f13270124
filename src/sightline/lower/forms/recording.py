"""The formula of a mask, recorded once on stand-ins, for libraries that want a formula.

The masks say what they allow with operators on any kind of array. Here the arrays only write down
what is done to them; what it is written into (a graph of torch.fx, of ONNX) is each destination's.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NoReturn, Protocol

import numpy as np
from numpy.typing import NDArray

from sightline.errors import CannotExpress, SightlineError
from sightline.masks.arrays import Array, Cells
from sightline.masks.mask import Mask
from sightline.masks.text import short

# More ends than this are searched for in a table instead of being compared one by one.
MOST_COMPARED = 8

UNARY = ("neg", "invert")
# For these a number may also stand on the left.
REFLECTED = ("add", "sub", "mul", "floordiv", "mod", "and_", "or_", "xor")
BINARY = (*REFLECTED, "lshift", "rshift", "lt", "le", "eq", "ne", "gt", "ge")


class Formula(Protocol):
    """What stand-ins are written down in."""

    def call(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Term:
        """Write down the call of a function; for operators one of the module ``operator``."""
        ...

    def lookup(self, table: NDArray[Any], index: tuple[Any, ...]) -> Term:
        """Write down ``table[index]``, whose parts are stand-ins and numbers."""
        ...


class Term:
    """A stand-in for an array of indices or bools: whatever is done to it is written down.

    ``node`` is what the formula knows it by (a numpy array for a table, which can only be looked
    up), ``example`` a single value of its dtype.
    """

    __array_ufunc__ = None  # numpy's numbers let us have the operator
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, formula: Any, node: Any, example: Any) -> None:
        self.formula, self.node, self.example = formula, node, example

    @property
    def dtype(self) -> Any:
        """The dtype that an array in this place has."""
        return self.example.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """One cell is asked at a time."""
        return ()

    def __getitem__(self, index: Any) -> Term:
        """Look up ``[i, j, ...]`` in a table."""
        if not isinstance(self.node, np.ndarray):
            raise TypeError("a position cannot be indexed")
        return self.formula.lookup(self.node, index if isinstance(index, tuple) else (index,))

    def __bool__(self) -> NoReturn:
        raise TypeError("a condition on a position is known for all positions only, not for one")


def _method(name: str, function: Callable[..., Any], *, swapped: bool = False) -> None:
    def method(self: Term, *others: Any) -> Term:
        operands = (*others, self) if swapped else (self, *others)
        return self.formula.call(function, operands, {})

    bare = name.rstrip("_")
    setattr(Term, f"__r{bare}__" if swapped else f"__{bare}__", method)


for _name in (*BINARY, *UNARY):
    _method(_name, getattr(operator, _name))
for _name in REFLECTED:
    _method(_name, getattr(operator, _name), swapped=True)


def of(value: Any, attribute: str) -> Any:
    """Return ``value`` with the node or the example of each stand-in in its place."""
    if isinstance(value, Term):
        return getattr(value, attribute)
    if isinstance(value, (tuple, list)):
        return type(value)(of(each, attribute) for each in value)
    if isinstance(value, dict):
        return {name: of(each, attribute) for name, each in value.items()}
    return value


@dataclass(frozen=True)
class RecordedCells(Cells):
    """Cells whose arrays are stand-ins; many ends are searched by halving, in a table."""

    def at(self, query: Array, key: Array) -> Cells:
        """The same batch rows and heads, other positions."""
        return replace(self, query=query, key=key)

    def count_at_or_before(self, bounds: NDArray[Any], position: Array) -> Array:
        """Return how many of the rising ``bounds`` are at most ``position``."""
        if len(bounds) <= MOST_COMPARED:
            return super().count_at_or_before(bounds, position)
        # The first 2^n - 1 entries decide n halvings; what fills up is at or before nothing.
        steps = len(bounds).bit_length()
        table = np.full(2**steps - 1, np.iinfo(np.int64).max)
        table[: len(bounds)] = bounds
        ends, total = self.place(table), position * 0
        for step in (1 << shift for shift in reversed(range(steps))):
            total = total + step * (ends[total + (step - 1)] <= position)
        return total


def record(mask: Mask, cells: RecordedCells, destination: str, library: str) -> Term:
    """Return the stand-in for what the mask allows at ``cells``.

    Raises:
        CannotExpress: a predicate does what cannot be written down.
    """
    try:
        result = mask.allowed(cells)
        if not isinstance(result, Term):
            raise TypeError(f"the answer is {type(result).__name__}, not a formula")
    except SightlineError:
        raise
    except Exception as error:
        raise CannotExpress(
            destination=destination,
            part=short(mask),
            reason=f"its formula cannot be recorded for {library} "
            f"({type(error).__name__}: {error})",
            alternative="write the predicate with operators on b, h, q and k (& | ~, no if, no "
            "numpy functions, no tables of its own), or give its cells as sl.dense(array, means=)",
        ) from error
    return result
