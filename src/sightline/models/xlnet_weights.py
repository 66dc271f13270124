"""The weights of transformers' XLNetLMHeadModel: its names and shapes, and those of xlnet.py.

transformers itself is not needed: a configuration's fields and a state dict are read.
"""

from __future__ import annotations

from typing import Any

import torch

from sightline.errors import InvalidArgument, ShapeMismatch
from sightline.masks.positional import causal, everything

# Their projections [width, heads, head_dim], and ours [out, in]; that of the output is not turned.
_PROJECTIONS = {"q": "query", "k": "key", "v": "value", "r": "distance", "o": "out"}
_PLAIN = {
    "rel_attn.r_w_bias": "attention.content_bias",
    "rel_attn.r_r_bias": "attention.distance_bias",
    "rel_attn.r_s_bias": "attention.segment_bias",
    "rel_attn.seg_embed": "attention.segments",
}
_LAYERS = {
    "rel_attn.layer_norm": "norm_1",
    "ff.layer_1": "up",
    "ff.layer_2": "down",
    "ff.layer_norm": "norm_2",
}
_ACTIVATIONS = {
    "gelu": "gelu",
    "relu": "relu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
}
_MASKS = {"bi": everything, "uni": causal}
# Options of theirs that have one value here.
_FIXED = {"bi_data": False, "same_length": False, "tie_word_embeddings": True}


def read_config(theirs: Any) -> dict[str, Any]:
    """Return an XLNetConfig of transformers as arguments of ours.

    Raises:
        InvalidArgument: an option that this model lacks.
    """
    for name, table in (("ff_activation", _ACTIVATIONS), ("attn_type", _MASKS)):
        if getattr(theirs, name) not in table:
            raise InvalidArgument(
                f"got {name}={getattr(theirs, name)!r}; wanted one of {', '.join(table)}; this "
                "model has no other."
            )
    for name, wanted in _FIXED.items():
        if getattr(theirs, name) != wanted:
            raise InvalidArgument(
                f"got {name}={getattr(theirs, name)}; wanted {wanted}; this model has no other way."
            )
    return {
        "vocab": theirs.vocab_size,
        "layers": theirs.n_layer,
        "heads": theirs.n_head,
        "width": theirs.d_model,
        "hidden": theirs.d_inner,
        "dropout": theirs.dropout,
        "epsilon": theirs.layer_norm_eps,
        "activation": _ACTIVATIONS[theirs.ff_activation],
        "clamp": theirs.clamp_len if theirs.clamp_len > 0 else None,
        "mask": _MASKS[theirs.attn_type](),
    }


def load_state(model: Any, state: dict[str, torch.Tensor]) -> None:
    """Copy an XLNetLMHeadModel's ``state_dict()`` into an XLNet.

    Raises:
        ShapeMismatch: a weight that is missing or of another shape.
    """
    weights = dict(model.named_parameters())
    with torch.no_grad():
        for theirs, ours in _names(model.config.layers).items():
            weight, given = weights[ours], state.get(theirs)
            wanted = list(weight.shape)
            kind = theirs.rpartition(".")[2]
            if kind in _PROJECTIONS:
                wanted = [wanted[0], model.config.heads, wanted[0] // model.config.heads]
            elif kind == "mask_emb":
                wanted = [1, 1, *wanted]
            if given is None or list(given.shape) != wanted:
                got = "nothing" if given is None else list(given.shape)
                raise ShapeMismatch(
                    f"got {got} for {theirs}; wanted {wanted}; check that the two models have the "
                    "same sizes."
                )
            given = given.reshape(weight.shape)
            weight.copy_(given.T if kind in _PROJECTIONS and kind != "o" else given)


def _names(layers: int) -> dict[str, str]:
    """Return their name of every weight, and ours."""
    names = {
        "transformer.word_embedding.weight": "token_embedding.weight",
        "transformer.mask_emb": "asking",
        "lm_loss.bias": "head.bias",
    }
    for layer in range(layers):
        parts = dict(_PLAIN)
        for their_letter, our_name in _PROJECTIONS.items():
            parts[f"rel_attn.{their_letter}"] = f"attention.{our_name}.weight"
        for their_layer, our_layer in _LAYERS.items():
            for what in ("weight", "bias"):
                parts[f"{their_layer}.{what}"] = f"{our_layer}.{what}"
        for theirs, ours in parts.items():
            names[f"transformer.layer.{layer}.{theirs}"] = f"blocks.{layer}.{ours}"
    return names
