"""The rule ``zero-before-softmax``: forbidden scores are made 0, which a softmax turns into 1."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from sightline.audit.linting.operations import operation
from sightline.audit.linting.rule import Code, Hit, LintRule
from sightline.audit.linting.scopes import own_nodes
from sightline.audit.linting.source import number

_SMALL = 1e-3


def _check(code: Code) -> Iterator[Hit]:
    for call in code.source.calls_of(("masked_fill", "masked_fill_", "where", "tril", "triu")):
        made = operation(code.source, call)
        if made is None:
            continue
        if made.name in ("masked_fill", "masked_fill_"):
            zero = _next_to_nothing(made.argument(1, "value"))
        elif made.name == "where":
            zero = _next_to_nothing(made.argument(1, "y", "other"))
        else:
            zero = _next_to_softmax(code, call)
        if not zero or not _is_attention(code, call):
            continue
        if code.scores.feeds_softmax(call) and not _mended(code, call):
            yield Hit(
                call,
                f"{made.name} makes forbidden scores 0, or nearly, and exp(0) is 1: they keep "
                "their weight",
                'fill with float("-inf") before the softmax',
            )


def _next_to_nothing(fill: ast.expr | None) -> bool:
    """Whether a fill is 0, or a number like 1e-9, in which the minus stands at the wrong place."""
    value = number(fill)
    return value is not None and abs(value) < _SMALL


def _is_attention(code: Code, call: ast.Call) -> bool:
    """Whether what is filled are products of queries and keys, or named as scores."""
    made = operation(code.source, call)
    subject = made.argument(0, "x", "input") if made is not None and made.name == "where" else None
    subject = subject or (made.subject if made is not None else None)
    return code.scores.product(subject) is not None


def _next_to_softmax(code: Code, call: ast.Call) -> bool:
    """Whether the triangle itself is what the softmax takes, with nothing filled in between."""
    for softmax in code.scores.softmaxes_fed(call):
        made = code.scores.softmax(softmax)
        if made is None:
            return False
        for step in code.scores.steps(made.subject):
            if step is call:
                return True
            if isinstance(step, ast.Call | ast.BinOp):
                return False
    return False


def _mended(code: Code, call: ast.Call) -> bool:
    """Whether the function forbids otherwise too: another fill, weights made 0 and divided anew."""
    scope = code.source.function_of(call) or code.source.tree
    for node in own_nodes(scope):
        made = operation(code.source, node) if isinstance(node, ast.Call) else None
        if made is not None and made.name in ("masked_fill", "masked_fill_", "where"):
            given = [*made.rest, *made.keywords.values()]
            if node is not call and any(code.masks.forbids(each) for each in given):
                return True
        if isinstance(node, ast.BinOp) and _told_by(node):
            return True
        if isinstance(node, ast.AugAssign):
            return True
    return False


def _told_by(node: ast.BinOp) -> bool:
    """Whether an operation divides by a sum, or adds what is named as a mask."""
    if isinstance(node.op, ast.Div):
        divisor = ast.unparse(node.right)
        return "sum" in divisor or "norm" in divisor
    text = ast.unparse(node).lower() if isinstance(node.op, ast.Add | ast.Sub) else ""
    return "mask" in text or "bias" in text


RULE = LintRule(
    name="zero-before-softmax",
    meaning="forbidden scores are set to 0 before the softmax, which forbids nothing.",
    severity="error",
    why=(
        "A score of 0 is an ordinary score: its weight is exp(0) = 1 before the division. Only "
        "-inf, or a number like it, becomes weight 0."
    ),
    wrong="""\
def attend(query, key, value, mask):
    scores = query @ key.transpose(-2, -1)
    scores = scores.masked_fill(mask == 0, 0)
    return scores.softmax(dim=-1) @ value
""",
    right="""\
def attend(query, key, value, mask):
    scores = query @ key.transpose(-2, -1)
    scores = scores.masked_fill(mask == 0, float("-inf"))
    return scores.softmax(dim=-1) @ value
""",
    words=("softmax", "Softmax"),
    check=_check,
)
