"""Flags in configs that change who may see whom: a model is audited with each of them turned.

What a flag needs besides (a width for the window) is told with it. Most models have none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sightline.audit.hf.sizes import WINDOW


@dataclass(frozen=True)
class Flag:
    """A flag, as it is by default, and what to tell a config to turn it.

    Attributes:
        field: its name.
        default: its value where it is not turned.
        told: the fields that turn it.
        beside: a field that the config must have too; empty for none.
    """

    field: str
    default: Any
    told: dict[str, Any]
    beside: str = ""


FLAGS = (
    Flag(
        "use_sliding_window",
        False,
        {
            "use_sliding_window": True,
            "sliding_window": WINDOW,
            "max_window_layers": 1,
            "layer_types": None,
        },
        beside="max_window_layers",
    ),
    Flag("attention_type", "block_sparse", {"attention_type": "original_full"}),
    Flag("encoder_attention_type", "local", {"encoder_attention_type": "transient-global"}),
    Flag("alibi", False, {"alibi": True}),
    Flag("new_decoder_architecture", False, {"new_decoder_architecture": True}),
    Flag("relative_attention", False, {"relative_attention": True, "pos_att_type": ["c2p", "p2c"]}),
    Flag("causal", False, {"causal": True}),
    Flag("attn_type", "bi", {"attn_type": "uni"}),
    Flag("prefix_lm", True, {"prefix_lm": False}),
)


def variants_of(config: Any) -> dict[str, dict[str, Any]]:
    """Return the overrides that turn the flags of a config, by what they are called.

    >>> class Config:
    ...     causal = False
    >>> variants_of(Config())
    {'causal=True': {'causal': True}}
    """
    return {
        f"{flag.field}={flag.told[flag.field]}": flag.told
        for flag in FLAGS
        if getattr(config, flag.field, None) == flag.default
        and (not flag.beside or hasattr(config, flag.beside))
    }
