"""The rule ``triangle-sense``: a triangle is given to what reads it the other way round."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass

from sightline.audit.linting.hints import identifiers
from sightline.audit.linting.mask_uses import MaskUse, uses_of_masks
from sightline.audit.linting.mask_values import MaskValue
from sightline.audit.linting.rule import Code, Hit, LintRule

# Who says so means it: models that read backwards, and those in which a token must not see itself.
_BACKWARD = re.compile(r"backward|reverse|anti|future|bwd|rtl|right_to_left", re.IGNORECASE)
_STRICT = re.compile(r"strict|diag|self_mask|exclude|shift|no_self|zero_pad|(^|_)me(_|$)", re.I)


@dataclass(frozen=True)
class _Fault:
    message: str
    unless: re.Pattern[str]
    right: str


def _fault(use: MaskUse, value: MaskValue) -> _Fault | None:
    """Return what is wrong about a triangle where it is used; None if it may be right."""
    if not value.exact:
        # A part of what lies behind the diagonal is seen, and nothing else.
        ahead = value.side == "upper" and value.offset in (0, 1)
        forbids = "lower" if use.attends and value.kind != "additive" and ahead else None
        offset = value.offset - 1 if forbids and value.offset is not None else None
    else:
        forbidden = use.forbidden(value)
        forbids, offset = forbidden.side, forbidden.offset
    if forbids == "lower" and offset == 0:
        return _Fault("this forbids a query itself and all before it: it sees only the future",
                      _BACKWARD, _causal(use))  # fmt: skip
    if forbids == "lower" and offset == -1:
        return _Fault("this forbids all before a query: it sees itself and the future",
                      _BACKWARD, _causal(use))  # fmt: skip
    if forbids == "upper" and offset == 0:
        return _Fault("this forbids a query itself too, so that query 0 sees nothing (NaN, or a "
                      "mean of everything)", _STRICT, _causal(use))  # fmt: skip
    return None


def _causal(use: MaskUse) -> str:
    if use.attends:
        return "for causal attention give torch.tril(torch.ones(n, n, dtype=torch.bool))"
    return "for causal attention give torch.triu(torch.ones(n, n, dtype=torch.bool), diagonal=1)"


def _check(code: Code) -> Iterator[Hit]:
    for use in uses_of_masks(code):
        value = None if use.keys else code.masks.of(use.mask)
        if value is None or not value.triangle or (use.adds and value.kind in ("float", "int")):
            continue
        fault = _fault(use, value)
        if fault is not None and not _meant(code, use.mask, fault.unless):
            sense = "" if value.kind == "additive" else f" ({use.sense} in {use.place})"
            yield Hit(use.node, fault.message + sense, fault.right)


def _meant(code: Code, mask: ast.expr, words: re.Pattern[str]) -> bool:
    """Whether the names around say that the mask is meant so."""
    function = code.source.function_of(mask)
    owner = code.source.class_of(mask)
    held = code.scopes.value(mask)
    names = [*identifiers(mask), *(identifiers(held) if held is not None else ())]
    names += [each.name for each in (function, owner) if each is not None]
    return any(words.search(name) for name in names)


RULE = LintRule(
    name="triangle-sense",
    meaning="a triangle of `tril` or `triu` is given to what reads it the other way round.",
    severity="error",
    why=(
        "In `F.scaled_dot_product_attention` True may attend; in `nn.MultiheadAttention`, "
        "`nn.Transformer` and `masked_fill(mask, -inf)` True is forbidden. The wrong triangle "
        "lets every token see exactly the future; a forbidden diagonal leaves the first token "
        "nothing to see."
    ),
    wrong="""\
import torch
from torch import nn


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)

    def forward(self, x):
        mask = torch.tril(torch.ones(x.size(1), x.size(1))).bool()
        return self.attention(x, x, x, attn_mask=mask)[0]
""",
    right="""\
import torch
from torch import nn


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)

    def forward(self, x):
        mask = torch.triu(torch.ones(x.size(1), x.size(1)), diagonal=1).bool()
        return self.attention(x, x, x, attn_mask=mask)[0]
""",
    words=("tril", "triu", "tri(", "band_part"),
    check=_check,
)
