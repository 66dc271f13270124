"""Calls of a tensor's method, or of the function of the same name, in one form.

``scores.masked_fill(mask, 0)`` and ``torch.masked_fill(scores, mask, 0)`` are one operation. What
it does to a mask or to scores is for mask_values.py and scores.py to know.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass

from sightline.audit.linting.source import Source, words

# Libraries whose functions take first what is self in the method of the same name.
_LIBRARIES = words("torch numpy jax tensorflow tf keras paddle mindspore flax")


@dataclass(frozen=True)
class Operation:
    """A call of a tensor's method, or of the function of the same name.

    Attributes:
        name: the method's or function's name.
        subject: the tensor.
        rest: the other positional arguments.
        keywords: the named ones.
    """

    name: str
    subject: ast.expr
    rest: list[ast.expr]
    keywords: dict[str, ast.expr]

    def argument(self, index: int, *names: str) -> ast.expr | None:
        """Return the argument of that place (behind the subject), or of one of these names."""
        if index < len(self.rest):
            return self.rest[index]
        return next((self.keywords[name] for name in names if name in self.keywords), None)


def operation(source: Source, call: ast.AST | None) -> Operation | None:
    """Return a call as an operation on a tensor; None if it is none, or has starred arguments."""
    if not isinstance(call, ast.Call) or any(isinstance(each, ast.Starred) for each in call.args):
        return None
    named = {each.arg: each.value for each in call.keywords if each.arg is not None}
    dotted = source.dotted(call.func)
    head, _, name = dotted.rpartition(".")
    if head.partition(".")[0] in _LIBRARIES:
        first = call.args[0] if call.args else named.get("input", named.get("x"))
        if first is None:
            return Operation(name, ast.Constant(value=None), [], named)
        return Operation(name, first, list(call.args[1:]), named)
    if isinstance(call.func, ast.Attribute):
        return Operation(call.func.attr, call.func.value, list(call.args), named)
    return None
