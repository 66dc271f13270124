"""The rule ``softmax-over-time-without-mask``: pooling weights that padding takes a share of."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from sightline.audit.linting.hints import mask_parameters, reads
from sightline.audit.linting.rule import Code, Hit, LintRule

_SCORES = re.compile(r"(^|_)(attn|attention|att|score|scores|energy|energies|alpha|align)(_|$|s$)")
# What is asked of the axis of time: a number per position.
_TIME_AXES = (1, -2)


def _check(code: Code) -> Iterator[Hit]:
    for call, made in code.scores.softmaxes():
        if code.scores.dim(made) not in _TIME_AXES:
            continue
        function = code.source.function_of(call)
        if function is None or code.scores.product(made.subject) is not None:
            continue
        if not _one_score_each(code, made.subject):
            continue
        unread = [
            each.arg
            for each in mask_parameters(function)
            if not reads(code.source, function, each.arg)
        ]
        if unread and code.scores.weighs(call, elementwise=True):
            yield Hit(
                call,
                f"this softmax over the positions gives padding its share; {unread[0]} is a "
                "parameter of the function, and unused",
                f"fill the scores of padding with -inf first, by {unread[0]}",
            )


def _one_score_each(code: Code, node: ast.expr) -> bool:
    """Whether scores are a linear layer's one number for each position."""
    held = code.scopes.value(node)
    while isinstance(held, ast.Call) and isinstance(held.func, ast.Attribute):
        if held.func.attr == "squeeze":
            held = code.scopes.value(held.func.value)
            continue
        module = code.scopes.value(held.func)
        if isinstance(module, ast.Call) and _gives_one(code, module):
            return True
        break
    return isinstance(node, ast.Name) and _SCORES.search(node.id) is not None


def _gives_one(code: Code, module: ast.Call) -> bool:
    """Whether a module is made as ``nn.Linear(width, 1)``, or ends with one."""
    name = code.source.dotted(module.func).rpartition(".")[2]
    if name == "Sequential" and module.args and isinstance(module.args[-1], ast.Call):
        return _gives_one(code, module.args[-1])
    if name != "Linear" or len(module.args) < 2:
        return False
    return isinstance(module.args[1], ast.Constant) and module.args[1].value == 1


RULE = LintRule(
    name="softmax-over-time-without-mask",
    meaning="positions are weighed by a softmax that does not use the mask it was given.",
    severity="warning",
    why=(
        "Attention pooling gives each position a score and divides by their sum. Without the mask "
        "padding has a score too, and the result depends on how much padding there is."
    ),
    wrong="""\
import torch
from torch import nn


class AttentionPool(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.score = nn.Linear(width, 1)

    def pool(self, hidden, attention_mask):
        weights = torch.softmax(self.score(hidden), dim=1)
        return (weights * hidden).sum(dim=1)
""",
    right="""\
import torch
from torch import nn


class AttentionPool(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.score = nn.Linear(width, 1)

    def pool(self, hidden, attention_mask):
        scores = self.score(hidden)
        scores = scores.masked_fill(attention_mask.unsqueeze(-1) == 0, float("-inf"))
        return (torch.softmax(scores, dim=1) * hidden).sum(dim=1)
""",
    words=("softmax", "Softmax"),
    check=_check,
)
