"""Source ``keras``: the masks of a ``keras.layers.MultiHeadAttention`` call, all joined by and."""

from __future__ import annotations

from typing import Any

import numpy as np

from sightline.errors import ShapeMismatch
from sightline.recognize.sources.reading import (
    Bools,
    Read,
    Source,
    agreed,
    flag,
    flags,
    keywords,
    refuse_many_pairs,
    warn_of_empty_rows,
)

SOURCE = Source(
    name="keras",
    reads="attention_mask [batch, Q, K], or a dict of attention_mask, query_mask, value_mask, "
    "key_mask and use_causal_mask",
    true_means="may attend; in query_mask, key_mask and value_mask: is a token",
    options=("q_len", "kv_len"),
)
_PADDING = ("query_mask", "value_mask", "key_mask")
_OUTCOME = "keras gives 0 there in one of its ways and other numbers in others"
_OF_QUERY_MASK = (
    "query_mask is read as the mask that the query carries (query._keras_mask): the keyword of "
    "that name is overwritten by it (keras 3.15)"
)


def read(given: object, q_len: int | None = None, kv_len: int | None = None) -> Read:
    """Read the masks; lengths are needed where no array tells them.

    >>> call = {"value_mask": [[True, True, False]], "use_causal_mask": True}
    >>> read(call, q_len=2).allowed[0, 0].astype(int)
    array([[1, 0, 0],
           [1, 1, 0]])
    """
    known = ("attention_mask", *_PADDING, "use_causal_mask")
    call = keywords(given, SOURCE.name, known)
    parts, evidence = _parts(call)
    if call.get("attention_mask") is not None:
        # Its axis of size 1 is the length unless something longer was given.
        q_len, kv_len = (
            own or max(1, *(part.shape[axis] for part in parts))
            for own, axis in ((q_len, -2), (kv_len, -1))
        )
    lengths = tuple(
        agreed(name, SOURCE.name, own, *_told(parts, axis))
        for name, own, axis in (("q_len", q_len, -2), ("kv_len", kv_len, -1))
    )
    refuse_many_pairs(*lengths)
    if flag(call, "use_causal_mask"):
        parts.append(np.tri(*lengths, dtype=np.bool_)[None, None])
        evidence.append("use_causal_mask is aligned to the top left corner")
    allowed = np.ones((1, 1, *lengths), dtype=np.bool_)
    for part in parts:
        allowed = _joined(allowed, part)
    warnings = (_OF_QUERY_MASK,) if call.get("query_mask") is not None else ()
    return Read(
        allowed,
        tuple(evidence) or ("no mask: every key may be seen",),
        warnings=warnings + warn_of_empty_rows(allowed, _OUTCOME),
    )


def _parts(call: dict[str, Any]) -> tuple[list[Bools], list[str]]:
    """Return the masks that were given, each with four axes, and how they were read."""
    parts: list[Bools] = []
    evidence: list[str] = []
    if call.get("attention_mask") is not None:
        mask = flags(call["attention_mask"], "attention_mask", (3, 4))
        parts.append(mask[:, None] if mask.ndim == 3 else mask)
        evidence.append("attention_mask: True may attend")
    for name in _PADDING:
        if call.get(name) is not None:
            mask = flags(call[name], name, (2,))[:, None]
            parts.append(mask[..., None] if name == "query_mask" else mask[:, :, None])
            evidence.append(f"{name}: True is a token")
    return parts, evidence


def _told(parts: list[Bools], axis: int) -> list[int]:
    """Return the lengths that the parts tell; an axis of size 1 broadcasts and tells none."""
    return [part.shape[axis] for part in parts if part.shape[axis] > 1]


def _joined(allowed: Bools, part: Bools) -> Bools:
    try:
        return allowed & part
    except ValueError:
        raise ShapeMismatch(
            f"got keras masks of shapes {list(allowed.shape)} and {list(part.shape)} (as [batch, "
            "heads, Q, K]); wanted equal sizes, or 1."
        ) from None
