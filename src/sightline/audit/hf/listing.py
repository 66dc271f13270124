"""The text models of the installed transformers: causal, encoders and encoder-decoders.

From its own tables, so that a newer version brings its new models along. What cannot be built
from a tiny config alone is named in ``CANNOT``, with the reason.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module

from sightline.hf.requirements import require_transformers

_WHAT = "the list of transformers' models"
_TABLES = ("CAUSAL_LM", "SEQ_TO_SEQ_CAUSAL_LM", "MASKED_LM", "TEXT_ENCODING")


@dataclass(frozen=True)
class Listed:
    """One class of model.

    Attributes:
        model_type: what its config calls it.
        name: the name of the class in transformers.
        table: the table of transformers that lists it, such as ``CAUSAL_LM``; ``MODEL`` is that
            of base models.
    """

    model_type: str
    name: str
    table: str

    def load(self) -> type:
        """Return the class."""
        return getattr(require_transformers(_WHAT), self.name)


def listed() -> Iterator[Listed]:
    """Yield the classes of text models, each once.

    The causal language models, the models that write one sequence from another, the masked
    language models and the text encoders; then the base models that are in none of these tables,
    take token ids alone, and have no other modality beside.
    """
    require_transformers(_WHAT)
    auto = import_module("transformers.models.auto.modeling_auto")
    seen: set[str] = set()
    types: set[str] = set()
    for table in _TABLES:
        for model_type, names in getattr(auto, f"MODEL_FOR_{table}_MAPPING_NAMES").items():
            name = names if isinstance(names, str) else names[0]
            if name not in seen:
                yield Listed(model_type, name, table)
            seen.add(name)
            types.add(model_type)
    for model_type, names in auto.MODEL_MAPPING_NAMES.items():
        name = names if isinstance(names, str) else names[0]
        if model_type not in types and name not in seen and _takes_text_alone(model_type, name):
            yield Listed(model_type, name, "MODEL")


def _takes_text_alone(model_type: str, name: str) -> bool:
    configs = import_module("transformers.models.auto.configuration_auto").CONFIG_MAPPING
    if model_type not in configs:
        return False
    config = configs[model_type]  # loaded before the model's code, which takes much longer
    if config.sub_configs or not hasattr(config, "vocab_size"):
        return False
    try:
        model = getattr(require_transformers(_WHAT), name, None)
        return getattr(model, "main_input_name", "") == "input_ids"
    except ImportError:  # of a library that the model needs
        return False


_IMAGES = "wants images beside the tokens"
_BOXES = "wants the box of each token on its page"

CANNOT: Mapping[str, str] = {
    "Blip2QFormerModel": "reads embeddings of images, not tokens",
    "BrosModel": _BOXES,
    "Gemma3nForConditionalGeneration": "its part for images is a model of timm",
    "Gemma4AssistantForCausalLM": "reads the keys and values of the model that it assists",
    "Gemma4UnifiedAssistantForCausalLM": "reads the keys and values of the model that it assists",
    "LayoutLMv2Model": "its part for images is a model of detectron2",
    "LxmertModel": _IMAGES,
    "UdopModel": _BOXES,
    "ViltModel": _IMAGES,
    "VitsModel": "makes sound of a length that it draws at random",
    "VoxtralRealtimeForConditionalGeneration": "wants sound for every token",
}
"""Classes that a tiny config and token ids are not enough for, and why."""

UNLIKE: Mapping[str, str] = {
    "DPRQuestionEncoder": "its output is one for each text, not for each token",
    "FastSpeech2ConformerModel": "its outputs are sounds, of lengths that it foretells",
    "PerceiverForMaskedLM": "it gives an output for each position that it knows, whatever is given",
}
"""Classes that run on token ids but do not give an output for each, and what they give."""
