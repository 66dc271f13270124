"""Does a row of the batch depend on the other rows? All of them are exchanged, but one.

Shapes stay, so that no bit of the remaining row may move. Training is tested only if it is asked
for by name: batch norm mixes rows there, as it is meant to.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from sightline.audit.contracts import Clause
from sightline.audit.findings import Finding, Pair, Place
from sightline.audit.probing.feed import Feed
from sightline.audit.probing.subject import Condition
from sightline.audit.properties.comparing import (
    Gap,
    Passes,
    gap_of,
    in_order,
    in_rows,
    inference,
    judged_outputs,
    largest,
    named_inputs,
    repeats,
)
from sightline.audit.properties.places import place_of
from sightline.errors import InvalidArgument

if TYPE_CHECKING:
    from sightline.audit.probing.examination import Examination

_CAUSES = {
    "BatchNorm": "a batch norm takes its means over the rows: in training that is its way; use a "
    "layer norm where rows must not meet",
    "MultiheadAttention": "attention runs along the batch axis: check batch_first and the order of "
    "the axes [batch, sequence, features]",
}
_OTHER = (
    "rows of the batch are mixed: a norm or softmax over the batch axis, a reshape that takes it "
    "for another, attention along it, the mask of one row used for all, or a capacity that rows "
    "share"
)


def examine(examination: Examination, clause: Clause) -> Iterable[Finding]:
    """Return what breaks ``batch_invariant()``."""
    batch = examination.feed.batch
    if batch < 2:
        raise InvalidArgument(
            f"batch_invariant() wants at least 2 rows to compare, got {batch}; give inputs= of "
            "three rows or so, or batch=3."
        )
    passes = Passes(examination, clause)
    found: tuple[Gap, Feed, Condition] | None = None
    broken: list[str] = []
    held: list[str] = []
    for place, condition in enumerate(_padded_first(inference(passes))):
        if passes.spent or passes.run(examination.feed, condition) is None:
            continue
        gap = None
        for row, changed, under in _changes(passes, condition, thorough=place == 0):
            gap = _moved(passes, condition, row, changed, under)
            if gap is not None and repeats(passes, examination.feed, condition, gap):
                found = found or (gap, changed, condition)
                break
            gap = None
        (held if gap is None else broken).append(condition.name)
    if found is None:
        return []
    return [_finding(passes, *found, tuple(broken), tuple(held))]


def _padded_first(conditions: list[Condition]) -> list[Condition]:
    """Return the plain one, then those in which rows have masks of their own, then the others."""
    return [conditions[0], *sorted(conditions[1:], key=lambda each: each.valid is None)]


def _changes(
    passes: Passes, condition: Condition, thorough: bool
) -> Iterator[tuple[int, Feed, Condition]]:
    """Yield a row, a feed in which all others hold something else, and how to run it.

    The last row first: what rows share between them, such as room at an expert, runs out there; or
    has run out before, and then on the way to the second.
    """
    feed = passes.examination.feed
    names = named_inputs(passes.clause, feed)
    last = feed.batch - 1
    for row in dict.fromkeys((last, 1, 0)) if thorough else (last,):
        yield row, _others_changed(feed, names, row, passes.examination.seed + 1), condition
    if thorough and passes.clause.input is None:
        # Masks and what else is fixed go with their rows.
        row = feed.batch // 2
        order = np.arange(feed.batch)
        others = np.delete(order, row)
        order[others] = np.roll(others, 1)
        yield row, in_order(feed, order), _with_rows(condition, order)


def _others_changed(feed: Feed, names: tuple[str, ...], row: int, seed: int) -> Feed:
    changed: list[Any] = []
    for name in names:
        where = np.ones(feed.inputs[name].values.shape[:2], dtype=bool)
        where[row] = False
        changed.append(feed.inputs[name].changed(where, seed))
    return feed.having(*changed)


def _with_rows(condition: Condition, order: np.ndarray) -> Condition:
    """Return the condition with what it gives besides the inputs in another order of rows."""

    def given(feed: Feed) -> dict[str, Any]:
        return {
            name: in_rows(value, order, feed.batch) for name, value in condition.given(feed).items()
        }

    return replace(condition, given=given)


def _moved(
    passes: Passes, condition: Condition, row: int, changed: Feed, under: Condition
) -> Gap | None:
    feed = passes.examination.feed

    def measure(coarse: bool) -> Gap | None:
        base = passes.run(feed, condition, coarse)
        other = passes.run(changed, under, coarse)
        if base is None or other is None:
            return None
        gaps: list[Gap] = []
        for name, before in judged_outputs(base, feed.batch, passes.clause).items():
            after = other.get(name)
            if after is not None and after.shape == before.shape:
                # The scale is that of the whole output; only the one row is compared.
                quiet = np.zeros(before.shape[: min(before.ndim, 2)], dtype=bool)
                quiet[row] = True
                gaps.append(
                    gap_of(name, before, after, feed.lengths, quiet.reshape(len(before), -1))
                )
        return largest(gaps)

    return passes.exact(measure, condition)


def _finding(
    passes: Passes,
    gap: Gap,
    changed: Feed,
    condition: Condition,
    broken: tuple[str, ...],
    held: tuple[str, ...],
) -> Finding:
    place = _place(passes, gap, changed, condition)
    kind = "" if place is None else place.kind
    cause = next((text for word, text in _CAUSES.items() if word in kind), _OTHER)
    names = named_inputs(passes.clause, passes.examination.feed)
    return Finding(
        "leak",
        str(passes.clause),
        f"{gap.where} depends on what other rows of the batch hold",
        input=", ".join(names),
        output=gap.output,
        conditions=broken,
        held=held,
        pairs=(Pair(gap.row, gap.position, -1),) if gap.position >= 0 else (),
        size=gap.size,
        place=place,
        cause=cause,
    )


def _place(passes: Passes, gap: Gap, changed: Feed, condition: Condition) -> Place | None:
    examination = passes.examination
    feed = examination.feed
    return place_of(examination, condition, feed, changed, feed.still(gap.row))
