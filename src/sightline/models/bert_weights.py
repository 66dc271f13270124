"""The weights of transformers' BertModel and BertForPreTraining, and those of models/bert*.py.

transformers itself is not needed: a configuration's fields and a state dict are read. They keep
query, key and value apart; here the three lie one under the other.
"""

from __future__ import annotations

from typing import Any

import torch

from sightline.errors import InvalidArgument, ShapeMismatch

# What they call a part, and what it is called here.
_EMBEDDINGS = {
    "embeddings.word_embeddings.weight": "token_embedding.weight",
    "embeddings.position_embeddings.weight": "position_embedding.weight",
    "embeddings.token_type_embeddings.weight": "segment_embedding.weight",
}
_BLOCK = {
    "attention.output.dense": "self_attn.out_proj",
    "attention.output.LayerNorm": "norm1",
    "intermediate.dense": "linear1",
    "output.dense": "linear2",
    "output.LayerNorm": "norm2",
}
_HEADS = {
    "cls.predictions.transform.dense": "mlm.dense",
    "cls.predictions.transform.LayerNorm": "mlm.norm",
    "cls.predictions.decoder": "mlm.decoder",
    "cls.seq_relationship": "nsp.classifier",
}
# Options of theirs that have one value here.
_FIXED = {
    "hidden_act": "gelu",
    "is_decoder": False,
    "add_cross_attention": False,
    "tie_word_embeddings": True,
}


def bare_bert(model: Any) -> Any:
    """Return the BertModel of a model of transformers: itself, or the one inside."""
    return getattr(model, "bert", model)


def read_config(bare: Any) -> dict[str, Any]:
    """Return a BertModel's configuration as arguments of BERTConfig.

    Raises:
        InvalidArgument: an option that this model lacks.
    """
    theirs = bare.config
    for name, wanted in _FIXED.items():
        if getattr(theirs, name) != wanted:
            raise InvalidArgument(
                f"got {name}={getattr(theirs, name)!r}; wanted {wanted!r}; this model has no other "
                "way."
            )
    return {
        "vocab": theirs.vocab_size,
        "layers": theirs.num_hidden_layers,
        "heads": theirs.num_attention_heads,
        "width": theirs.hidden_size,
        "hidden": theirs.intermediate_size,
        "context": theirs.max_position_embeddings,
        "segments": theirs.type_vocab_size,
        "dropout": theirs.hidden_dropout_prob,
        "attention_dropout": theirs.attention_probs_dropout_prob,
        "epsilon": theirs.layer_norm_eps,
        "pooler": bare.pooler is not None,
    }


def load_bert(model: Any, state: dict[str, torch.Tensor]) -> None:
    """Copy a BertModel's ``state_dict()`` into a BERT.

    Raises:
        ShapeMismatch: a weight that is missing or of another shape.
    """
    _load(model, state, _bert_names(model.config))


def load_pretraining(model: Any, state: dict[str, torch.Tensor]) -> None:
    """Copy a BertForPreTraining's ``state_dict()`` into a BERTForPreTraining.

    Raises:
        ShapeMismatch: a weight that is missing or of another shape.
    """
    _load(model, state, _pretraining_names(model.config))


def bert_state(model: Any) -> dict[str, torch.Tensor]:
    """Return copies of a BERT's weights, named and shaped as BertModel loads them."""
    return _state(model, _bert_names(model.config))


def pretraining_state(model: Any) -> dict[str, torch.Tensor]:
    """Return copies of a BERTForPreTraining's weights, as BertForPreTraining loads them."""
    state = _state(model, _pretraining_names(model.config))
    # They have a second name for the decoder's bias.
    return {**state, "cls.predictions.bias": state["cls.predictions.decoder.bias"].clone()}


def _bert_names(config: Any) -> list[tuple[tuple[str, ...], str]]:
    """Return (their names, our name) of every weight; several of theirs lie one under the other."""
    names: list[tuple[tuple[str, ...], str]]
    names = [((theirs,), ours) for theirs, ours in _EMBEDDINGS.items()]
    for what in ("weight", "bias"):
        names.append(((f"embeddings.LayerNorm.{what}",), f"norm.{what}"))
        if config.pooler:
            names.append(((f"pooler.dense.{what}",), f"pooler.{what}"))
        for layer in range(config.layers):
            their, our = f"encoder.layer.{layer}", f"blocks.{layer}"
            three = tuple(f"{their}.attention.self.{n}.{what}" for n in ("query", "key", "value"))
            names.append((three, f"{our}.self_attn.in_proj_{what}"))
            names += [((f"{their}.{t}.{what}",), f"{our}.{o}.{what}") for t, o in _BLOCK.items()]
    return names


def _pretraining_names(config: Any) -> list[tuple[tuple[str, ...], str]]:
    names = [
        (tuple(f"bert.{each}" for each in theirs), f"bert.{ours}")
        for theirs, ours in _bert_names(config)
    ]
    for what in ("weight", "bias"):
        names += [((f"{t}.{what}",), f"{o}.{what}") for t, o in _HEADS.items()]
    return names


def _load(model: Any, state: dict[str, torch.Tensor], names: Any) -> None:
    weights = dict(model.named_parameters(remove_duplicate=False))
    with torch.no_grad():
        for theirs, ours in names:
            room = weights[ours]
            for part, name in zip(room.chunk(len(theirs)), theirs, strict=True):
                given = state.get(name)
                if given is None or given.shape != part.shape:
                    got = "nothing" if given is None else list(given.shape)
                    raise ShapeMismatch(
                        f"got {got} for {name}; wanted {list(part.shape)}; check that the two "
                        "models have the same sizes."
                    )
                part.copy_(given)


def _state(model: Any, names: Any) -> dict[str, torch.Tensor]:
    weights = dict(model.named_parameters(remove_duplicate=False))
    return {
        name: part.detach().clone()
        for theirs, ours in names
        for part, name in zip(weights[ours].chunk(len(theirs)), theirs, strict=True)
    }
