"""The rule ``unused-mask-argument``: a forward accepts a mask, mixes positions, and ignores it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from sightline.audit.linting.hints import mask_parameters, reads
from sightline.audit.linting.rule import Code, Hit, LintRule
from sightline.audit.linting.scopes import all_parameters, is_self
from sightline.audit.linting.source import Function, Source

_FORWARD = ("forward", "call", "__call__")
_SAID = re.compile(r"unused|ignored?|not used|no effect|deprecated|not supported|compatib", re.I)
_ATTENDS = re.compile(r"^(self_|cross_|self\.)?(attn|attention|mha|multihead_attn)\d*$")


def _check(code: Code) -> Iterator[Hit]:
    for function in code.source.functions:
        owner = code.source.parents.get(function)
        if function.name not in _FORWARD or not isinstance(owner, ast.ClassDef):
            continue
        unread = list(_unread(code.source, function))
        if unread and _mixes(code, function) and not _excused(code, function):
            for parameter in unread:
                yield Hit(
                    parameter,
                    f"{owner.name}.{function.name} accepts {parameter.arg}, attends, and never "
                    "uses it",
                    "apply it to the scores or hand it on; where it must be accepted and cannot "
                    f"matter, write `del {parameter.arg}` and say why",
                )


def _unread(source: Source, function: Function) -> Iterator[ast.arg]:
    """Yield the masks and lengths that a function never names, if nothing stands for them.

    Of two masks of pairs one may be for others' sake; one of padding is not replaced by those.
    """
    given = [each.arg for each in all_parameters(function) if "mask" in each.arg]
    read = [name for name in given if reads(source, function, name)]
    named = {each.id for each in source.within(function, ast.Name)}
    for parameter in mask_parameters(function):
        padding = "pad" in parameter.arg and not any("pad" in name for name in read)
        if parameter.arg not in named and (padding or not read):
            yield parameter


def _mixes(code: Code, function: Function) -> bool:
    """Whether a function computes attention itself, or calls its module's own attention."""
    for node in ast.walk(function):
        if not isinstance(node, ast.Call):
            continue
        if code.attention.name_of(node):
            return True
        made = code.scores.softmax(node)
        if made is not None and code.scores.product(made.subject) is not None:
            return True
        func = node.func
        if isinstance(func, ast.Attribute) and is_self(func.value) and _ATTENDS.match(func.attr):
            return True
    return False


def _excused(code: Code, function: Function) -> bool:
    """Whether a function says that it ignores something, or passes all on by other means."""
    comments = "\n".join(
        code.source.lines[(function.lineno - 1) : (function.end_lineno or function.lineno)]
    )
    said = [line for line in comments.splitlines() if "#" in line or '"""' in line]
    documented = ast.get_docstring(function) or ""
    if _SAID.search(documented) or any(_SAID.search(line) for line in said):
        return True
    if any("abstract" in ast.unparse(each) or "overload" in ast.unparse(each)
           for each in function.decorator_list):  # fmt: skip
        return True
    return any(
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in ("locals", "vars")
        for node in ast.walk(function)
    ) or _only_raises(function)


def _only_raises(function: Function) -> bool:
    return all(
        isinstance(each, ast.Raise | ast.Pass)
        or (isinstance(each, ast.Expr) and isinstance(each.value, ast.Constant))
        for each in function.body
    )


RULE = LintRule(
    name="unused-mask-argument",
    meaning="a forward that attends accepts a mask or lengths, and never uses them.",
    severity="warning",
    why=(
        "Whoever passes the mask believes that it works; nothing tells that it does not. Apply it, "
        "hand it on, or take it out of the signature. `del mask`, or a comment or docstring that "
        "says that it is unused, silences this."
    ),
    wrong="""\
from torch import nn


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)

    def forward(self, x, key_padding_mask=None):
        return self.attention(x, x, x)[0]
""",
    right="""\
from torch import nn


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)

    def forward(self, x, key_padding_mask=None):
        return self.attention(x, x, x, key_padding_mask=key_padding_mask)[0]
""",
    words=("mask", "len"),
    check=_check,
)
