"""Source ``flash_attn``: keywords of ``flash_attn_varlen_func`` and ``flash_attn_func``."""

from __future__ import annotations

from typing import Any

import numpy as np

from sightline.errors import InvalidArgument
from sightline.recognize.sources.packed import (
    Ints,
    call_and_places,
    laid_out,
    offsets,
    read_packed,
    window,
)
from sightline.recognize.sources.reading import Read, Source, flag, keywords, size

SOURCE = Source(
    name="flash_attn",
    reads="a dict of cu_seqlens_q, cu_seqlens_k (or the options q_len and kv_len for one "
    "sequence), causal and window_size, or what lower gives",
    true_means="there is no mask; offsets say where sequences begin",
    options=("q_len", "kv_len"),
)
_IGNORED = (
    "max_seqlen_q",
    "max_seqlen_k",
    "softmax_scale",
    "dropout_p",
    "deterministic",
    "return_attn_probs",
)


def read(given: object, q_len: int | None = None, kv_len: int | None = None) -> Read:
    """Read offsets, causal and window; without offsets it is one sequence of the lengths given.

    >>> read({"causal": True}, q_len=2, kv_len=3).allowed[0, 0].astype(int)
    array([[1, 1, 0],
           [1, 1, 1]])
    """
    known = ("cu_seqlens_q", "cu_seqlens_k", "causal", "window_size", *_IGNORED)
    said, places = call_and_places(given)
    call = keywords(said, SOURCE.name, known)
    queries = _offsets(call, "cu_seqlens_q", q_len, "q_len")
    if call.get("cu_seqlens_k") is None and kv_len is None:
        keys = queries
    else:
        keys = _offsets(call, "cu_seqlens_k", kv_len, "kv_len")
    left, right = window(call.get("window_size"))
    # causal replaces the right side of the window.
    sides = left, 0 if flag(call, "causal") else right
    return laid_out(read_packed(queries, keys, sides, None), places)


def _offsets(call: dict[str, Any], name: str, length: int | None, option: str) -> Ints:
    if call.get(name) is not None:
        found = offsets(call[name], name)
        if length is not None and size(length, option) != found[-1]:
            raise InvalidArgument(
                f"got {option}={length} and {name} that end at {found[-1]} for {SOURCE.name}; "
                f"wanted one of them; leave {option} out."
            )
        return found
    if length is None:
        raise InvalidArgument(
            f"got neither {name} nor {option} for {SOURCE.name}; wanted the offsets of packed "
            "sequences, or the length of a single one."
        )
    return np.array([0, size(length, option)], dtype=np.int64)
