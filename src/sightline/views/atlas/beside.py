"""What the page says beside the map, as plain data: the facts, and how two masks differ."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline.masks.mask import Mask
from sightline.plan.compare import equivalent
from sightline.views.atlas.facts import edges, facts

__all__ = ["beside", "differences"]

# Runs of queries and edges that are sent at most, for the map; the page says where there are more.
MOST_SENT = 1 << 20
# So many stand in the text.
_MOST_TOLD, _LONGEST_TOLD = 5, 60


def beside(
    mask: Mask, request: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, NDArray[np.int64]]]:
    """Return the facts of one batch row and head at the lengths of a request; None is not known.

    The arrays are what is drawn into the map: runs (first, last) of empty rows, and edges.
    """
    batch, head = request["batch"], request["head"]
    found = facts(
        mask,
        request["q_len"],
        request["kv_len"],
        q_offset=request["q_offset"],
        batch=batch,
        head=head,
        seconds=request["seconds"],
    )
    runs = np.empty((0, 2), np.int64) if found.empty_runs is None else found.empty_runs
    ends = edges(mask, batch)
    told = {
        "pairs": found.pairs,
        "count": found.count,
        "blocks": None if found.blocks is None else found.blocks._asdict(),
        "flops": None if found.flops is None else [found.flops, found.dense_flops],
        "empty_count": found.empty_count,
        "empty_runs": runs[:_MOST_TOLD].tolist(),
        "cut": len(runs) > MOST_SENT,
        "edges": ends[:_MOST_TOLD].tolist(),
        "words": [
            f"{'  ' * line.depth}{_shortened(line.expression)}: {line.words}"
            for line in found.words
        ],
    }
    return told, {"runs": runs[:MOST_SENT], "edges": ends[:MOST_SENT]}


def _shortened(expression: str) -> str:
    """Return an expression that fits into a line or two; where it is cut, it says so.

    >>> _shortened("causal()"), len(_shortened("causal() & " * 9)), _shortened("a" * 99)[-2:]
    ('causal()', 60, 'a…')
    """
    short = len(expression) <= _LONGEST_TOLD
    return expression if short else f"{expression[: _LONGEST_TOLD - 1].rstrip()}…"


def differences(first: Mask, second: Mask, request: dict[str, Any]) -> dict[str, Any]:
    """Return whether two masks are the same at these lengths, where not, and how much."""
    q_len, kv_len, offset = request["q_len"], request["kv_len"], request["q_offset"]
    answer = equivalent(first, second, q_len=q_len, kv_len=kv_len, q_offset=offset)
    found: dict[str, Any] = {"holds": answer.holds, "proved": answer.proved_for, "witness": None}
    if answer.witness is not None:
        found["witness"] = [int(place) for place in answer.witness]
    seconds = request["seconds"] / 2
    for name, mask in (("only_first", first & ~second), ("only_second", second & ~first)):
        one = facts(
            mask,
            q_len,
            kv_len,
            q_offset=offset,
            batch=request["batch"],
            head=request["head"],
            seconds=seconds,
        )
        found[name] = one.count
    return found
