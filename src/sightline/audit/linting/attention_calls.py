"""Which calls are attention of torch, and what is given to each of their parameters.

A call is known by its import, or by the class that the attribute it goes through was made of; a
module that might be something else is unknown.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass

from sightline.audit.linting.scopes import Scopes, is_self
from sightline.audit.linting.source import Source

# What is called -> its parameters in order; those of modules are those of forward.
_FUNCTIONAL = "torch.nn.functional."
_LAYER = "src src_mask src_key_padding_mask is_causal"
_DECODER = (
    "tgt memory tgt_mask memory_mask tgt_key_padding_mask memory_key_padding_mask tgt_is_causal "
    "memory_is_causal"
)
PARAMETERS = {
    "scaled_dot_product_attention": (
        "query key value attn_mask dropout_p is_causal scale enable_gqa"
    ),
    "MultiheadAttention": (
        "query key value key_padding_mask need_weights attn_mask average_attn_weights is_causal"
    ),
    "multi_head_attention_forward": "query key value",
    "Transformer": (
        "src tgt src_mask tgt_mask memory_mask src_key_padding_mask tgt_key_padding_mask "
        "memory_key_padding_mask src_is_causal tgt_is_causal memory_is_causal"
    ),
    "TransformerEncoder": "src mask src_key_padding_mask is_causal",
    "TransformerEncoderLayer": _LAYER,
    "TransformerDecoder": _DECODER,
    "TransformerDecoderLayer": _DECODER,
}
# One of these stands in every text that calls one of them.
_SIGNS = (*(name for name in PARAMETERS if name != "Transformer"), "nn.Transformer",
          "torch.nn import")  # fmt: skip
# The parameters that say which pairs are allowed, and those that say which keys are padding.
PAIR_MASKS = ("attn_mask", "mask", "src_mask", "tgt_mask")
KEY_MASKS = ("key_padding_mask", "src_key_padding_mask", "tgt_key_padding_mask",
             "memory_key_padding_mask")  # fmt: skip
_INHERITED = {
    "TransformerEncoderLayer": {"self_attn": "MultiheadAttention"},
    "TransformerDecoderLayer": {
        "self_attn": "MultiheadAttention",
        "multihead_attn": "MultiheadAttention",
    },
}


@dataclass(frozen=True)
class AttentionCall:
    """A call of attention.

    Attributes:
        node: the call.
        name: the last part of what is called, a key of ``PARAMETERS``.
        given: the argument of each parameter that has one; a written None is left out.
        complete: whether these are all; otherwise ``*`` or ``**`` passes more.
    """

    node: ast.Call
    name: str
    given: dict[str, ast.expr]
    complete: bool

    @property
    def attends(self) -> bool:
        """Whether True in its mask means "may attend"."""
        return self.name == "scaled_dot_product_attention"

    def has_true(self, parameter: str) -> bool:
        """Whether a parameter is given as a written True."""
        value = self.given.get(parameter)
        return isinstance(value, ast.Constant) and value.value is True


class AttentionCalls:
    """The attention calls of one source."""

    def __init__(self, source: Source, scopes: Scopes) -> None:
        self.source = source
        self.scopes = scopes
        self._found: list[AttentionCall] | None = None

    def all(self) -> list[AttentionCall]:
        """Return them in the order of the text."""
        if self._found is None:
            # Most files have none, and to look at each of their calls takes long.
            there = any(name in self.source.piece.text for name in _SIGNS)
            calls = self.source.calls if there else []
            named = ((call, self.name_of(call)) for call in calls)
            self._found = [_given(call, name) for call, name in named if name]
        return self._found

    def name_of(self, call: ast.Call) -> str:
        """Return which of ``PARAMETERS`` a call calls; empty if none."""
        dotted = self.source.dotted(call.func)
        if dotted.startswith(_FUNCTIONAL):
            name = dotted[len(_FUNCTIONAL) :]
            return name if name in PARAMETERS else ""
        if isinstance(call.func, ast.Name | ast.Attribute | ast.Subscript | ast.Call):
            return self.made_as(call.func)
        return ""

    def made_as(self, node: ast.expr | None, depth: int = 0) -> str:
        """Return the class of torch that a module was made of; empty if it is not sure."""
        if node is None or depth > 6:
            return ""
        match node:
            case ast.Call():
                return self._of_constructor(node, depth)
            case ast.Name():
                binding = self.scopes.reaching(node)
                if binding is None:
                    return ""
                return self.made_as(binding.value or binding.iterated, depth + 1)
            case ast.Attribute(value=base, attr=attr) if is_self(base):
                names = {self.made_as(each, depth + 1) for each in self.scopes.attribute(node)}
                if not names:
                    names = {self._inherited(node, attr)}
                return names.pop() if len(names) == 1 else ""
            case ast.Subscript(value=base) | ast.ListComp(elt=base):
                return self.made_as(base, depth + 1)
            case ast.List(elts=elements) | ast.Tuple(elts=elements) if elements:
                names = {self.made_as(each, depth + 1) for each in elements}
                return names.pop() if len(names) == 1 else ""
        return ""

    def _of_constructor(self, call: ast.Call, depth: int) -> str:
        dotted = self.source.dotted(call.func)
        head, _, name = dotted.rpartition(".")
        if head.startswith("torch.nn") or head == "nn":
            if name == "ModuleList" and len(call.args) == 1:
                return self.made_as(call.args[0], depth + 1)
            return name if name in PARAMETERS and name[0].isupper() else ""
        wrapped = ("to", "cuda", "eval", "train", "half", "float")
        if isinstance(call.func, ast.Attribute) and call.func.attr in wrapped:
            return self.made_as(call.func.value, depth + 1)
        return ""

    def _inherited(self, node: ast.Attribute, attr: str) -> str:
        owner = self.source.class_of(node)
        for base in owner.bases if owner is not None else ():
            head, _, name = self.source.dotted(base).rpartition(".")
            if head.startswith("torch.nn") and attr in _INHERITED.get(name, {}):
                return _INHERITED[name][attr]
        return ""


def _given(call: ast.Call, name: str) -> AttentionCall:
    given: dict[str, ast.expr] = {}
    complete = all(each.arg is not None for each in call.keywords)
    for parameter, value in zip(PARAMETERS[name].split(), call.args, strict=False):
        if isinstance(value, ast.Starred):
            complete = False
            break
        given[parameter] = value
    given.update({each.arg: each.value for each in call.keywords if each.arg is not None})
    said = {
        parameter: value
        for parameter, value in given.items()
        if not (isinstance(value, ast.Constant) and value.value is None)
    }
    return AttentionCall(call, name, said, complete)
