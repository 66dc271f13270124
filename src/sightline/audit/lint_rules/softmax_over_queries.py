"""The rule ``softmax-over-queries``: weights of one key add up to 1, not those of one query."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from sightline.audit.linting.operations import Operation
from sightline.audit.linting.rule import Code, Hit, LintRule
from sightline.audit.linting.scopes import own_nodes

# Designs in which queries compete for keys, or both axes are gone along.
_MEANT = re.compile(r"slot|inverted|column|col_|dual|co_?attn|co_?attention|bidaf|sinkhorn|group")


def _check(code: Code) -> Iterator[Hit]:
    for call, made in code.scores.softmaxes():
        if code.scores.product(made.subject) is None:
            continue
        axis = made.argument(0, "dim", "axis")
        if axis is not None and code.scores.dim(made) != -2:
            continue
        if axis is None and not _needs_axis(code, call):
            continue
        # A softmax of similarities that weigh nothing is no attention.
        if code.scores.weighs(call) and not _competing(code, call, made):
            yield _hit(call, axis)


def _needs_axis(code: Code, call: ast.Call) -> bool:
    """Whether it is torch's functional softmax, which guesses the axis that is not named."""
    return code.source.dotted(call.func) == "torch.nn.functional.softmax" and not any(
        each.arg is None for each in call.keywords
    )


def _competing(code: Code, call: ast.Call, made: Operation) -> bool:
    """Whether the text shows that queries shall compete: by name, by a second softmax or sum."""
    function = code.source.function_of(call)
    owner = code.source.class_of(call)
    names = " ".join(each.name for each in (function, owner) if each is not None)
    if _MEANT.search(names.lower()) or _MEANT.search(ast.unparse(made.subject).lower()):
        return True
    for node in own_nodes(function if function is not None else code.source.tree):
        if isinstance(node, ast.Call) and node is not call and code.scores.softmax(node):
            return True
        if isinstance(node, ast.AugAssign | ast.BinOp) and isinstance(node.op, ast.Div):
            divisor = node.right if isinstance(node, ast.BinOp) else node.value
            if "sum" in ast.unparse(divisor):
                return True
    return False


def _hit(call: ast.Call, axis: ast.expr | None) -> Hit:
    if axis is None:
        return Hit(
            call,
            "softmax without dim takes axis 1 of scores with 2 or 4 axes and axis 0 of 3, never "
            "the keys",
            "write dim=-1",
        )
    return Hit(
        call,
        "this softmax goes over the queries: what a later token asks changes the weights of "
        "earlier ones, whatever the mask",
        "write dim=-1, the axis of keys",
    )


RULE = LintRule(
    name="softmax-over-queries",
    meaning="the softmax of query-key products goes over another axis than the keys.",
    severity="warning",
    why=(
        "Scores `q @ k.transpose(-2, -1)` have their keys on the last axis. A softmax over the "
        "queries divides by what later queries score: the future leaks, though every forbidden "
        "pair has weight 0."
    ),
    wrong="""\
import torch


def attend(query, key, value):
    scores = query @ key.transpose(-2, -1)
    return torch.softmax(scores, dim=-2) @ value
""",
    right="""\
import torch


def attend(query, key, value):
    scores = query @ key.transpose(-2, -1)
    return torch.softmax(scores, dim=-1) @ value
""",
    words=("softmax", "Softmax"),
    check=_check,
)
