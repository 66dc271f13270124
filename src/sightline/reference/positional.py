"""The definitions of the masks that depend on positions alone, one function for each name.

Each takes the mask's own keywords and says who may see whom, pair by pair. Arguments are taken
as valid: refusing bad ones is the work of the masks, not of their judge.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sightline.reference.meaning import Meaning, int_list

__all__ = ["POSITIONAL"]


def everything() -> Meaning:
    """Always."""
    return Meaning(lambda b, h, q, k: True)


def nothing() -> Meaning:
    """Never."""
    return Meaning(lambda b, h, q, k: False)


def causal(strict: bool = False) -> Meaning:
    """``k <= q``; strict: ``k < q`` (Vaswani et al. 2017, section 3.2.3)."""
    if strict:
        return Meaning(lambda b, h, q, k: k < q)
    return Meaning(lambda b, h, q, k: k <= q)


def window(left: int | None = None, right: int | None = None) -> Meaning:
    """``-left <= k - q <= right``; None is unbounded."""

    def allowed(b: int, h: int, q: int, k: int) -> bool:
        near_on_the_left = left is None or k - q >= -left
        near_on_the_right = right is None or k - q <= right
        return near_on_the_left and near_on_the_right

    return Meaning(allowed)


def prefix(n: int) -> Meaning:
    """``k < n``: everyone sees the first n keys."""
    return Meaning(lambda b, h, q, k: k < n)


def keys(positions: Any) -> Meaning:
    """The key is one of the positions."""
    contains = membership(positions)
    return Meaning(lambda b, h, q, k: contains(k))


def queries(positions: Any) -> Meaning:
    """The query is one of the positions."""
    contains = membership(positions)
    return Meaning(lambda b, h, q, k: contains(q))


def membership(positions: Any) -> Callable[[int], bool]:
    """Return "is it one of these?" for an int, a slice, a range, a list or an array."""
    if isinstance(positions, slice):
        return slice_membership(positions)
    members = set(int_list(positions))
    return lambda position: position in members


def slice_membership(span: Any) -> Callable[[int], bool]:
    """Return "is it one of start, start + step, ...?", before stop if there is one."""
    start, stop, step = span.start or 0, span.stop, span.step or 1

    def contains(position: int) -> bool:
        before_stop = stop is None or position < stop
        return position >= start and before_stop and (position - start) % step == 0

    return contains


def chunks(size: int) -> Meaning:
    """The query and the key lie in the same chunk of ``size`` positions."""
    return Meaning(lambda b, h, q, k: q // size == k // size)


def block_causal(size: int) -> Meaning:
    """The key's chunk is the query's own or an earlier one."""
    return Meaning(lambda b, h, q, k: k // size <= q // size)


def dilated(stride: int, phase: int = 0) -> Meaning:
    """``q - k`` is ``phase`` more than a multiple of ``stride``, forwards and backwards."""
    return Meaning(lambda b, h, q, k: (q - k - phase) % stride == 0)


def strided(stride: int) -> Meaning:
    """Sparse Transformer's strided pattern, both heads' parts together, causal.

    Child et al. 2019, section 4.2: the previous ``stride`` positions, and every stride-th one.
    """
    return Meaning(lambda b, h, q, k: k <= q and (q - k <= stride or (q - k) % stride == 0))


def fixed(stride: int, summary: int) -> Meaning:
    """Sparse Transformer's fixed pattern, both heads' parts together, causal.

    Child et al. 2019, section 4.2: the query's own chunk of ``stride`` positions so far, and the
    last ``summary`` positions of every chunk.
    """

    def allowed(b: int, h: int, q: int, k: int) -> bool:
        same_chunk = q // stride == k // stride
        summarizes = k % stride >= stride - summary
        return k <= q and (same_chunk or summarizes)

    return Meaning(allowed)


def log_sparse(local: int = 0, restart: int | None = None) -> Meaning:
    """The key is the query, or ``local`` at most, or a power of two, before it.

    Li et al. 2019 (LogSparse Transformer, arXiv 1907.00235), section 4.2; with ``restart``, only
    inside the query's sub-block of that many positions.
    """

    def allowed(b: int, h: int, q: int, k: int) -> bool:
        distance = q - k
        if distance < 0:
            return False
        if restart is not None and q // restart != k // restart:
            return False
        return distance == 0 or distance <= local or is_power_of_two(distance)

    return Meaning(allowed)


def is_power_of_two(number: int) -> bool:
    """1, 2, 4, 8, ..."""
    power = 1
    while power < number:
        power = power * 2
    return power == number


def log_sparse_row_mask(sub_len: int, win_len: int) -> Meaning:
    """The rows of the LogSparse Transformer's widely used public code, which differ from its paper.

    The code has one window of ``win_len`` positions; outside it nobody sees anything.
    """
    rows = [log_sparse_row(q, sub_len, win_len) for q in range(win_len)]
    return Meaning(lambda b, h, q, k: q < win_len and k < win_len and k in rows[q])


def log_sparse_row(q: int, sub_len: int, win_len: int) -> set[int]:
    """Return the keys of one row, walking back from the query in steps of ``sub_len``."""
    log_l = 0
    while 2**log_l < sub_len:
        log_l += 1  # in the end the base-2 logarithm of sub_len, rounded up
    if (win_len // sub_len) * 2 * log_l > q:
        return set(range(q + 1))
    seen: set[int] = set()
    anchor = q
    while anchor >= 0:
        first_local = anchor - log_l + 1
        if first_local < 0:
            seen.update(range(anchor))  # the anchor itself is left out, as in that code
            break
        seen.update(range(first_local, anchor + 1))
        for i in range(log_l):
            key = first_local - 2**i
            if key >= 0 and anchor - key <= sub_len:
                seen.add(key)
        anchor = anchor - sub_len
    return seen


def random_blocks(block: int, per_row: int, seed: int = 0) -> Meaning:
    """The key's block is among the ``per_row`` blocks drawn for the query's block.

    In the manner of BigBird (Zaheer et al. 2020, section 2), but drawn from the blocks up to the
    query's own, so that the picture does not depend on any length.
    """
    drawn: dict[int, set[int]] = {}

    def allowed(b: int, h: int, q: int, k: int) -> bool:
        row = q // block
        if row not in drawn:
            drawn[row] = sample_blocks(row, per_row, seed)
        return k // block in drawn[row]

    return Meaning(allowed)


def sample_blocks(row: int, per_row: int, seed: int) -> set[int]:
    """Draw ``min(per_row, row + 1)`` distinct numbers out of 0..row by Floyd's sampling.

    Bentley and Floyd 1987, "A sample of brilliance" (Communications of the ACM 30:9).
    """
    population = row + 1
    wanted = min(per_row, population)
    chosen: set[int] = set()
    for j in range(population - wanted, population):
        t = draw(seed, row, j) % (j + 1)
        if t in chosen:
            chosen.add(j)
        else:
            chosen.add(t)
    return chosen


def draw(seed: int, row: int, j: int) -> int:
    """A number of 31 bits that depends on all three and on nothing else."""
    return mix(mix(mix(seed) ^ row) ^ j)


def mix(x: int) -> int:
    """Scramble 31 bits: add, then shift-xor and multiply by turns."""
    low_31_bits = 2**31 - 1
    x = (x + 0x1E3779B9) & low_31_bits
    x = x ^ (x >> 16)
    x = (x * 0x45D9F3B) & low_31_bits
    x = x ^ (x >> 15)
    x = (x * 0x2C1B3C6D) & low_31_bits
    return x ^ (x >> 16)


def block_diffusion(length: int, block: int) -> Meaning:
    """BD3-LM's training mask over ``length`` noised tokens, then the same ``length`` clean ones.

    Arriola et al. 2025 (Block Diffusion), section 3 and the appendix on the attention mask.
    """

    def allowed(b: int, h: int, q: int, k: int) -> bool:
        if q >= 2 * length or k >= 2 * length:
            return False
        query_is_noised, key_is_noised = q < length, k < length
        query_block, key_block = (q % length) // block, (k % length) // block
        if query_is_noised and key_is_noised:
            return query_block == key_block
        if query_is_noised and not key_is_noised:
            return key_block < query_block
        if not query_is_noised and not key_is_noised:
            return key_block <= query_block
        return False

    return Meaning(allowed)


POSITIONAL: dict[str, Callable[..., Meaning]] = {
    "everything": everything,
    "nothing": nothing,
    "causal": causal,
    "window": window,
    "prefix": prefix,
    "sinks": prefix,
    "keys": keys,
    "queries": queries,
    "chunks": chunks,
    "block_causal": block_causal,
    "dilated": dilated,
    "strided": strided,
    "fixed": fixed,
    "log_sparse": log_sparse,
    "log_sparse_row_mask": log_sparse_row_mask,
    "random_blocks": random_blocks,
    "block_diffusion": block_diffusion,
}
