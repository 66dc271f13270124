"""The rule ``discarded-masked-fill``: a new tensor is made, and thrown away."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from sightline.audit.linting.hints import is_test_code
from sightline.audit.linting.operations import operation
from sightline.audit.linting.rule import Code, Hit, LintRule
from sightline.audit.linting.source import number, words

# Methods that only tensors have and that change nothing, and how many arguments they take.
_METHODS = {
    **dict.fromkeys(("masked_fill", "masked_scatter"), (2, 2)),
    **dict.fromkeys(("softmax", "log_softmax", "unsqueeze"), (1, 2)),
    **dict.fromkeys(("tril", "triu"), (0, 1)),
    **dict.fromkeys(("logical_and", "logical_or"), (1, 1)),
    "logical_not": (0, 0),
    "index_fill": (3, 3),
}
# Functions of the same kind. numpy's logical_not and the like take an array to write into.
_FUNCTIONS = {
    "torch": {*_METHODS, "where"},
    "jax": {*_METHODS, "where"},
    "numpy": words("where tril triu"),
}


def _check(code: Code) -> Iterator[Hit]:
    for statement in code.source.all(ast.Expr):
        call = statement.value
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Attribute):
            continue
        name = call.func.attr
        library = code.source.dotted(call.func).partition(".")[0]
        if library in _FUNCTIONS:
            pure = name in _FUNCTIONS[library]
        else:
            pure = name in _METHODS and _is_tensor_method(code, call)
        if pure and not any(each.arg in ("out", None) for each in call.keywords):
            # At the end of a cell, or of an example for a type checker, nobody wants the result.
            within = code.source.function_of(call) is not None
            plain = not code.source.piece.cell and library != "numpy"
            if (within or plain) and not is_test_code(code.source, call):
                yield _hit(code, call, name, library in _FUNCTIONS)


def _is_tensor_method(code: Code, call: ast.Call) -> bool:
    """Whether a method call has the arguments that the tensor's method takes."""
    made = operation(code.source, call)
    if made is None:
        return False
    least, most = _METHODS[made.name]
    if not least <= len(made.rest) + len(made.keywords) <= most:
        return False
    # The axis first, or by name: modules have a method softmax(x) of their own.
    axis = made.rest[0] if made.rest else made.keywords.get("dim")
    written = number(axis) is not None or (not made.rest and axis is not None)
    return written or made.name not in ("softmax", "log_softmax", "unsqueeze")


def _hit(code: Code, call: ast.Call, name: str, library: bool) -> Hit:
    subject = call.args[0] if library and call.args else call.func.value  # type: ignore[attr-defined]
    target = code.source.text_of(subject, 30)
    again = f"{target} = {code.source.text_of(call, 50)}"
    sister = f", or {name}_ to change it in place" if name.startswith("masked") else ""
    return Hit(
        call,
        f"the result of {name} is thrown away; {target} stays as it was",
        f"write {again}{sister}" if name != "where" else "assign the result",
    )


RULE = LintRule(
    name="discarded-masked-fill",
    meaning="the result of `masked_fill`, `where`, `tril`, `softmax`, ... is thrown away.",
    severity="error",
    why=(
        "These give a new tensor and leave the old one alone, so that the mask does nothing. "
        "Assign the result, or use the method whose name ends in `_`."
    ),
    wrong="""\
def attention_weights(scores, mask):
    scores.masked_fill(mask == 0, float("-inf"))
    return scores.softmax(dim=-1)
""",
    right="""\
def attention_weights(scores, mask):
    scores = scores.masked_fill(mask == 0, float("-inf"))
    return scores.softmax(dim=-1)
""",
    words=(*_METHODS, "where"),
    check=_check,
)
