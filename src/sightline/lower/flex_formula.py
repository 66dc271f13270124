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
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from sightline.lower.forms.recording import RecordedCells, Term, of, record
from sightline.masks.mask import Mask

# Products and sums with numbers beyond these may not fit the 32-bit indices of some kernels.
WIDE_FACTOR, WIDE_NUMBER = 2**8, 2**30
# Functions kept to be shared; more forms than that in one process are made anew.
MOST_FUNCTIONS = 256

_FUNCTIONS: dict[tuple[Any, ...], Callable[..., Any]] = {}


class TorchTerm(Term):
    """A stand-in for a tensor, which torch's functions may be called on too."""

    @classmethod
    def __torch_function__(
        cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Term:
        """Write down a function of torch's that was called on a stand-in."""
        formula = next(each for each in args if isinstance(each, Term)).formula
        return formula.call(func, args, kwargs or {})


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
            TorchTerm(self, self.graph.placeholder(name), zero)
            for name in ("b", "h", "q_idx", "kv_idx")
        ]
        self.known: dict[tuple[str, tuple[int, ...], bytes], Any] = {}

    def call(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Term:
        """Write down one call; numpy's numbers become Python's."""
        args = tuple(each.item() if isinstance(each, np.generic) else each for each in args)
        self._widen(function, [each for each in args if type(each) is int])
        example = function(*of(args, "example"), **of(kwargs, "example"))
        if not isinstance(example, self.torch.Tensor):
            raise TypeError(f"{getattr(function, '__name__', function)} gives no tensor")
        node = self.graph.call_function(function, of(args, "node"), of(kwargs, "node"))
        return TorchTerm(self, node, example)

    def _widen(self, function: Any, numbers: list[int]) -> None:
        most = WIDE_FACTOR if function in (operator.mul, operator.lshift) else WIDE_NUMBER
        self.wide |= any(abs(number) > most for number in numbers)

    def place(self, array: NDArray[Any]) -> Term:
        """Return a stand-in for a table, which can only be looked up."""
        return TorchTerm(self, array, None)

    def lookup(self, table: NDArray[Any], index: tuple[Any, ...]) -> Term:
        """Write down ``table[index]``; a number picks its part at once, ``()`` a single number."""
        for axis in reversed(range(len(index))):
            if not isinstance(index[axis], Term):
                table = table.take(int(index[axis]), axis=axis)
        terms = [part for part in index if isinstance(part, Term)]
        node = self._tensor(np.array(table, order="C"))
        if terms:
            nodes = tuple(term.node for term in terms)
            args = (node, nodes[0] if len(terms) == 1 else nodes)
            node = self.graph.call_function(operator.getitem, args)
        zero = self.torch.from_numpy(np.zeros((), dtype=table.dtype))
        return TorchTerm(self, node, zero)

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
        query = query + formula.lookup(np.array(q_offset), ())
    cells = RecordedCells(batch, head, query, key, cast(Any, formula.place))
    return formula.function(record(mask, cells, "torch.flex", "torch"))
