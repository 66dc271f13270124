"""The rule ``float-zero-one-mask``: floats of 0 and 1 are given where floats are added."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from sightline.audit.linting.mask_uses import uses_of_masks
from sightline.audit.linting.rule import Code, Hit, LintRule


def _check(code: Code) -> Iterator[Hit]:
    for use in uses_of_masks(code):
        value = code.masks.of(use.mask) if use.adds else None
        if value is None or value.kind != "float" or value.side in ("all", "none"):
            continue  # the same number everywhere changes nothing
        if _filled_later(code, use.mask):
            continue
        adder = "" if isinstance(use.node, ast.BinOp) else f"{use.place} adds and "
        sense = "may be attended to" if use.attends else "are forbidden"
        yield Hit(
            use.node,
            f"the mask is of floats 0 and 1, which {adder}the softmax takes for scores: nothing "
            "is forbidden",
            'scores.masked_fill(mask == 0, float("-inf")) forbids where it is 0'
            if isinstance(use.node, ast.BinOp)
            else f"give bools that are True where keys {sense} (.bool() or dtype=torch.bool)",
        )


def _filled_later(code: Code, mask: ast.expr) -> bool:
    """Whether what looks like ones is an attribute that other code may fill."""
    return isinstance(mask, ast.Attribute) and len(code.scopes.attribute(mask)) != 1


RULE = LintRule(
    name="float-zero-one-mask",
    meaning="a mask of floats 0 and 1 is given to torch's attention, which adds floats.",
    severity="error",
    why=(
        "A bool mask is looked at, a float mask is added to the scores. Ones added to some scores "
        "favour them a little and forbid nothing; no error tells."
    ),
    wrong="""\
import torch
import torch.nn.functional as F


def attend(query, key, value):
    mask = torch.tril(torch.ones(query.size(-2), key.size(-2)))
    return F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
""",
    right="""\
import torch
import torch.nn.functional as F


def attend(query, key, value):
    mask = torch.tril(torch.ones(query.size(-2), key.size(-2), dtype=torch.bool))
    return F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
""",
    words=("attention", "Attention", "Transformer", "softmax"),
    check=_check,
)
