"""The rule ``mask-after-positions``: zeros are looked for where positions were added."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from sightline.audit.linting.hints import identifiers
from sightline.audit.linting.operations import operation
from sightline.audit.linting.rule import Code, Hit, LintRule
from sightline.audit.linting.source import is_number, words

_POSITIONS = re.compile(r"(^|_)(pos|position|positional|positions|pe)(_|$|\d)|pos_?emb|posenc")
_REDUCTIONS = words("sum abs any all norm sign reduce_sum count_nonzero square mean")


def _check(code: Code) -> Iterator[Hit]:
    for node in code.source.all(ast.Compare):
        if not isinstance(node.ops[0], ast.Eq | ast.NotEq) or not is_number(node.comparators[0], 0):
            continue
        name = _reduced(code, node.left)
        added = None if name is None else _positions_added(code, name)
        if name is not None and added is not None:
            yield Hit(
                node,
                f"padding is looked for as zeros in {name.id}, but line {added.lineno} has added "
                "positions to it: nothing is zero any more",
                "make the mask from the token ids or lengths, or before that line",
            )


def _reduced(code: Code, node: ast.expr) -> ast.Name | None:
    """Return the name whose sum over features is compared: ``x.abs().sum(-1)`` -> ``x``."""
    summed = False
    while isinstance(node, ast.Call):
        made = operation(code.source, node)
        if made is None or made.name not in _REDUCTIONS:
            return None
        axis = made.argument(0, "dim", "axis")
        summed = summed or is_number(axis, -1, 2)
        node = made.subject
    return node if summed and isinstance(node, ast.Name) else None


def _positions_added(code: Code, name: ast.Name) -> ast.stmt | None:
    """Return the statement that added positions to a name's value, if one certainly did."""
    for _ in range(4):
        binding = code.scopes.reaching(name)
        if binding is None:
            return None
        statement = code.source.statement_of(binding.node)
        if isinstance(statement, ast.AugAssign) and isinstance(statement.op, ast.Add):
            return statement if _speaks_of_positions(statement.value) else None
        value = binding.value
        if isinstance(value, ast.BinOp) and isinstance(value.op, ast.Add):
            if _speaks_of_positions(value.left) or _speaks_of_positions(value.right):
                return statement
            return None
        if not isinstance(value, ast.Call) or len(value.args) != 1:
            return None
        if _speaks_of_positions(value.func) and isinstance(value.args[0], ast.Name):
            return statement  # x = self.positional_encoding(x)
        if "drop" not in ast.unparse(value.func).lower() or not isinstance(value.args[0], ast.Name):
            return None
        name = value.args[0]
    return None


def _speaks_of_positions(node: ast.expr) -> bool:
    return any(_POSITIONS.search(name.lower()) for name in identifiers(node))


RULE = LintRule(
    name="mask-after-positions",
    meaning="padding is looked for as zeros in embeddings to which positions were added.",
    severity="error",
    why=(
        "A padded row of embeddings may be all zeros, but not after positional encodings have been "
        "added: the mask is then true everywhere, and does nothing."
    ),
    wrong="""\
def encode(self, tokens):
    x = self.embedding(tokens)
    x = x + self.positions[: x.size(1)]
    mask = x.abs().sum(dim=-1) != 0
    return self.layers(x, mask)
""",
    right="""\
def encode(self, tokens):
    x = self.embedding(tokens)
    mask = x.abs().sum(dim=-1) != 0
    x = x + self.positions[: x.size(1)]
    return self.layers(x, mask)
""",
    words=("pos", "pe"),
    check=_check,
)
