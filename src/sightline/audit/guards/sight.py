"""Who sees whom in one call: its mask tensors, ``is_causal`` and lengths, put together.

And the shapes that checks ask for: causal, padding, the same for all queries. What is wrong with
them is judged in checks.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sightline.audit.guards.records import Call

    Bools = NDArray[np.bool_]
    Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Sight:
    """Who may see whom, of the rows that were looked at.

    Attributes:
        allowed: ``[batch|1, heads|1, rows, kv_len]``.
        rows: the position of each row among the queries of the call.
    """

    allowed: Bools
    rows: Ints


def sight_of(call: Call) -> Sight:
    """Return what a call's kernel lets through."""
    rows = np.arange(0, call.q_len, call.step)
    allowed = np.ones((1, 1, len(rows), call.kv_len), dtype=np.bool_)
    if call.mask is not None:
        whole = call.mask.dense(call.q_len, call.kv_len, call.q_offset or 0)
        allowed = allowed & whole[:, :, :: call.step]
    if call.causal:
        allowed = allowed & (np.arange(call.kv_len) <= rows[:, None])
    if not (call.causal and call.replaces):
        for part in call.parts:
            allowed = allowed & part.table.allowed
    return Sight(allowed, rows)


def any_over(cells: Bools, axis: int) -> Bools:
    """Return where any cell along an axis is True."""
    return np.logical_or.reduce(cells, axis=axis)


def empty_rows(sight: Sight) -> Bools:
    """Return bools ``[batch|1, heads|1, rows]``: queries that see nothing."""
    return ~any_over(sight.allowed, -1)


def padded_rows(sight: Sight, q_len: int) -> Bools:
    """Return the queries whose own key nobody sees: padding, if queries and keys are one sequence.

    Query 0 stands at key 0, or the last query at the last key; a query is padding if either says
    so. A batch row without any key is all padding only if there are as many queries as keys: else
    it is more likely an empty source.
    """
    kv_len = sight.allowed.shape[-1]
    unseen = ~any_over(sight.allowed, 2)
    padded = np.zeros((*sight.allowed.shape[:2], len(sight.rows)), dtype=np.bool_)
    for offset in {0, kv_len - q_len}:
        own = sight.rows + offset
        inside = (own >= 0) & (own < kv_len)
        padded |= inside & unseen[:, :, np.clip(own, 0, kv_len - 1)]
    return padded if q_len == kv_len else padded & ~unseen.all(axis=-1, keepdims=True)


def is_causal(allowed: Bools, rows: Ints, kv_len: int) -> bool:
    """Return whether cells are exactly those of ``is_causal``: key <= query, from key 0 on."""
    wanted = np.arange(kv_len) <= rows[:, None]
    return bool((allowed == wanted).all())


def inverted_causal(allowed: Bools, rows: Ints, q_len: int) -> bool:
    """Return whether the forbidden cells are a causal mask, padded or not, read the other way.

    Every query sees all that follows it, and of what comes before it and of itself exactly what
    is padding. Of a causal window at least three keys wide too.
    """
    kv_len = allowed.shape[-1]
    if allowed.shape[2] < 2 or kv_len < 2:
        return False
    return any(
        _inverted_at(allowed, np.arange(kv_len) - (rows[:, None] + offset))
        for offset in {0, kv_len - q_len}
    )


def _inverted_at(allowed: Bools, gap: Ints) -> bool:
    forbidden = ~allowed
    if (forbidden & (gap > 0)).any() or not (gap > 0).any():
        return False
    real = forbidden.any(axis=2, keepdims=True)
    if (real.sum(axis=-1) < 2).any():
        return False
    widest = int(-(gap * forbidden.any(axis=(0, 1))).min())
    reaches_back = widest >= int(-gap.min())
    if not reaches_back and widest < 2:
        return False
    return bool((forbidden == ((gap <= 0) & (gap >= -widest) & real)).all())


def inverted_padding(valid: Bools) -> bool:
    """Return whether ``[batch, keys]``, True for real keys, is the opposite of a padding mask.

    As given, some row has no real key at all, none is full and the others keep one end. The other
    way round, some row is full, none is empty and the others keep the other end.
    """
    if valid.shape[0] < 2 or valid.shape[1] < 2:
        return False
    count = valid.sum(axis=1)
    if count.min() != 0 or not 0 < count.max() < valid.shape[1]:
        return False
    return all_prefixes(valid) or all_prefixes(valid[:, ::-1])


def all_prefixes(valid: Bools) -> bool:
    """Return whether each row ``[..., keys]`` is True up to some key and False from there on."""
    return not bool((valid[..., 1:] & ~valid[..., :-1]).any())


def differ_by_padding(slices: Bools) -> bool:
    """Return whether masks ``[n, queries, keys]`` are one mask, each with other keys left out.

    What is left out lies at one end: they are those of the rows of a padded batch.
    """
    whole = any_over(slices, 0)
    kept = any_over(slices, 1)
    if not (slices == (whole & kept[:, None, :])).all() or not any_over(kept, 1).all():
        return False
    if (kept == kept[0]).all():
        return False
    return all_prefixes(kept) or all_prefixes(kept[:, ::-1])


def pairs_of(cells: Bools, rows: Ints, most: int = 5) -> str:
    """Return the first cells ``[batch, heads, rows, keys]`` in words: "query 0 sees key 2"."""
    found = np.argwhere(cells)[:most]
    several = cells.shape[0] > 1
    named = [
        f"({rows[row]}, {key}){f' of batch row {batch}' if several else ''}"
        for batch, _, row, key in found
    ]
    more = int(cells.sum()) - len(found)
    return ", ".join(named) + (f" and {more} more" if more else "")


def listed(numbers: Any, most: int = 5) -> str:
    """Return positions in short: "0-3, 7"."""
    runs: list[list[int]] = []
    for number in sorted({int(each) for each in numbers}):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    shown = [f"{a}-{b}" if a < b else str(a) for a, b in runs[:most]]
    return ", ".join(shown) + (", ..." if len(runs) > most else "")
