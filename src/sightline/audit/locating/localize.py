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

from sightline.audit.findings import Place
from sightline.audit.locating.calls import Call, put_right, watched_calls
from sightline.audit.locating.facts import Facts
from sightline.audit.locating.operations import Unsteady, find_operation
from sightline.audit.locating.quiet import ROUNDING, Judge
from sightline.audit.locating.recording import changes
from sightline.audit.probing.feed import Feed

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
    >>> from sightline.audit.probing.feed import Input
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

    Two passes find the module; two more, which end when the module has been run, the operation
    (or, where only a position's own input leaks, the module).

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
    feeds = base, changed
    elsewhere = _where_inputs_stay(base, changed, quiet)
    same = all(np.array_equal(elsewhere[length], bools) for length, bools in quiet.items())
    found = None
    # The same where a position's own input was changed, which early states must hold.
    for states in (elsewhere,) if same else (elsewhere, dict(quiet)):
        if found is None and any(bools.any() for bools in states.values()):
            found = _looked(model, call, feeds, Judge(states), operations)
    return found


def _looked(
    model: torch.nn.Module,
    call: Callable[[Feed], Any],
    feeds: tuple[Feed, Feed],
    judge: Judge,
    operations: bool,
) -> Located | None:
    before, after = (_calls(model, call, feed, judge) for feed in feeds)
    pair, level = _guilty(before, after)
    if pair is None:
        return _own_input(before, after)
    guilty = pair[0]
    place = Place(guilty.module, guilty.kind)
    if not operations:
        return Located(place)
    try:
        found = find_operation(model, call, feeds, judge, pair, level)
    except Unsteady:
        return None
    if found is None:
        return Located(place)
    training = model.get_submodule(guilty.module).training
    facts = Facts.of(found, guilty.kind, training)
    return Located(Place(guilty.module, guilty.kind, *found.where), facts)


def _where_inputs_stay(base: Feed, changed: Feed, quiet: Mapping[int, Bools]) -> dict[int, Bools]:
    """Leave out positions whose own input was changed: their first states must change.

    Sequences that no output has, such as an encoder's, are quiet elsewhere in the rows in which
    an output must not see the change.
    """
    rows = np.any([bools.reshape(len(bools), -1).any(axis=1) for bools in quiet.values()], axis=0)
    still = {length: np.array(bools) for length, bools in quiet.items()}
    for name, each in base.varying.items():
        before, after = each.values, changed.inputs[name].values
        moved = (before != after).reshape(*before.shape[:2], -1).any(axis=-1)
        free = still.get(before.shape[1], np.broadcast_to(rows[:, None], moved.shape))
        still[before.shape[1]] = free & ~moved
    return still


def _calls(
    model: torch.nn.Module, call: Callable[[Feed], Any], feed: Feed, judge: Judge
) -> list[Call]:
    with watched_calls(model, judge) as calls:
        call(feed)
    return calls


def _own_input(before: list[Call], after: list[Call]) -> Located | None:
    """Return where a position's own input, which must not matter, joins what does not hold it.

    That is the smallest module that returns what is wrong, and of which a part had put it right;
    where no part does, the model itself.
    """
    pairs = _paired(before, after)
    wrong = {id(a) for b, a in pairs if changes(b.outputs, a.outputs, ROUNDING, False)}
    if not after or id(after[0]) not in wrong:
        return None
    right = [
        a
        for b, a in pairs
        if id(a) not in wrong and _judged(a) and changes(b.inputs, a.inputs, ROUNDING, False)
    ]
    joins = max(right, key=lambda each: each.finished).parent if right else after[0]
    while joins is not None and id(joins) not in wrong:
        joins = joins.parent
    return None if joins is None else Located(Place(joins.module, joins.kind))


def _paired(before: list[Call], after: list[Call]) -> list[tuple[Call, Call]]:
    known = {(call.module, call.number): call for call in before}
    return [(known[key], c) for c in after if (key := (c.module, c.number)) in known]


def _guilty(before: list[Call], after: list[Call]) -> tuple[tuple[Call, Call] | None, float]:
    """Return the first call, in both passes, that is given what is right and returns what is wrong.

    Changes of the size of rounding only count where no others are found.
    """
    pairs = _paired(before, after)
    for level in (ROUNDING, 0.0):
        wrong = {id(a) for b, a in pairs if changes(b.outputs, a.outputs, level, False)}
        right = {id(a) for b, a in pairs if id(a) not in wrong and _judged(a)}
        guilty = [
            (b, a)
            for b, a in pairs
            if id(a) in wrong
            and not changes(b.inputs, a.inputs, level, True)
            and not put_right(a, right)
        ]
        if guilty:
            return min(guilty, key=lambda each: each[1].finished), level
    return None, 0.0


def _judged(call: Call) -> bool:
    """Return whether it is known of an output which of its states must not change."""
    return any(each.quiet is not None for each in call.outputs.values())
