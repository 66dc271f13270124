"""When a destination's form really cannot say a mask: the judges of ``CannotExpress``.

Each takes bools ``[batch, heads, q_len, kv_len]`` and the shape, and returns whether a refusal is
true. Tried out rather than reasoned, where the form is small enough to try all that it could say.
"""

from __future__ import annotations

from itertools import product

import numpy as np
from numpy.typing import NDArray

from sightline.testing.expanders.shape import Shape

Allowed = NDArray[np.bool_]


def empty_rows(allowed: Allowed, shape: Shape) -> bool:
    """Some query may see nothing."""
    return not bool(allowed.any(-1).all())


def transformer(allowed: Allowed, shape: Shape) -> bool:
    """An empty row, or a cache to continue."""
    return shape.q_offset > 0 or empty_rows(allowed, shape)


def never(allowed: Allowed, shape: Shape) -> bool:
    """Nothing may be refused."""
    return False


def lone_empty_query(allowed: Allowed, shape: Shape) -> bool:
    """The one query sees nothing in every batch row and head (the CPU kernel reads garbage)."""
    return shape.q_len == 1 and not bool(allowed.any())


def heads_differ(allowed: Allowed) -> bool:
    """Two heads see different keys."""
    return not bool((allowed == allowed[:, :1]).all())


def no_square(shape: Shape) -> bool:
    """Queries and keys are not the same positions."""
    return shape.q_offset > 0 or shape.q_len != shape.kv_len


def hf_2d(allowed: Allowed, shape: Shape) -> bool:
    """No keys can be taken away from a causal mask so that it becomes this one."""
    if heads_differ(allowed):
        return True
    causal = np.arange(shape.kv_len) <= np.arange(shape.q_len)[:, None] + shape.q_offset
    for each in allowed[:, 0]:
        choices = product([False, True], repeat=shape.kv_len)
        if not any(np.array_equal(causal & np.array(keys), each) for keys in choices):
            return True
    return False


def hf_position_ids(allowed: Allowed, shape: Shape) -> bool:
    """No way to cut the row into documents gives this mask."""
    if heads_differ(allowed) or no_square(shape):
        return True
    causal = np.tri(shape.q_len, dtype=np.bool_)
    for each in allowed[:, 0]:
        cuts = product([0, 1], repeat=shape.q_len)
        documents = (np.cumsum(cut) for cut in cuts)
        if not any(np.array_equal(causal & (d[:, None] == d), each) for d in documents):
            return True
    return False


def one_mask_for_heads(allowed: Allowed, shape: Shape) -> bool:
    """Heads that differ, or nothing to compute at all."""
    return heads_differ(allowed) or not bool(allowed.any())


def heads_only(allowed: Allowed, shape: Shape) -> bool:
    """Heads that differ."""
    return heads_differ(allowed)


def flashmask(allowed: Allowed, shape: Shape) -> bool:
    """An empty row, or a key that is hidden from three stretches of queries."""
    hidden = np.pad(~allowed, ((0, 0), (0, 0), (1, 1), (0, 0))).astype(np.int8)
    stretches = np.count_nonzero(np.diff(hidden, axis=2) == 1, axis=2)
    return empty_rows(allowed, shape) or bool((stretches > 2).any())


def jax(allowed: Allowed, shape: Shape) -> bool:
    """An empty row with one that is not, or in some heads only, behind it."""
    seen = np.asarray(allowed.any(-1))
    gone = np.maximum.accumulate(~seen, axis=-1)
    return bool((gone & seen).any() or (seen != seen[:, :1]).any())


def xlnet(allowed: Allowed, shape: Shape) -> bool:
    """Heads that differ, a rectangle, or a target that sees nothing."""
    return heads_differ(allowed) or no_square(shape) or empty_rows(allowed, shape)


def one_window(allowed: Allowed, shape: Shape) -> bool:
    """Swin with one window of all tokens: the same for all, square, without empty rows."""
    same = bool((allowed == allowed[:1, :1]).all())
    return not same or no_square(shape) or empty_rows(allowed, shape)


def paddle(allowed: Allowed, shape: Shape) -> bool:
    """More than one query, one that is not the newest token, or an empty row."""
    newest = shape.q_len == 1 and shape.q_offset == shape.kv_len - 1
    return not newest or empty_rows(allowed, shape)
