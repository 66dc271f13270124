"""Source ``hf.2d``: the attention_mask of a transformers model, 1 for tokens and 0 for padding."""

from __future__ import annotations

import numpy as np

from sightline.errors import InvalidArgument, ShapeMismatch
from sightline.masks.arguments import describe
from sightline.masks.mask import Mask
from sightline.masks.positional import causal
from sightline.recognize.sources.reading import (
    Read,
    Source,
    flags,
    keywords,
    refuse_many_pairs,
    size,
    warn_of_empty_rows,
)

SOURCE = Source(
    name="hf.2d",
    reads="attention_mask [batch, K], or a dict with it (position_ids are not looked at)",
    true_means="1 is a token that may be seen, 0 is padding",
    options=("own", "q_len", "q_offset"),
)


def own_mask(own: object, source: str) -> Mask:
    """Return the mask that the model applies by itself; causal() if none was named."""
    if own is None:
        return causal()
    if not isinstance(own, Mask):
        raise InvalidArgument(
            f"got own={describe(own)} for {source}; wanted the mask of the model itself, such as "
            "sl.causal(), or sl.everything() for an encoder."
        )
    return own


def read(
    given: object, own: object = None, q_len: int | None = None, q_offset: int | None = None
) -> Read:
    """Read attention_mask; ``own`` is the model's own mask, causal() if it is left out.

    ``q_len`` is the number of queries where keys stand in a cache: the last ones, unless
    ``q_offset`` says another place (a cache of a fixed length that is not full).

    >>> read([[1, 1, 0]]).allowed[0, 0].astype(int)
    array([[1, 0, 0],
           [1, 1, 0],
           [1, 1, 0]])
    """
    call = keywords(given, SOURCE.name, ("attention_mask", "position_ids"))
    if call.get("attention_mask") is None:
        raise InvalidArgument(f"got no attention_mask for {SOURCE.name}; wanted [batch, K].")
    keys = flags(call["attention_mask"], "attention_mask", (2,))
    kv_len = keys.shape[1]
    queries = kv_len if q_len is None else size(q_len, "q_len")
    if queries > kv_len and q_offset is None:
        raise ShapeMismatch(
            f"got q_len={queries} for {SOURCE.name} and an attention_mask of {kv_len} tokens; "
            "wanted at most as many queries as there are tokens, cached ones included."
        )
    model = own_mask(own, SOURCE.name)
    refuse_many_pairs(len(keys), model.heads, queries, kv_len)
    at = kv_len - queries if q_offset is None else size(q_offset, "q_offset", least=0)
    seen = model.dense(queries, kv_len, at)
    if len(seen) not in (1, len(keys)) and len(keys) > 1:
        raise ShapeMismatch(
            f"got own= of {len(seen)} batch rows and an attention_mask of {len(keys)}; wanted "
            "equal sizes, or a mask that is the same for all."
        )
    allowed = seen & keys[:, None, None, :]
    evidence = (
        f"attention_mask marks {int(keys.sum())} of {keys.size} tokens with 1, which may be seen; "
        f"the model's own mask, {model!r}, was taken as {'given' if own is not None else 'usual'}",
    )
    outcome = "it is a query at padding as a rule; do not use its output"
    return Read(allowed, evidence, at, _warned(keys) + warn_of_empty_rows(allowed, outcome))


def _warned(keys: np.ndarray) -> tuple[str, ...]:
    if keys.all():
        return (
            "attention_mask is 1 everywhere: it hides nothing, and packed sequences are not told "
            "apart by position_ids where an attention_mask is given",
        )
    return ()
