"""The rule ``mean-over-padded-time``: padding counts in a mean, or in a maximum."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from sightline.audit.linting.operations import Operation, operation
from sightline.audit.linting.rule import Code, Hit, LintRule
from sightline.audit.linting.source import is_number

_POOLS = {"mean": "mean", "nanmean": "mean", "max": "maximum", "amax": "maximum"}
_MASKS = re.compile(r"^(attention_mask|(src_|key_)?(key_)?padding_mask|src_key_padding_mask)$")
_HIDDEN = ("last_hidden_state",)


def _check(code: Code) -> Iterator[Hit]:
    for call in code.source.calls_of(_POOLS):
        made = operation(code.source, call)
        if made is None or not _over_time(made):
            continue
        mask = _hidden_padding(code, made.subject)
        if mask:
            yield Hit(
                call,
                f"this {_POOLS[made.name]} over the sequence counts padding, which the model was "
                f"told of by {mask}",
                "weigh with the mask: (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)"
                if _POOLS[made.name] == "mean"
                else "fill padding with -inf first: hidden.masked_fill(~mask[..., None], -inf)",
            )


def _over_time(made: Operation) -> bool:
    """Whether a reduction goes along axis 1, and only that."""
    axis = made.argument(0, "dim", "axis")
    if isinstance(axis, ast.List | ast.Tuple) and len(axis.elts) == 1:
        axis = axis.elts[0]
    return is_number(axis, 1) and not (isinstance(axis, ast.Constant) and axis.value is True)


def _hidden_padding(code: Code, node: ast.expr) -> str:
    """Return how the call that gave a value was told of padding; empty if it was not."""
    held = code.scopes.value(node)
    if isinstance(held, ast.Attribute) and held.attr in _HIDDEN:
        return _told(code, code.scopes.value(held.value), anything=True)
    if isinstance(held, ast.Subscript) and is_number(held.slice, 0):
        inner = code.scopes.value(held.value)
        return _told(code, inner, anything=False)
    return _told(code, held, anything=False) if isinstance(node, ast.Name) else ""


def _told(code: Code, call: ast.expr | None, *, anything: bool) -> str:
    if not isinstance(call, ast.Call):
        return ""
    name = code.attention.name_of(call)
    if not (anything or name.startswith("Transformer")):
        return ""
    for keyword in call.keywords:
        given = keyword.value
        if keyword.arg is None:
            if anything and _padded_batch(code, given):
                return "its attention_mask"
        elif _MASKS.match(keyword.arg) and not isinstance(given, ast.Constant):
            return keyword.arg
    return ""


def _padded_batch(code: Code, node: ast.expr) -> bool:
    """Whether what is unpacked into a call is what a tokenizer gave with padding."""
    held = code.scopes.value(node)
    match held:
        case ast.Call(func=ast.Attribute(value=inner, attr="to")):
            held = code.scopes.value(inner)
    if not isinstance(held, ast.Call) or "tok" not in ast.unparse(held.func).lower():
        return False
    if held.args and isinstance(code.scopes.value(held.args[0]), ast.Constant | ast.JoinedStr):
        return False  # one text has no padding
    padding = next((each.value for each in held.keywords if each.arg == "padding"), None)
    return isinstance(padding, ast.Constant) and padding.value in (True, "longest", "max_length")


RULE = LintRule(
    name="mean-over-padded-time",
    meaning="a sequence is averaged over all its positions, padding included.",
    severity="warning",
    why=(
        "The model was given the padding mask, the pooling behind it was not. Hidden states of "
        "padding are numbers like any other; the mean of a short text then depends on how long "
        "the longest one of its batch is."
    ),
    wrong="""\
def embed(model, tokenizer, texts):
    batch = tokenizer(texts, padding=True, return_tensors="pt")
    hidden = model(**batch).last_hidden_state
    return hidden.mean(dim=1)
""",
    right="""\
def embed(model, tokenizer, texts):
    batch = tokenizer(texts, padding=True, return_tensors="pt")
    hidden = model(**batch).last_hidden_state
    valid = batch["attention_mask"].unsqueeze(-1)
    return (hidden * valid).sum(dim=1) / valid.sum(dim=1)
""",
    words=("mask", "padding"),
    check=_check,
)
