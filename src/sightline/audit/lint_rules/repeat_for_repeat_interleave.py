"""The rule ``repeat-for-repeat-interleave``: batch rows of a mask meet the heads of others."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from sightline.audit.linting.mask_uses import uses_of_masks
from sightline.audit.linting.operations import Operation, operation
from sightline.audit.linting.rule import Code, Hit, LintRule
from sightline.audit.linting.source import is_number

_HEADS = re.compile(r"^((n|num|nr)_?)?((attention|attn|q)_)?heads?$", re.IGNORECASE)
# What leaves the rows of a mask in their order.
_KEEPS = ("to", "bool", "float", "contiguous", "logical_not", "cuda", "detach", "clone", "int")


def _check(code: Code) -> Iterator[Hit]:
    for use in uses_of_masks(code):
        if use.keys or not use.adds or use.place.startswith("attn_mask of F."):
            continue
        repeated = _repeated(code, use.mask)
        if repeated is None or _one_batch_row(code, repeated.subject):
            continue
        heads = code.source.text_of(repeated.rest[0], 30)
        yield Hit(
            use.node,
            f"{use.place} wants batch row b, head h in row b * {heads} + h; repeat({heads}, 1, 1) "
            f"puts it in row h * batch + b, so that rows get the masks of others",
            f"write repeat_interleave({heads}, dim=0)",
        )


def _repeated(code: Code, mask: ast.expr) -> Operation | None:
    """Return the ``repeat(heads, 1, 1)`` that a mask was made by, as an operation."""
    node: ast.expr | None = mask
    for _ in range(6):
        node = code.scopes.value(node)
        if isinstance(node, ast.UnaryOp):
            node = node.operand
            continue
        made = operation(code.source, node)
        if made is None:
            return None
        if made.name == "repeat":
            sizes = made.rest
            if len(sizes) == 3 and is_number(sizes[1], 1) and is_number(sizes[2], 1):
                return made if _HEADS.match(_name_of(sizes[0])) else None
            return None
        if made.name not in _KEEPS:
            return None
        node = made.subject
    return None


def _name_of(node: ast.expr) -> str:
    """Return the last part of a name; empty for a product with the batch and the like."""
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def _one_batch_row(code: Code, node: ast.expr) -> bool:
    """Whether a mask is the same for every batch row, where both ways are one."""
    value = code.masks.of(node)
    return value is not None and value.triangle and value.exact


RULE = LintRule(
    name="repeat-for-repeat-interleave",
    meaning="a mask is repeated for the heads in the wrong order of rows.",
    severity="error",
    why=(
        "`nn.MultiheadAttention` reads `attn_mask` of shape [batch * heads, queries, keys] with "
        "the heads of one batch row side by side. `mask.repeat(heads, 1, 1)` puts the batch rows "
        "side by side instead: the shape is right, and all rows but those of a batch of one get "
        "others' masks."
    ),
    wrong="""\
from torch import nn


class Block(nn.Module):
    def __init__(self, width, num_heads):
        super().__init__()
        self.num_heads = num_heads
        self.attention = nn.MultiheadAttention(width, num_heads, batch_first=True)

    def forward(self, x, mask):
        mask = mask.repeat(self.num_heads, 1, 1)
        return self.attention(x, x, x, attn_mask=mask)[0]
""",
    right="""\
from torch import nn


class Block(nn.Module):
    def __init__(self, width, num_heads):
        super().__init__()
        self.num_heads = num_heads
        self.attention = nn.MultiheadAttention(width, num_heads, batch_first=True)

    def forward(self, x, mask):
        mask = mask.repeat_interleave(self.num_heads, dim=0)
        return self.attention(x, x, x, attn_mask=mask)[0]
""",
    words=(".repeat(",),
    check=_check,
)
