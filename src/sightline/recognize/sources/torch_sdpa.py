"""Source ``torch.sdpa``: keywords of ``torch.nn.functional.scaled_dot_product_attention``."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from sightline.errors import InvalidArgument, ShapeMismatch
from sightline.recognize.sources.reading import (
    Bools,
    Read,
    Source,
    agreed,
    bools_or_added,
    flag,
    keywords,
    refuse_many_pairs,
)

SOURCE = Source(
    name="torch.sdpa",
    reads="attn_mask, or a dict of attn_mask and is_causal",
    true_means="may attend; floats are added",
    options=("q_len", "kv_len"),
)


def read(given: object, q_len: int | None = None, kv_len: int | None = None) -> Read:
    """Read the keywords; lengths are needed where no mask tells them.

    >>> read({"attn_mask": None, "is_causal": True}, q_len=2, kv_len=3).allowed[0, 0].astype(int)
    array([[1, 0, 0],
           [1, 1, 0]])
    """
    call = keywords(given, SOURCE.name, ("attn_mask", "is_causal"))
    causal = flag(call, "is_causal")
    given_mask = call.get("attn_mask")
    found = None
    if given_mask is not None:
        found = bools_or_added(given_mask, "attn_mask", (2, 3, 4), "attend")
    own = (None, None) if found is None else found.allowed.shape[-2:]
    lengths = _length("q_len", q_len, own[0]), _length("kv_len", kv_len, own[1])
    refuse_many_pairs(*lengths)
    triangle = np.tri(*lengths, dtype=np.bool_)
    if found is None:
        mask = triangle if causal else np.ones(lengths, dtype=np.bool_)
        words = _OF_CAUSAL if causal else "without attn_mask every key may be seen"
        return Read(mask[None, None], (words,))
    mask = found.allowed.reshape((1,) * (4 - found.allowed.ndim) + found.allowed.shape)
    mask = np.broadcast_to(mask, (*mask.shape[:2], *lengths))
    if causal:
        _refuse_both(mask, triangle)
        same = "is_causal=True says the same as attn_mask"
        found = replace(found, evidence=(*found.evidence, same))
    return replace(found, allowed=mask)


_OF_CAUSAL = (
    "is_causal=True is aligned to the top left corner: key k is seen by query row i iff k <= i, "
    "whatever the lengths"
)


def _length(name: str, given: int | None, own: int | None) -> int:
    """Return a length: an axis of size 1 broadcasts, so that another length may be given."""
    if own == 1 and given is not None:
        own = None
    if own is not None and given is not None and own != given:
        raise ShapeMismatch(
            f"got {name}={given!r} for {SOURCE.name} and an attn_mask with {own}; wanted equal "
            "sizes, or an axis of size 1."
        )
    return agreed(name, SOURCE.name, given, own)


def _refuse_both(mask: Bools, triangle: Bools) -> None:
    if not (mask == triangle).all():
        raise InvalidArgument(
            "got is_causal=True and an attn_mask that says something else; wanted one of the two: "
            "some kernels follow is_causal alone and say nothing, others raise. Leave is_causal "
            "out to read attn_mask."
        )
