"""Where a mask that forbids pairs is used: in a call of attention, a fill, or a choice of scores.

Each use says what True means there. Whether the mask is right is a rule's matter.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, replace

from sightline.audit.linting.attention_calls import KEY_MASKS, PAIR_MASKS
from sightline.audit.linting.mask_values import MaskValue
from sightline.audit.linting.operations import operation
from sightline.audit.linting.rule import Code


@dataclass(frozen=True)
class MaskUse:
    """One use of a mask.

    Attributes:
        node: the call or the addition that uses it.
        mask: the mask.
        attends: whether True means "may attend" there.
        adds: whether floats are added to the scores there.
        place: what it is given to, for a message: ``attn_mask of nn.MultiheadAttention``.
        keys: whether it says which keys are padding, not which pairs are allowed.
    """

    node: ast.expr
    mask: ast.expr
    attends: bool
    adds: bool
    place: str
    keys: bool = False

    def forbidden(self, value: MaskValue) -> MaskValue:
        """Return where a mask of that value forbids, when it is used here."""
        return value if value.kind == "additive" or not self.attends else value.opposite

    @property
    def sense(self) -> str:
        """What True means, in words."""
        return "True may attend" if self.attends else "True is forbidden"


def uses_of_masks(code: Code) -> Iterator[MaskUse]:
    """Yield the uses in the order of the text: attention first, then what feeds a softmax."""
    yield from _given_to_attention(code)
    for call in code.source.calls_of(("masked_fill", "masked_fill_", "where")):
        made = operation(code.source, call)
        if made is None:
            continue
        use = None
        if made.name == "where":
            chosen, other = made.argument(0, "x", "input"), made.argument(1, "y", "other")
            if code.masks.forbids(other) and not code.masks.forbids(chosen):
                use = MaskUse(call, made.subject, True, False, "where")
            elif code.masks.forbids(chosen) and not code.masks.forbids(other):
                use = MaskUse(call, made.subject, False, False, "where")
        else:
            mask = made.argument(0, "mask")
            if mask is not None and code.masks.forbids(made.argument(1, "value")):
                use = MaskUse(call, mask, False, False, made.name)
        if use is not None and code.scores.feeds_softmax(call):
            yield use
    yield from _added(code)


def _added(code: Code) -> Iterator[MaskUse]:
    """Yield the triangles that are added to scores."""
    if not any(word in code.source.piece.text for word in ("tril", "triu", "subsequent")):
        return
    for node in code.source.all(ast.BinOp):
        if not isinstance(node.op, ast.Add):
            continue
        for mask, scores in ((node.left, node.right), (node.right, node.left)):
            value = code.masks.of(mask)
            if value is None or not value.triangle or code.scores.product(scores) is None:
                continue
            if code.scores.feeds_softmax(node):
                yield MaskUse(node, mask, False, True, "the addition")


def _given_to_attention(code: Code) -> Iterator[MaskUse]:
    for call in code.attention.all():
        for parameter, value in call.given.items():
            if parameter in (*PAIR_MASKS, *KEY_MASKS):
                library = "F." if call.name[0].islower() else "nn."
                use = MaskUse(
                    call.node, value, call.attends, True, f"{parameter} of {library}{call.name}"
                )
                yield replace(use, keys=parameter in KEY_MASKS)
