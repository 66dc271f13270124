"""The rule ``is-causal-with-mask``: ``is_causal=True`` where it is an error or not enough."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from sightline.audit.linting.attention_calls import AttentionCall
from sightline.audit.linting.hints import identifiers
from sightline.audit.linting.rule import Code, Hit, LintRule

# Of modules: the flag, and the mask that it is a hint about.
_HINTS = {
    "MultiheadAttention": (("is_causal", "attn_mask"),),
    "TransformerEncoderLayer": (("is_causal", "src_mask"),),
    "TransformerEncoder": (("is_causal", "mask"),),
    "TransformerDecoderLayer": (
        ("tgt_is_causal", "tgt_mask"),
        ("memory_is_causal", "memory_mask"),
    ),
    "TransformerDecoder": (("tgt_is_causal", "tgt_mask"), ("memory_is_causal", "memory_mask")),
}


def _check(code: Code) -> Iterator[Hit]:
    for call in code.attention.all():
        if call.name == "scaled_dot_product_attention":
            yield from _of_function(code, call)
        elif call.complete:
            yield from _of_module(call)
            yield from _overridden(code, call)


def _of_function(code: Code, call: AttentionCall) -> Iterator[Hit]:
    mask = call.given.get("attn_mask")
    if mask is not None and call.has_true("is_causal") and not _asked_about(code, call, mask):
        yield Hit(
            call.node,
            "scaled_dot_product_attention takes attn_mask or is_causal=True, and refuses both",
            "put the causal part into attn_mask, and leave is_causal out",
        )


def _asked_about(code: Code, call: AttentionCall, mask: ast.expr) -> bool:
    """Whether the call stands where a condition asked what the mask is: it may be None there."""
    asked = [
        up.test for up in code.source.ancestors(call.node) if isinstance(up, ast.If | ast.IfExp)
    ]
    names = {name for test in asked for name in identifiers(test)}
    return any(name in names for name in identifiers(mask) if name != "self")


def _of_module(call: AttentionCall) -> Iterator[Hit]:
    for flag, mask in _HINTS.get(call.name, ()):
        if call.has_true(flag) and mask not in call.given:
            yield Hit(
                call.node,
                f"{flag}=True of nn.{call.name} is a hint about {mask}, which is not given: an "
                "error in training, and no mask at all on the fast path of evaluation",
                f"give {mask}=nn.Transformer.generate_square_subsequent_mask(n) too",
            )


def _overridden(code: Code, call: AttentionCall) -> Iterator[Hit]:
    """Yield masks that are more than causal beside the hint that they are causal."""
    for flag, mask in _HINTS.get(call.name, ()):
        value = code.masks.of(call.given.get(mask))
        if call.has_true(flag) and value is not None and value.triangle and not value.exact:
            yield Hit(
                call.node,
                f"{flag}=True says that {mask} is causal and nothing else, but it is combined "
                "with another mask, which fast kernels then ignore",
                f"leave {flag} out",
            )


RULE = LintRule(
    name="is-causal-with-mask",
    meaning="`is_causal=True` stands beside a mask of its own, or without the one it speaks of.",
    severity="error",
    why=(
        "`F.scaled_dot_product_attention` refuses both at once. In `nn.MultiheadAttention` and "
        "`nn.Transformer...` the flag is a hint that the mask given is causal: without a mask it "
        "is an error in training and masks nothing on the fast path of evaluation, and with a "
        "mask that forbids more, the rest may silently be dropped."
    ),
    wrong="""\
import torch.nn.functional as F


def attend(query, key, value, padding):
    return F.scaled_dot_product_attention(query, key, value, attn_mask=padding, is_causal=True)
""",
    right="""\
import torch
import torch.nn.functional as F


def attend(query, key, value, padding):
    causal = torch.ones(query.size(-2), key.size(-2), dtype=torch.bool).tril()
    return F.scaled_dot_product_attention(query, key, value, attn_mask=padding & causal)
""",
    words=("is_causal",),
    check=_check,
)
