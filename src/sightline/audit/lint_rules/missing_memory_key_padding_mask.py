"""The rule ``missing-memory-key-padding-mask``: the decoder sees the encoder's padding."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from sightline.audit.linting.attention_calls import AttentionCall
from sightline.audit.linting.rule import Code, Hit, LintRule

_MISSING = "memory_key_padding_mask"
_GIVEN = "src_key_padding_mask"


def _check(code: Code) -> Iterator[Hit]:
    calls = code.attention.all()
    for call in calls:
        if not call.complete or _MISSING in call.given or "memory_mask" in call.given:
            continue
        if call.name == "Transformer" and _GIVEN in call.given:
            yield _hit(code, call, call.given[_GIVEN])
        elif call.name.startswith("TransformerDecoder"):
            encoder = next((each for each in calls if _feeds(code, each, call)), None)
            if encoder is not None:
                yield _hit(code, call, encoder.given[_GIVEN])


def _feeds(code: Code, encoder: AttentionCall, decoder: AttentionCall) -> bool:
    """Whether the memory of a decoder's call is what an encoder gave for padded sources."""
    if not encoder.name.startswith("TransformerEncoder") or _GIVEN not in encoder.given:
        return False
    memory = decoder.given.get("memory")
    return memory is not None and code.scopes.value(memory) is encoder.node


def _hit(code: Code, call: AttentionCall, padding: ast.expr) -> Hit:
    mask = code.source.text_of(padding, 40)
    return Hit(
        call.node,
        f"the encoder gets the padding of the source ({mask}), the decoder's view of it does not: "
        "every target token attends to padding",
        f"give {_MISSING}={mask} too",
    )


RULE = LintRule(
    name="missing-memory-key-padding-mask",
    meaning="the source's padding is hidden from the encoder, but not from the decoder.",
    severity="error",
    why=(
        "`src_key_padding_mask` covers the encoder's own attention only. The decoder looks at the "
        "encoder's output, padding included, unless `memory_key_padding_mask` says the same."
    ),
    wrong="""\
from torch import nn


class Translator(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.transformer = nn.Transformer(width, batch_first=True)

    def forward(self, source, target, padding, causal):
        return self.transformer(
            source, target, tgt_mask=causal, src_key_padding_mask=padding
        )
""",
    right="""\
from torch import nn


class Translator(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.transformer = nn.Transformer(width, batch_first=True)

    def forward(self, source, target, padding, causal):
        return self.transformer(
            source,
            target,
            tgt_mask=causal,
            src_key_padding_mask=padding,
            memory_key_padding_mask=padding,
        )
""",
    words=("Transformer",),
    check=_check,
)
