"""One attention of ``nn.MultiheadAttention``: its mask, its padding and its hint, as it uses them.

Both masks mean ignore where they are True; the hint is_causal replaces the mask in one of its ways.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from sightline.errors import InvalidArgument, ShapeMismatch
from sightline.recognize.sources.reading import (
    Bools,
    Read,
    agreed,
    bools_or_added,
    refuse_many_pairs,
    size,
    warn_of_empty_rows,
)

OUTCOME = (
    "nn.MultiheadAttention gives NaN there with need_weights=True, and in evaluation without "
    "gradients"
)
Lengths = tuple[int, int]


@dataclass(frozen=True)
class Given:
    """The arguments of one attention, and the names that messages use for them.

    Attributes:
        source: the source that is read.
        mask: ``[Q, K]`` or ``[batch * num_heads, Q, K]``, or None.
        padding: ``[batch, K]`` or ``[K]``, or None.
        causal: the hint is_causal.
        need_weights: whether weights are asked for, which decides about the hint.
        q_len: the number of queries, if it was given; ``kv_len`` likewise.
        num_heads: the number of heads of the layer, if it was given.
        mask_name: the keyword of the mask; ``padding_name`` and ``causal_name`` likewise.
        length_names: the options that give the lengths.
    """

    source: str
    mask: Any
    padding: Any
    causal: bool
    need_weights: bool
    q_len: int | None
    kv_len: int | None
    num_heads: int | None
    mask_name: str = "attn_mask"
    padding_name: str = "key_padding_mask"
    causal_name: str = "is_causal"
    length_names: tuple[str, str] = ("q_len", "kv_len")


def read_attention(given: Given) -> Read:
    """Return which pairs are left, for each batch row and head."""
    named = (
        (given.mask, given.mask_name, (2, 3)),
        (given.padding, given.padding_name, (1, 2)),
    )
    parts = [None if each[0] is None else bools_or_added(*each, "ignore") for each in named]
    pairs, keys = (None if part is None else part.allowed for part in parts)
    there = [part for part in parts if part is not None]
    evidence = tuple(words for part in there for words in part.evidence)
    warnings = tuple(words for part in there for words in part.warnings)
    lengths = (
        agreed(given.length_names[0], given.source, given.q_len, _axis(pairs, -2)),
        agreed(
            given.length_names[1], given.source, given.kv_len, _axis(pairs, -1), _axis(keys, -1)
        ),
    )
    refuse_many_pairs(*lengths)
    allowed = np.ones((1, 1, *lengths), dtype=np.bool_)
    if pairs is not None:
        rows = None if keys is None or keys.ndim == 1 else len(keys)
        allowed = pairs[None, None] if pairs.ndim == 2 else _per_head(given, pairs, rows)
    if given.causal:
        allowed, told = _hinted(given, allowed, lengths)
        warnings = (*warnings, *told)
    if keys is not None:
        allowed = _joined(given, allowed, keys.reshape(-1, 1, 1, lengths[1]))
    return Read(
        allowed,
        evidence or (f"without {given.mask_name} and {given.padding_name} nothing is ignored",),
        warnings=(*warnings, *warn_of_empty_rows(allowed, OUTCOME)),
        convention=there[0].convention if there else "ignore",
    )


def _axis(array: Bools | None, axis: int) -> int | None:
    return None if array is None else array.shape[axis]


def _per_head(given: Given, pairs: Bools, rows: int | None) -> Bools:
    """Return [batch, heads, Q, K] from [batch * heads, Q, K], batch outermost."""
    heads = None if given.num_heads is None else size(given.num_heads, "num_heads")
    if heads is None and rows is None:
        raise InvalidArgument(
            f"got {given.mask_name} of shape {list(pairs.shape)} for {given.source}; its first "
            "axis counts batch * num_heads, batch outermost; pass num_heads=."
        )
    heads = heads or max(1, len(pairs) // (rows or 1))
    if len(pairs) % heads or (rows is not None and rows * heads != len(pairs)):
        wanted = f"a multiple of num_heads={heads}" if rows is None else f"{rows} * {heads}"
        raise ShapeMismatch(
            f"got {given.mask_name} of shape {list(pairs.shape)} for {given.source}; wanted "
            f"{wanted} on the first axis, which counts batch * num_heads."
        )
    return pairs.reshape(-1, heads, *pairs.shape[1:])


def _hinted(given: Given, allowed: Bools, lengths: Lengths) -> tuple[Bools, tuple[str, ...]]:
    """Return what is left of the mask beside ``is_causal=True``, and a warning where it differs."""
    if given.mask is None:
        raise InvalidArgument(
            f"got {given.causal_name}=True and no {given.mask_name} for {given.source}, which "
            "torch refuses: the hint stands beside the mask that it names; give the mask."
        )
    triangle = np.tri(*lengths, dtype=np.bool_)
    if (allowed == triangle).all():
        return allowed, ()
    if given.padding is None and not given.need_weights:
        instead = "is used instead of the mask; with need_weights=True or padding the mask is"
        allowed = triangle[None, None]
    else:
        instead = "is not used here; without need_weights and padding it would replace the mask"
    return allowed, (f"{given.causal_name}=True differs from {given.mask_name} and {instead}",)


def _joined(given: Given, allowed: Bools, keys: Bools) -> Bools:
    if len(allowed) > 1 and len(keys) > 1 and len(allowed) != len(keys):
        raise ShapeMismatch(
            f"got {given.mask_name} for {len(allowed)} batch rows and {given.padding_name} for "
            f"{len(keys)}; wanted equal sizes; check num_heads."
        )
    return allowed & keys
