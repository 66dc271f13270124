"""The rule ``mask-constant``: a number that forbids in one dtype, and not in another."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from sightline.audit.linting.mask_values import FORBIDS_FROM
from sightline.audit.linting.operations import operation
from sightline.audit.linting.rule import Code, Hit, LintRule
from sightline.audit.linting.source import is_number, number

_HALF_LEAST = -65504.0
_FIX = (
    'fill with torch.finfo(scores.dtype).min or float("-inf"), or give bools to '
    "F.scaled_dot_product_attention"
)


def _check(code: Code) -> Iterator[Hit]:
    for call in code.source.calls_of(("masked_fill", "masked_fill_", "where")):
        made = operation(code.source, call)
        if made is not None:
            given = [*made.rest, *made.keywords.values()]
            constant = next((each for each in given if _forbids(code, each)), None)
            if constant is not None and code.scores.feeds_softmax(call):
                yield _hit(code, call, constant)
    for node in code.source.all(ast.BinOp):
        if isinstance(node.op, ast.Mult):
            for mask, constant in ((node.left, node.right), (node.right, node.left)):
                if _is_one_minus(mask) and _forbids(code, constant):
                    yield _hit(code, node, constant)
            continue
        both = isinstance(node.op, ast.Add) and _lowest(code, node.left)
        if both and _lowest(code, node.right):
            yield Hit(
                node,
                "both masks hold the least number of a dtype; their sum is -inf, and a row of "
                "nothing but -inf becomes NaN",
                "combine bools (a & b) and fill once, or take torch.maximum(sum, finfo.min)",
                "warning",
            )


def _forbids(code: Code, node: ast.expr) -> bool:
    value = number(code.scopes.value(node))
    return value is not None and float("-inf") < value <= FORBIDS_FROM


def _is_one_minus(node: ast.expr) -> bool:
    return isinstance(node, ast.BinOp) and isinstance(node.op, ast.Sub) and is_number(node.left, 1)


def _hit(code: Code, node: ast.expr, constant: ast.expr) -> Hit:
    value = number(code.scopes.value(constant)) or 0.0
    shown = f"{value:g}"
    if value < _HALF_LEAST:
        half = _in_half(code, node)
        return Hit(
            node,
            f"{shown} is less than float16 can hold: an error in masked_fill, -inf elsewhere",
            _FIX,
            "warning" if half else "note",
        )
    return Hit(
        node,
        f"{shown} is a number among others: where scores are large, or a whole row is forbidden, "
        "forbidden keys have weight",
        _FIX,
    )


def _in_half(code: Code, node: ast.AST) -> bool:
    """Whether the function turns to float16 itself, and to nothing else."""
    function = code.source.function_of(node)
    text = ast.unparse(function) if function is not None else ""
    half = ".half()" in text or "torch.float16" in text
    return half and not any(w in text for w in ("float32", ".float()", "bfloat16", "finfo", "if "))


def _lowest(code: Code, node: ast.expr) -> bool:
    """Whether an expression is an additive mask of the least number of a dtype."""
    value = code.masks.of(node)
    held = code.scopes.value(node)
    if value is None or value.kind != "additive" or held is None:
        return False
    parts = (each for each in ast.walk(held) if isinstance(each, ast.expr))
    return any(code.masks.is_lowest(each) for each in parts)


RULE = LintRule(
    name="mask-constant",
    meaning="a mask is made of a number that overflows in float16, or is too weak.",
    severity="note",
    why=(
        "-1e9 and -1e12 cannot be held by float16, and -100 or -1e4 can be outdone by scores. In "
        "float32, and with scores of ordinary size, these work: so this is a note, and a warning "
        "only where the same function computes in float16, or adds two masks that each hold the "
        "least number of their dtype."
    ),
    wrong="""\
def attention_weights(scores, mask):
    scores = scores.masked_fill(mask == 0, -1e9)
    return scores.softmax(dim=-1)
""",
    right="""\
import torch


def attention_weights(scores, mask):
    scores = scores.masked_fill(mask == 0, torch.finfo(scores.dtype).min)
    return scores.softmax(dim=-1)
""",
    words=("masked_fill", "where(", "1 -", "1.0 -", "1. -", "1-", "finfo"),
    check=_check,
)
