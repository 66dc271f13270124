"""The words, the table and the JSON of `sightline plan`: facts of a plan, people's and programs'.

Nothing is planned here; arguments are read and output is written in plan.py.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from sightline.cli.show_report import percent
from sightline.plan.block_map import BlockMap
from sightline.plan.cost import Cost
from sightline.views.sizes import bytes_text, si_text
from sightline.views.survey import Survey
from sightline.views.text.table import render_table

__all__ = ["Planned", "as_json", "headline", "render_facts"]

_NONE = ""


@dataclass(frozen=True)
class Planned:
    """What there is to tell: the plan, its cost, a look at the mask, and how long planning took."""

    block_map: BlockMap
    cost: Cost
    seen: Survey
    seconds: float
    heads: int
    head_dim: int


def headline(planned: Planned) -> tuple[str, str]:
    """Return the expression, and a line about its shape."""
    made = planned.block_map
    where = f" from position {made.q_offset:,}" if made.q_offset else ""
    rows = f", {_some(made.batch, 'batch row')}" if made.batch > 1 else ""
    heads = f", {_some(planned.heads, 'head')} of {planned.head_dim}"
    return repr(made.mask), (
        f"{_some(made.q_len, 'query', 'queries')}{where} x {_some(made.kv_len, 'key')}{rows}{heads}"
    )


def render_facts(planned: Planned, *, color: bool, encoding: str) -> str:
    """Return the table: what the plan has, what it would be without, and the share."""
    made, cost = planned.block_map, planned.cost
    empty, partial, full = made.counts
    blocks = empty + partial + full
    counted = [
        ("blocks to compute", full + partial, blocks),
        ("  full", full, None),
        ("  partial", partial, None),
        ("blocks to skip", empty, None),
        ("pairs allowed", cost.pairs, cost.dense_pairs),
        ("pairs computed", cost.computed_pairs, cost.dense_pairs),
    ]
    rows = [
        (name, f"{number:,}", _NONE if of is None else f"{of:,}", _share(number, of or blocks))
        for name, number, of in counted
    ]
    operations = [
        ("FLOPs forward", cost.forward_flops, cost.dense_forward_flops),
        ("FLOPs backward", cost.backward_flops, cost.dense_backward_flops),
    ]
    rows += [
        (name, si_text(own), si_text(dense), _share(own, dense)) for name, own, dense in operations
    ]
    memory = [
        ("bytes moved, float32", cost.bytes_moved, cost.dense_bytes_moved),
        ("plan, or mask as bools", made.nbytes, cost.mask_bytes),
    ]
    rows += [
        (name, bytes_text(own), bytes_text(dense), _share(own, dense))
        for name, own, dense in memory
    ]
    rows.append(("scores as float32", _NONE, bytes_text(cost.score_bytes), _NONE))
    table = render_table(
        ("", "plan", "dense", "share"),
        rows,
        numeric=(1, 2, 3),
        color=color,
        encoding=encoding,
        width=80,
    )
    cut = f", cut {made.cuts}" if made.cuts != "uniform" else ""
    runs, patterns = _some(len(made.pattern), "run"), _some(len(made.patterns), "pattern")
    return (
        f"{table}\n\nplanned in {planned.seconds * 1e3:.1f} ms: {runs} of blocks of "
        f"{made.block_q} x {made.block_kv}{cut}; {patterns}"
    )


def as_json(planned: Planned) -> str:
    """Return the facts as JSON; all of them but the seconds are the same on every run.

    ``empty_rows`` lists runs [first, last] of absolute query positions for each batch row and
    head that has any.
    """
    made = planned.block_map
    empty = [
        {"batch": batch, "head": head, "queries": found}
        for batch in range(made.batch)
        for head in range(made.heads)
        if (found := planned.seen.empty_runs(batch, head))
    ]
    cost = planned.cost
    facts = {
        "expression": repr(made.mask),
        "q_len": made.q_len,
        "kv_len": made.kv_len,
        "q_offset": made.q_offset,
        "batch": made.batch,
        "heads": planned.heads,
        "mask_heads": made.heads,
        "head_dim": planned.head_dim,
        "block_q": made.block_q,
        "block_kv": made.block_kv,
        "cuts": made.cuts,
        "blocks": made.counts._asdict(),
        "pairs": made.pairs,
        "density": made.density,
        "runs": len(made.pattern),
        "patterns": len(made.patterns),
        "plan_bytes": made.nbytes,
        "seconds_to_plan": planned.seconds,
        "cost": {**asdict(cost), "share_computed": cost.share_computed},
        "empty_queries": int(planned.seen.empty.sum()),
        "empty_rows": empty,
    }
    return json.dumps(facts, indent=2)


def _share(part: int, whole: int) -> str:
    if part > whole:
        return f"{part / whole:.1f} x" if whole else _NONE
    return percent(part, whole) if whole else _NONE


def _some(number: int, one: str, several: str | None = None) -> str:
    return f"{number:,} {one if number == 1 else several or one + 's'}"
