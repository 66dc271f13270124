"""What an expression that makes a mask is worth: which region it fills, and with what numbers.

A small evaluator over the syntax tree: it knows triangles, ones, comparisons, fills and what turns
them round, and answers None where it is not sure. Which region is wrong where is a rule's matter.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass, replace
from typing import Literal

from sightline.audit.linting.operations import Operation, operation
from sightline.audit.linting.scopes import Scopes, is_self
from sightline.audit.linting.source import FUNCTIONS, Function, Source, is_number, number, words

Side = Literal["lower", "upper", "all", "none"]
Kind = Literal["bool", "float", "int", "additive"]
# What a mask is filled with, or multiplied by, to forbid.
FORBIDS_FROM = -50.0
_KEEPS = words(
    "view unsqueeze squeeze expand expand_as repeat repeat_interleave contiguous clone detach "
    "cuda cpu reshape requires_grad_ broadcast_to tile expand_dims tensor as_tensor asarray "
    "array from_numpy Variable Parameter constant flatten unsqueeze_ pin_memory numpy"
)
_TURNS = words("t transpose T mT swapaxes swapdims mH H")
_DTYPES: dict[str, Kind] = {
    **dict.fromkeys(words("bool bool_ BoolTensor uint8 byte ByteTensor"), "bool"),
    **dict.fromkeys(words("int int8 int16 int32 int64 long short LongTensor"), "int"),
    **dict.fromkeys(words("float float16 float32 float64 half double bfloat16"), "float"),
    **dict.fromkeys(words("FloatTensor HalfTensor"), "float"),
}
_ATTENDING = words("q k v query key value queries keys values scores hidden_states")
_COMPLEMENTS = {"logical_not", "bitwise_not", "invert", "logical_not_", "bitwise_not_"}
_COMPARISONS: dict[str, type[ast.cmpop]] = {
    "eq": ast.Eq, "equal": ast.Eq, "ne": ast.NotEq, "not_equal": ast.NotEq, "lt": ast.Lt,
    "gt": ast.Gt, "le": ast.LtE, "ge": ast.GtE,
}  # fmt: skip


@dataclass(frozen=True)
class MaskValue:
    """What a mask holds, as far as the text tells.

    Attributes:
        kind: bool, float or int of 0 and 1, or additive (0, and something very negative); None if
            the text does not tell.
        side: where it is true (or 1; of an additive one, where it forbids): key - query <= offset
            ("lower"), key - query >= offset ("upper"), "all", "none", or None if not known.
        offset: the diagonal of ``side``; None if not a written number.
        exact: whether it is true on all of that region; otherwise on a part of it.
    """

    kind: Kind | None
    side: Side | None = None
    offset: int | None = 0
    exact: bool = True

    @property
    def opposite(self) -> MaskValue:
        """The same with true and false exchanged."""
        if self.side is None or not self.exact:
            return replace(self, side=None, exact=True)
        if self.side in ("all", "none"):
            return replace(self, side="none" if self.side == "all" else "all")
        lower = self.side == "lower"
        offset = None if self.offset is None else self.offset + (1 if lower else -1)
        return replace(self, side="upper" if lower else "lower", offset=offset)

    @property
    def turned(self) -> MaskValue:
        """The same with query and key exchanged."""
        if self.side not in ("lower", "upper"):
            return self
        offset = None if self.offset is None else -self.offset
        return replace(self, side="upper" if self.side == "lower" else "lower", offset=offset)

    @property
    def triangle(self) -> bool:
        """Whether it is a triangle."""
        return self.side in ("lower", "upper")


class MaskValues:
    """The evaluator of one source."""

    def __init__(self, source: Source, scopes: Scopes) -> None:
        self.source = source
        self.scopes = scopes
        self._known: dict[ast.AST, MaskValue | None] = {}
        self._depth = 0

    def of(self, node: ast.expr | None) -> MaskValue | None:
        """Return what an expression is worth as a mask; None if that is not sure."""
        if node is None or self._depth > 25:
            return None
        if node not in self._known:
            self._known[node] = None  # what asks for itself is not known
            self._depth += 1
            self._known[node] = self._of(node)
            self._depth -= 1
        return self._known[node]

    def _of(self, node: ast.expr) -> MaskValue | None:
        match node:
            case ast.Name():
                return self._followed(node)
            case ast.Attribute(value=base) if is_self(base):
                return self._followed(node)
            case ast.Attribute(value=base, attr=attr) if attr in _TURNS:
                value = self.of(base)
                return value and value.turned
            case ast.NamedExpr(value=value) | ast.Attribute(value=value, attr="data"):
                return self.of(value)
            case ast.IfExp(body=body, orelse=orelse):
                value = self.of(body)
                return value if value == self.of(orelse) else None
            case ast.Subscript(value=base):
                return self._part(base, node.slice)
            case ast.UnaryOp(op=ast.Invert(), operand=operand):
                value = self.of(operand)
                return value.opposite if value else MaskValue(None)
            case ast.BinOp():
                return self._of_two(node)
            case ast.Compare(left=left, ops=[op], comparators=[right]):
                return self._compared(left, type(op), right)
            case ast.Call():
                return self._called(node)
        return None

    def _followed(self, node: ast.expr) -> MaskValue | None:
        held = self.scopes.value(node)
        return self.of(held) if held is not None and held is not node else None

    def _part(self, base: ast.expr, index: ast.expr) -> MaskValue | None:
        value = self.of(base)
        parts = index.elts if isinstance(index, ast.Tuple) else [index]
        moves = any(isinstance(each, ast.Slice) and each.lower is not None for each in parts)
        # A part that begins elsewhere has its triangle, but not its diagonal.
        return replace(value, offset=None) if value and value.triangle and moves else value

    def _of_two(self, node: ast.BinOp) -> MaskValue | None:
        left, right = self.of(node.left), self.of(node.right)
        match node.op:
            case ast.BitAnd():
                return _both(left, right)
            case ast.BitOr():
                return MaskValue("bool")
            case ast.Sub() if is_number(node.left, 1) and right and right.kind != "additive":
                return replace(right.opposite, kind="float" if right.kind != "int" else "int")
            case ast.Mult():
                for value, other in ((left, node.right), (right, node.left)):
                    factor = number(other)
                    if (factor is not None and factor <= FORBIDS_FROM) or self.is_lowest(other):
                        return _forbidding(value) if value and value.kind != "additive" else None
                return None if left is None or right is None else _both(left, right)
        return None

    def is_lowest(self, node: ast.AST | None) -> bool:
        """Whether an expression is the least number of a dtype: ``torch.finfo(dtype).min``."""
        held = self.scopes.value(node) if isinstance(node, ast.expr) else None
        match held:
            case ast.Attribute(value=ast.Call(func=function), attr="min"):
                return self.source.dotted(function).rpartition(".")[2] == "finfo"
            case ast.UnaryOp(
                op=ast.USub(), operand=ast.Attribute(value=ast.Call(func=function), attr="max")
            ):
                return self.source.dotted(function).rpartition(".")[2] == "finfo"
            case ast.Call(func=ast.Name(id="float"), args=[inner]):
                return self.is_lowest(inner)
            case ast.Call(func=ast.Attribute(attr="tensor" | "full"), args=[*_, inner]):
                return self.is_lowest(inner)
        return False

    def forbids(self, node: ast.AST | None) -> bool:
        """Whether an expression is a number that forbids: -inf, -1e9, the least of a dtype."""
        held = self.scopes.value(node) if isinstance(node, ast.expr) else None
        value = number(held)
        return (value is not None and value <= FORBIDS_FROM) or self.is_lowest(held)

    def _compared(self, left: ast.expr, op: type[ast.cmpop], right: ast.expr) -> MaskValue | None:
        if op in (ast.Is, ast.IsNot, ast.In, ast.NotIn):
            return None
        value, limit = self.of(left), number(right)
        if value is None or limit is None:
            return MaskValue("bool")
        if value.kind == "additive":
            forbids = {(ast.Eq, 0.0): False, (ast.NotEq, 0.0): True, (ast.Lt, 0.0): True}
            known = forbids.get((op, limit))
        else:
            known = _TRUE_WHERE_ONE.get((op, limit))
        if known is None:
            return MaskValue("bool")
        return replace(value if known else value.opposite, kind="bool")

    def _called(self, call: ast.Call) -> MaskValue | None:
        local = self._local(call)
        if local is not None:
            return self.of(local)
        if self.source.dotted(call.func).endswith("Transformer.generate_square_subsequent_mask"):
            return MaskValue("additive", "upper", 1)
        made = operation(self.source, call)
        if made is None:
            return None
        if made.name in _MAKERS:
            return self._made(call, made)
        if made.name in ("tril", "triu", "tri", "band_part"):
            return self._triangle(made)
        if made.name in ("where", "masked_fill", "masked_fill_"):
            return self._filled(made)
        return self._converted(made)

    def _converted(self, made: Operation) -> MaskValue | None:
        """Return the value of what turns one mask into another."""
        value = self.of(made.subject)
        if made.name in _COMPLEMENTS:
            return replace(value.opposite, kind="bool") if value else MaskValue("bool")
        if made.name in _COMPARISONS and made.rest:
            return self._compared(made.subject, _COMPARISONS[made.name], made.rest[0])
        if made.name in ("logical_and", "bitwise_and"):
            return _both(value, self.of(made.argument(0, "other")))
        if made.name in ("logical_or", "bitwise_or", "logical_xor"):
            return MaskValue("bool")
        if value is None:
            return None
        if made.name in _DTYPES:
            return _as_kind(value, _DTYPES[made.name])
        if made.name in ("to", "type", "astype", "cast", "type_as", "to_"):
            return _as_kind(value, self._dtype_of(made, value.kind))
        if made.name in _TURNS:
            return value.turned
        return value if made.name in _KEEPS else None

    def _dtype_of(self, made: Operation, kind: Kind | None) -> Kind | None:
        """Return the kind that ``.to(...)`` gives; what names no dtype keeps it."""
        if made.name == "type_as":
            return None
        for given in [*made.rest, *made.keywords.values()]:
            dtype = self._dtype(given)
            if dtype is not None:
                return dtype
            name = self.source.dotted(given).rpartition(".")[2]
            if "device" not in name and not isinstance(given, ast.Constant):
                kind = None  # a dtype, or another tensor, that the text does not tell
        return kind

    def _dtype(self, node: ast.expr | None) -> Kind | None:
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            return _DTYPES.get(node.value.removeprefix("torch."))
        if isinstance(node, ast.Attribute) and node.attr == "dtype":
            # What attends is of floats, so a mask of the same dtype is too.
            return "float" if self.source.dotted(node.value) in _ATTENDING else None
        return _DTYPES.get(self.source.dotted(node).rpartition(".")[2])

    def _made(self, call: ast.Call, made: Operation) -> MaskValue | None:
        """Return the value of what fills a tensor with one number."""
        kind = self._dtype(made.keywords.get("dtype"))
        if not made.name.endswith("full") and made.name != "full_like":
            for each in call.args[1:] if made.name in ("ones", "zeros") else ():
                kind = kind or self._dtype(each)  # np.ones(shape, bool)
            return MaskValue(
                kind or self._plain(made, "float"), "all" if made.name in _ONES else "none"
            )
        # new_full is a method: its subject is another tensor.
        fill = made.argument(int(made.name == "new_full"), "fill_value", "value")
        if self.forbids(fill):
            return MaskValue("additive", "all")
        if not is_number(fill, 0, 1):
            return None
        is_bool = isinstance(fill, ast.Constant) and isinstance(fill.value, bool)
        plain = self._plain(made, "bool" if is_bool else "float")
        return MaskValue(kind or plain, "all" if is_number(fill, 1) else "none")

    def _plain(self, made: Operation, otherwise: Kind) -> Kind | None:
        """Return the kind of a maker that names no dtype; None if it takes another tensor's."""
        told = "dtype" in made.keywords or made.name not in ("ones", "zeros", "full")
        return None if told else otherwise

    def _triangle(self, made: Operation) -> MaskValue | None:
        if made.name == "tri":
            dtype = made.argument(2, "dtype")
            kind = "float" if dtype is None else self._dtype(dtype)
            return MaskValue(kind, "lower", _whole(made.argument(1, "k"), 0))
        value = self.of(made.subject)
        if value is None or value.side != "all":
            return None
        if made.name == "band_part":
            below, above = (number(made.argument(i)) for i in (0, 1))
            if (below, above) == (-1, 0):
                return replace(value, side="lower", offset=0)
            return replace(value, side="upper", offset=0) if (below, above) == (0, -1) else None
        side: Side = "lower" if made.name == "tril" else "upper"
        return replace(value, side=side, offset=_whole(made.argument(0, "diagonal", "k"), 0))

    def _filled(self, made: Operation) -> MaskValue | None:
        if made.name == "where":
            mask = self.of(made.subject)
            chosen, other = made.argument(0, "x", "input"), made.argument(1, "y", "other")
            if mask is None:
                return None
            if self.forbids(chosen) and is_number(other, 0):
                return _forbidding(mask)
            ahead = self.forbids(other) and is_number(chosen, 0)
            return _forbidding(mask.opposite) if ahead else None
        value, mask = self.of(made.subject), self.of(made.argument(0, "mask"))
        fill = made.argument(1, "value")
        if value is None or mask is None:
            return None
        if self.forbids(fill):
            return _forbidding(mask) if value.kind != "additive" else None
        return value if value.kind == "additive" and is_number(fill, 0) else None

    def _local(self, call: ast.Call) -> ast.expr | None:
        """Return what a function of the same text gives back, if it is one expression."""
        function = self.function(call.func)
        if function is None:
            return None
        returned = [each for each in ast.walk(function) if isinstance(each, ast.Return)]
        return returned[0].value if len(returned) == 1 else None

    def function(self, name: ast.expr) -> Function | None:
        """Return the function or method of the same text that an expression names."""
        home: ast.ClassDef | ast.Module | None = None
        match name:
            case ast.Name(id=wanted):
                home = self.source.tree
            case ast.Attribute(value=base, attr=wanted) if is_self(base):
                home = self.source.class_of(name)
            case _:
                return None
        body = home.body if home is not None else []
        found = [each for each in body if isinstance(each, FUNCTIONS) and each.name == wanted]
        return found[0] if len(found) == 1 else None


_MAKERS = words("ones ones_like new_ones zeros zeros_like new_zeros full full_like new_full")
_ONES = words("ones ones_like new_ones")
# Comparisons of 0 and 1 with a number: whether they are true where there is a 1.
_TRUE_WHERE_ONE: dict[tuple[type[ast.cmpop], float], bool] = {
    (ast.Eq, 0.0): False, (ast.NotEq, 1.0): False, (ast.Lt, 1.0): False, (ast.Lt, 0.5): False,
    (ast.LtE, 0.0): False, (ast.Eq, 1.0): True, (ast.NotEq, 0.0): True, (ast.Gt, 0.0): True,
    (ast.Gt, 0.5): True, (ast.GtE, 1.0): True,
}  # fmt: skip


def _whole(node: ast.expr | None, otherwise: int) -> int | None:
    """Return a written whole number; None if another expression stands there."""
    value = number(node)
    return otherwise if node is None else None if value is None else int(value)


def _both(left: MaskValue | None, right: MaskValue | None) -> MaskValue | None:
    """Return what is true where both are: a part of the triangle, if one of them is one."""
    for value in (left, right):
        if value is not None and value.triangle:
            return replace(value, exact=False)
    return MaskValue("bool") if left or right else None


def _forbidding(mask: MaskValue) -> MaskValue:
    """Return the additive mask that forbids where ``mask`` is true."""
    return replace(mask, kind="additive")


def _as_kind(value: MaskValue, kind: Kind | None) -> MaskValue:
    """Return a value in another dtype; an additive one is true where it forbids."""
    if value.kind == "additive":
        return value if kind in (None, "float", "additive") else replace(value, kind=kind)
    return replace(value, kind=kind)
