"""Tiny transformers models with random weights, one for each architecture, and how to compare.

``compare`` runs one with its own attention and patched, by every kind of padding it takes, and
reports the largest difference at real positions. The parity tests assert on it, and docs/make_hf.py
writes the table. Nothing is downloaded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from sightline.errors import CannotExpress
from sightline.hf.requirements import require_transformers
from sightline.lower.arguments import require_torch

_WHAT = "sightline.testing.hf_architectures"
BATCH, LENGTH = 3, 9
NEW_TOKENS = 6
PADS = {"none": (0, 0, 0), "left": (0, 4, 2), "right": (3, 0, 5)}
_TEXT: dict[str, Any] = {
    "vocab_size": 97,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
_SEQ2SEQ: dict[str, Any] = {
    "vocab_size": 97,
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 48,
    "decoder_ffn_dim": 48,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "decoder_start_token_id": 1,
    "forced_eos_token_id": None,
}
_VISION: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "image_size": 16,
    "patch_size": 4,
}
_AUDIO: dict[str, Any] = {
    **_TEXT,
    "conv_dim": (8, 8),
    "conv_stride": (2, 2),
    "conv_kernel": (3, 3),
    "num_feat_extract_layers": 2,
    "num_conv_pos_embeddings": 4,
    "num_conv_pos_embedding_groups": 2,
    "mask_time_prob": 0.0,
}
_SIZES = {
    "decoder": _TEXT,
    "encoder": _TEXT,
    "encoder-decoder": _SEQ2SEQ,
    "vision": _VISION,
    "audio": _AUDIO,
}


@dataclass(frozen=True)
class Architecture:
    """One architecture.

    Attributes:
        name: as transformers calls it.
        kind: decoder, encoder, encoder-decoder, vision or audio.
        model: its class in transformers; its config is ``<family>Config``.
        family: what the class names begin with.
        sizes: what its config is told besides the sizes of its kind.
        refused: the words in the refusal, if ``patch`` refuses it; empty otherwise.
        scale: what random weights are multiplied by, so that a wrong mask shows in the output.
    """

    name: str
    kind: str
    model: str
    family: str
    sizes: Mapping[str, Any] = field(default_factory=dict)
    refused: str = ""
    scale: float = 4.0

    def build(self) -> Any:
        """Return a model with random weights, the same each time, in evaluation mode."""
        transformers = require_transformers(_WHAT)
        torch = require_torch(_WHAT)
        config = getattr(transformers, f"{self.family}Config")(
            **{**_SIZES[self.kind], **self.sizes}
        )
        torch.manual_seed(0)
        model = getattr(transformers, self.model)(config).eval()
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.ndim > 1:
                    parameter.mul_(self.scale)
        return model


def _text(kind: str, name: str, family: str, refused: str = "", **sizes: Any) -> Architecture:
    scale = float(sizes.pop("scale", 4.0))
    model = f"{family}{'ForCausalLM' if kind == 'decoder' else 'Model'}"
    model = str(sizes.pop("model", model))
    return Architecture(name, kind, model, family, sizes, refused, scale)


_decoder: Callable[..., Architecture] = partial(_text, "decoder")
_encoder: Callable[..., Architecture] = partial(_text, "encoder")
_seq2seq: Callable[..., Architecture] = partial(_text, "encoder-decoder")
_vision: Callable[..., Architecture] = partial(_text, "vision")
_audio: Callable[..., Architecture] = partial(_text, "audio")
_GPT: dict[str, Any] = {"n_embd": 32, "n_layer": 2, "n_head": 4}
_ALONE = "attends through"

ARCHITECTURES: dict[str, Architecture] = {
    each.name: each
    for each in (
        _decoder("gpt2", "GPT2", model="GPT2LMHeadModel", **_GPT),
        _decoder("gpt_neox", "GPTNeoX"),
        _decoder("opt", "OPT", ffn_dim=48, word_embed_proj_dim=32),
        _decoder("llama", "Llama"),
        _decoder("mistral", "Mistral", sliding_window=4),
        _decoder("mixtral", "Mixtral", num_local_experts=2, num_experts_per_tok=1),
        _decoder("qwen2", "Qwen2"),
        _decoder("qwen3", "Qwen3", head_dim=8),
        _decoder("qwen3_moe", "Qwen3Moe", head_dim=8, num_experts=2, num_experts_per_tok=1,
                 moe_intermediate_size=16),
        _decoder("gemma", "Gemma", head_dim=8),
        _decoder("gemma2", "Gemma2", "capped scores", head_dim=8),
        _decoder("gemma2 without cap", "Gemma2", head_dim=8, sliding_window=4,
                 attn_logit_softcapping=None),
        _decoder("gemma3_text", "Gemma3Text", model="Gemma3ForCausalLM", head_dim=8,
                 sliding_window=4),
        _decoder("phi", "Phi"),
        _decoder("phi3", "Phi3", sliding_window=4),
        _decoder("starcoder2", "Starcoder2", sliding_window=4),
        _decoder("olmo2", "Olmo2"),
        _decoder("cohere", "Cohere"),
        _decoder("cohere2", "Cohere2", sliding_window=4),
        _decoder("stablelm", "StableLm"),
        _decoder("granite", "Granite"),
        _decoder("smollm3", "SmolLM3", no_rope_layers=[1, 0]),
        _decoder("glm", "Glm", head_dim=8),
        _decoder("helium", "Helium", head_dim=8),
        _decoder("llama4_text", "Llama4Text", model="Llama4ForCausalLM", head_dim=8,
                 attention_chunk_size=4, num_local_experts=2, intermediate_size_mlp=48),
        _decoder("gpt_oss", "GptOss", head_dim=8, sliding_window=4, num_local_experts=2,
                 num_experts_per_tok=1),
        _decoder("qwen3_next", "Qwen3Next", head_dim=8, num_experts=2, num_experts_per_tok=1,
                 moe_intermediate_size=16, shared_expert_intermediate_size=16,
                 linear_num_value_heads=2, linear_num_key_heads=2, linear_key_head_dim=8,
                 linear_value_head_dim=8, layer_types=["linear_attention", "full_attention"]),
        _decoder("biogpt", "BioGpt", num_key_value_heads=None),
        _decoder("xglm", "XGLM", _ALONE, d_model=32, attention_heads=4, num_layers=2, ffn_dim=48),
        _decoder("bloom", "Bloom", _ALONE, n_layer=2, n_head=4),
        _decoder("falcon", "Falcon", _ALONE),
        _decoder("mpt", "Mpt", _ALONE, d_model=32, n_layers=2, n_heads=4),
        _decoder("gptj", "GPTJ", _ALONE, **_GPT, rotary_dim=4),
        _encoder("bert", "Bert"),
        _encoder("roberta", "Roberta"),
        _encoder("xlm-roberta", "XLMRoberta"),
        _encoder("camembert", "Camembert"),
        _encoder("electra", "Electra", embedding_size=32),
        _encoder("albert", "Albert", embedding_size=16),
        _encoder("distilbert", "DistilBert", dim=32, n_layers=2, n_heads=4, hidden_dim=48),
        _encoder("ernie", "Ernie"),
        _encoder("modernbert", "ModernBert", local_attention=4, global_attn_every_n_layers=2,
                 cls_token_id=1, sep_token_id=2),
        _encoder("eurobert", "EuroBert"),
        _encoder("mpnet", "MPNet", _ALONE),
        _encoder("deberta-v2", "DebertaV2", _ALONE),
        _seq2seq("bart", "Bart", model="BartForConditionalGeneration"),
        _seq2seq("mbart", "MBart", model="MBartForConditionalGeneration"),
        _seq2seq("marian", "Marian", model="MarianMTModel"),
        _seq2seq("pegasus", "Pegasus", model="PegasusForConditionalGeneration"),
        _seq2seq("m2m_100", "M2M100", model="M2M100ForConditionalGeneration"),
        _seq2seq("blenderbot", "Blenderbot", model="BlenderbotForConditionalGeneration"),
        _seq2seq("t5", "T5", model="T5ForConditionalGeneration", d_ff=48, d_kv=8, num_layers=2,
                 num_heads=4, scale=0.2),
        _seq2seq("whisper", "Whisper", model="WhisperForConditionalGeneration", num_mel_bins=8,
                 max_source_positions=10, max_target_positions=32),
        _vision("vit", "ViT"),
        _vision("deit", "DeiT"),
        _vision("dinov2", "Dinov2", mlp_ratio=2),
        _vision("siglip", "SiglipVision", vision_use_head=False, scale=1.0),
        _vision("clip", "CLIPVision", scale=1.0),
        _vision("siglip with a pooling head", "SiglipVision", "attend in their own code"),
        _vision("beit", "Beit"),
        _audio("wav2vec2", "Wav2Vec2"),
        _audio("hubert", "Hubert"),
    )
}  # fmt: skip


def feed(architecture: Architecture, side: str) -> dict[str, Any]:
    """Return the inputs of an architecture, padded on a side of ``PADS``."""
    torch = require_torch(_WHAT)
    torch.manual_seed(1)
    if architecture.kind == "vision":
        return {"pixel_values": torch.randn(BATCH, 3, 16, 16)}
    if architecture.name == "whisper":
        given = {"input_features": torch.randn(BATCH, 8, 20)}
    elif architecture.kind == "audio":
        return {"input_values": torch.randn(BATCH, 41), **_valid(side, 41, 4)}
    else:
        given = {"input_ids": torch.randint(3, 97, (BATCH, LENGTH)), **_valid(side, LENGTH)}
    if architecture.kind == "encoder-decoder":
        given["decoder_input_ids"] = torch.randint(3, 97, (BATCH, LENGTH - 2))
    return given


def _valid(side: str, length: int, step: int = 1) -> dict[str, Any]:
    torch = require_torch(_WHAT)
    valid = torch.ones(BATCH, length, dtype=torch.long)
    for row, pads in enumerate(PADS[side]):
        valid[row, : step * pads if side == "left" else 0] = 0
        valid[row, length - (step * pads if side == "right" else 0) :] = 0
    return {"attention_mask": valid}


@dataclass(frozen=True)
class Compared:
    """What a comparison found.

    Attributes:
        modules: how many modules attend through Sightline.
        gaps: the largest difference at real positions by side of padding, and for a prompt and
            single tokens through the cache as ``cached``.
        masks: the expressions seen, unpadded, one for each kind of layer.
        same_tokens: whether greedy generation from left-padded prompts gave equal tokens; None
            where the model does not generate from tokens.
    """

    modules: int
    gaps: dict[str, float]
    masks: tuple[str, ...]
    same_tokens: bool | None = None


def refusal(architecture: Architecture) -> str | None:
    """Return the reason for which ``patch`` refuses an architecture, or None."""
    from sightline.hf.patching import patch

    try:
        patch(architecture.build())
    except CannotExpress as error:
        return f"{error.part}: {error.reason}"
    return None


def compare(architecture: Architecture) -> Compared:
    """Run an architecture with its own attention and patched; see ``Compared``."""
    torch = require_torch(_WHAT)
    from sightline.hf.explanation import explain
    from sightline.hf.modules import attending

    model = architecture.build()
    sides = ("none",) if architecture.kind == "vision" else tuple(PADS)
    gaps: dict[str, float] = {}
    masks: tuple[str, ...] = ()
    with torch.no_grad():
        for side in sides if architecture.name != "whisper" else ("none",):
            gaps[side] = _gap(architecture, model, feed(architecture, side))
            if side == "none":
                masks = tuple(dict.fromkeys(str(each.mask) for each in explain(model).seen))
        same = None
        if model.can_generate() and architecture.kind in ("decoder", "encoder-decoder"):
            same, gaps["cached"] = _generate(architecture, model)
    return Compared(len(attending(model)), gaps, masks, same)


def _gap(architecture: Architecture, model: Any, given: dict[str, Any]) -> float:
    """Return the largest difference of the first output at real positions."""
    from sightline.hf.patching import patch, unpatch

    own = _first(unpatch(model)(**given))
    ours = _first(patch(model)(**given))
    gap = (own - ours).abs()
    if architecture.kind in ("decoder", "encoder"):
        gap = gap[given["attention_mask"] == 1]
    elif architecture.kind == "audio":
        lengths = model._get_feat_extract_output_lengths(given["attention_mask"].sum(1)).tolist()
        gap = require_torch(_WHAT).cat([row[:n] for row, n in zip(gap, lengths, strict=True)])
    return float(gap.max())


def _first(output: Any) -> Any:
    return output.logits if "logits" in output else output[0]


def _generate(architecture: Architecture, model: Any) -> tuple[bool, float]:
    """Return whether greedy tokens are equal, and the largest difference of their scores."""
    from sightline.hf.patching import patch, unpatch

    given = {k: v for k, v in feed(architecture, "left").items() if k != "decoder_input_ids"}
    told = {"max_new_tokens": NEW_TOKENS, "eos_token_id": None, "pad_token_id": 0}
    wanted = {"return_dict_in_generate": True, "output_logits": True, "do_sample": False}
    own, ours = (f(model).generate(**given, **told, **wanted) for f in (unpatch, patch))
    same = bool((own.sequences == ours.sequences).all())
    steps = zip(own.logits, ours.logits, strict=True)
    return same, max(float((a - b).abs().max()) for a, b in steps)
