"""What names tell: a parameter called ``attention_mask`` is a mask, one called ``lengths`` lengths.

Rules use a name only beside other signs; these lists are short on purpose.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from sightline.audit.linting.scopes import all_parameters
from sightline.audit.linting.source import Function, Source

_PADDING = re.compile(
    r"(^|_)(pad|padding|padded|valid|attention_mask|key_mask|src_mask|key_padding_mask|nonpad|"
    r"non_pad|seq_mask|length_mask|input_mask)(_|$|s$)",
    re.IGNORECASE,
)
_ATTENTION_MASK = re.compile(
    r"^((\w+_)?(attention|attn|att|padding|pad|causal|key|src|tgt|memory|seq|sequence|token)_mask"
    r"|(key|src|tgt)_padding_mask|(\w+_)?key_padding_mask|mask)$"
)
_WATCHED = re.compile(r"raises|warn|assert|profil|timer|capture|record|trace|mode")
_MEASURED = re.compile(r"bench|profile|warm|timing|speed")
_LENGTHS = re.compile(
    r"^((x|src|tgt|seq|sequence|input|text|token|key|memory|encoder|valid|mel|feat)_)?"
    r"(lengths|lens|seq_len|seq_lens|seqlens|valid_len|valid_lens)$"
)


def speaks_of_padding(node: ast.expr | None) -> bool:
    """Whether an expression is named as a mask of padding, or compares with a padding id."""
    if isinstance(node, ast.Name):
        return _PADDING.search(node.id) is not None
    if isinstance(node, ast.Attribute):
        return _PADDING.search(node.attr) is not None
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Invert):
        return speaks_of_padding(node.operand)
    if isinstance(node, ast.Compare):
        return any("pad" in name.lower() for name in identifiers(node.comparators[0]))
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
        return False
    if node.func.attr not in ("bool", "to", "eq", "ne", "logical_not", "float", "long", "int"):
        return False
    named = any("pad" in name.lower() for each in node.args for name in identifiers(each))
    return speaks_of_padding(node.func.value) or named


def identifiers(node: ast.AST) -> Iterator[str]:
    """Yield the names and attributes that an expression consists of."""
    for each in ast.walk(node):
        if isinstance(each, ast.Name):
            yield each.id
        elif isinstance(each, ast.Attribute):
            yield each.attr


def mask_parameters(function: Function) -> list[ast.arg]:
    """Return the parameters that are named as masks of attention, or lengths of sequences."""
    return [
        each
        for each in all_parameters(function)
        if _ATTENTION_MASK.match(each.arg) or _LENGTHS.match(each.arg)
    ]


def reads(source: Source, function: Function, name: str) -> list[ast.Name]:
    """Return where a function's body reads a name, functions inside it included."""
    first, last = function.body[0].lineno, function.end_lineno or 0
    return [
        each
        for each in source.names(name)
        if first <= each.lineno <= last and not isinstance(each.ctx, ast.Store)
    ]


def is_test_code(source: Source, node: ast.AST) -> bool:
    """Whether a node stands where a call is made to see it fail, or to see how long it takes."""
    child = node
    for up in source.ancestors(node):
        if isinstance(up, ast.With | ast.AsyncWith):
            for item in up.items:
                words = " ".join(identifiers(item.context_expr)).lower()
                if _WATCHED.search(words):
                    return True
        elif isinstance(up, ast.Try):
            if child in up.body and up.handlers:
                return True
        elif isinstance(up, ast.FunctionDef) and _MEASURED.search(up.name):
            return True
        child = up
    return False
