"""Reading masks from text: the Python expression that builds one, walked through ``ast``.

Nothing is ever evaluated or imported: calls of the names in the table, ``& | ~ - ^``, ``.T``,
``.shift(...)`` and literals are all there is. Every refusal points at its place in the text.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from functools import partial, reduce
from inspect import signature
from typing import Any, TypeVar, cast

from sightline.errors import ParseError, SightlineError
from sightline.masks.mask import Mask
from sightline.masks.names import NAMES
from sightline.masks.rewrite import conjunction, disjunction

Result = TypeVar("Result")

# Limits on what is read: far beyond what a person or repr() writes, and safe for every reader of
# syntax trees, which are recursive.
LONGEST_TEXT = 1_000_000
DEEPEST_NESTING = 64
MOST_OPERATORS = 1000
MOST_MOVES = 64

_OPERATOR = re.compile(
    r"[&|^~*/%@<>]|(?<=[\w)\]'\"])\s*[-+]|\b(?:not|and|or|if|in|is|lambda|await)\b"
)
_MOVE = re.compile(r"\.\s*[A-Za-z_]")

_COMBINE: dict[type[ast.operator], Callable[[list[Mask]], Mask]] = {
    ast.BitAnd: conjunction,
    ast.BitOr: disjunction,
    ast.BitXor: lambda masks: reduce(lambda a, b: a ^ b, masks),
    ast.Sub: lambda masks: reduce(lambda a, b: a - b, masks),
}


def parse(text: str) -> Mask:
    """Read a mask from the text that builds it: ``parse(mask.text()) == mask``.

    The text may use every mask of the table, ``& | ~ - ^``, parentheses, ``.T``, ``.shift(...)``,
    and numbers, strings, lists, ``slice(...)`` and ``range(...)`` as arguments. Nothing is ever
    evaluated or imported.

    Raises:
        ParseError: with a caret under the mistake.

    >>> import sightline as sl
    >>> sl.parse("causal() & padding(lengths=[5, 3])")
    causal() & padding(lengths=[5, 3])
    >>> sl.parse("causal() & paddings(lengths=[5, 3])")
    Traceback (most recent call last):
    ...
    sightline.errors.ParseError: there is no mask 'paddings'; did you mean 'padding'?
      causal() & paddings(lengths=[5, 3])
                 ^
    """
    if not isinstance(cast(Any, text), str):
        wrong = type(text).__name__
        raise ParseError(f"an expression must be text, got {wrong}", text="", position=0)
    return Reader(text).read()


class Reader:
    """Walks the syntax tree of one expression and builds the mask it describes."""

    def __init__(self, text: str) -> None:
        self.text = text
        # On one line and without an indent, offsets into the text are simple; they stay the same.
        flat = re.sub(r"\s", " ", text)
        self.source = flat.strip()
        self.skipped = len(flat) - len(flat.lstrip())

    def read(self) -> Mask:
        return self.within(self.mask)

    def within(self, build: Callable[[ast.expr], Result]) -> Result:
        """Return what ``build`` makes of the syntax tree; what goes wrong is a ParseError."""
        if not self.source:
            raise self.error("the expression is empty; write for example causal()", 0)
        self.check_limits()
        try:
            return build(self.tree())
        except ParseError:
            raise
        except RecursionError:
            raise self.error("the expression is nested too deeply", 0) from None
        except MemoryError:
            message = "the expression needs more memory than there is; give it fewer positions"
            raise self.error(message, 0) from None
        except ValueError as mistake:
            raise self.error(f"cannot read the expression: {mistake}", 0) from None

    def tree(self) -> ast.expr:
        """Return the syntax tree; what Python does not read as an expression is a ParseError."""
        try:
            return ast.parse(self.source, mode="eval").body
        except SyntaxError as mistake:
            reason = (mistake.msg or "not an expression").split(". ")[0]
            message = f"cannot read the expression: {reason[0].lower()}{reason[1:]}"
            # Offsets count from 1; at the end of the text there is none.
            at = mistake.offset - 1 if mistake.offset else len(self.source)
            raise self.error(message, at) from None
        except MemoryError:  # so Python's own parser speaks of brackets in brackets
            raise self.error("the expression is nested too deeply", 0) from None

    def check_limits(self) -> None:
        """Refuse what is too long or too deep before any recursive reader sees it."""
        if len(self.text) > LONGEST_TEXT:
            raise self.error(f"longer than {LONGEST_TEXT} characters", LONGEST_TEXT)
        for pattern, most, what in (
            (_OPERATOR, MOST_OPERATORS, "operators"),
            (_MOVE, MOST_MOVES, ".T and .shift"),
        ):
            found = [match.start() for match in pattern.finditer(self.source)]
            if len(found) > most:
                raise self.error(f"more than {most} {what}; build it in Python", found[most])
        depth = run = 0
        for position, character in enumerate(self.source):
            depth += (character in "([{") - (character in ")]}")
            run = run + 1 if character in "~-+" else 0 if character != " " else run
            if max(depth, run) > DEEPEST_NESTING:
                raise self.error(f"nested deeper than {DEEPEST_NESTING} levels", position)

    def error(self, message: str, at: int | ast.AST) -> ParseError:
        """Return the error at an offset into the source, or at the start of a node."""
        if isinstance(at, ast.AST):
            at = self.offset(getattr(at, "col_offset", 0))
        return ParseError(message, text=self.text, position=self.skipped + at)

    def offset(self, column_bytes: int) -> int:
        """Return the index into the source of a column of ast, which counts UTF-8 bytes."""
        return len(self.source.encode()[:column_bytes].decode(errors="ignore"))

    # -- masks

    def mask(self, node: ast.expr) -> Mask:
        if isinstance(node, ast.BinOp):
            return self.combination(node)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Invert):
            return ~self.mask(node.operand)
        if isinstance(node, ast.Attribute):
            if node.attr != "T":
                raise self.unknown_attribute(node)
            return self.mask(node.value).T
        if isinstance(node, ast.Call):
            return self.call(node)
        if isinstance(node, ast.BoolOp) or (
            isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not)
        ):
            raise self.error("combine masks with & | ~, not with and, or, not", node)
        if isinstance(node, ast.Name):
            hint = f"write {node.id}(...)" if node.id in NAMES else unknown(node.id)
            raise self.error(f"{node.id} is not a mask yet; {hint}", node)
        raise self.error("a mask was expected here, such as causal()", node)

    def unknown_attribute(self, node: ast.Attribute) -> ParseError:
        hint = {
            "shift": "write .shift(query=..., key=...)",
            "T": "write .T without parentheses",
        }.get(node.attr, f"masks have .T and .shift(...), not .{node.attr}")
        end = self.offset(node.end_col_offset or 0)
        return self.error(hint, end - len(node.attr))

    def combination(self, node: ast.BinOp) -> Mask:
        """Combine a chain of operands; its left spine is walked in a loop, not by recursion."""
        chain: list[ast.BinOp] = []
        current: ast.expr = node
        while isinstance(current, ast.BinOp):
            if type(current.op) not in _COMBINE:
                after = self.offset(current.left.end_col_offset or 0)
                sign = re.search(r"[^\s)]", self.source[after:])
                place = after + (sign.start() if sign else 0)
                raise self.error("masks combine with & | ~ - ^ only", place)
            chain.append(current)
            current = current.left
        operands = [self.mask(current)]
        for step, following in zip(chain[::-1], [*chain[-2::-1], None], strict=True):
            operands.append(self.mask(step.right))
            # a & b & c is combined at once, so that the laws look at the parts only once.
            if following is None or type(following.op) is not type(step.op):
                operands = [self.built(partial(_COMBINE[type(step.op)], operands), step.right)]
        return operands[0]

    def arguments(self, node: ast.Call) -> tuple[list[Any], dict[str, Any]]:
        """Return the arguments of a call: those told by their place, those told by name."""
        positional = [self.literal(argument) for argument in node.args]
        named: dict[str, Any] = {}
        for keyword in node.keywords:
            if keyword.arg is None:
                raise self.error("write each argument out; ** is not read", keyword.value)
            if keyword.arg in named:
                raise self.error(f"{keyword.arg} is given twice", keyword)
            named[keyword.arg] = self.literal(keyword.value)
        return positional, named

    def call(self, node: ast.Call) -> Mask:
        positional, named = self.arguments(node)
        if isinstance(node.func, ast.Attribute):
            if node.func.attr != "shift":
                raise self.unknown_attribute(node.func)
            return self.constructed(self.mask(node.func.value).shift, positional, named, node)
        if not isinstance(node.func, ast.Name):
            raise self.error("the name of a mask was expected here, such as causal()", node)
        name = node.func.id
        if name not in NAMES:
            raise self.error(f"there is no mask {name!r}; {unknown(name)}", node)
        if name == "predicate":
            raise self.error("a predicate is an opaque function; text cannot hold it", node)
        return self.constructed(NAMES[name], positional, named, node)

    def constructed(
        self,
        constructor: Callable[..., Mask],
        positional: list[Any],
        named: dict[str, Any],
        node: ast.Call,
    ) -> Mask:
        known = list(signature(constructor).parameters)
        for keyword in node.keywords:
            if keyword.arg not in known:
                wanted = ", ".join(known) or "no arguments"
                raise self.error(
                    f"{constructor.__name__} takes {wanted}; got {keyword.arg!r}", keyword
                )
        return self.built(lambda: constructor(*positional, **named), node)

    def built(self, build: Callable[[], Mask], node: ast.AST) -> Mask:
        """Run a constructor; what it refuses becomes an error at this place of the text."""
        try:
            return build()
        except SightlineError as refusal:
            raise self.error(str(refusal), node) from None
        except TypeError as refusal:
            reason = re.sub(r"^[\w.]*?(\w+)\(\)", r"\1(...)", str(refusal))
            raise self.error(reason, node) from None

    # -- literals

    def literal(self, node: ast.expr) -> Any:
        if isinstance(node, ast.Constant) and (
            node.value is None or isinstance(node.value, (bool, int, float, str))
        ):
            return node.value
        if isinstance(node, (ast.List, ast.Tuple)):
            values = [self.literal(element) for element in node.elts]
            return values if isinstance(node, ast.List) else tuple(values)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.UAdd)):
            value = self.literal(node.operand)
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                return -value if isinstance(node.op, ast.USub) else value
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            if node.func.id in ("slice", "range"):
                return self.section(node, node.func.id)
            return self.mask(node)
        if isinstance(node, (ast.BinOp, ast.Attribute, ast.Call, ast.UnaryOp, ast.Name)):
            return self.mask(node)
        raise self.error("a number, text, list, slice(...) or range(...) was expected here", node)

    def section(self, node: ast.Call, name: str) -> slice | range:
        values = [self.literal(argument) for argument in node.args]
        if node.keywords or not all(v is None or type(v) is int for v in values):
            raise self.error(f"{name}(...) wants whole numbers", node)
        try:
            return slice(*values) if name == "slice" else range(*cast("list[int]", values))
        except (TypeError, ValueError) as refusal:
            raise self.error(str(refusal), node) from None


def unknown(name: str) -> str:
    """Return what to say about a name that is no mask: the nearest one, or where they are."""
    import difflib  # for a mistake only

    close = difflib.get_close_matches(name, NAMES, n=1)
    if close:
        return f"did you mean {close[0]!r}?"
    return "see `sightline show --list` for all of them"
