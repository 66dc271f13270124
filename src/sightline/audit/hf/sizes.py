"""What each field of a transformers config becomes when the model is made tiny.

Tables only, by the field's name; shrink.py applies them. What a single family needs besides
stands in families.py.
"""

from __future__ import annotations


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


VOCAB = 97
WIDTH = 32
HEADS = 4
KV_HEADS = 2
HEAD_DIM = 8
INNER = 48
LAYERS = 2
EXPERTS = 4
TOP_EXPERTS = 2
WINDOW = 5
CHUNK = 4
POSITIONS = 160
FIRST_WORD = 10
FIRST_SPECIAL = 64
"""Ids below ``FIRST_WORD`` and from here on are special: padding, images, audio and the like."""

WIDTHS = _words("""
    hidden_size d_model n_embd dim emb_dim embedding_dim embed_dim embedding_size embed_size
    word_embed_proj_dim lru_width true_hidden_size input_embedding_size
    output_embedding_size pronunciation_embed_dim shape_embed_dim d_latents hidden_size_global
    encoder_hidden_size out_hidden_size output_dim projection_dim cross_attention_hidden_size
    pooler_hidden_size vision_output_dim audio_hidden_size backbone_hidden_size router_hidden_size
    entity_emb_size projector_input_dim projector_output_dim adapter_out_dim embedding_rank
    text_hidden_size text_embed_dim decoder_hidden_size d_embed linear_units hidden_sizes
    prediction_head_size fusion_hidden_size qformer_hidden_size feature_projection_input_dim
    conv_dim out_channels output_channels num_hidden_channels text_projection_dim
    decoder_hidden_dim encoder_hidden_dim context_dim latent_dim summary_dim downsample_hidden_size
    dense_size input_dim
""")
INNERS = _words("""
    intermediate_size n_inner d_inner ffn_dim dim_ff dff d_ff hidden_dim encoder_ffn_dim mlp_dim
    decoder_ffn_dim ffn_hidden_size feed_forward_size dense_intermediate_size
    moe_intermediate_size shared_expert_intermediate_size shared_intermediate_size
    shared_experts_intermediate_size moe_shared_expert_intermediate_size intermediate_size_mlp
    expert_ffn_hidden_size speech_encoder_intermediate_size encoder_intermediate_size
    decoder_intermediate_size adapter_hidden_dim prompt_mid_dim
""")
HEAD_COUNTS = _words("""
    num_attention_heads n_head n_heads num_heads encoder_attention_heads decoder_attention_heads
    attention_heads num_encoder_attention_heads num_decoder_attention_heads
    speech_encoder_attention_heads t2u_encoder_attention_heads t2u_decoder_attention_heads
    swa_num_attention_heads linear_num_heads index_n_heads num_self_attention_heads
    num_cross_attention_heads audio_heads
    linear_num_value_heads conf_num_attention_heads
""")
KV_HEAD_COUNTS = _words("""
    num_key_value_heads swa_num_key_value_heads kv_n_heads num_kv_heads linear_num_key_heads
    num_query_groups num_global_key_value_heads
""")
HEAD_DIMS = _words("""
    head_dim kv_channels d_kv d_head dim_head attention_head_size linear_head_dim swa_head_dim
    linear_key_head_dim linear_value_head_dim index_head_dim v_head_dim mamba_head_dim
    mamba_headdim mamba_d_head indexer_head_dim qk_nope_head_dim kv_lora_rank q_lora_rank
    global_head_dim
    o_lora_rank d_rel num_mel_bins laurel_rank adapter_rank gated_norm_rank hc_lowrank
    hidden_size_per_layer_input ple_embed_dim
""")
LAYER_COUNTS = _words("""
    num_hidden_layers n_layer n_layers num_layers encoder_layers decoder_layers
    num_encoder_layers num_decoder_layers depth speech_encoder_layers t2u_encoder_layers
    t2u_decoder_layers audio_layers num_layers_per_stack num_hidden_blocks
    num_self_attends_per_block conf_num_hidden_layers num_encoder_blocks num_blocks
""")
EXPERT_COUNTS = _words("""
    num_experts num_local_experts n_routed_experts moe_num_experts
""")
EXPERT_CHOICES = _words("""
    num_experts_per_tok num_experts_per_token moe_top_k moe_topk moe_k top_k_experts
""")
WINDOWS = _words("""
    sliding_window sliding_window_size attention_window attention_window_size window_size
    local_attention attention_chunk_size keep_window_size local_attention_window_len local_radius
    conf_attention_context_left left_chunk attention_context_left context_left
    attention_context_right n_window
""")
GROUP_COUNTS = _words("""
    n_group num_expert_group n_groups mamba_n_groups mamba_ngroups
""")
CHUNKS = _words("""
    chunk_size mamba_chunk_size block_size global_block_size index_topk index_block_size
    compress_rate mem_block_size
    index_topk_blocks local_attn_chunk_length lsh_attn_chunk_length conf_attention_chunk_size
    num_landmarks segment_means_seq_len context_size num_global_tokens
""")
STATES = _words("""
    state_size mamba_d_state ssm_state_size time_step_rank mamba_dt_rank qk_rope_head_dim
""")
POSITION_LIMITS = _words("""
    max_position_embeddings n_positions n_ctx max_seq_len model_max_length max_source_positions
    max_target_positions max_encoder_position_embeddings max_decoder_position_embeddings
    context_length original_max_position_embeddings max_2d_position_embeddings rel_extent
    t2u_max_position_embeddings max_position max_relative_positions max_sequence_length
""")
VOCABS = _words("""
    vocab_size src_vocab_size tgt_vocab_size decoder_vocab_size vocab_size_per_layer_input
    entity_vocab_size t2u_vocab_size char_vocab_size unit_hifi_gan_vocab_size
    pronunciation_vocab_size shape_vocab_size unpadded_vocab_size audio_vocab_size
    text_vocab_size
""")

SIZES: dict[str, int] = {
    **dict.fromkeys(WIDTHS, WIDTH),
    **dict.fromkeys(INNERS, INNER),
    **dict.fromkeys(HEAD_COUNTS, HEADS),
    **dict.fromkeys(KV_HEAD_COUNTS, KV_HEADS),
    **dict.fromkeys(HEAD_DIMS, HEAD_DIM),
    **dict.fromkeys(LAYER_COUNTS, LAYERS),
    **dict.fromkeys(EXPERT_COUNTS, EXPERTS),
    **dict.fromkeys(EXPERT_CHOICES, TOP_EXPERTS),
    **dict.fromkeys(WINDOWS, WINDOW),
    **dict.fromkeys(CHUNKS, CHUNK),
    **dict.fromkeys(STATES, HEAD_DIM // 2),
    **dict.fromkeys(POSITION_LIMITS, POSITIONS),
    **dict.fromkeys(VOCABS, VOCAB),
    **dict.fromkeys(GROUP_COUNTS, 2),
    "topk_group": 1,
    "mamba_num_heads": 2 * WIDTH // HEAD_DIM,
    "mamba_n_heads": 2 * WIDTH // HEAD_DIM,
    "qk_head_dim": HEAD_DIM + HEAD_DIM // 2,
    "image_size": 16,
    "patch_size": 4,
    "rotary_dim": HEAD_DIM // 2,
    "expert_capacity": 64,
    "max_window_layers": 1,
    "first_k_dense_replace": 1,
    "num_dense_layers": 1,
    "query_pre_attn_scalar": HEAD_DIM,
    "zero_expert_num": 2,
    "num_codebooks": 2,
    "num_latents": 6,
    "adapter_in_dim": WIDTH,
    "max_new_tokens": 8,
}
"""Field to size. A size that is None or absent stays so; a count of one head stays one."""

SPECIAL_IDS = {
    "pad_token_id": 0,
    "bos_token_id": 1,
    "decoder_start_token_id": 1,
    "eos_token_id": 2,
    "sep_token_id": 3,
    "cls_token_id": 4,
    "mask_token_id": 5,
    "unk_token_id": 6,
    "forced_eos_token_id": None,
    "forced_bos_token_id": None,
}

LAYER_INDICES = _words("""
    full_attn_idxs moe_layers hybrid_layer_ids cross_attention_layers mlp_only_layers
    intermediate_layers_indices rope_scaling_layers ple_layer_ids global_attn_indexes
""")
"""Lists of layer numbers, not of one value for each layer."""
