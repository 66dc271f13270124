"""The rule ``pad-mask-on-query-axis``: padding is forbidden as queries, and seen as keys."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from sightline.audit.linting.hints import speaks_of_padding
from sightline.audit.linting.mask_uses import uses_of_masks
from sightline.audit.linting.operations import operation
from sightline.audit.linting.rule import Code, Hit, LintRule
from sightline.audit.linting.source import is_number, number

_KEEPS = ("to", "bool", "float", "logical_not", "eq", "ne", "expand", "contiguous")


def _check(code: Code) -> Iterator[Hit]:
    for use in uses_of_masks(code):
        if use.keys or not _on_query_axis(code, use.mask):
            continue
        if use.adds or _over_keys(code, use.node):
            yield Hit(
                use.node,
                f"{code.source.text_of(use.mask, 40)} is [batch, 1, length, 1]: it covers whole "
                "queries, and every other query still sees the padding",
                "put the length last: mask[:, None, None, :]",
            )


def _over_keys(code: Code, fill: ast.expr) -> bool:
    """Whether what is filled are products of queries and keys, and their softmax is over keys."""
    if code.scores.product(fill) is None:
        return False
    for call in code.scores.softmaxes_fed(fill):
        made = code.scores.softmax(call)
        if made is None or code.scores.dim(made) not in (-1, 3):
            return False
    return not _key_masked_too(code, fill)


def _key_masked_too(code: Code, fill: ast.expr) -> bool:
    """Whether the same scores get another mask: rows of padding are often covered besides."""
    softmaxes = (code.scores.softmax(each) for each in code.scores.softmaxes_fed(fill))
    others = [
        step
        for softmax in softmaxes
        for step in code.scores.steps(softmax.subject if softmax is not None else None)
        if isinstance(step, ast.Call) and step is not fill
    ]
    made = [operation(code.source, each) for each in others]
    return any(each is not None and each.name.startswith(("masked_fill", "where")) for each in made)


def _on_query_axis(code: Code, node: ast.expr | None) -> bool:
    """Whether a mask is one of padding, with an axis of 1 for the keys, and nothing more."""
    added: list[float] = []
    for _ in range(12):
        if _indexed(node):
            assert isinstance(node, ast.Subscript)
            return speaks_of_padding(node.value) or _is_padding(code, node.value)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Invert):
            node = node.operand
            continue
        if isinstance(node, ast.Compare) and is_number(node.comparators[0], 0, 1) and not added:
            node = node.left
            continue
        made = operation(code.source, node)
        if made is not None and made.name == "unsqueeze" and len(made.rest) == 1:
            axis = number(made.rest[0])
            if axis is None:
                return False
            added.insert(0, axis)
            node = made.subject
            continue
        if made is not None and made.name in _KEEPS and made.name not in ("eq", "ne"):
            node = made.subject
            continue
        if added:
            return tuple(added) in _QUERY_AXIS and _is_padding(code, node)
        held = code.scopes.value(node)
        if held is None or held is node:
            return False
        node = held
    return False


# Axes put in, one after the other, into [batch, length] to make [batch, 1, length, 1].
_QUERY_AXIS = ((1, -1), (1, 3), (-1, 1), (2, 1))


def _is_padding(code: Code, node: ast.expr | None) -> bool:
    return speaks_of_padding(node) or speaks_of_padding(code.scopes.value(node))


def _indexed(node: ast.expr | None) -> bool:
    """Whether an expression is ``mask[:, None, :, None]``."""
    if not isinstance(node, ast.Subscript) or not isinstance(node.slice, ast.Tuple):
        return False
    shape = "".join(
        ":" if isinstance(each, ast.Slice) else "1" if _is_none(each) else "?"
        for each in node.slice.elts
    )
    return shape == ":1:1"


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


RULE = LintRule(
    name="pad-mask-on-query-axis",
    meaning="a mask of padding is laid along the queries, where it leaves padding visible as keys.",
    severity="error",
    why=(
        "Scores are [batch, heads, queries, keys]. A padding mask [batch, length] must meet the "
        "last axis. Along the queries it blots out the rows of padding, which nobody reads, and "
        "every real token keeps attending to padding."
    ),
    wrong="""\
import torch.nn.functional as F


def attend(query, key, value, padding_mask):
    mask = padding_mask.unsqueeze(1).unsqueeze(-1)
    return F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
""",
    right="""\
import torch.nn.functional as F


def attend(query, key, value, padding_mask):
    mask = padding_mask.unsqueeze(1).unsqueeze(2)
    return F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
""",
    words=("unsqueeze", "None"),
    check=_check,
)
