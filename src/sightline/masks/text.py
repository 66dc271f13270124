"""The text form of masks: ``write`` prints an expression, ``parse`` reads it back.

The grammar is the Python expression that builds the mask, read through ``ast`` and never
evaluated: calls of the names in the table, ``& | ~ - ^``, ``.T``, ``.shift(...)`` and literals.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from functools import partial, reduce
from inspect import signature
from typing import Any, cast

import numpy as np

from sightline.errors import ParseError, SightlineError
from sightline.masks.mask import Mask, Spec
from sightline.masks.rewrite import conjunction, disjunction

# Limits on what parse reads: enough for any expression a person or repr() writes.
LONGEST_TEXT = 1_000_000
DEEPEST_NESTING = 64

# Arguments that say enough by their place; every other one is printed as name=value.
_PLAIN = {"n", "size", "stride", "positions", "ids", "order", "parents", "masks", "array", "fn"}
_DEFAULTS: dict[str, Any] = {
    "strict": False, "phase": 0, "local": 0, "restart": None, "seed": 0, "dilation": 1,
    "stream": "content", "bounds": None, "batch": None, "heads": None, "left": None, "right": None,
}  # fmt: skip
_BINDING = {"or": 1, "and": 2, "not": 3}

_COMBINE: dict[type[ast.operator], Callable[[list[Mask]], Mask]] = {
    ast.BitAnd: conjunction,
    ast.BitOr: disjunction,
    ast.BitXor: lambda masks: reduce(lambda a, b: a ^ b, masks),
    ast.Sub: lambda masks: reduce(lambda a, b: a - b, masks),
}


# -- writing ----------------------------------------------------------------------------------


def write(spec: Spec, most_values: int | None = None) -> str:
    """Return the expression as text; lists longer than ``most_values`` are cut to their ends."""
    kind = spec[0]
    if kind in ("and", "or"):
        sign = " & " if kind == "and" else " | "
        return sign.join(_nested(part, kind, most_values) for part in spec[1:])
    if kind == "not":
        return f"~{_nested(spec[1], 'not', most_values)}"
    if kind == "transpose":
        return f"{_nested(spec[1], 'atom', most_values)}.T"
    if kind == "shift":
        amounts = ", ".join(f"{axis}={by}" for axis, by in spec[2].items())
        return f"{_nested(spec[1], 'atom', most_values)}.shift({amounts})"
    return f"{kind}({_arguments(spec[1], most_values)})"


def _nested(spec: Spec, around: str, most_values: int | None) -> str:
    text = write(spec, most_values)
    inner, outer = _BINDING.get(spec[0], 4), _BINDING.get(around, 4)
    return f"({text})" if inner < outer else text


def _arguments(arguments: dict[str, Any], most_values: int | None) -> str:
    printed: list[str] = []
    for name, value in arguments.items():
        if name in _DEFAULTS and _DEFAULTS[name] is value:
            continue
        text = _value(name, value, most_values)
        plain = name in _PLAIN and not printed
        printed.append(text if plain else f"{name}={text}")
    return ", ".join(printed)


def _value(name: str, value: Any, most_values: int | None) -> str:
    if name == "masks":
        return f"[{', '.join(write(part, most_values) for part in value)}]"
    if callable(value):
        return f"<opaque {getattr(value, '__qualname__', type(value).__name__)}>"
    if isinstance(value, (range, slice)):
        section = cast(Any, value)  # its step is 1: canonical positions are whole intervals
        return f"{type(section).__name__}({section.start}, {section.stop})"
    if isinstance(value, np.ndarray):
        value = cast("Any", value).tolist()
    if isinstance(value, list) and most_values is not None:
        values = cast("list[Any]", value)
        size = int(np.size(values[0])) * len(values) if values else 0
        if size > most_values:
            return f"[{values[0]!r:.40}, ... {size} values]"
    return repr(cast(Any, value))


# -- reading ----------------------------------------------------------------------------------


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
    if not isinstance(text, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ParseError(
            f"an expression must be text, got {type(text).__name__}", text="", position=0
        )
    return _Reader(text).read()


class _Reader:
    """Walks the syntax tree of one expression and builds the mask it describes."""

    def __init__(self, text: str) -> None:
        self.text = text
        # Columns of ast count UTF-8 bytes of a line; offsets of line starts turn them around.
        self.lines = text.split("\n")

    def read(self) -> Mask:
        if len(self.text) > LONGEST_TEXT:
            raise self.error(
                f"the expression is longer than {LONGEST_TEXT} characters", LONGEST_TEXT
            )
        if not self.text.strip():
            raise self.error("the expression is empty; write for example causal()", 0)
        self.check_depth()
        try:
            tree = ast.parse(self.text.strip("\n"), mode="eval")
        except SyntaxError as mistake:
            at = self.offset(mistake.lineno or 1, 0) + max(0, (mistake.offset or 1) - 1)
            raise self.error(self.explain(mistake), at) from None
        except (RecursionError, MemoryError):
            raise self.error("too many operands in a row; combine fewer at once", 0) from None
        except ValueError as mistake:
            raise self.error(f"cannot read the expression: {mistake}", 0) from None
        return self.mask(tree.body)

    def check_depth(self) -> None:
        """Refuse deep nesting before any recursive reader sees it."""
        depth = run = 0
        for position, character in enumerate(self.text):
            depth += (character in "([{") - (character in ")]}")
            run = run + 1 if character in "~-+" else 0 if not character.isspace() else run
            if max(depth, run) > DEEPEST_NESTING:
                raise self.error(f"nested deeper than {DEEPEST_NESTING} levels", position)

    @staticmethod
    def explain(mistake: SyntaxError) -> str:
        reason = (mistake.msg or "not an expression").split(". ")[0]
        return f"cannot read the expression: {reason[0].lower()}{reason[1:]}"

    def offset(self, line: int, column_bytes: int) -> int:
        """Return the index into the text of a position given as (line, UTF-8 column)."""
        skipped = len(self.text) - len(self.text.lstrip("\n"))
        start = sum(len(before) + 1 for before in self.lines[skipped : skipped + line - 1])
        here = self.lines[min(skipped + line - 1, len(self.lines) - 1)]
        return skipped + start + len(here.encode()[:column_bytes].decode(errors="ignore"))

    def error(self, message: str, at: int | ast.AST) -> ParseError:
        if isinstance(at, ast.AST):
            at = self.offset(getattr(at, "lineno", 1), getattr(at, "col_offset", 0))
        return ParseError(message, text=self.text, position=at)

    # -- masks

    def mask(self, node: ast.expr) -> Mask:
        if isinstance(node, ast.BinOp):
            return self.combination(node)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Invert):
            return ~self.mask(node.operand)
        if isinstance(node, ast.Attribute):
            if node.attr != "T":
                raise self.error(f"masks have .T and .shift(...), not .{node.attr}", node)
            return self.mask(node.value).T
        if isinstance(node, ast.Call):
            return self.call(node)
        if isinstance(node, ast.BoolOp) or (
            isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not)
        ):
            raise self.error("combine masks with & | ~, not with and, or, not", node)
        if isinstance(node, ast.Name):
            hint = f"write {node.id}(...)" if node.id in _names() else self.unknown(node.id)
            raise self.error(f"{node.id} is not a mask yet; {hint}", node)
        raise self.error("a mask was expected here, such as causal()", node)

    def combination(self, node: ast.BinOp) -> Mask:
        """Combine a chain of operands; its left spine is walked in a loop, not by recursion."""
        chain: list[ast.BinOp] = []
        current: ast.expr = node
        while isinstance(current, ast.BinOp):
            if type(current.op) not in _COMBINE:
                raise self.error("masks combine with & | ~ - ^ only", current)
            chain.append(current)
            current = current.left
        operands = [self.mask(current)]
        for step, following in zip(chain[::-1], [*chain[-2::-1], None], strict=True):
            operands.append(self.mask(step.right))
            # a & b & c is combined at once, so that the laws look at the parts only once.
            if following is None or type(following.op) is not type(step.op):
                operands = [self.built(partial(_COMBINE[type(step.op)], operands), step)]
        return operands[0]

    def call(self, node: ast.Call) -> Mask:
        positional = [self.literal(argument) for argument in node.args]
        if any(keyword.arg is None for keyword in node.keywords):
            raise self.error("write each argument out; ** is not read", node)
        named = {str(keyword.arg): self.literal(keyword.value) for keyword in node.keywords}
        if isinstance(node.func, ast.Attribute):
            if node.func.attr != "shift":
                raise self.error(f"masks have .T and .shift(...), not .{node.func.attr}", node)
            moved = self.mask(node.func.value).shift
            return self.built(lambda: moved(*positional, **named), node)
        if not isinstance(node.func, ast.Name):
            raise self.error("the name of a mask was expected here, such as causal()", node)
        name = node.func.id
        if name not in _names():
            raise self.error(f"there is no mask {name!r}; {self.unknown(name)}", node)
        if name == "predicate":
            raise self.error("a predicate is an opaque function; text cannot hold it", node)
        constructor = _names()[name]
        known = list(signature(constructor).parameters)
        for keyword in node.keywords:
            if keyword.arg not in known:
                wanted = f"{name} takes {', '.join(known)}" if known else f"{name} takes nothing"
                raise self.error(f"{wanted}; got {keyword.arg!r}", keyword)
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

    @staticmethod
    def unknown(name: str) -> str:
        import difflib  # for a mistake only

        close = difflib.get_close_matches(name, _names(), n=1)
        if close:
            return f"did you mean {close[0]!r}?"
        return "see `sightline show --list` for all of them"

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
        if isinstance(node, (ast.BinOp, ast.Attribute, ast.Call, ast.UnaryOp)):
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


def _names() -> dict[str, Callable[..., Mask]]:
    from sightline.masks.names import NAMES  # the table imports every mask; masks print with us

    return NAMES
