"""The rule ``mask-after-softmax``: weights are masked when forbidden keys have had their share."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from sightline.audit.linting.operations import operation
from sightline.audit.linting.rule import Code, Hit, LintRule
from sightline.audit.linting.scopes import own_nodes
from sightline.audit.linting.source import is_number


def _check(code: Code) -> Iterator[Hit]:
    for call in code.source.calls_of(("masked_fill", "masked_fill_")):
        made = operation(code.source, call)
        if made is None:
            continue
        softmax = _softmax_of(code, made.subject)
        if softmax is None:
            continue
        fill = made.argument(1, "value")
        if code.masks.forbids(fill) and not _is_log(softmax):
            yield Hit(
                call,
                f"{code.source.text_of(made.subject, 30)} are weights, behind the softmax; filled "
                "with so low a number they are no weights any more",
                "fill the scores, before the softmax",
            )
        elif is_number(fill, 0) and _alone(code, call, softmax):
            yield Hit(
                call,
                "weights are made 0 behind the softmax, which has already divided by what "
                "forbidden keys scored: every other weight depends on them",
                'fill the scores with float("-inf") before the softmax',
            )


def _softmax_of(code: Code, node: ast.expr) -> ast.Call | None:
    """Return the softmax that a value certainly is."""
    held = code.scopes.value(node)
    return held if isinstance(held, ast.Call) and code.scores.softmax(held) is not None else None


def _is_log(softmax: ast.Call) -> bool:
    return "log" in ast.unparse(softmax.func)


def _alone(code: Code, call: ast.Call, softmax: ast.Call) -> bool:
    """Whether nothing masks the scores before, and nothing divides the weights anew behind."""
    made = code.scores.softmax(softmax)
    if made is None or code.scores.product(made.subject) is None:
        return False
    if not all(_plain(code, step) for step in code.scores.steps(made.subject)):
        return False
    scope = code.source.function_of(call) or code.source.tree
    return not any(_divides(node) for node in own_nodes(scope) if _behind(node, call))


def _plain(code: Code, step: ast.expr) -> bool:
    """Whether a step from the product to the softmax masks nothing."""
    if isinstance(step, ast.BinOp):
        return not isinstance(step.op, ast.Add | ast.Sub)
    if isinstance(step, ast.Call):
        made = operation(code.source, step)
        return made is not None and made.name not in ("masked_fill", "masked_fill_", "where")
    if isinstance(step, ast.Name):
        binding = code.scopes.reaching(step)
        return binding is not None and not isinstance(binding.node, ast.AugAssign | ast.Call)
    return True


def _divides(node: ast.AST) -> bool:
    if isinstance(node, ast.BinOp | ast.AugAssign):
        return isinstance(node.op, ast.Div)
    return isinstance(node, ast.Attribute) and node.attr in ("normalize", "div", "div_", "renorm")


def _behind(node: ast.AST, call: ast.Call) -> bool:
    return getattr(node, "lineno", 0) > call.lineno


RULE = LintRule(
    name="mask-after-softmax",
    meaning="weights are masked behind the softmax, and nothing masked the scores before it.",
    severity="error",
    why=(
        "The softmax divides by the sum over all keys. Weights that are set to 0 afterwards have "
        "taken their share of that sum: the future, or padding, still moves every weight, and the "
        "rest do not add up to 1."
    ),
    wrong="""\
def attend(query, key, value, mask):
    scores = query @ key.transpose(-2, -1)
    weights = scores.softmax(dim=-1)
    weights = weights.masked_fill(mask == 0, 0.0)
    return weights @ value
""",
    right="""\
def attend(query, key, value, mask):
    scores = query @ key.transpose(-2, -1)
    weights = scores.masked_fill(mask == 0, float("-inf")).softmax(dim=-1)
    weights = weights.masked_fill(mask == 0, 0.0)  # rows that may see nothing
    return weights @ value
""",
    words=("softmax", "Softmax"),
    check=_check,
)
