"""One parsed piece of Python: its calls, functions and classes, and what its names are imported as.

What a local name holds is scopes.py's part, what a mask looks like mask_values.py's.
"""

from __future__ import annotations

import ast
import sys
import warnings
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from functools import cached_property
from typing import TypeAlias, TypeVar, cast

from sightline.audit.linting.files import Piece
from sightline.errors import DataError

Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef
Node = TypeVar("Node", bound=ast.AST)
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
# Ways in which libraries name their own parts; the first is what the rules speak of.
_SAME = (
    ("torch.nn.functional.", ("torch.nn.F.",)),
    ("numpy.", ("autograd.numpy.",)),
    ("jax.numpy.", ("jax._src.numpy.",)),
)
# What notebooks and scripts mean by these where no import says otherwise.
_USUAL = {"torch": "torch", "np": "numpy", "jnp": "jax.numpy"}


class Source:
    """A parsed piece. What is in it is listed when it is first asked for.

    Attributes:
        piece: what was parsed.
        lines: its lines, without their ends.
        tree: the syntax tree.
    """

    def __init__(self, piece: Piece, known: Mapping[str, str] | None = None) -> None:
        """Parse a piece; ``known`` is what names are imported as by earlier cells of a notebook."""
        self.piece = piece
        self._known = known or {}
        self.lines = piece.text.split("\n")  # as the parser counts them
        self.tree = _parsed(piece)

    @cached_property
    def _walked(self) -> tuple[dict[ast.AST, ast.AST], dict[type, list[ast.AST]]]:
        """The node that each stands in, and the nodes of each kind in the order of the text."""
        parents: dict[ast.AST, ast.AST] = {}
        kinds: dict[type, list[ast.AST]] = defaultdict(list)
        stack: list[ast.AST] = [self.tree]
        while stack:
            node = stack.pop()
            kinds[type(node)].append(node)
            inner = children(node)
            for child in inner:
                parents[child] = node
            inner.reverse()
            stack += inner
        return parents, kinds

    @property
    def parents(self) -> dict[ast.AST, ast.AST]:
        """The node that each node stands in."""
        return self._walked[0]

    def all(self, kind: type[Node]) -> list[Node]:
        """Return the nodes of a kind in the order of the text."""
        return cast("list[Node]", self._walked[1].get(kind, []))

    @property
    def calls(self) -> list[ast.Call]:
        """All calls."""
        return self.all(ast.Call)

    def calls_of(self, names: Collection[str]) -> list[ast.Call]:
        """Return the calls of functions and methods of these names, in the order of the names."""
        return [call for name in names for call in self._calls_by_name.get(name, ())]

    @cached_property
    def _calls_by_name(self) -> dict[str, list[ast.Call]]:
        found: dict[str, list[ast.Call]] = defaultdict(list)
        for call in self.calls:
            if isinstance(call.func, ast.Attribute):
                found[call.func.attr].append(call)
            elif isinstance(call.func, ast.Name):
                name = self.imports.get(call.func.id, call.func.id)
                found[name.rpartition(".")[2]].append(call)
        return found

    @cached_property
    def functions(self) -> list[Function]:
        """All functions and methods, asynchronous ones last."""
        return [*self.all(ast.FunctionDef), *self.all(ast.AsyncFunctionDef)]

    def within(self, outer: Function | ast.ClassDef, kind: type[Node]) -> list[Node]:
        """Return the nodes of a kind in the lines of a function's or class's body."""
        first, last = outer.body[0].lineno, outer.end_lineno or 0
        return [each for each in self.all(kind) if first <= each.lineno <= last]  # type: ignore[attr-defined]

    def names(self, name: str) -> list[ast.Name]:
        """Return where a name stands, in the order of the text."""
        return self._names.get(name, [])

    @cached_property
    def _names(self) -> dict[str, list[ast.Name]]:
        found: dict[str, list[ast.Name]] = defaultdict(list)
        for node in self.all(ast.Name):
            found[node.id].append(node)
        return found

    @cached_property
    def imports(self) -> dict[str, str]:
        """The dotted name of each imported name: ``F`` -> ``torch.nn.functional``."""
        found = dict(self._known)
        for node in self.all(ast.Import):
            for alias in node.names:
                head = alias.name.partition(".")[0]
                found[alias.asname or head] = alias.name if alias.asname else head
        for node in self.all(ast.ImportFrom):
            home = "." * node.level + (node.module or "")
            for alias in node.names:
                found[alias.asname or alias.name] = f"{home}.{alias.name}"
        return found

    def dotted(self, node: ast.AST | None) -> str:
        """Return the full name of what an expression names: ``F.softmax`` ->
        ``torch.nn.functional.softmax``; empty for what is no name.
        """
        parts: list[str] = []
        while isinstance(node, ast.Attribute):
            parts.append(node.attr)
            node = node.value
        if not isinstance(node, ast.Name):
            return ""
        parts.append(self.imports.get(node.id) or _USUAL.get(node.id, node.id))
        name = ".".join(reversed(parts))
        for plain, others in _SAME:
            for other in others:
                if name.startswith(other):
                    return plain + name[len(other) :]
        return name

    def ancestors(self, node: ast.AST) -> Iterator[ast.AST]:
        """Yield what a node stands in, from the inside."""
        while (up := self.parents.get(node)) is not None:
            yield up
            node = up

    def function_of(self, node: ast.AST) -> Function | None:
        """Return the function whose body a node stands in; None at the top of the module."""
        child = node
        for up in self.ancestors(node):
            # Defaults, decorators and annotations belong to what is around the function.
            if isinstance(up, FUNCTIONS) and child in up.body:
                return up
            if isinstance(up, ast.ClassDef):
                return None
            child = up
        return None

    def class_of(self, node: ast.AST) -> ast.ClassDef | None:
        """Return the class that a node stands in."""
        return next((up for up in self.ancestors(node) if isinstance(up, ast.ClassDef)), None)

    def statement_of(self, node: ast.AST) -> ast.stmt | None:
        """Return the innermost statement that a node stands in, or is."""
        if isinstance(node, ast.stmt):
            return node
        return next((up for up in self.ancestors(node) if isinstance(up, ast.stmt)), None)

    def text_of(self, node: ast.expr, most: int = 60) -> str:
        """Return an expression in one line, as it is written if that is one line."""
        if node.lineno == node.end_lineno:
            line = self.lines[node.lineno - 1].encode()
            text = line[node.col_offset : node.end_col_offset].decode(errors="replace")
        else:
            text = ast.unparse(node)
        return text if len(text) <= most else text[: most - 3] + "..."


# Parts of the tree that say nothing by themselves.
_MARKS = (ast.expr_context, ast.operator, ast.unaryop, ast.cmpop, ast.boolop)


def children(node: ast.AST) -> list[ast.AST]:
    """Return the nodes directly in a node, in the order of the text, operators left out.

    ``ast.iter_child_nodes`` gives the same at several times the cost, which is most of a lint's.
    """
    found: list[ast.AST] = []
    for name in node._fields:
        value = getattr(node, name, None)
        if isinstance(value, list):
            found += [each for each in value if isinstance(each, ast.AST)]
        elif isinstance(value, ast.AST):
            found.append(value)
    return [each for each in found if not isinstance(each, _MARKS)]


def _parsed(piece: Piece) -> ast.Module:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an invalid escape is not our matter
            return ast.parse(piece.text)
    except SyntaxError as error:
        at = f"cell {piece.cell}: " * bool(piece.cell)
        raise DataError(
            f"{at}not Python {sys.version_info[0]}.{sys.version_info[1]} ({error.msg})",
            path=piece.path,
            line=error.lineno,
        ) from error
    except (ValueError, RecursionError, MemoryError) as error:
        raise DataError(f"cannot be parsed ({error})", path=piece.path) from error


def words(text: str) -> frozenset[str]:
    """Return the words of a text, for a table of names.

    >>> sorted(words("tril triu"))
    ['tril', 'triu']
    """
    return frozenset(text.split())


def is_number(node: ast.AST | None, *values: float) -> bool:
    """Whether an expression is one of these numbers, written out; True and False count."""
    value = number(node)
    return value is not None and value in values


def number(node: ast.AST | None) -> float | None:
    """Return the number that an expression writes out (``-1``, ``1e9``, ``float("-inf")``)."""
    try:
        return _number(node)
    except (OverflowError, ZeroDivisionError):  # an integer that no float can hold
        return None


def _number(node: ast.AST | None) -> float | None:
    sign = 1.0
    while isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
        sign = -sign if isinstance(node.op, ast.USub) else sign
        node = node.operand
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        return sign * float(node.value)
    if isinstance(node, ast.Attribute) and node.attr in ("inf", "Inf", "infty"):
        return sign * float("inf")
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "float":
        (argument,) = node.args if len(node.args) == 1 else (None,)
        if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
            try:
                return sign * float(argument.value)
            except ValueError:
                return None
        inner = _number(argument)
        return None if inner is None else sign * inner
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow | ast.Mult):
        left, right = _number(node.left), _number(node.right)
        if left is None or right is None or abs(left) > 1e6 or abs(right) > 100:
            return None
        # -2 ** 32 + 1 and the like are written so; no power that overflows gets here.
        value = left**right if isinstance(node.op, ast.Pow) and left else left * right
        return sign * value if isinstance(value, float | int) else None
    return None
