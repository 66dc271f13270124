"""The rule ``pad-is-eos``: the end of a text is taken for padding."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from sightline.audit.linting.hints import is_test_code
from sightline.audit.linting.rule import Code, Hit, LintRule

_PAIRS = {"pad_token": "eos_token", "pad_token_id": "eos_token_id"}


def _check(code: Code) -> Iterator[Hit]:
    assigned = [node for node in code.source.all(ast.Assign) if _makes_them_one(node)]
    if not assigned:
        return
    derived = list(_derived(code))
    if not derived:
        for node in assigned:
            if not is_test_code(code.source, node):
                yield Hit(
                    node,
                    "padding and the end of a text are the same id from here on; masks and labels "
                    "must not be made from ids",
                    "make masks from lengths (tokenizer's attention_mask), or add a pad token",
                    "note",
                )
    for node, what in derived:
        yield Hit(
            node,
            f"{what} from ids that equal pad_token_id, which is eos_token_id in this file: the "
            "end of each text goes with the padding",
            "use the attention_mask that the tokenizer gives, or give the tokenizer a pad token "
            "of its own",
        )


def _makes_them_one(node: ast.AST) -> bool:
    """Whether a statement is ``tokenizer.pad_token = tokenizer.eos_token``."""
    if not isinstance(node, ast.Assign) or not isinstance(node.value, ast.Attribute):
        return False
    owner = ast.dump(node.value.value)
    return any(
        isinstance(each, ast.Attribute)
        and _PAIRS.get(each.attr) == node.value.attr
        and ast.dump(each.value) == owner
        and "config" not in owner
        for each in node.targets
    )


def _derived(code: Code) -> Iterator[tuple[ast.expr, str]]:
    """Yield the masks and labels that are made by comparing ids with the padding's."""
    for node in [*code.source.all(ast.Compare), *code.source.calls_of(("eq", "ne"))]:
        compared: ast.expr | None = None
        if isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.Eq | ast.NotEq):
            compared = node.comparators[0]
        elif isinstance(node, ast.Call) and len(node.args) == 1:
            func = node.func
            if isinstance(func, ast.Attribute) and func.attr in ("eq", "ne"):
                compared = node.args[0]
        if isinstance(compared, ast.Attribute) and compared.attr == "pad_token_id":
            statement = code.source.statement_of(node)
            if statement is not None and (what := _what(statement, node)):
                yield node, what


def _what(statement: ast.stmt, node: ast.AST) -> str:
    """Return what a statement makes of a comparison: a mask, labels, or nothing of the kind."""
    if isinstance(statement, ast.Assign):
        for target in statement.targets:
            if isinstance(target, ast.Subscript) and node in ast.walk(target):
                name = ast.unparse(target.value).lower()
                if ("label" in name or "target" in name) and ast.unparse(statement.value) == "-100":
                    return "labels are ignored"
            elif "attention_mask" in ast.unparse(target).lower():
                return "a mask is made"
    return ""


RULE = LintRule(
    name="pad-is-eos",
    meaning="masks or labels are made from ids, in a file where padding and end of text share one.",
    severity="warning",
    why=(
        "After `tokenizer.pad_token = tokenizer.eos_token` an id cannot tell padding from the end "
        "of a text. Labels set to -100 by it never teach a model to stop, and masks made by it "
        "hide real tokens. The assignment alone is only a note: masks that the tokenizer makes "
        "come from lengths and are right."
    ),
    wrong="""\
def batch_of(tokenizer, texts):
    tokenizer.pad_token = tokenizer.eos_token
    batch = tokenizer(texts, padding=True, return_tensors="pt")
    labels = batch["input_ids"].clone()
    labels[labels == tokenizer.pad_token_id] = -100
    return batch, labels
""",
    right="""\
def batch_of(tokenizer, texts):
    tokenizer.add_special_tokens({"pad_token": "<pad>"})
    batch = tokenizer(texts, padding=True, return_tensors="pt")
    labels = batch["input_ids"].clone()
    labels[batch["attention_mask"] == 0] = -100
    return batch, labels
""",
    words=("pad_token",),
    check=_check,
)
