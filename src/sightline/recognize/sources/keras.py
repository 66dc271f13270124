"""Source ``keras``: the masks of a ``keras.layers.MultiHeadAttention`` call, all joined by and."""

from __future__ import annotations

import numpy as np

from sightline.recognize.sources.joining import Joined
from sightline.recognize.sources.reading import (
    Read,
    Source,
    flag,
    flags,
    keywords,
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
_OUTCOME = "keras gives a mean of values there, unless return_attention_scores=True"
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
    known = ("attention_mask", *_PADDING, "use_causal_mask", "return_attention_scores", "training")
    call = keywords(given, SOURCE.name, known)
    joined = Joined(SOURCE.name)
    if call.get("attention_mask") is not None:
        mask = flags(call["attention_mask"], "attention_mask", (3, 4))
        joined.add(mask[:, None] if mask.ndim == 3 else mask, "attention_mask: True may attend")
    for name in _PADDING:
        if call.get(name) is not None:
            mask = flags(call[name], name, (2,))
            shown = mask[:, None, :, None] if name == "query_mask" else mask[:, None, None]
            joined.add(shown, f"{name}: True is a token")
    lengths = joined.lengths(q_len, kv_len, call.get("attention_mask"))
    if flag(call, "use_causal_mask"):
        words = "use_causal_mask is aligned to the top left corner"
        joined.add(np.tri(*lengths, dtype=np.bool_)[None, None], words)
    allowed = joined.allowed(lengths)
    warnings = (_OF_QUERY_MASK,) if call.get("query_mask") is not None else ()
    if not flag(call, "return_attention_scores"):
        warnings += warn_of_empty_rows(allowed, _OUTCOME)
    evidence = tuple(joined.evidence) or ("no mask: every key may be seen",)
    return Read(allowed, evidence, warnings=warnings)
