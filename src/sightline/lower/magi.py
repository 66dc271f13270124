"""Destination ``magi``: slices of queries and keys for MagiAttention's ``flex_flash_attn_func``.

A slice is a rectangle of packed tokens of which all is seen, or all but a triangle at the upper
right (causal), at the lower left (inverse causal), or both. Every mask is a sum of such slices.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from sightline.errors import CannotExpress
from sightline.lower.arguments import Asked, require_torch
from sightline.lower.destinations import Destination
from sightline.lower.devices import check_device
from sightline.lower.forms.key_runs import KeyRuns, key_runs
from sightline.lower.forms.one_head import for_one_head
from sightline.lower.forms.packed import Packed

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Ints = NDArray[np.int64]

DESTINATION = Destination(
    name="magi",
    gives="a Packed with the keywords q_ranges, k_ranges and attn_type_map of "
    "flex_flash_attn_func, and the way of the tensors into packed tokens and back",
    expresses="every mask that is the same for all heads",
    refuses="masks that tell heads apart; a mask that allows nothing at all",
    in_principle="the same; a mask without long runs takes a slice for every run of every row",
    options=("batch", "device"),
    needs="torch",
    extra="torch",
    writes_pairs=False,
)

NAME = DESTINATION.name
FULL, CAUSAL, INVERSE, BOTH = range(4)
# How a run goes on in the next row: its start and its stop stay or move on by one.
NO_TYPE = -1


class Slices(NamedTuple):
    """Rectangles of packed tokens: ``[n, 2]`` queries and keys (stops exclusive), ``[n]`` types."""

    queries: Ints
    keys: Ints
    kind: Ints


def translate(asked: Asked, batch: Any = None, device: Any = "cpu") -> Packed:
    """Return the slices, and how the tensors become tokens ``[tokens, heads, dim]``.

    The batch rows stand one behind the other; queries that may see nothing are left out, since
    the library may leave their output unwritten. The slices do not overlap, though several may hold
    the same queries: leave ``disable_fwd_atomic_reduction`` at False. Versions that ask for
    ``max_seqlen_q`` and ``max_seqlen_k`` want the longest of ``q_ranges`` and of ``k_ranges``.

    Args:
        asked: the mask and its shape.
        batch: the number of batch rows of the tensors; None for as many as the mask tells apart.
        device: where the tensors shall live.

    Raises:
        CannotExpress: the mask tells heads apart, or allows nothing.
        ShapeMismatch: ``batch`` differs from the mask's own.

    Source: the docstring of magi_attention.functional.flex_flash_attn.flex_flash_attn_func.

    >>> import sightline as sl
    >>> mask = sl.causal() & sl.documents(lengths=[3, 2])
    >>> sl.lower(mask, to="magi", q_len=5).keywords["q_ranges"]
    tensor([[0, 3],
            [3, 5]], dtype=torch.int32)
    """
    torch = require_torch(f"sl.lower(..., to='{NAME}')")
    target = check_device(torch, device, NAME)
    asked = for_one_head(asked, NAME)
    rows = asked.batch_rows(batch, NAME)
    runs = key_runs(asked)
    seen = np.flatnonzero(runs.counts)
    if not len(seen):
        raise CannotExpress(
            destination=NAME,
            part="a mask that allows nothing",
            reason="there is no slice to compute",
            alternative="no call at all: the output is 0",
        )
    slices = slices_of(runs)
    if rows != runs.batch:
        seen, slices = _repeated(seen, slices, rows, asked)
    return Packed(
        keywords={
            "q_ranges": torch.tensor(slices.queries, dtype=torch.int32, device=target),
            "k_ranges": torch.tensor(slices.keys, dtype=torch.int32, device=target),
            "attn_type_map": torch.tensor(slices.kind, dtype=torch.int32, device=target),
        },
        query_index=torch.from_numpy(seen).to(target),
        key_index=torch.arange(rows * asked.kv_len, device=target),
        batch=rows,
        q_len=asked.q_len,
        kv_len=asked.kv_len,
    )


def slices_of(runs: KeyRuns) -> Slices:
    """Return slices that hold every run of every row once: long ones where rows go on alike.

    The n-th runs of rows one below the other belong together as long as both their ends stay, or
    move on by one, in the same way.
    """
    row, first, stop = _tokens(runs)
    nth = np.arange(len(row)) - np.repeat(runs.row_start[:-1], runs.counts)
    if nth.any():
        order = np.lexsort((row, nth))
        row, first, stop, nth = row[order], first[order], stop[order], nth[order]
    begin, kind = _stretches(_links(row, first, stop, nth))
    end = np.append(begin[1:], len(row)) - 1
    queries = np.stack([row[begin], row[end] + 1], axis=1)
    keys = np.stack([first[begin], stop[end]], axis=1)
    kind = np.where(begin == end, FULL, kind)
    order = np.lexsort((keys[:, 0], queries[:, 0]))
    return Slices(queries[order], keys[order], kind[order])


def _tokens(runs: KeyRuns) -> tuple[Ints, Ints, Ints]:
    """Return the runs in packed tokens: rows without empty ones, keys of batch rows in a line."""
    row = runs.row
    base = row // max(runs.q_len, 1) * runs.kv_len
    packed = np.cumsum(runs.counts > 0) - 1
    return packed[row], runs.first + base, runs.stop + base


def _links(row: Ints, first: Ints, stop: Ints, nth: Ints) -> Ints:
    """Return for each run but the last how the next one goes on from it, NO_TYPE if it does not."""
    begins, ends = np.diff(first), np.diff(stop)
    linked = (np.diff(row) == 1) & (np.diff(nth) == 0)
    linked &= (begins >= 0) & (begins <= 1) & (ends >= 0) & (ends <= 1)
    return np.where(linked, CAUSAL * ends + INVERSE * begins, NO_TYPE)


def _stretches(links: Ints) -> tuple[Ints, Ints]:
    """Return where stretches of runs with like links begin, and the link that each goes on by."""
    # A run with one link to each side goes with those below it: a document of one token is none
    # of the next document's.
    differs = links[1:] != links[:-1]
    alone = np.concatenate([[True], differs]) & np.append(differs & (links[1:] != NO_TYPE), False)
    links = np.where(alone[: len(links)], NO_TYPE, links)
    before = np.concatenate([[NO_TYPE], links])
    fresh = before == NO_TYPE
    # A link of another type than the one before ends a stretch: the run behind it starts anew.
    fresh[2:] |= (links[1:] != links[:-1]) & (links[:-1] != NO_TYPE)
    begin = np.flatnonzero(fresh)
    return begin, np.append(links, NO_TYPE)[begin]


def _repeated(seen: Ints, slices: Slices, rows: int, asked: Asked) -> tuple[Ints, Slices]:
    """Return the tokens and slices of a mask of one batch row for several."""
    each = np.arange(rows)[:, None]
    queries, keys = (
        (part + each[:, None] * step).reshape(-1, 2)
        for part, step in ((slices.queries, len(seen)), (slices.keys, asked.kv_len))
    )
    tokens = (seen + each * asked.q_len).reshape(-1)
    return tokens, Slices(queries, keys, np.tile(slices.kind, rows))
