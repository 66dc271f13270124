"""Where a leak starts: the first module that is given what is right and returns what is wrong.

Two passes, before and after a change that must not matter, are compared call by call (calls.py).
Which operation inside the module it is stands in operations.py, why in causes.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sightline.audit.calls import Call, watched_calls
from sightline.audit.facts import Facts
from sightline.audit.feed import Feed
from sightline.audit.findings import Place
from sightline.audit.operations import Unsteady, find_operation
from sightline.audit.quiet import ROUNDING, Judge, Seen

Bools = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Located:
    """Where a leak starts, and what is known about the operation there.

    Attributes:
        place: the module, the operation and the line.
        facts: the arguments of the operation, for ``likely_cause``; None if it is not known.
    """

    place: Place
    facts: Facts | None = None


def locate(
    model: torch.nn.Module,
    call: Callable[[Feed], Any],
    base: Feed,
    changed: Feed,
    quiet: Mapping[int, Bools],
) -> Place | None:
    """Return where a leak starts; see ``look``.

    >>> class Mixer(torch.nn.Module):
    ...     def forward(self, x):
    ...         return x + x.mean(dim=1, keepdim=True)
    >>> model = torch.nn.Sequential(torch.nn.Linear(4, 4), Mixer()).double()
    >>> before = np.random.default_rng(0).standard_normal((2, 7, 4))
    >>> after = before.copy()
    >>> after[:, 6] = 9.0
    >>> from sightline.audit.feed import Input
    >>> feeds = [Feed({"x": Input("x", values, "features")}) for values in (before, after)]
    >>> run = lambda feed: model(torch.from_numpy(feed.inputs["x"].values))
    >>> place = locate(model, run, *feeds, {7: np.broadcast_to(np.arange(7) < 6, (2, 7))})
    >>> place.module, place.kind, place.operation
    ('1', 'Mixer', 'Tensor.mean')
    """
    found = look(model, call, base, changed, quiet)
    return None if found is None else found.place


def look(
    model: torch.nn.Module,
    call: Callable[[Feed], Any],
    base: Feed,
    changed: Feed,
    quiet: Mapping[int, Bools],
    *,
    operations: bool = True,
) -> Located | None:
    """Return where a leak starts: module, operation, line of code, and facts about it.

    Two passes find the module; two more, which end when the module has been run, the operation.

    Args:
        model: the module that ``call`` runs.
        call: runs it once, under the condition that leaks, from the same random numbers each time.
        base: the inputs.
        changed: inputs that differ from ``base`` where it must not matter.
        quiet: by sequence length bool ``[batch, length]``: states at these positions must not
            change. A tensor is judged by its sizes, so all sizes should be different. Under 0
            bool ``[batch]``: rows whose states without a sequence axis must not change.
        operations: whether to look for the operation too.

    Returns:
        None if no state that must not change does, or if that happens without the change too.
    """
    judge = Judge(_where_inputs_stay(base, changed, quiet))
    if not any(bools.any() for bools in judge.quiet.values()):
        judge = Judge(dict(quiet))
    before = _calls(model, call, base, judge)
    after = _calls(model, call, changed, judge)
    pair, level = _guilty(before, after)
    if pair is None:
        return None
    guilty = pair[0]
    place = Place(guilty.module, guilty.kind)
    if not operations:
        return Located(place)
    try:
        found = find_operation(model, call, (base, changed), judge, pair, level)
    except Unsteady:
        return None
    if found is None:
        return Located(place)
    training = model.get_submodule(guilty.module).training
    facts = Facts.of(found, guilty.kind, training)
    return Located(Place(guilty.module, guilty.kind, *found.where), facts)


def _where_inputs_stay(base: Feed, changed: Feed, quiet: Mapping[int, Bools]) -> dict[int, Bools]:
    """Leave out positions whose own input was changed: their first states must change."""
    still = {length: np.array(bools) for length, bools in quiet.items()}
    for name, each in base.varying.items():
        before, after = each.values, changed.inputs[name].values
        if before.shape[1] in still:
            moved = (before != after).reshape(*before.shape[:2], -1).any(axis=-1)
            still[before.shape[1]] &= ~moved
    return still


def _calls(
    model: torch.nn.Module, call: Callable[[Feed], Any], feed: Feed, judge: Judge
) -> list[Call]:
    with watched_calls(model, judge) as calls:
        call(feed)
    return calls


def _guilty(before: list[Call], after: list[Call]) -> tuple[tuple[Call, Call] | None, float]:
    """Return the first call, in both passes, that is given what is right and returns what is wrong.

    Changes of the size of rounding only count where no others are found.
    """
    known = {(call.module, call.number): call for call in before}
    pairs = [(known[key], c) for c in after if (key := (c.module, c.number)) in known]
    for level in (ROUNDING, 0.0):
        wrong = {id(a) for b, a in pairs if _moved(b.outputs, a.outputs, level)}
        right = {id(a) for b, a in pairs if id(a) not in wrong and any(_judged(a.outputs.values()))}
        guilty = [
            (b, a)
            for b, a in pairs
            if id(a) in wrong
            and not _moved(b.inputs, a.inputs, level, unsure=True)
            and not _passing(a, right)
        ]
        if guilty:
            return min(guilty, key=lambda each: each[1].finished), level
    return None, 0.0


def _judged(seen: Any) -> list[bool]:
    return [each.quiet is not None for each in seen]


def _passing(call: Call, right: set[int]) -> bool:
    """Return whether what a call did wrong was put right by one that it is part of."""
    while call.parent is not None:
        call = call.parent
        if id(call) in right:
            return True
    return False


def _moved(
    before: Mapping[str, Seen], after: Mapping[str, Seen], level: float, unsure: bool = False
) -> bool:
    """Return whether something that must not change did; ``unsure``: or something may have."""
    return any(
        before[place].change(seen) > level * seen.fine
        for place, seen in after.items()
        if place in before and (unsure or seen.quiet is not None)
    )
