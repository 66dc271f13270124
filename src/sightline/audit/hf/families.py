"""What the configs of single families of transformers need to be tiny, besides sizes.py.

By model type; applied to configs inside others too. Reasons stand where they are not plain sizes.
"""

from __future__ import annotations

from typing import Any

_ROPE: dict[str, Any] = {"rope_type": "default", "rope_theta": 1e4}
# Three axes of positions, which must add up to half of a head.
_ROPE_3D: dict[str, Any] = {"rope_parameters": {**_ROPE, "mrope_section": [2, 1, 1]}}
_SCALED_BY_POSITION: dict[str, Any] = {
    "llama_4_scaling_beta": 0.1,
    "original_max_position_embeddings": 8,
}
# The layers at the end read the keys of those before, one of each kind.
_SHARED_KEYS: dict[str, Any] = {
    "num_hidden_layers": 4,
    "layer_types": ["sliding_attention", "full_attention"] * 2,
    "num_kv_shared_layers": 2,
}
# A mamba layer inside is twice as wide as the model: eight heads of eight.
_MAMBA_HEADS: dict[str, Any] = {"mamba_d_head": 8}

FAMILIES: dict[str, dict[str, Any]] = {
    "bamba": {**_MAMBA_HEADS, "attn_layer_indices": [1]},
    "big_bird": {"num_random_blocks": 1},
    "bigbird_pegasus": {"num_random_blocks": 1},
    "blt": {"use_cache": False, "encoder_hash_byte_group_vocab": 97},
    "bridgetower_text_model": {"num_attention_heads": 4},
    "canine": {"local_transformer_stride": 4, "num_hash_buckets": 61},
    "cohere_compass_text": {
        "rope_parameters": {
            "sliding_attention": {**_ROPE, "mrope_section": [2, 1, 1]},
            "full_attention": None,
        }
    },
    # The model reads a rotary base that its config does not declare, and clips by it if given.
    "dbrx": {"attn_config": {"rope_theta": 1e4, "clip_qkv": 8.0}},
    "deepseek_v2": {"num_experts_per_tok": 2},
    "deepseek_v4": {
        "compress_rates": {"compressed_sparse_attention": 3, "heavily_compressed_attention": 5}
    },
    "dots1": {"n_routed_experts": 4, "n_shared_experts": 1, "num_experts_per_tok": 2},
    # The layers with a window have sizes of their own, which the class reads by these names.
    "dots3_note_text": {
        "swa_num_attention_heads": 4,
        "swa_num_key_value_heads": 4,
        "swa_q_lora_rank": 8,
        "swa_kv_lora_rank": 8,
        "swa_head_dim": 12,
        "swa_qk_nope_head_dim": 8,
        "swa_v_head_dim": 8,
    },
    "esm": {"vocab_size": 97, "pad_token_id": 0, "mask_token_id": 5},
    "falcon_h1": {**_MAMBA_HEADS, "mamba_d_ssm": 64},
    "gemma3n_text": {
        **_SHARED_KEYS,
        "intermediate_size": 48,
        "activation_sparsity_pattern": [0.95, 0.0, 0.0, 0.0],
    },
    "gemma4_text": {**_SHARED_KEYS, "global_head_dim": 16},
    "gemma4_unified_text": {**_SHARED_KEYS, "global_head_dim": 16},
    "glm4v_moe_text": {
        "rope_parameters": {**_ROPE, "partial_rotary_factor": 1.0, "mrope_section": [2, 1, 1]}
    },
    "glm4v_text": _ROPE_3D,
    "glm5_next_text": {"index_topk": 4, "index_kpool": 2},
    "glm_image_text": _ROPE_3D,
    "glm_ocr_text": _ROPE_3D,
    "gpt_neo": {"attention_types": [[["global", "local"], 1]]},
    "granitemoehybrid": {
        **_MAMBA_HEADS,
        "layer_types": ["linear_attention", "full_attention"],
        "num_local_experts": 4,
    },
    "hrm_text": {"num_layers_per_stack": None, "num_hidden_layers": 1},
    "hunyuan_v1_dense": {"head_dim": 8},
    "hunyuan_v1_moe": {"head_dim": 8},
    "hunyuan_vl_text": {"head_dim": 8, **_ROPE_3D},
    # Attention and experts in every other layer, so that two layers hold both.
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1},
    "layoutlmv3": {"coordinate_size": 4, "shape_size": 8},
    "led": {"attention_window": [4, 4]},
    "lfm2_moe": {"num_hidden_layers": 2, "layer_types": ["conv", "full_attention"]},
    # Six embeddings of a box side by side.
    "lilt": {"hidden_size": 48},
    "longcat_flash": {"num_key_value_heads": 4, "head_dim": 4},
    "longformer": {"attention_window": [4, 4]},
    "mamba2": {"num_heads": 8},
    "ministral": {"head_dim": 8},
    "ministral3": {"sliding_window": 5, "rope_parameters": {**_ROPE, **_SCALED_BY_POSITION}},
    "mistral4": {"head_dim": 4, "rope_parameters": {**_ROPE, **_SCALED_BY_POSITION}},
    "mobilebert": {"embedding_size": 32, "intra_bottleneck_size": 32},
    "musicgen_decoder": {"num_codebooks": 1},
    "musicgen_melody_decoder": {"num_codebooks": 1},
    "nemotron": {"num_key_value_heads": 2},
    "neomme": {
        "num_hidden_layers": 3,
        "layer_types": ["sliding_attention", "sliding_attention", "full_attention"],
        "per_layer_config": {1: {"sliding_window": 9}, 2: {"sliding_window": None}},
        "rope_parameters": {
            "sliding_attention": {**_ROPE, "partial_rotary_factor": 1.0},
            "full_attention": {**_ROPE, "partial_rotary_factor": 0.5},
        },
    },
    "qwen2_5_vl_text": _ROPE_3D,
    "qwen2_vl_text": _ROPE_3D,
    "qwen4_exp_text": {
        "indexer_n_heads": 2,
        "indexer_kv_heads": 1,
        "indexer_head_dim": 8,
        "indexer_budget": 8,
        "indexer_compress_ratio": 2,
        "ngram_vocab_size_base": 50,
        "split_ngram_parts": 2,
        "make_ngram_vocab_size_divisible_by": 1,
    },
    "recurrent_gemma": {"num_hidden_layers": 3},
    "reformer": {"axial_pos_shape": (8, 20), "axial_pos_embds_dim": (8, 24)},
    "rwkv": {"attention_hidden_size": 32},
    "vibevoice_acoustic_tokenizer_encoder": {
        "num_filters": 2,
        "downsampling_ratios": (2, 2),
        "depths": (1, 1, 1),
    },
    "xlstm": {"hidden_size": 64, "embedding_dim": 64, "chunk_size": 16, "qk_dim_factor": 1.0},
    "xmod": {"default_language": "en_XX"},
    "zamba": {
        "attention_hidden_size": None,
        "attention_head_dim": None,
        "num_hidden_layers": 5,
        "layers_block_type": ["linear_attention", "hybrid"] * 2 + ["linear_attention"],
    },
    "zaya": {"num_experts_per_tok": 1},
}
"""Fields of the config, by model type."""

CLASSES: dict[str, dict[str, Any]] = {
    "T5GemmaEncoderModel": {"is_encoder_decoder": False},
}
"""Fields of the config, by the name of the model's class."""

STARTS: dict[str, dict[str, Any]] = {
    "gemma4_assistant": {
        "text_config": {
            "model_type": "gemma4_text",
            "hidden_size_per_layer_input": 0,
            "vocab_size_per_layer_input": 0,
            "num_kv_shared_layers": 30,
            "num_hidden_layers": 30,
        }
    },
}
"""What the class of a config must be told to make one at all."""
