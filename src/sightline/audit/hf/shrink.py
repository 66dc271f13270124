"""A config of transformers made tiny: fewer layers, narrow, short windows; structure as it was.

Layers are chosen so that each kind of layer (attention type, dense or routed, ...) stays. Sizes
are sizes.py's, what one family needs besides is families.py's; weights are tiny.py's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from sightline.audit.hf.families import FAMILIES
from sightline.audit.hf.sizes import (
    FIRST_SPECIAL,
    GROUP_COUNTS,
    HEAD_COUNTS,
    HEAD_DIM,
    HEADS,
    KV_HEAD_COUNTS,
    LAYER_COUNTS,
    LAYER_INDICES,
    LAYERS,
    SIZES,
    SPECIAL_IDS,
)

MOST_LAYERS = 6


def shrink(config: Any, **overrides: Any) -> Any:
    """Return a tiny config of the same class: its structure, small sizes.

    ``config`` is left as it is. Overrides go last; one for a config inside may be a mapping.
    """
    declared = [field.name for field in fields(type(config))]
    # Not by attribute: a field that varies by layer refuses to be read so.
    stored = {name: config.attribute_map.get(name, name) for name in declared}
    given = {name: vars(config)[key] for name, key in stored.items() if key in vars(config)}
    changes = {**FAMILIES.get(config.model_type, {}), **overrides}
    layers = picked_layers(given)
    told: dict[str, Any] = {}
    for name, value in given.items():
        change = changes.pop(name, None) if is_config(value) else None
        if is_config(value):
            inner = change if isinstance(change, Mapping) else {}
            told[name] = shrink(value, **inner) if change is None or inner else change
        elif is_token_id(name):
            told[name] = special_id(name, value, given)
        else:
            told[name] = small(name, value, given, layers)
    return type(config)(**{**told, **changes})


def is_config(value: Any) -> bool:
    """Return whether a value is a config inside another."""
    return hasattr(value, "model_type") and hasattr(value, "to_dict")


def is_token_id(name: str) -> bool:
    """Return whether a field is the id of a special token."""
    return name.endswith(("_token_id", "_token_index")) and name not in ("image_token_ids",)


def special_id(name: str, value: Any, given: Mapping[str, Any]) -> Any:
    """Return a special token's small id: the known ones first, others from ``FIRST_SPECIAL`` on."""
    if name in SPECIAL_IDS:
        return SPECIAL_IDS[name] if value is not None else None
    others = [each for each in given if is_token_id(each) and each not in SPECIAL_IDS]
    return FIRST_SPECIAL + others.index(name) if isinstance(value, int) else value


def picked_layers(given: Mapping[str, Any]) -> list[int]:
    """Return the numbers of the layers to keep: the first of each kind, two at least."""
    depth = depth_of(given)
    lists = [value for name, value in given.items() if is_per_layer(name, value, depth)]
    marks = [set(given[name] or ()) for name in LAYER_INDICES if is_list(given.get(name))]
    kinds: dict[str, int] = {}
    for layer in range(depth):
        kind = repr([each[layer] for each in lists] + [layer in mark for mark in marks])
        kinds.setdefault(kind, layer)
    kept = sorted(kinds.values())[:MOST_LAYERS]
    more = [layer for layer in range(depth) if layer not in kept]
    return sorted(kept + more[: max(0, LAYERS - len(kept))])


def depth_of(given: Mapping[str, Any]) -> int:
    """Return the number of layers that a config has, by its first field that says one."""
    counts = (given.get(name) for name in LAYER_COUNTS)
    return next((count for count in counts if isinstance(count, int)), LAYERS)


def is_list(value: Any) -> bool:
    """Return whether a value is a list or a tuple."""
    return isinstance(value, (list, tuple))


def is_per_layer(name: str, value: Any, depth: int) -> bool:
    """Return whether a value says one thing for each layer."""
    return is_list(value) and name not in LAYER_INDICES and len(value) == depth and depth > LAYERS


def small(name: str, value: Any, given: Mapping[str, Any], layers: list[int]) -> Any:
    """Return a field's small value."""
    if name == "rope_parameters" and isinstance(value, Mapping):
        return plain_rope(value)
    if is_list(value):
        return type(value)(small_list(name, value, depth_of(given), layers))
    if isinstance(value, bool) or not isinstance(value, int) or name not in SIZES or value <= 0:
        return value
    if name in LAYER_COUNTS:
        return len(layers) if value == depth_of(given) else LAYERS
    if name in KV_HEAD_COUNTS:
        return small_kv_heads(name, value, given)
    return 1 if value == 1 and name in (*HEAD_COUNTS, *GROUP_COUNTS) else SIZES[name]


def small_kv_heads(name: str, value: int, given: Mapping[str, Any]) -> int:
    """Return the number of kv heads: as many as query heads, one, or half of them, as before."""
    heads = given.get("linear_num_value_heads" if "linear" in name else "num_attention_heads")
    return 1 if value == 1 else HEADS if value == heads else SIZES[name]


def small_list(name: str, value: Any, depth: int, layers: list[int]) -> list[Any]:
    """Return a list for the layers kept; one of sizes becomes small, any other stays."""
    if name in LAYER_INDICES:
        return [new for new, old in enumerate(layers) if old in value]
    if is_per_layer(name, value, depth):
        value = [value[layer] for layer in layers]
    if name in SIZES:
        return [SIZES[name] for _ in value]
    return list(value)


def plain_rope(value: Mapping[str, Any]) -> dict[str, Any]:
    """Return rotary parameters without the factors that stretch them to long texts."""
    if any(isinstance(each, Mapping) for each in value.values()):
        return {k: plain_rope(v) if isinstance(v, Mapping) else v for k, v in value.items()}
    kept = {name: value[name] for name in ("rope_theta", "partial_rotary_factor") if name in value}
    if "mrope_section" in value:
        half = int(HEAD_DIM * (value.get("partial_rotary_factor") or 1)) // 2
        kept["mrope_section"] = [half - 2 * (half // 4), half // 4, half // 4]
    return {"rope_type": "default", **kept}
