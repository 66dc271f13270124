"""A declared mask against what arrives at the kernels: does a call let more through, or less?

Pure: a mask, a call and what its kernel lets through in, findings out. Which calls a declaration
is for is decided in expectations.py.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from sightline.audit.guards.records import Call, Said
from sightline.audit.guards.sight import Sight, pairs_of
from sightline.masks.mask import Mask


def check_declared(call: Call, sight: Sight, declared: Mask, q_offset: int) -> Iterator[Said]:
    """Report cells that a call allows and the declaration forbids, and the other way round.

    Padding is never missed: keys that no query of the call sees, and queries that see nothing, may
    be hidden whatever was declared.
    """
    own = (declared.batch, call.batch), (declared.heads, call.heads)
    if any(size not in (1, wanted) for size, wanted in own):
        yield Said(
            "declared-size",
            "warning",
            f"the declared mask {declared} is for {declared.batch} batch rows and {declared.heads} "
            f"heads, and the call has {call.batch} and {call.heads}: it was not compared.",
        )
        return
    wanted = declared.dense(call.q_len, call.kv_len, q_offset)[:, :, :: call.step]
    rows = sight.rows + q_offset
    leaks = sight.allowed & ~wanted
    if leaks.any():
        yield Said(
            "declared-leak",
            "error",
            f"{declared} was declared, and this call lets through more: (query, key) "
            f"{pairs_of(leaks, rows)}. {_why(call)}",
        )
    seen = sight.allowed.any(axis=2, keepdims=True) & sight.allowed.any(axis=3, keepdims=True)
    missing = wanted & ~sight.allowed & seen
    if missing.any():
        yield Said(
            "declared-missing",
            "warning",
            f"{declared} was declared, and this call hides more: (query, key) "
            f"{pairs_of(missing, rows)}. Declare what the model means, or change its mask.",
        )


def _why(call: Call) -> str:
    if not call.parts and not call.causal and call.mask is None:
        return "No mask arrived at all: look for where it is dropped on the way."
    if call.causal and call.q_len != call.kv_len:
        return "is_causal counts from the upper left corner."
    return "Another mask arrived: look for what it is combined with, and for its sense."


def offset_of(call: Call, may_be_cached: bool) -> int | None:
    """Return the position of query 0 if queries and keys are one sequence; None if unknown.

    Args:
        call: the call.
        may_be_cached: whether the same module was seen with as many queries as keys before, so
            that more keys than queries are those of its cache.
    """
    if call.self_attention is False:
        return None
    if call.q_offset is not None and call.mask is not None:
        return call.q_offset if call.q_offset + call.q_len == call.kv_len else None
    if call.q_len == call.kv_len:
        return 0
    return call.kv_len - call.q_len if may_be_cached and call.q_len < call.kv_len else None


def as_digest(sight: Sight) -> bytes:
    """Return bytes that are equal where two calls let the same through."""
    from hashlib import sha1

    header = f"{sight.allowed.shape}".encode()
    return sha1(header + np.packbits(sight.allowed).tobytes(), usedforsecurity=False).digest()
