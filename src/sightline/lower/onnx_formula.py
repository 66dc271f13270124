"""A mask as a graph of ONNX nodes, in which no length stands: its formula, recorded on stand-ins.

Lengths, the query offset and the mask's data are inputs of the graph, the last two with values that
are taken unless others are given. Sizes such as a window's stand in the graph.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from sightline.lower.forms.recording import RecordedCells, Term, of, record
from sightline.masks.arrays import Array, Data
from sightline.masks.data import Segments
from sightline.masks.explicit import Dense, PerRow
from sightline.masks.key_intervals import Intervals
from sightline.masks.mask import Mask
from sightline.masks.nodes import Wrapper
from sightline.masks.opaque import Predicate

# The first operator set with Attention, and the version of the file format that came with it.
OPSET, IR_VERSION = 23, 11

# The node of each operator, for integers and for bools; None where bools become integers.
OPERATORS: dict[Any, tuple[str, str | None]] = {
    operator.add: ("Add", "Or"),
    operator.sub: ("Sub", None),
    operator.mul: ("Mul", "And"),
    operator.mod: ("Mod", None),
    operator.neg: ("Neg", None),
    operator.and_: ("BitwiseAnd", "And"),
    operator.or_: ("BitwiseOr", "Or"),
    operator.xor: ("BitwiseXor", "Xor"),
    operator.invert: ("BitwiseNot", "Not"),
    operator.lt: ("Less", None),
    operator.le: ("LessOrEqual", None),
    operator.eq: ("Equal", "Equal"),
    operator.gt: ("Greater", None),
    operator.ge: ("GreaterOrEqual", None),
}


def walk(mask: Mask) -> Iterator[Mask]:
    """Yield the mask and all that it is made of."""
    yield mask
    parts = getattr(mask, "parts", None) or getattr(mask, "masks", None) or ()
    for part in (*parts, *([mask.part] if isinstance(mask, Wrapper) else ())):
        yield from walk(part)


def data_of(mask: Mask) -> Iterator[tuple[str, NDArray[Any]]]:
    """Yield a name and an array for everything that the mask holds about single positions.

    Equal parts have equal names; others of the same kind are numbered: padding, padding2, ...
    """
    kinds: dict[str, list[Mask]] = {}
    for node in walk(mask):
        kind = type(node).__name__.lower()
        alike = kinds.setdefault(kind, [])
        if node not in alike:
            alike.append(node)
        number = alike.index(node)
        kind += str(number + 1) if number else ""
        if isinstance(node, Segments):
            yield f"{kind}_ids", node.id_of_position()
            continue
        for each in fields(cast(Any, node)):
            value = getattr(node, each.name)
            if isinstance(value, Data):
                yield f"{kind}_{each.name}", value.array


def address(array: NDArray[Any]) -> int:
    """Return where the first value of an array stands in memory."""
    return array.__array_interface__["data"][0]


@dataclass
class Formula:
    """The nodes that stand for what was done to the indices, with the tables that they read."""

    onnx: Any
    mask: Mask
    nodes: list[Any] = field(default_factory=list[Any])
    inputs: list[Any] = field(default_factory=list[Any])
    values: dict[str, Any] = field(default_factory=dict[str, Any])
    known: dict[Any, str] = field(default_factory=dict[Any, str])
    batched: str | None = None

    def __post_init__(self) -> None:
        self.data = list(data_of(self.mask))
        # Parts that hold a fixed number of batch rows leave no choice to the others.
        self.any_batch = not any(
            isinstance(node, (PerRow, Dense, Intervals, Predicate)) and node.batch > 1
            for node in walk(self.mask)
        )

    # -- what the masks do --------------------------------------------------------------------

    def call(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Term:
        """Write down one operator; whatever mixes bools with integers is done in integers."""
        if function is operator.ne:
            return self.call(operator.invert, (self.call(operator.eq, args, kwargs),), {})
        if function is operator.floordiv:  # Div rounds towards 0, so it is given what divides
            number, by = args
            return self._write("Div", (number - number % by, by), np.int64(1))
        if function in (operator.lshift, operator.rshift):
            number, power = args[0], 1 << operator.index(args[1])
            return number * power if function is operator.lshift else number // power
        if function not in OPERATORS or kwargs:
            raise TypeError(f"{getattr(function, '__name__', function)} has no node in ONNX")
        examples = of(args, "example")
        with np.errstate(all="ignore"):
            example = np.asarray(function(*examples))[()]
        op, for_bools = OPERATORS[function]
        if for_bools and all(np.asarray(each).dtype == np.bool_ for each in examples):
            return Term(self, self.node(for_bools, *map(self._name, args)), example)
        return self._write(op, args, example)

    def _write(self, op: str, args: tuple[Any, ...], example: Any) -> Term:
        return Term(self, self.node(op, *map(self._integer, args)), example)

    def place(self, array: NDArray[Any]) -> Term:
        """Return a stand-in for a table, which can only be looked up."""
        return Term(self, array, None)

    def lookup(self, table: NDArray[Any], index: tuple[Any, ...]) -> Term:
        """Write down ``table[index]`` as a look-up in the flat table, of whatever sizes."""
        if len(index) != table.ndim:
            raise TypeError("a table wants an index for each of its axes")
        flat, *others = index
        for axis, part in enumerate(others, start=1):
            flat = flat * self.size(table, axis) + part
        values = self.node("Reshape", self.table(table), self.constant([-1]))
        example = np.bool_(True) if table.dtype == np.bool_ else np.int64(1)
        return Term(self, self.node("Gather", values, self._integer(flat)), example)

    def size(self, table: NDArray[Any], axis: int) -> Term:
        """Return the stand-in for the size that a table will have."""
        shape = self.node("Shape", self.table(table))
        return Term(self, self.node("Gather", shape, self.constant(axis)), np.int64(1))

    # -- what the graph consists of -----------------------------------------------------------

    def node(self, op: str, *names: str, **attributes: Any) -> str:
        """Write down one node, unless it is there already, and return the name of its output."""
        key = (op, names, tuple(attributes.items()))
        if key not in self.known:
            self.known[key] = f"{op.lower()}_{len(self.nodes)}"
            made = self.onnx.helper.make_node(op, names, [self.known[key]], **attributes)
            self.nodes.append(made)
        return self.known[key]

    def constant(self, value: Any) -> str:
        """Return the name of a constant: a bool, an integer or a list of integers."""
        name = f"constant_{value}".replace(" ", "")
        self.values[name] = np.asarray(value, dtype=None if isinstance(value, bool) else np.int64)
        return name

    def _name(self, value: Any) -> str:
        if isinstance(value, Term):
            return value.node
        is_bool = isinstance(value, (bool, np.bool_))
        return self.constant(bool(value) if is_bool else operator.index(value))

    def _integer(self, value: Any) -> str:
        if not isinstance(value, Term):
            return self.constant(int(value))
        if value.dtype == np.bool_:
            return self.node("Cast", value.node, to=self.onnx.TensorProto.INT64)
        return value.node

    def table(self, table: NDArray[Any], axes: tuple[str, ...] = ()) -> str:
        """Return the name of a table: of an input if it is of the mask's data, else a constant.

        ``axes`` name those that may have another size when the graph runs; the others may not.
        """
        whole = ((name, data) for name, data in self.data if np.may_share_memory(data, table))
        owner, data = next(whole, (None, None))
        place = table.tobytes() if data is None else address(table) - address(data)
        key = ("", owner, place, table.dtype.str, table.shape)
        if key not in self.known:
            alike = sum(found[:2] == key[:2] for found in self.known)
            name = f"{owner or 'table'}_{alike}" if alike else owner or "table"
            self.known[key] = name
            self.values[name] = table.astype(np.bool_ if table.dtype == np.bool_ else np.int64)
            if owner:
                self.add_input(name, self.values[name].dtype, self._sizes(table, name, axes))
        return self.known[key]

    def _sizes(self, table: NDArray[Any], name: str, axes: tuple[str, ...]) -> list[Any]:
        sizes: list[Any] = list(table.shape)
        for i, axis in enumerate(axes):
            if axis != "batch":
                sizes[i] = f"{name}_{axis}"
            elif sizes[i] > 1 and self.any_batch:
                sizes[i], self.batched = "batch", self.batched or name
        return sizes

    def add_input(self, name: str, kind: Any, sizes: list[Any]) -> None:
        """Let the graph take something; what has a value besides need not be given."""
        self.inputs.append(described(self.onnx, name, kind, sizes))


def described(onnx: Any, name: str, kind: Any, sizes: list[Any]) -> Any:
    """Return what ONNX wants to know of an input or an output."""
    helper = onnx.helper
    number = helper.np_dtype_to_tensor_dtype(np.dtype(kind))
    return helper.make_tensor_value_info(name, number, sizes)


@dataclass(frozen=True)
class OnnxCells(RecordedCells):
    """Cells that let tables be of another size when the graph runs."""

    formula: Any = None

    def lookup(self, table: NDArray[Any], position: Array) -> tuple[Array, Array]:
        """Return (``table[batch row, position]``, whether the position lies in the table)."""
        self.formula.table(table, ("batch", "length"))
        inside = position < self.formula.size(table, 1)
        row = self.batch if table.shape[0] > 1 else 0
        return self.place(table)[row, position * inside], inside

    def per_row(self, column: NDArray[Any]) -> Array:
        """Return ``column[batch row]``."""
        self.formula.table(column, ("batch",))
        return super().per_row(column)


def model(onnx: Any, mask: Mask, q_offset: int) -> Any:
    """Return the ModelProto that gives ``attn_mask`` and ``empty_rows`` for lengths given later.

    Raises:
        CannotExpress: a predicate does what cannot be written down.
    """
    formula = Formula(onnx, mask)
    for name in ("q_len", "kv_len", "q_offset"):
        formula.add_input(name, np.int64, [])
    formula.values["q_offset"] = np.array(q_offset, dtype=np.int64)
    sizes = ("batch_size", formula.constant(mask.heads), "q_len", "kv_len")
    batch, head, query, key = (_index(formula, size, axis) for axis, size in enumerate(sizes))
    offset = Term(formula, "q_offset", np.int64(1))
    query = formula.call(operator.add, (query, offset), {})
    cells = OnnxCells(batch, head, query, key, cast(Any, formula.place), formula)
    result = record(mask, cells, "onnx", "ONNX")
    _write_outputs(formula, result, sizes)
    _write_batch_size(formula)
    made = _assembled(formula)
    onnx.checker.check_model(made, full_check=True)
    return made


def _index(formula: Formula, size: str, axis: int) -> Term:
    """Return the stand-in for 0, 1, ..., size - 1 along one of the four axes."""
    zero, one = formula.constant(0), formula.constant(1)
    shape = [1, 1, 1, 1]
    shape[axis] = -1
    indices = formula.node("Range", zero, size, one)
    return Term(
        formula, formula.node("Reshape", indices, formula.constant(shape), allowzero=1), np.int64(1)
    )


def _write_outputs(formula: Formula, result: Term, sizes: tuple[str, ...]) -> None:
    each = [formula.node("Reshape", size, formula.constant([1])) for size in sizes]
    mask = formula.node("Expand", result.node, formula.node("Concat", *each, axis=0))
    seen = formula.node("Cast", mask, to=formula.onnx.TensorProto.INT64)
    count = formula.node("ReduceSum", seen, formula.constant([3]), keepdims=1)
    make = formula.onnx.helper.make_node
    formula.nodes.append(make("Identity", [mask], ["attn_mask"]))
    formula.nodes.append(make("Equal", [count, formula.constant(0)], ["empty_rows"]))


def _write_batch_size(formula: Formula) -> None:
    """Say first of all how many batch rows there are: as many as the data will have."""
    if formula.batched is None:
        formula.values["batch_size"] = np.array(formula.mask.batch, dtype=np.int64)
        return
    make, zero = formula.onnx.helper.make_node, formula.constant(0)
    formula.nodes[:0] = [
        make("Shape", [formula.batched], ["shape_of_data"]),
        make("Gather", ["shape_of_data", zero], ["batch_size"]),
    ]


def _assembled(formula: Formula) -> Any:
    onnx, mask = formula.onnx, formula.mask
    batch = mask.batch if formula.batched is None else "batch"
    sizes = [batch, mask.heads, "q_len", "kv_len"]
    graph = onnx.helper.make_graph(
        formula.nodes,
        "attention_mask",
        formula.inputs,
        [
            described(onnx, "attn_mask", np.bool_, sizes),
            described(onnx, "empty_rows", np.bool_, [*sizes[:3], 1]),
        ],
        [onnx.numpy_helper.from_array(array, name) for name, array in formula.values.items()],
    )
    return onnx.helper.make_model(
        graph,
        opset_imports=[onnx.helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="sightline",
    )
