"""What the page says beside the map, as plain data: the facts, and how two masks differ."""

from __future__ import annotations

from typing import Any

from sightline.errors import SightlineError
from sightline.masks.mask import Mask
from sightline.plan.compare import equivalent
from sightline.plan.cost import cost_of
from sightline.plan.planner import plan
from sightline.views.sentences import in_words

__all__ = ["beside", "differences"]

# Runs of queries and edges that are sent at most; more could not be seen.
_MOST = 2000


def beside(mask: Mask, request: dict[str, Any]) -> dict[str, Any]:
    """Return the facts of one mask at the lengths of a request; None is not known."""
    q_len, kv_len, offset = request["q_len"], request["kv_len"], request["q_offset"]
    lead = mask.batch * mask.heads
    found: dict[str, Any] = {"pairs": lead * q_len * kv_len, "count": None, "blocks": None}
    found |= {"flops": None, "empty_count": None, "empty_runs": [], "edges": [], "words": []}
    found["words"] = [
        f"{'  ' * line.depth}{line.expression[:60]}: {line.words}" for line in in_words(mask)
    ]
    try:
        found["count"] = mask.count(q_len, kv_len, q_offset=offset)
        blocks = plan(mask, q_len, kv_len, q_offset=offset)
        cost = cost_of(blocks)
        found["flops"] = [cost.forward_flops, cost.dense_forward_flops]
        found["blocks"] = {"empty": 0, "partial": 0, "full": 0}
    except SightlineError:
        pass
    return found


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
