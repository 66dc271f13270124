"""Destination ``flashmask``: ``startend_row_indices`` of Paddle's ``flashmask_attention``.

The form says for each key which queries do *not* see it: one or two runs of rows, besides the
causal triangle. It takes memory for the keys alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sightline.errors import CannotExpress
from sightline.lower.arguments import Asked
from sightline.lower.destinations import Destination
from sightline.lower.forms.key_runs import KeyRuns, query_runs

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Bools = NDArray[np.bool_]
    Ints = NDArray[np.int64]

DESTINATION = Destination(
    name="flashmask",
    gives="the keywords startend_row_indices (int32 array [batch, heads|1, kv_len, 1|2|4]) and "
    "causal of flashmask_attention; give the array to paddle.to_tensor",
    expresses="masks that hide each key from at most two runs of queries: causal, windows, "
    "documents, padding of keys, prefix-LM, global tokens",
    refuses="a key that is hidden from three runs of queries or more; queries that may see nothing",
    in_principle="the same; what its kernels give for a query that sees nothing is not documented",
    options=("batch",),
    writes_pairs=False,
)

NAME = DESTINATION.name


def translate(asked: Asked, batch: Any = None) -> dict[str, Any]:
    """Return ``{"startend_row_indices": int32 array, "causal": bool}``: fewest numbers a key.

    With ``causal``, keys beyond the diagonal that ends in the lower right corner are hidden, and
    rows r1 and below (one number) or r1 .. r2 - 1 (two). Without it, rows r1 and below and rows
    above r2 (two numbers), or rows r1 .. r2 - 1 and r3 .. r4 - 1 (four).

    Args:
        asked: the mask and its shape.
        batch: the number of batch rows, which the form does not broadcast; None for as many as the
            mask tells apart. Heads it does broadcast, if the mask is the same for all.

    Raises:
        CannotExpress: a key hidden from more than two runs of queries; a query that sees nothing.
        ShapeMismatch: ``batch`` differs from the mask's own.

    Source: the documentation of paddle.nn.functional.flashmask_attention.

    >>> import sightline as sl
    >>> got = sl.lower(sl.causal() & sl.documents(lengths=[3, 2]), to="flashmask", q_len=5)
    >>> got["startend_row_indices"].tolist(), got["causal"]
    ([[[[3], [3], [3], [5], [5]]]], True)
    """
    rows = asked.batch_rows(batch, NAME)
    runs = query_runs(asked)
    asked.refuse_empty_rows(
        NAME,
        reason="it is not documented that they come out as 0, forwards and backwards",
        alternative="sl.lower(mask, to='flash_attn', ...) or to='magi', which leave such queries "
        "out, or sl.attend(query, key, value, mask), which gives 0",
    )
    indices, causal = _fewest(runs)
    shape = (runs.batch, runs.heads, asked.kv_len, indices.shape[1])
    indices = indices.reshape(shape).astype(np.int32)
    if rows != runs.batch:
        indices = np.repeat(indices, rows, axis=0)
    return {"startend_row_indices": indices, "causal": causal}


def _fewest(runs: KeyRuns) -> tuple[Ints, bool]:
    """Return ``[keys, 1|2|4]`` rows and whether the causal triangle is hidden besides."""
    hidden = _hidden(runs)
    beyond = _beyond_the_diagonal(runs)
    found = _below(hidden, beyond, runs.kv_len)
    if found is not None:
        whole = (found[:, 1] == runs.kv_len).all()
        return (found[:, :1] if whole else found), True
    above = np.where(hidden[:, 0] == 0, hidden[:, 1], 0)
    rest = _without(hidden, above)
    if (rest[:, 1] == runs.kv_len).all() and (rest[:, 2] == rest[:, 3]).all():
        return np.stack([rest[:, 0], above], axis=1), False
    # The lower of the two runs comes first.
    two = hidden[:, 2] < hidden[:, 3]
    order = np.where(two[:, None], hidden[:, [2, 3, 0, 1]], hidden)
    return order, False


def _hidden(runs: KeyRuns) -> Ints:
    """Return the at most two runs of queries that do not see each key, ``[keys, 4]``.

    What there is not is empty, and stands at the end.

    Raises:
        CannotExpress: a key is hidden from three runs of queries or more.
    """
    queries = runs.kv_len
    rows = len(runs.row_start) - 1
    # Between two seen runs, before the first and after the last there may be a hidden one.
    row = np.concatenate([runs.row, np.arange(rows)])
    start = np.concatenate([runs.stop, np.zeros(rows, dtype=np.int64)])
    order = np.lexsort((start, row))
    row, start = row[order], start[order]
    stop = np.full(len(row), queries)
    last = np.append(row[1:] != row[:-1], True)[: len(row)]
    stop[~last] = runs.first
    real = start < stop
    row, start, stop = row[real], start[real], stop[real]
    counts = np.bincount(row, minlength=rows)
    _refuse_three(runs, counts)
    nth = np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts)
    found = np.full((rows, 4), queries, dtype=np.int64)
    found[row, 2 * nth], found[row, 2 * nth + 1] = start, stop
    return found


def _refuse_three(runs: KeyRuns, counts: Ints) -> None:
    wrong = np.flatnonzero(counts > 2)
    if len(wrong):
        batch, head, key = runs.place(int(wrong[0]))
        raise CannotExpress(
            destination=NAME,
            part=f"key {key} of batch {batch}, head {head}, hidden from "
            f"{counts[wrong[0]]} runs of queries",
            reason="a key has at most two runs of rows that do not see it",
            alternative="sl.lower(mask, to='magi', ...), or sl.attend(query, key, value, mask)",
        )


def _beyond_the_diagonal(runs: KeyRuns) -> Ints:
    """Return up to which query the causal triangle hides each key; lower right corners meet."""
    keys, queries = runs.q_len, runs.kv_len
    first = np.maximum(np.arange(keys) - (keys - queries), 0)
    return np.tile(first, runs.batch * runs.heads)


def _below(hidden: Ints, beyond: Ints, queries: int) -> Ints | None:
    """Return the one run that is hidden besides the triangle, ``[keys, 2]``, if that says all."""
    if not ((hidden[:, 0] == 0) & (hidden[:, 1] >= beyond) | (beyond == 0)).all():
        return None
    rest = _without(hidden, beyond)
    return rest[:, :2] if (rest[:, 2] == rest[:, 3]).all() else None


def _without(hidden: Ints, above: Ints) -> Ints:
    """Return the hidden runs without the rows before ``above``; empty ones at the end."""
    cut = np.maximum(hidden, above[:, None])
    gone = cut[:, 0] == cut[:, 1]
    moved = cut[:, [2, 3, 2, 3]]
    moved[:, 2] = moved[:, 3]
    return np.where(gone[:, None], moved, cut)
