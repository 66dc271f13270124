"""Do all ways of running a model give the same outputs, but for rounding?

Kernels, gradients on or off, weights asked for, forms of a mask that mean the same: each against
the plain way, without padding and with it. Training is none of them, for dropout is meant to show.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from sightline.audit.contracts import Clause
from sightline.audit.findings import Finding, Pair
from sightline.audit.probing.subject import Condition
from sightline.audit.properties.comparing import (
    Gap,
    Joined,
    Passes,
    gap_of,
    joined,
    judged_outputs,
    largest,
)

if TYPE_CHECKING:
    from sightline.audit.probing.examination import Examination


def examine(examination: Examination, clause: Clause) -> Iterable[Finding]:
    """Return what breaks ``backend_parity()``: one finding for each way that differs."""
    passes = Passes(examination, clause)
    conditions = [c for c in examination.conditions if c.name != "train"]
    plain, *ways = [c for c in conditions if c.valid is None] or conditions[:1]
    if examination.wanted is not None and len(examination.conditions) > len(conditions):
        passes.note("not run under train: dropout is meant to change the outputs there")
    if not ways:
        passes.note(f"there is one way only to run {examination.subject.name}: {plain.name}")
    found: dict[str, Finding] = {}
    held: list[str] = []
    for base, way, name in _couples(examination, plain, ways, conditions):
        if name in found or passes.spent:
            continue
        gap = passes.parity(lambda coarse, b=base, w=way: _apart(passes, b, w, coarse), way)
        if gap is None:
            held.append(way.name)
        else:
            found[name] = _finding(clause, gap, base, way)
    return [_with_held(each, held) for each in found.values()]


def _couples(
    examination: Examination,
    plain: Condition,
    ways: list[Condition],
    conditions: list[Condition],
) -> Iterator[tuple[Condition, Condition, str]]:
    """Yield two ways that must agree, and what the second one is called."""
    for way in ways:
        yield plain, way, way.name
    for padded in [c for c in conditions if c.valid is not None][:2]:
        given = set(padded.given(examination.feed))
        for way in ways:
            # A form of the same mask cannot be joined to another.
            if not given & set(way.given(examination.feed)):
                yield padded, joined(padded, way), way.name


def _apart(passes: Passes, base: Condition, way: Condition, coarse: bool) -> Gap | None:
    feed = passes.examination.feed
    before, after = passes.run(feed, base, coarse), passes.run(feed, way, coarse)
    if before is None or after is None:
        return None
    valid = {} if base.valid is None else base.valid(feed)
    gaps: list[Gap] = []
    for name, array in judged_outputs(before, feed.batch, passes.clause).items():
        other = after.get(name)
        if other is None or other.shape != array.shape:
            continue
        real = np.ones(array.shape[:2] if array.ndim > 1 else (len(array), 1), dtype=bool)
        for each in valid.values():
            if real.shape == each.shape:
                real &= each
        gaps.append(gap_of(name, array, other, feed.lengths, real))
    return largest(gaps)


def _finding(clause: Clause, gap: Gap, base: Condition, way: Condition) -> Finding:
    return Finding(
        "parity",
        str(clause),
        f"{gap.where} is another one under {_short(way)} than without it, under {base.name}"
        if base.valid is not None
        else f"{gap.where} is another one under {way.name} than under {base.name}",
        output=gap.output,
        conditions=(way.name,),
        pairs=(Pair(gap.row, gap.position, -1),) if gap.position >= 0 else (),
        size=gap.size,
        cause=_cause(way, base),
    )


def _with_held(finding: Finding, held: list[str]) -> Finding:
    return replace(finding, held=tuple(name for name in held if name not in finding.conditions))


def _short(way: Condition) -> str:
    return way.parts[-1].name if isinstance(way, Joined) else way.name


def _cause(way: Condition, base: Condition) -> str:
    if base.valid is not None:
        return (
            f"under {_short(way)} another path is taken, on which the mask of the padding is lost "
            "or means something else"
        )
    return (
        f"under {way.name} another path is taken, which computes something else: a mask that is "
        "dropped there, another scale, or dropout that stays on"
    )
