"""A mask as packed sequences with one window for all, which is what varlen kernels know.

Queries that see nothing and keys that nobody sees are left out. What is left falls apart into
sequences: queries and keys that hang together. Documents may be interleaved; packing sorts them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sightline.errors import CannotExpress
from sightline.lower.forms.key_runs import KeyRuns, key_runs
from sightline.lower.forms.one_head import for_one_head
from sightline.lower.forms.packed import Packed

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import NDArray

    from sightline.lower.arguments import Asked

    Bools = NDArray[np.bool_]
    Ints = NDArray[np.int64]

# What every destination of packed sequences can say, and what none of them can.
EXPRESSES = (
    "one window for all sequences: causal, windows, documents (interleaved ones too), padding of "
    "queries and keys alike, chunks of a prompt, decode steps"
)
REFUSES = (
    "heads that differ; queries that see several runs of keys of their sequence; windows that "
    "differ, such as prefix-LM, or causal where padding hides keys but not their queries; a mask "
    "that allows nothing at all"
)
IN_PRINCIPLE = (
    "every mask with one run of keys a query, if the keys are copied for each query that fits no "
    "window: the memory of as many more keys, so we leave that to you"
)
ALTERNATIVE = (
    "sl.lower(mask, to='magi', ...) or to='torch.flex', or sl.attend(query, key, value, mask)"
)


@dataclass(frozen=True, eq=False)
class Packing:
    """Sequences of packed tokens and the window that holds in all of them.

    In a sequence of ``n`` queries and ``m`` keys query i stands at ``p = i + m - n``, so that the
    last query stands at the last key, and sees the keys ``p - left`` .. ``p + right``.

    Attributes:
        query_index: int64 ``[queries]``, for each packed query its place among all
            ``batch * q_len``.
        key_index: int64 ``[keys]``, the same for the keys.
        cu_seqlens_q: int32 ``[sequences + 1]``, where sequences begin among the packed queries.
        cu_seqlens_k: the same for the keys.
        left: keys seen before a query's own; None for all.
        right: keys seen behind it; None for all.
        batch: the number of batch rows.
        q_len: the number of queries of a batch row.
        kv_len: the number of keys of a batch row.
    """

    query_index: Ints
    key_index: Ints
    cu_seqlens_q: NDArray[np.int32]
    cu_seqlens_k: NDArray[np.int32]
    left: int | None
    right: int | None
    batch: int
    q_len: int
    kv_len: int

    @property
    def q_lengths(self) -> NDArray[np.int32]:
        """The number of queries of each sequence."""
        return np.diff(self.cu_seqlens_q)

    @property
    def k_lengths(self) -> NDArray[np.int32]:
        """The number of keys of each sequence."""
        return np.diff(self.cu_seqlens_k)

    def packed(
        self, torch: Any, keywords: dict[str, Any], device: Any, leading: int | None = None
    ) -> Packed:
        """Return the keywords of a call with the way of the tensors into tokens and back."""
        return Packed(
            keywords=keywords,
            query_index=torch.from_numpy(self.query_index).to(device),
            key_index=torch.from_numpy(self.key_index).to(device),
            batch=self.batch,
            q_len=self.q_len,
            kv_len=self.kv_len,
            leading=leading,
        )

    def window(self) -> tuple[int, int]:
        """Return ``(left, right)`` with -1 for all, as the kernels have it."""
        left, right = (-1 if side is None else side for side in (self.left, self.right))
        return left, right

    def longest(self) -> tuple[int, int]:
        """Return the most queries and the most keys of a sequence, for kernels to be told.

        A kernel takes a side of the window for unlimited that is not shorter than the most keys. A
        right side can be that long and yet hide keys, if queries outnumber the keys: then more
        keys are announced than there are.
        """
        keys = int(self.k_lengths.max())
        return int(self.q_lengths.max()), max(keys, (self.right or 0) + 1)


@dataclass(frozen=True, eq=False)
class _Tokens:
    """The runs, keys of all batch rows in one line, and what sequence each token belongs to.

    ``row`` has the row of every run; ``query`` and ``key`` the tokens that are packed, in order;
    ``q_sequence`` and ``k_sequence`` theirs; ``first`` and ``stop`` are those of the runs.
    """

    row: Ints
    first: Ints
    stop: Ints
    query: Ints
    key: Ints
    q_sequence: Ints
    k_sequence: Ints


def packing(destination: str, asked: Asked, batch: Any = None) -> Packing:
    """Return how a mask is packed.

    Raises:
        CannotExpress: the mask tells heads apart, allows nothing, shows a query several runs of
            keys of its sequence, or no one window holds everywhere.
        ShapeMismatch: ``batch`` differs from the mask's own.
    """
    asked = for_one_head(asked, destination)
    rows = asked.batch_rows(batch, destination)
    runs = key_runs(asked)
    if not len(runs.first):
        raise CannotExpress(
            destination=destination,
            part="a mask that allows nothing",
            reason="there is no sequence to compute",
            alternative="no call at all: the output is 0",
        )
    tokens = _sequences(runs)
    cu_q, cu_k = (_starts(each) for each in (tokens.q_sequence, tokens.k_sequence))
    left, right = _window(destination, runs, tokens, cu_q, cu_k)
    repeat = rows // runs.batch
    each = np.arange(repeat)[:, None]
    return Packing(
        query_index=(tokens.query + each * asked.q_len).reshape(-1),
        key_index=(tokens.key + each * asked.kv_len).reshape(-1),
        cu_seqlens_q=_repeated(cu_q, repeat),
        cu_seqlens_k=_repeated(cu_k, repeat),
        left=left,
        right=right,
        batch=rows,
        q_len=asked.q_len,
        kv_len=asked.kv_len,
    )


def _starts(sequence: Ints) -> Ints:
    return np.concatenate([[0], np.cumsum(np.bincount(sequence))])


def _repeated(starts: Ints, times: int) -> NDArray[np.int32]:
    more = starts[1:] + np.arange(times)[:, None] * starts[-1]
    return np.concatenate([[0], more.reshape(-1)]).astype(np.int32)


# -- sequences ---------------------------------------------------------------------------------


def _sequences(runs: KeyRuns) -> _Tokens:
    """Return the tokens sorted by sequence: first those of the first key, and so on."""
    row = runs.row
    base = row // runs.q_len * runs.kv_len
    first, stop = runs.first + base, runs.stop + base
    covered, segment = _segments(first, stop, runs.batch * runs.kv_len)
    same_row = np.flatnonzero(row[1:] == row[:-1])
    of_run = segment[first]
    label = _components(int(segment[-1]) + 1, of_run[same_row], of_run[same_row + 1])
    query, key = np.flatnonzero(runs.counts), np.flatnonzero(covered)
    q_sequence = label[of_run[runs.row_start[query]]]
    k_sequence = label[segment[key]]
    q_order, k_order = (np.argsort(each, kind="stable") for each in (q_sequence, k_sequence))
    return _Tokens(
        row,
        first,
        stop,
        query[q_order],
        key[k_order],
        q_sequence[q_order],
        k_sequence[k_order],
    )


def _segments(first: Ints, stop: Ints, keys: int) -> tuple[Bools, Ints]:
    """Return which keys are seen, and a number for each stretch of keys that runs hold together."""
    begins = np.bincount(first, minlength=keys + 1)
    covered = np.cumsum(begins - np.bincount(stop, minlength=keys + 1))[:keys] > 0
    # A run ties each of its keys but the last to the next one.
    tied = np.cumsum(begins - np.bincount(stop - 1, minlength=keys + 1))[:keys] > 0
    fresh = covered & ~np.concatenate([[False], tied[:-1]])
    return covered, np.cumsum(fresh) - 1


def _components(count: int, left: Ints, right: Ints) -> Ints:
    """Return a number for each node of a graph: equal iff they hang together, rising from 0."""
    label = np.arange(count)
    while True:
        least = np.minimum(label[left], label[right])
        lower = label.copy()
        for ends in (left, right):
            np.minimum.at(lower, label[ends], least)
        while not np.array_equal(lower, lower[lower]):
            lower = lower[lower]
        if np.array_equal(lower, label):
            return np.unique(label, return_inverse=True)[1].reshape(-1)
        label = lower


# -- the window --------------------------------------------------------------------------------


def _window(
    destination: str, runs: KeyRuns, tokens: _Tokens, cu_q: Ints, cu_k: Ints
) -> tuple[int | None, int | None]:
    """Return the one window of all sequences; None where a side has no limit."""
    rank = np.zeros(runs.batch * runs.kv_len, dtype=np.int64)
    rank[tokens.key] = np.arange(len(tokens.key)) - cu_k[tokens.k_sequence]
    _refuse_gaps(destination, runs, tokens, rank)
    query = tokens.query
    start = rank[tokens.first[runs.row_start[query]]]
    last = rank[tokens.stop[runs.row_start[query + 1] - 1] - 1]
    q_sizes, k_sizes = (np.diff(each)[tokens.q_sequence] for each in (cu_q, cu_k))
    place = np.arange(len(query)) - cu_q[tokens.q_sequence] + k_sizes - q_sizes

    def side(name: str, limited: Bools, distance: Ints) -> int | None:
        wrong = _conflict(limited, distance)
        if wrong is not None:
            batch, _, number = runs.place(int(query[wrong]))
            raise CannotExpress(
                destination=destination,
                part=f"query {number} of batch {batch}, which sees {distance[wrong]} keys to the "
                f"{name} of its own place (the last query of a sequence stands at its last key)",
                reason="one window of at least 0 keys to each side holds for all queries",
                alternative="leave out queries whose output is not used (for those of padding: "
                f"mask & padding.T); or {ALTERNATIVE}",
            )
        return int(distance[limited][0]) if limited.any() else None

    return side("left", start > 0, place - start), side("right", last < k_sizes - 1, last - place)


def _conflict(limited: Bools, distance: Ints) -> int | None:
    """Return a query that does not agree with the first one whose side ends within its sequence.

    Where a query sees all to the end of its sequence, the window may be wider but not narrower.
    """
    if not limited.any():
        return None
    limit = distance[limited][0]
    wrong = np.where(limited, distance != limit, distance > limit) | (limit < 0)
    found = np.flatnonzero(wrong)
    return int(found[0]) if len(found) else None


def _refuse_gaps(destination: str, runs: KeyRuns, tokens: _Tokens, rank: Ints) -> None:
    """Refuse a query that sees some keys of its sequence, then others, and not those between."""
    same_row = tokens.row[1:] == tokens.row[:-1]
    gap = rank[tokens.first[1:]] != rank[tokens.stop[:-1] - 1] + 1
    wrong = np.flatnonzero(same_row & gap)
    if len(wrong):
        run = int(wrong[0])
        batch, _, query = runs.place(int(tokens.row[run]))
        raise CannotExpress(
            destination=destination,
            part=f"query {query} of batch {batch}, which sees key {runs.stop[run] - 1} and key "
            f"{runs.first[run + 1]} but not all between that hang together with them",
            reason="a query sees one run of the keys of its sequence",
            alternative=ALTERNATIVE,
        )
