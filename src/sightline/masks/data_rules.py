"""The laws of documents, padding, prefixes and chunks: what several of them mean together.

One function is one law, its first line the theorem. rewrite.py applies them all, in ``meet_data``,
to the parts of a conjunction; a disjunction has their duals by De Morgan. Which of two such masks
lies within the other is said in data_order.py.

Each law has to agree with every other in any order, or ``&`` would not be associative. So a law
that drops or narrows a part is only here if no later merging of the parts can undo its reason.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, TypeVar, cast

import numpy as np

from sightline.masks.arrays import Data
from sightline.masks.data import PrefixLM, Segments, from_runs
from sightline.masks.data_order import (
    DATA_ATOMS,
    core,
    data_within,
    gaps_inside,
    keys_inside,
    queries_inside,
)
from sightline.masks.intervals import ENDLESS, complement, union
from sightline.masks.mask import Mask
from sightline.masks.moves import Transposed
from sightline.masks.nodes import Not, Nothing
from sightline.masks.padding import Padding, ValidKeys
from sightline.masks.padding_sets import common_keys, keys_of_either
from sightline.masks.periodic import Chunks
from sightline.masks.positional import Band, Positions, band, positions

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sightline.masks.intervals import Intervals

    Ints = NDArray[np.int64]

AnyMask = TypeVar("AnyMask", bound=Mask)

# Documents are cut into at most so many chunks a row; longer ones stand beside their chunks.
MOST_CHUNKS = 2**12
# How many parts are compared with each other, as in rewrite.py.
MOST_COMPARED = 64


def meet_data(parts: list[Mask]) -> list[Mask]:
    """Return the parts of a conjunction with the laws of this file applied."""
    if len(parts) < 2 or not any(isinstance(core(part), DATA_ATOMS) for part in parts):
        return parts
    parts = cut_documents(meet_documents(parts))
    parts = shorten_prefixes(meet_prefixes(meet_paddings(parts)))
    parts = narrow_positions(narrow_bands(parts))
    if len(parts) > MOST_COMPARED:
        return parts
    return [Nothing()] if excluded(parts) else drop_implied(parts)


# -- documents -----------------------------------------------------------------------------------


def meet_documents(parts: list[Mask]) -> list[Mask]:
    """``documents(A) & documents(B)``: the documents of the pairs (id in A, id in B).

    A position that is in none of A's or in none of B's documents is in none.
    """
    alike = [part for part in parts if isinstance(part, Segments)]
    if len(alike) < 2:
        return parts
    result: Mask = alike[0]
    for other in alike[1:]:
        if isinstance(result, Segments):
            result = common_refinement(result, other)
    return [result, *(part for part in parts if not isinstance(part, Segments))]


def cut_documents(parts: list[Mask]) -> list[Mask]:
    """``documents(A) & chunks(n)``: A cut at every multiple of n, as chunks are documents too."""
    segments = next((part for part in parts if isinstance(part, Segments)), None)
    sizes = [part.size for part in parts if isinstance(part, Chunks)]
    if segments is None or not sizes:
        return parts
    result: Mask = segments
    # The longest row decides, whatever has been cut before, so that the order does not matter.
    fits = {size for size in sizes if segments.size() <= size * MOST_CHUNKS}
    for size in fits:
        if isinstance(result, Segments):
            count = -(-result.size() // size)
            chunks = Data(np.arange(count)[None]), Data(np.full((1, count), size))
            result = common_refinement(result, Segments(*chunks))
    rest = [
        p for p in parts if p is not segments and not (isinstance(p, Chunks) and p.size in fits)
    ]
    return [result, *rest]


def common_refinement(a: Segments, b: Segments) -> Mask:
    """Return the documents of the pairs of ids; work is that of the runs, not of the positions."""
    batch = max(a.batch, b.batch)
    return from_runs([_pairs(_runs(a, row), _runs(b, row)) for row in range(batch)])


def _runs(segments: Segments, row: int) -> tuple[Ints, Ints]:
    """Return the ids of a batch row's runs and their ends; one row serves every batch row."""
    row = row if segments.batch > 1 else 0
    return segments.ids.array[row], np.cumsum(segments.lengths.array[row])


def _pairs(a: tuple[Ints, Ints], b: tuple[Ints, Ints]) -> tuple[Ints, Ints]:
    """Return the runs, as ids and lengths, of one row that is cut wherever a or b is."""
    (a_ids, a_ends), (b_ids, b_ends) = a, b
    ends = np.union1d(a_ends, b_ends)
    ends = ends[(ends > 0) & (ends <= min(a_ends[-1], b_ends[-1]))]
    starts = np.concatenate([[0], ends])[:-1]
    a_here = a_ids[np.searchsorted(a_ends, starts, side="right")]
    b_here = b_ids[np.searchsorted(b_ends, starts, side="right")]
    pair = a_here * (b_ids.max(initial=0) + 1) + b_here
    pair[(a_here < 0) | (b_here < 0)] = -1
    # A gap of a beside a gap of b is one gap.
    first = np.flatnonzero(np.diff(pair, prepend=-2))
    return pair[first], np.diff(np.concatenate([starts[first], ends[-1:]]))


# -- padding and prefixes: one number or two for each batch row ------------------------------------


def meet_paddings(parts: list[Mask]) -> list[Mask]:
    """``padding(A) & padding(B)`` is the padding of the keys that are real in both.

    And ``~padding(A) & ~padding(B)`` is the complement of the keys that are real in either.
    """
    return _meet_alike(parts, (Padding, ValidKeys), common_keys, keys_of_either)


def meet_prefixes(parts: list[Mask]) -> list[Mask]:
    """``prefix_lm(m) & prefix_lm(n) == prefix_lm(min(m, n))``; with ``|`` it is the maximum."""

    def lengths(alike: Sequence[PrefixLM]) -> Ints:
        return np.stack([part.lengths.array for part in alike])

    return _meet_alike(
        parts,
        (PrefixLM,),
        lambda alike: PrefixLM(Data(lengths(alike).min(axis=0))),
        lambda alike: PrefixLM(Data(lengths(alike).max(axis=0))),
    )


def _meet_alike(
    parts: list[Mask],
    kind: tuple[type[AnyMask], ...],
    meet: Callable[[Sequence[AnyMask]], Mask],
    join: Callable[[Sequence[AnyMask]], Mask | None],
) -> list[Mask]:
    """Merge the parts of a kind that are alike in ``~``, ``.T`` and batch; None is too large.

    One row beside a row for each sequence stays as written: merged with ``&`` and with ``|`` into
    rows for each, it would not come back as the one row in ``a | (a & b) == a``.
    """

    def form(part: Mask) -> tuple[bool, bool, int]:
        return isinstance(part, Not), isinstance(_positive(part), Transposed), part.batch

    alike = [part for part in parts if isinstance(core(part), kind)]
    if len(alike) < 2:
        return parts
    result = [part for part in parts if not isinstance(core(part), kind)]
    for (negated, swapped, _), each in groupby(sorted(alike, key=form), form):
        group = list(each)
        cores = cast("list[AnyMask]", [core(part) for part in group])
        merged = group[0] if len(group) < 2 else (join(cores) if negated else meet(cores))
        if merged is None or len(group) < 2:
            result.extend(group)
            continue
        merged = merged.transposed() if swapped else merged
        result.append(merged.complement() if negated else merged)
    return result


# -- what one part leaves of another ---------------------------------------------------------------


def shorten_prefixes(parts: list[Mask]) -> list[Mask]:
    """``keys(P) & prefix_lm(n) == keys(P) & prefix_lm(min(n, 1 + the last of P))``."""
    ends = {
        part.axis: int(part.members.array[-1, 1]) for part in parts if isinstance(part, Positions)
    }

    def shortened(part: Mask) -> Mask:
        prefix = core(part)
        if isinstance(part, Not) or not isinstance(prefix, PrefixLM):
            return part
        swapped = isinstance(part, Transposed)
        end = ends.get("query" if swapped else "key", ENDLESS)
        if end >= prefix.lengths.array.max():
            return part
        prefix = PrefixLM(Data(np.minimum(prefix.lengths.array, end)))
        return prefix.transposed() if swapped else prefix

    return [shortened(part) for part in parts]


def narrow_bands(parts: list[Mask]) -> list[Mask]:
    """``~a & band(G) == ~a & band(G − H)`` where band(H) is within a, as causal in block_causal.

    So ``a | band(G) == a | band(G ∪ H)``: without this, what G shares with H would stay or go
    depending on which parts met first.
    """
    taken = union(_taken(parts, gaps_inside))
    if not len(taken):
        return parts
    return [
        band(_difference(part.gaps.array, taken, -ENDLESS)) if isinstance(part, Band) else part
        for part in parts
    ]


def narrow_positions(parts: list[Mask]) -> list[Mask]:
    """``~prefix_lm(n) & keys(P) == ~prefix_lm(n) & keys(P − [0, n))``; n is the shortest row's."""
    taken = {
        "key": union(_taken(parts, keys_inside)),
        "query": union(_taken(parts, queries_inside)),
    }
    return [
        positions(part.axis, _difference(part.members.array, taken[part.axis], 0))
        if isinstance(part, Positions)
        else part
        for part in parts
    ]


def _taken(parts: list[Mask], inside: Callable[[Mask], Intervals]) -> Iterator[Intervals]:
    return (inside(part.part) for part in parts if isinstance(part, Not))


def _difference(a: Intervals, b: Intervals, start: int) -> Intervals:
    return complement(union([complement(a, start), b]), start)


def drop_implied(parts: list[Mask]) -> list[Mask]:
    """``a & b == a`` where a is within b, as in ``causal() & prefix_lm(n) == causal()``."""
    kept = list(parts)
    for part in parts:
        others = (other for other in kept if other is not part)
        if any(data_within(other, part) for other in others):
            kept = [other for other in kept if other is not part]
    return kept


def excluded(parts: list[Mask]) -> bool:
    """``a & ~b == nothing()`` where a is within b."""
    forbidden = [part.part for part in parts if isinstance(part, Not)]
    return any(data_within(part, outer) for outer in forbidden for part in parts)


def _positive(part: Mask) -> Mask:
    return part.part if isinstance(part, Not) else part
