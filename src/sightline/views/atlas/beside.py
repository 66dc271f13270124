"""What the page says beside the map, as plain data: the facts, and how two masks differ."""

from __future__ import annotations

from typing import Any

from sightline.errors import SightlineError
from sightline.masks.mask import Mask
from sightline.plan.compare import equivalent
from sightline.views.atlas.facts import edges, facts

__all__ = ["beside", "differences"]

# Runs of queries and edges that are sent at most; more could not be seen.
_MOST = 2000


def beside(mask: Mask, request: dict[str, Any]) -> dict[str, Any]:
    """Return the facts of one batch row and head at the lengths of a request; None is not known."""
    batch, head = request.get("batch", 0), request.get("head", 0)
    found = facts(
        mask,
        request["q_len"],
        request["kv_len"],
        q_offset=request["q_offset"],
        batch=batch,
        head=head,
        seconds=request["seconds"],
    )
    return {
        "pairs": found.pairs,
        "count": found.count,
        "blocks": None if found.blocks is None else found.blocks._asdict(),
        "flops": None if found.flops is None else [found.flops, found.dense_flops],
        "empty_count": found.empty_count,
        "empty_runs": [] if found.empty_runs is None else found.empty_runs[:_MOST].tolist(),
        "edges": edges(mask, batch)[:_MOST].tolist(),
        "words": [
            f"{'  ' * line.depth}{line.expression[:60]}: {line.words}" for line in found.words
        ],
    }


def differences(first: Mask, second: Mask, request: dict[str, Any]) -> dict[str, Any]:
    """Return whether two masks are the same at these lengths, where not, and how much."""
    q_len, kv_len, offset = request["q_len"], request["kv_len"], request["q_offset"]
    answer = equivalent(first, second, q_len=q_len, kv_len=kv_len, q_offset=offset)
    found: dict[str, Any] = {"holds": answer.holds, "proved": answer.proved_for, "witness": None}
    if answer.witness is not None:
        found["witness"] = [int(place) for place in answer.witness]
    for name, mask in (("only_first", first & ~second), ("only_second", second & ~first)):
        try:
            found[name] = mask.count(q_len, kv_len, q_offset=offset)
        except SightlineError:
            found[name] = None
    return found
