"""FlexAttention's ``mask_mod`` from an expression: its formula, recorded once on stand-ins.

The masks say what they allow with operators on any kind of array. Here the arrays only write down
what is done to them, and torch.fx makes a plain function of it. Data (documents, lengths, the
query offset) are tensors, made beforehand; sizes such as a window's stand in the code. So masks of
one form with other data share one function, and torch.compile need not compile again.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NoReturn, cast

import numpy as np
from numpy.typing import NDArray

from sightline.errors import CannotExpress, SightlineError
from sightline.masks.arrays import Array, Cells
from sightline.masks.mask import Mask
from sightline.masks.text import short

# More ends than this are searched for in a table instead of being compared one by one.
MOST_COMPARED = 8
# Products and sums with numbers beyond these may not fit the 32-bit indices of some kernels.
WIDE_FACTOR, WIDE_NUMBER = 2**8, 2**30
# Functions kept to be shared; more forms than that in one process are made anew.
MOST_FUNCTIONS = 256

UNARY = ("neg", "invert")
# For these a number may also stand on the left.
REFLECTED = ("add", "sub", "mul", "floordiv", "mod", "and_", "or_", "xor")
BINARY = (*REFLECTED, "lshift", "rshift", "lt", "le", "eq", "ne", "gt", "ge")

_FUNCTIONS: dict[tuple[Any, ...], Callable[..., Any]] = {}


class Term:
    """A stand-in for a tensor of indices or bools: whatever is done to it is written down."""

    __array_ufunc__ = None  # numpy's numbers let us have the operator
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, formula: Formula, node: Any, example: Any) -> None:
        self.formula, self.node, self.example = formula, node, example

    @property
    def dtype(self) -> Any:
        """The dtype that a tensor in this place has."""
        return self.example.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """One cell is asked at a time."""
        return ()

    def __getitem__(self, index: Any) -> Term:
        """Look up ``[i, j, ...]`` in a table; a number picks its part at once."""
        table, each = self.node, index if isinstance(index, tuple) else (index,)
        if not isinstance(table, np.ndarray):
            raise TypeError("a position cannot be indexed")
        for axis in reversed(range(len(each))):
            if not isinstance(each[axis], Term):
                table = table.take(int(each[axis]), axis=axis)
        terms = [part for part in each if isinstance(part, Term)]
        return self.formula.lookup(table, terms)

    def __bool__(self) -> NoReturn:
        raise TypeError("a condition on a position is known for all positions only, not for one")

    @classmethod
    def __torch_function__(
        cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Term:
        """Write down a function of torch's that was called on a stand-in."""
        formula = next(each for each in args if isinstance(each, Term)).formula
        return formula.call(func, args, kwargs or {})


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


@dataclass
class Formula:
    """What was done to the four indices, as a graph of torch.fx, with the tables that it reads."""

    torch: Any
    device: Any
    tables: list[Any] = field(default_factory=list[Any])
    wide: bool = False

    def __post_init__(self) -> None:
        self.graph = self.torch.fx.Graph()
        zero = self.torch.zeros((), dtype=self.torch.int64)
        self.indices: list[Any] = [
            Term(self, self.graph.placeholder(name), zero) for name in ("b", "h", "q_idx", "kv_idx")
        ]
        self.known: dict[tuple[str, tuple[int, ...], bytes], Any] = {}

    def call(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Term:
        """Write down one call; numpy's numbers become Python's."""
        args = tuple(each.item() if isinstance(each, np.generic) else each for each in args)
        self._widen(function, [each for each in args if type(each) is int])
        example = function(*_of(args, "example"), **_of(kwargs, "example"))
        if not isinstance(example, self.torch.Tensor):
            raise TypeError(f"{getattr(function, '__name__', function)} gives no tensor")
        node = self.graph.call_function(function, _of(args, "node"), _of(kwargs, "node"))
        return Term(self, node, example)

    def _widen(self, function: Any, numbers: list[int]) -> None:
        most = WIDE_FACTOR if function in (operator.mul, operator.lshift) else WIDE_NUMBER
        self.wide |= any(abs(number) > most for number in numbers)

    def place(self, array: NDArray[Any]) -> Term:
        """Return a stand-in for a table, which can only be looked up."""
        return Term(self, array, None)

    def lookup(self, table: NDArray[Any], terms: list[Term]) -> Term:
        """Write down ``table[terms]``; without terms the table is a single number."""
        node = self._tensor(np.array(table, order="C"))
        if terms:
            index = tuple(term.node for term in terms)
            args = (node, index[0] if len(terms) == 1 else index)
            node = self.graph.call_function(operator.getitem, args)
        zero = self.torch.from_numpy(np.zeros((), dtype=table.dtype))
        return Term(self, node, zero)

    def _tensor(self, table: NDArray[Any]) -> Any:
        """Return the node of a table; equal tables are one tensor, made here and now."""
        key = (table.dtype.str, table.shape, table.tobytes())
        if key not in self.known:
            last = next(node for node in reversed(self.graph.nodes) if node.op == "placeholder")
            with self.graph.inserting_after(last):
                self.known[key] = self.graph.placeholder(f"table_{len(self.tables)}")
            self.tables.append(self.torch.tensor(table, device=self.device))
        return self.known[key]

    def function(self, result: Term) -> Callable[..., Any]:
        """Return ``mask_mod(b, h, q_idx, kv_idx)``."""
        self.graph.output(result.node)
        if self.wide:
            self._start_from_int64()
        self.graph.eliminate_dead_code()
        self.graph.lint()
        # The numbers stand in the code: in a closure, torch.compile takes them for changing ones.
        module = self.torch.fx.GraphModule({}, self.graph)
        key = (module.code, *(node.target for node in self.graph.nodes))
        if len(_FUNCTIONS) >= MOST_FUNCTIONS and key not in _FUNCTIONS:
            _FUNCTIONS.pop(next(iter(_FUNCTIONS)))
        formula, tables = _FUNCTIONS.setdefault(key, type(module).forward), tuple(self.tables)

        def mask_mod(b: Any, h: Any, q_idx: Any, kv_idx: Any) -> Any:
            return formula(None, b, h, q_idx, kv_idx, *tables)

        return mask_mod

    def _start_from_int64(self) -> None:
        first = next(node for node in self.graph.nodes if node.op != "placeholder")
        for term in self.indices:
            with self.graph.inserting_before(first):
                wide = self.graph.call_method("to", (term.node, self.torch.int64))
            term.node.replace_all_uses_with(wide, delete_user_cb=lambda user, w=wide: user is not w)


def _of(value: Any, attribute: str) -> Any:
    """Return ``value`` with the node or the example of each stand-in in its place."""
    if isinstance(value, Term):
        return getattr(value, attribute)
    if isinstance(value, (tuple, list)):
        return type(value)(_of(each, attribute) for each in value)
    if isinstance(value, dict):
        return {name: _of(each, attribute) for name, each in value.items()}
    return value


@dataclass(frozen=True)
class RecordedCells(Cells):
    """Cells whose arrays are stand-ins; many ends are searched by halving, in a table."""

    def at(self, query: Array, key: Array) -> Cells:
        """The same batch rows and heads, other positions."""
        return RecordedCells(self.batch, self.head, query, key, self.place)

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


def mask_mod(torch: Any, mask: Mask, q_offset: int, device: Any) -> Callable[..., Any]:
    """Return torch's ``mask_mod(b, h, q_idx, kv_idx)`` of a mask, query 0 standing at ``q_offset``.

    An axis on which the mask has size 1 is asked at 0, whatever the index.

    Raises:
        CannotExpress: a predicate does what cannot be written down.
    """
    formula = Formula(torch, device)
    batch, head, query, key = formula.indices
    batch, head = (
        index if size > 1 else index * 0
        for index, size in ((batch, mask.batch), (head, mask.heads))
    )
    if q_offset:
        query = query + formula.lookup(np.array(q_offset), [])
    cells = RecordedCells(batch, head, query, key, cast(Any, formula.place))
    try:
        result = mask.allowed(cells)
        if not isinstance(result, Term):
            raise TypeError(f"the answer is {type(result).__name__}, not a tensor")
    except SightlineError:
        raise
    except Exception as error:
        raise CannotExpress(
            destination="torch.flex",
            part=short(mask),
            reason=f"its formula cannot be recorded for torch ({type(error).__name__}: {error})",
            alternative="write the predicate with operators on b, h, q and k (& | ~, no if, no "
            "numpy functions, no tables of its own), or give its cells as sl.dense(array, means=)",
        ) from error
    return formula.function(result)
