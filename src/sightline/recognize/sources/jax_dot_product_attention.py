"""Source ``jax.dot_product_attention``: the masks of a ``jax.nn.dot_product_attention`` call."""

from __future__ import annotations

from typing import Any

import numpy as np

from sightline.errors import InvalidArgument
from sightline.masks.arguments import as_int, describe
from sightline.recognize.sources.joining import Joined
from sightline.recognize.sources.reading import (
    Read,
    Source,
    flag,
    integers,
    keywords,
    numbers,
    warn_of_empty_rows,
)

SOURCE = Source(
    name="jax.dot_product_attention",
    reads="mask, or a dict of mask, is_causal, query_seq_lengths, key_value_seq_lengths and "
    "local_window_size",
    true_means="may attend",
    options=("q_len", "kv_len"),
)
_LENGTHS = (
    ("query_seq_lengths", "queries from the given length on see nothing, and give 0"),
    ("key_value_seq_lengths", "keys from the given length on are seen by nobody"),
)
_OUTCOME = "jax gives a mean of all values there, padding included"


def read(given: object, q_len: int | None = None, kv_len: int | None = None) -> Read:
    """Read the masks; lengths are needed where no mask tells them.

    >>> read({"is_causal": True}, q_len=2, kv_len=3).allowed[0, 0].astype(int)
    array([[1, 0, 0],
           [1, 1, 0]])
    """
    known = ("mask", "is_causal", *(name for name, _ in _LENGTHS), "local_window_size")
    call = keywords(given, SOURCE.name, known)
    joined = Joined(SOURCE.name)
    if call.get("mask") is not None:
        mask = numbers(call["mask"], "mask", (2, 3, 4))
        if mask.dtype.kind != "b":
            raise InvalidArgument(f"got mask of {mask.dtype}; wanted bools, as jax does.")
        joined.add(mask.reshape((1,) * (4 - mask.ndim) + mask.shape), "mask: True may attend")
    lengths = joined.lengths(q_len, kv_len, call.get("mask"))
    query, key = np.arange(lengths[0])[:, None], np.arange(lengths[1])
    if flag(call, "is_causal"):
        joined.add((key <= query)[None, None], "is_causal is aligned to the top left corner")
    if call.get("local_window_size") is not None:
        left, right = _sides(call["local_window_size"])
        window = (query - left <= key) & (key <= query + right)
        words = f"local_window_size: {left} keys before a query, itself, and {right} after it"
        joined.add(window[None, None], words)
    allowed = joined.allowed(lengths)
    for (name, words), place in zip(_LENGTHS, (query, key), strict=True):
        if call.get(name) is not None:
            joined.add(place < integers(call[name], name, (1,))[:, None, None, None], words)
            if name == "query_seq_lengths":
                # jax sets what is beyond to 0, so that only other empty rows are spoiled.
                allowed = allowed | ~joined.parts[-1]
            else:
                allowed = allowed & joined.parts[-1]
    warnings = warn_of_empty_rows(allowed, _OUTCOME)
    evidence = tuple(joined.evidence) or ("no mask: every key may be seen",)
    return Read(joined.allowed(lengths), evidence, warnings=warnings)


def _sides(value: Any) -> tuple[int, int]:
    """Return the window's (left, right); one number stands for both."""
    each = value if isinstance(value, (tuple, list)) else (value, value)
    if len(each) != 2:
        raise InvalidArgument(f"got local_window_size={describe(value)}; wanted (left, right).")
    left, right = (
        as_int(side, "local_window_size", least=0, error=InvalidArgument) for side in each
    )
    return left, right
