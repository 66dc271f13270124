"""Torch modules on top of ``attend``: layers, the KV cache, generation, what leaks beside them.

Each public name is loaded from its file when it is first used: ``sl.nn.KVCache``. A mask goes in
as ``mask=`` everywhere and means what it means everywhere; a forbidden key changes no output by
one bit. Needs torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

# The files that hold the public names. Adding a name: a word here.
_ROOMS = {
    # attention
    "attention": "MultiheadAttention",
    "input_masks": "key_mask_from_inputs mask_inputs query_mask_from_inputs",
    "positions": "LearnedPositions Rotary SinusoidalPositions",
    "strict_causal": "ShiftedQueryAttention shift_queries",
    "transformer": "Transformer TransformerDecoder TransformerEncoder",
    "transformer_layers": "TransformerDecoderLayer TransformerEncoderLayer",
    # batches, caches, generation
    "batch": "Batch",
    "generation.generate": "Generated generate",
    "generation.packed": "PackedLinears",
    "generation.same_rows": "SameRows",
    "caches.paged": "PagedKVCache",
    "caches.rolling": "RollingKVCache",
    "kv_cache": "KVCache",
    "mmha": "mmha_step",
    "paddle_layout": "pack_cache pack_keys unpack_cache unpack_keys",
    # beside attention
    "convolution": "CausalConv1d MaskedConv1d",
    "losses": "masked_cross_entropy masked_loss_mean",
    "norms": "MaskedBatchNorm1d MaskedGroupNorm MaskedInstanceNorm1d MaskedLayerNorm",
    "pooling": (
        "masked_first masked_last masked_max masked_mean masked_min masked_softmax "
        "masked_softmax_pool masked_sum"
    ),
    "recurrent": "MaskedGRU MaskedLSTM",
    # learned masks
    "adaptive_span": "AdaptiveSpan",
    "feature_masks": "CBAM ChannelMask SpatialMask",
    "soft_masks": "HeadGates LearnedScale ResidualMask SoftMask",
}
_HOME = {name: f"sightline.nn.{room}" for room, names in _ROOMS.items() for name in names.split()}

__all__ = sorted(_HOME)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    """Load a public name from its file when it is first asked for."""
    if name not in _HOME:
        raise AttributeError(f"module 'sightline.nn' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return list(__all__)
