"""Tiny transformers models with random weights, from any config, class or config file.

For auditing an architecture without its weights. What is made small stands in shrink.py; which
classes there are in listing.py. Nothing is ever downloaded.
"""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from typing import Any

from sightline.audit.hf.families import CLASSES, STARTS
from sightline.audit.hf.shrink import is_config, shrink
from sightline.errors import DataError, InvalidArgument
from sightline.hf.requirements import require_transformers
from sightline.lower.arguments import require_torch

_WHAT = "a tiny transformers model"
# Tables of transformers in which a config's model is looked for, in this order.
_DECODERS = "MODEL_FOR_CAUSAL_LM_MAPPING"
_TABLES = {
    True: ("MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING", "MODEL_MAPPING"),
    False: ("MODEL_FOR_MASKED_LM_MAPPING", _DECODERS, "MODEL_MAPPING"),
}


def tiny(what: Any, *, seed: int = 0, **overrides: Any) -> Any:
    """Return a tiny model of the same architecture, with random weights, in evaluation mode.

    Two layers or one of each kind, 32 wide, 97 words, windows and chunks of 4 or 5 positions. The
    weights are spread so that a wrong mask shows in the output, and none is zero.

    Args:
        what: a config of transformers, the class of a config or of a model, or the path of a
            ``config.json`` or of the folder that holds one. A config names its model by
            ``architectures``; without that it is a language model if there is one.
        seed: of the weights.
        overrides: fields of the config, which go before everything else.

    Raises:
        InvalidArgument: it is none of these, or transformers has no model for the config.
        DataError: the file is not a config.
        MissingExtra: torch or transformers 5 is not installed.

    >>> import importlib.util
    >>> if importlib.util.find_spec("transformers") and importlib.util.find_spec("torch"):
    ...     from transformers import LlamaConfig
    ...     model = tiny(LlamaConfig(sliding_window=4096))
    ...     print(type(model).__name__, model.config.hidden_size, model.config.num_hidden_layers)
    LlamaForCausalLM 32 2
    """
    require_transformers(_WHAT)
    config, model = config_and_class(what)
    if reads_forward_only(model) and hasattr(config, "is_decoder"):
        overrides = {"is_decoder": True, **overrides}
    overrides = {**CLASSES.get(model.__name__, {}), **overrides}
    return build(model, shrink(config, **overrides), seed=seed)


def build(model: type, config: Any, *, seed: int = 0) -> Any:
    """Return a model of a class with spread random weights, in evaluation mode."""
    torch = require_torch(_WHAT)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = model(config).eval()
        spread(made)
    return made


def spread(model: Any) -> None:
    """Give a model weights that keep activations near 1, none of them zero.

    As they are made, weights are so small, and many gates so near zero, that what goes wrong in
    one layer hardly shows behind the last. Random numbers are the global generator's.
    """
    torch = require_torch(_WHAT)
    embeddings = (m for m in model.modules() if isinstance(m, torch.nn.Embedding))
    tables = {id(table.weight) for table in embeddings}
    with torch.no_grad():
        for parameter in model.parameters():
            if not parameter.is_floating_point() or not parameter.numel():
                continue
            noise = torch.randn(parameter.shape)
            if parameter.ndim < 2:
                parameter.add_(0.1 * noise)  # norms stay near 1, biases and gates leave 0
            elif id(parameter) in tables:
                parameter.copy_(0.7 * noise)
            else:
                inputs = parameter.shape[-1] if parameter.ndim == 3 else parameter[0].numel()
                parameter.copy_(noise * 0.9 / inputs**0.5)


def config_and_class(what: Any) -> tuple[Any, type]:
    """Return a config and the class of its model; see ``tiny`` for what is taken."""
    if isinstance(what, (str, Path)):
        what = read_config(Path(what))
    if isinstance(what, type) and getattr(what, "config_class", None) is not None:
        return default_config(what.config_class), what
    if isinstance(what, type) and hasattr(what, "model_type"):
        what = default_config(what)
    if is_config(what):
        return what, class_of(what)
    raise InvalidArgument(
        f"got {type(what).__name__}; wanted a config of transformers, the class of a config or of "
        "a model, or the path of a config.json."
    )


def default_config(config_class: type) -> Any:
    """Return a config as its class makes it, with what some classes insist on."""
    start = STARTS.get(getattr(config_class, "model_type", ""), {})
    return config_class(**start)


def read_config(path: Path) -> Any:
    """Return the config in a file, read as data: no code beside it is run.

    Raises:
        DataError: there is no such file, or it is not a config that transformers knows.
    """
    file = path / "config.json" if path.is_dir() else path
    try:
        fields = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(
            f"cannot be read as a config ({error}); wanted the config.json of a model.",
            path=str(file),
        ) from error
    known = import_module("transformers.models.auto.configuration_auto").CONFIG_MAPPING
    kind = fields.get("model_type") if isinstance(fields, dict) else None
    if kind not in known:
        raise DataError(
            f'says "model_type": {kind!r}, which this transformers does not know; models whose '
            "code lies beside their weights must be built and given as a module.",
            path=str(file),
        )
    return known[kind].from_dict(fields)


def class_of(config: Any) -> type:
    """Return the class of the model for a config.

    Raises:
        InvalidArgument: transformers has none.
    """
    transformers = require_transformers(_WHAT)
    for name in config.architectures or ():
        if hasattr(transformers, name):
            return getattr(transformers, name)
    auto = import_module("transformers.models.auto.modeling_auto")
    tables = list(_TABLES[bool(config.is_encoder_decoder)])
    if getattr(config, "is_decoder", False):
        tables.insert(0, _DECODERS)
    for name in tables:
        table = getattr(auto, name)
        if type(config) in table:
            found = table[type(config)]
            return found[0] if isinstance(found, tuple) else found
    raise InvalidArgument(
        f"transformers has no model for {type(config).__name__} alone; give the class of the "
        "model instead, or the config that this one is a part of."
    )


def reads_forward_only(model: type) -> bool:
    """Return whether a class is in transformers' table of causal language models."""
    auto = import_module("transformers.models.auto.modeling_auto")
    return model.__name__ in set(auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values())
