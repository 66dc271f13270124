"""Which inputs to change together, so that few passes test all pairs that a contract forbids.

A test changes a set of keys at once; it speaks for the queries that may see none of them (the
quiet ones). For one query the largest such set is all that it may not see, so the tests are the
distinct rows of the mask. Where these are more than can be run, some are chosen, and the part of
the forbidden pairs that they cover is known. No fewer would do: the last key that is forbidden to
a query but allowed to the next can only be tested by a set of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Bools = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Covering:
    """Tests of one mask at one shape.

    Attributes:
        keys: bool ``[tests, keys]``: what each of them changes.
        quiet: bool ``[tests, queries]``: whose output must not move.
        coverage: the part of the forbidden pairs that some test covers; 1 if none is forbidden.
    """

    keys: Bools
    quiet: Bools
    coverage: float


def cover(allowed: Bools, most: int, hints: Sequence[int] = ()) -> Covering:
    """Return at most that many tests of a mask.

    Args:
        allowed: bool ``[queries, keys]``.
        most: how many tests can be run.
        hints: sizes of windows, chunks and blocks, at whose multiples faults tend to lie.

    >>> import numpy as np
    >>> tests = cover(np.tri(4, dtype=bool), most=8)
    >>> tests.keys.astype(int)
    array([[0, 1, 1, 1],
           [0, 0, 1, 1],
           [0, 0, 0, 1]])
    >>> tests.coverage
    1.0
    """
    packed = np.packbits(allowed, axis=1)
    _, first = np.unique(packed, axis=0, return_index=True)
    queries = np.sort(first)
    queries = queries[~allowed[queries].all(axis=1)]
    chosen = queries if len(queries) <= most else _spread(queries, most, hints)
    keys = ~allowed[chosen]
    quiet = ~_meets(allowed, keys)
    return Covering(keys, quiet, _coverage(allowed, keys, quiet, len(chosen) == len(queries)))


def _meets(allowed: Bools, keys: Bools) -> Bools:
    """Return bool ``[tests, queries]``: which queries may see some of the keys of a test."""
    return (keys.astype(np.float32) @ allowed.T.astype(np.float32)) > 0


def _coverage(allowed: Bools, keys: Bools, quiet: Bools, all_rows: bool) -> float:
    forbidden = int((~allowed).sum())
    if all_rows or not forbidden:
        return 1.0
    covered = np.zeros_like(allowed)
    for some, still in zip(keys, quiet, strict=True):
        covered[np.ix_(still, some)] = True
    return float(covered.sum() / forbidden)


def _spread(queries: NDArray[np.int64], most: int, hints: Sequence[int]) -> NDArray[np.int64]:
    """Return some of the queries: the first ones, the last, halves of halves, edges of blocks."""
    last = len(queries) - 1
    wanted = [0, last, 1, last // 2, 2, last - 1]
    edges = [n * size + at for size in hints for n in (1, 2, 3) for at in (-1, 0, -2, 1)]
    wanted += list(np.searchsorted(queries, [e for e in edges if queries[0] <= e <= queries[-1]]))
    parts = 4
    while len(dict.fromkeys(wanted)) < most:
        wanted += [last * part // parts for part in range(1, parts, 2)]
        parts *= 2
    picked = list(dict.fromkeys(int(place) for place in wanted))[:most]
    return queries[np.sort(picked)]
