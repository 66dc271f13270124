"""The weights of transformers' GPT2LMHeadModel: its names and shapes, and those of models/gpt.py.

transformers itself is not needed: a configuration's fields and a state dict are read.
"""

from __future__ import annotations

from typing import Any

import torch

from sightline.errors import InvalidArgument, ShapeMismatch

# What they call the parts of a block, and what they are called here.
_BLOCK = {
    "ln_1": "norm_1",
    "attn.c_attn": "attention.qkv",
    "attn.c_proj": "attention.out",
    "ln_2": "norm_2",
    "mlp.c_fc": "up",
    "mlp.c_proj": "down",
}
_TRANSPOSED = ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj")  # they store [in, out]
_TANH_GELUS = ("gelu_new", "gelu_pytorch_tanh")
# Options of theirs that have one value here.
_FIXED = {
    "scale_attn_weights": True,
    "scale_attn_by_inverse_layer_idx": False,
    "add_cross_attention": False,
}


def read_config(theirs: Any) -> dict[str, Any]:
    """Return a GPT2Config as arguments of GPTConfig.

    Raises:
        InvalidArgument: an option that this model lacks.
    """
    if theirs.activation_function not in _TANH_GELUS:
        raise InvalidArgument(
            f"got activation_function={theirs.activation_function!r}; wanted one of "
            f"{', '.join(_TANH_GELUS)}; this model computes no other."
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
        "width": theirs.n_embd,
        "hidden": theirs.n_inner,
        "context": theirs.n_positions,
        "tied": theirs.tie_word_embeddings,
        "dropout": theirs.resid_pdrop,
        "epsilon": theirs.layer_norm_epsilon,
    }


def load_state(model: Any, state: dict[str, torch.Tensor]) -> None:
    """Copy a GPT2LMHeadModel's ``state_dict()`` into a GPT.

    Raises:
        ShapeMismatch: a weight that is missing or of another shape.
    """
    weights = dict(model.named_parameters(remove_duplicate=False))
    with torch.no_grad():
        for theirs, ours, turned in _names(model.config):
            given = state.get(theirs)
            given = given.T if given is not None and turned else given
            if given is None or given.shape != weights[ours].shape:
                got = "nothing" if given is None else list(given.shape)
                raise ShapeMismatch(
                    f"got {got} for {theirs}; wanted {list(weights[ours].shape)}; check that the "
                    "two models have the same sizes."
                )
            weights[ours].copy_(given)


def their_state(model: Any) -> dict[str, torch.Tensor]:
    """Return copies of a GPT's weights, named and shaped as GPT2LMHeadModel loads them.

    Raises:
        InvalidArgument: a model that is not of GPT-2's shape.
    """
    weights = dict(model.named_parameters(remove_duplicate=False))
    return {
        theirs: (weights[ours].T if turned else weights[ours]).detach().clone()
        for theirs, ours, turned in _names(model.config)
    }


def _names(config: Any) -> list[tuple[str, str, bool]]:
    """Return (their name, our name, whether transposed) for every weight."""
    if config.positions != "learned" or config.key_heads != config.heads:
        raise InvalidArgument(
            "got a GPT with rotary positions or fewer key heads; wanted GPT-2's shape, learned "
            "positions and as many key heads as heads; make it with GPTConfig's defaults."
        )
    names = [
        ("transformer.wte.weight", "token_embedding.weight", False),
        ("transformer.wpe.weight", "position_embedding.weight", False),
        ("lm_head.weight", "head.weight", False),
    ]
    for what in ("weight", "bias"):
        names.append((f"transformer.ln_f.{what}", f"norm.{what}", False))
        for layer in range(config.layers):
            for theirs, ours in _BLOCK.items():
                turned = what == "weight" and theirs in _TRANSPOSED
                full = f"transformer.h.{layer}.{theirs}.{what}"
                names.append((full, f"blocks.{layer}.{ours}.{what}", turned))
    return names
