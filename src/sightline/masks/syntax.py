"""An expression part by part: as it was written, or as its canonical form is printed.

A mask forgets how it was said (``causal() & window(left=3)`` is one window); here the parts keep
the writer's words and their places in the text. What a pair is to each part is reasons/why.py's.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from inspect import signature
from typing import Any, cast

from sightline.masks.explicit import PerRow
from sightline.masks.mask import Mask, Spec
from sightline.masks.moves import Shifted, Transposed
from sightline.masks.names import NAMES
from sightline.masks.nodes import And, Not, Or, Wrapper
from sightline.masks.parser import Reader
from sightline.masks.text import write

__all__ = ["Syntax", "syntax_of_mask", "syntax_of_text"]

# Longer lists of data are cut to their ends where a part is printed.
_MOST_VALUES = 12
_OPERATORS: dict[type[ast.operator], str] = {
    ast.BitAnd: "and",
    ast.BitOr: "or",
    ast.BitXor: "xor",
    ast.Sub: "minus",
}


@dataclass(frozen=True)
class Syntax:
    """One part of an expression.

    Attributes:
        kind: ``"and"``, ``"or"``, ``"xor"``, ``"minus"``, ``"not"``, ``"transpose"``,
            ``"shift"``, ``"per_batch"``, ``"per_head"``, or for an atom its name.
        text: the part, as it was written or as it is printed.
        parts: what it is made of; ``a & b & c`` is one part made of three.
        mask: an atom's mask; None for what is made of parts.
        arguments: an atom's arguments by name; a shift's ``query`` and ``key``.
        span: where it stands in the text it was read from, (start, stop); None without text.
    """

    kind: str
    text: str
    parts: tuple[Syntax, ...] = ()
    mask: Mask | None = None
    arguments: dict[str, Any] = field(default_factory=dict[str, Any])
    span: tuple[int, int] | None = None


def syntax_of_text(text: str) -> Syntax:
    """Return the parts of an expression as they were written.

    >>> whole = syntax_of_text("causal() & ~(prefix(2) | window(left=3))")
    >>> whole.kind, [part.text for part in whole.parts], whole.parts[1].span
    ('and', ['causal()', '~(prefix(2) | window(left=3))'], (11, 40))

    Raises:
        ParseError: with a caret under the mistake; as ``sl.parse``.
    """
    reader = _Parts(text)
    reader.read()  # refuses what parts alone do not show, such as masks of 2 and of 3 batch rows
    return reader.within(reader.part)


class _Parts(Reader):
    """Walks the same syntax tree as the parser, and keeps it."""

    def part(self, node: ast.expr) -> Syntax:
        if isinstance(node, ast.BinOp):
            return self.node(node, _OPERATORS[type(node.op)], self.operands(node))
        if isinstance(node, ast.UnaryOp):
            return self.node(node, "not", [node.operand])
        if isinstance(node, ast.Attribute):
            return self.node(node, "transpose", [node.value])
        call = cast("ast.Call", node)  # a mask is nothing else, or it would have been refused
        if isinstance(call.func, ast.Attribute):
            positional, named = self.arguments(call)
            given = signature(Mask.shift).bind(None, *positional, **named)
            given.apply_defaults()
            amounts = {axis: given.arguments[axis] for axis in ("query", "key")}
            return self.node(node, "shift", [call.func.value], arguments=amounts)
        name = cast("ast.Name", call.func).id
        if name in ("per_batch", "per_head"):
            masks = call.args[0] if call.args else call.keywords[0].value
            return self.node(node, name, cast("ast.List | ast.Tuple", masks).elts)
        positional, named = self.arguments(call)
        given = signature(NAMES[name]).bind(*positional, **named)
        given.apply_defaults()
        return self.node(node, name, [], mask=self.mask(node), arguments=given.arguments)

    def operands(self, node: ast.BinOp) -> list[ast.expr]:
        """Return the operands of a chain of one operator, its left spine walked in a loop."""
        found: list[ast.expr] = []
        current: ast.expr = node
        while isinstance(current, ast.BinOp) and type(current.op) is type(node.op):
            found.append(current.right)
            current = current.left
        return [current, *found[::-1]]

    def node(self, node: ast.expr, kind: str, parts: list[ast.expr], **more: Any) -> Syntax:
        start, stop = (
            self.skipped + self.offset(column or 0)
            for column in (node.col_offset, node.end_col_offset)
        )
        inner = tuple(self.part(each) for each in parts)
        return Syntax(kind, self.text[start:stop], inner, span=(start, stop), **more)


def syntax_of_mask(mask: Mask) -> Syntax:
    """Return the parts of a mask's canonical form, as ``mask.text()`` prints them.

    >>> import sightline as sl
    >>> whole = syntax_of_mask(sl.causal() & ~sl.prefix(2).T)
    >>> whole.kind, [part.text for part in whole.parts]
    ('and', ['causal()', 'queries(slice(2, None))'])
    """
    if isinstance(mask, (And, Or)):
        kind, parts = ("and" if isinstance(mask, And) else "or"), mask.parts
    elif isinstance(mask, PerRow):
        kind, parts = f"per_{mask.axis}", mask.masks
    elif isinstance(mask, (Not, Transposed, Shifted)):
        kind, parts = _WRAPPERS[type(mask)], (mask.part,)
    else:
        spec = mask.spec()
        # What is one atom may be printed as several: the gaps of a band, sets of positions.
        if spec[0] in NAMES:
            return Syntax(spec[0], write(spec, _MOST_VALUES), mask=mask, arguments=spec[1])
        return _of_spec(spec)
    inner = tuple(syntax_of_mask(part) for part in parts)
    amounts: dict[str, Any] = {}
    if isinstance(mask, Shifted):
        amounts = {"query": mask.rows_down, "key": mask.columns_right}
    return Syntax(kind, write(mask.spec(), _MOST_VALUES), inner, arguments=amounts)


_WRAPPERS: dict[type[Wrapper], str] = {
    Not: "not",
    Transposed: "transpose",
    Shifted: "shift",
}


def _of_spec(spec: Spec) -> Syntax:
    kind, text = spec[0], write(spec, _MOST_VALUES)
    if kind in NAMES:
        return Syntax(kind, text, mask=NAMES[kind](**spec[1]), arguments=spec[1])
    parts = spec[1:2] if kind == "shift" else spec[1:]
    amounts = {"query": 0, "key": 0, **spec[2]} if kind == "shift" else {}
    return Syntax(kind, text, tuple(_of_spec(part) for part in parts), arguments=amounts)
