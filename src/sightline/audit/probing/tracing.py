"""From a leak to what a user needs: is it real, which pairs, what the model does, where it starts.

At most a third of an audit's passes go here; what they do not reach is left out, not guessed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sightline.audit.findings import Finding, Matrix, Pair, Place
from sightline.audit.probing.feed import Feed
from sightline.audit.probing.judging import moved
from sightline.audit.probing.measured import measure
from sightline.audit.probing.subject import Outputs
from sightline.audit.probing.visibility import Leak, Search
from sightline.audit.reporting.repro import repro
from sightline.masks.mask import Mask
from sightline.recognize.recognize import recognize

if TYPE_CHECKING:
    from sightline.audit.locating.localize import Located

Bools = NDArray[np.bool_]

MOST_PAIRS = 8
# A longer expression says less than the picture.
MOST_LETTERS = 120
# Longest sequence of which each pair is measured; longer ones are cut to the second, if the leak
# shows there too.
WHOLE, CUT = 64, 41
# Rows that carry single-key changes.
ROWS = 13


def trace(search: Search, leak: Leak, notes: list[str]) -> Finding | None:
    """Return the finding that a leak makes; None if it does not come back when asked again."""
    again = _alone(search, leak)
    if again is None:
        notes.append(
            f"under {search.runner.condition.name} the same inputs give different outputs each "
            "time; what differs there is not counted"
        )
        return None
    changed, outputs = again
    base = search.base[leak.output]
    queries = moved(base, outputs[leak.output])
    if not queries[leak.row][leak.quiet].any():
        alone = search.by == "gradients" and not queries.any()
        return _gradient_only(search, leak) if alone else _rows_meet(search, leak)
    names = _which_input(search, leak)
    clause = search.target.clause
    matrix = _matrix(search, leak)
    pairs = _pairs(leak, matrix) or _bisected(search, leak)
    assert isinstance(clause.promise, Mask)
    measured = _expression(clause.promise, matrix)
    found = _look(search, changed, _quiet(search, leak))
    finding = Finding(
        "leak",
        str(clause),
        _message(leak, names, pairs),
        input=", ".join(names),
        output=leak.output,
        conditions=(search.runner.condition.name,),
        pairs=pairs,
        size=leak.size,
        place=found.place if found else None,
        declared=clause.promise,
        measured=measured,
        matrix=matrix,
        cause=_cause(found, clause.promise, measured),
    )
    return replace(finding, repro=repro(search, finding))


def _alone(search: Search, leak: Leak) -> tuple[Feed, Outputs] | None:
    """Change one row only; None if the outputs of the same inputs differ by themselves."""
    runner = search.runner
    repeated = runner(search.feed)[leak.output]
    if (moved(search.base[leak.output], repeated)[leak.row] & leak.quiet).any():
        return None
    changed = _changed(search, leak)
    return changed, runner(changed)


def _changed(search: Search, leak: Leak) -> Feed:
    return search.target.changed(search.feed, leak.only(search.feed.batch), leak.seed)


def _gradient_only(search: Search, leak: Leak) -> Finding:
    """The values that were tried do not show it."""
    clause = search.target.clause
    keys = np.flatnonzero(leak.keys)
    return Finding(
        "leak",
        str(clause),
        f"the gradient of {leak.output} with respect to {' and '.join(search.target.names)} at "
        f"positions {keys[0]} to {keys[-1]} is not zero where it must be, though other values "
        "there changed nothing this time",
        input=", ".join(search.target.names),
        output=leak.output,
        conditions=(search.runner.condition.name,),
        size=leak.size,
        declared=clause.promise if isinstance(clause.promise, Mask) else None,
    )


def _rows_meet(search: Search, leak: Leak) -> Finding:
    clause = search.target.clause
    return Finding(
        "leak",
        str(clause),
        f"{leak.output} of row {leak.row} depends on what other rows of the batch hold",
        input=", ".join(search.target.names),
        output=leak.output,
        conditions=(search.runner.condition.name,),
        size=leak.size,
        declared=clause.promise if isinstance(clause.promise, Mask) else None,
        place=_place_of_rows(search, leak),
        cause=(
            "rows of the batch are mixed: a norm over the batch, a reshape that takes the batch "
            "axis for another, or attention along it"
        ),
    )


def _place_of_rows(search: Search, leak: Leak) -> Place | None:
    """Change all rows but one, of which nothing may move."""
    batch = search.feed.batch
    keys = np.ones((batch, search.target.length), dtype=bool)
    keys[leak.row] = False
    changed = search.target.changed(search.feed, keys, leak.seed)
    found = _look(search, changed, search.feed.still(leak.row))
    return found.place if found else None


def _which_input(search: Search, leak: Leak) -> tuple[str, ...]:
    """Return the inputs that reach the output, of those that were changed together."""
    names = search.target.names
    if len(names) == 1:
        return names
    found: list[str] = []
    base = search.base[leak.output]
    for name in names:
        if search.runner.counter.left < 4:
            return names
        one = replace(search, target=replace(search.target, names=(name,)))
        other = search.runner(_changed(one, leak))[leak.output]
        if (moved(base, other)[leak.row] & leak.quiet).any():
            found.append(name)
    return tuple(found) or names


def _quiet(search: Search, leak: Leak) -> dict[int, Bools]:
    """Return what must not move when that row only is changed; the others must not at all."""
    return search.quiet(leak.only(search.feed.batch))


def _look(search: Search, changed: Feed, quiet: dict[int, Bools]) -> Located | None:
    """Return where states that must not move begin to; None for plain functions."""
    model, runner = search.runner.subject.model, search.runner
    if model is None or runner.counter.left < 4:
        return None
    from sightline.audit.locating.localize import look

    return look(model, runner, search.feed, changed, quiet)


def _cause(found: Located | None, declared: Mask, measured: Mask | None) -> str:
    if found is None:
        return ""
    from sightline.audit.locating.causes import likely_cause

    return likely_cause(found.place, found.facts, declared, measured)


# -- the pairs ----------------------------------------------------------------------------------


def _matrix(search: Search, leak: Leak) -> Matrix | None:
    """Measure who depends on whom at a length at which all pairs can be; None if it cannot."""
    feed, length = search.feed, search.target.length
    per_row = max(1, -(-feed.batch // max(1, len(_alike(search, feed, leak.row)))))
    batch = (
        feed.batch * -(-ROWS * per_row // feed.batch) if feed.batch < ROWS * per_row else feed.batch
    )
    if isinstance(search.target.clause.promise, Mask) and search.target.clause.promise.batch > 1:
        batch = feed.batch
    longest = length if length <= WHOLE else CUT
    small = feed if (batch, longest) == (feed.batch, length) else feed.resized(batch, longest)
    if small is None:
        return None
    try:
        base = search.runner(small)
        near = replace(
            search,
            feed=small,
            base=base,
            target=replace(search.target, length=small.inputs[search.target.names[0]].length),
        )
        rows = _alike(search, small, leak.row)
        if -(-near.target.length // len(rows)) > search.runner.counter.left:
            return None
        depends = measure(
            search.runner, small, search.target.names, (leak.output,),
            base=base, features=search.target.features, rows=rows,
        )[leak.output]  # fmt: skip
        allowed = near.allowed[depends.shape[0]][leak.row]
    except Exception:  # the model does not run at this size: the pairs are found another way
        return None
    quiet = near.quiet(np.zeros((small.batch, near.target.length), dtype=bool))
    still: Bools = quiet[depends.shape[0]][leak.row]
    # What padding sees is nobody's business: no pair is reported for it.
    matrix = Matrix(allowed | ~still[:, None], depends)
    return matrix if bool(matrix.leaks.any()) else None


def _alike(search: Search, feed: Feed, row: int) -> list[int]:
    """Return the rows in which the same may be seen as in one of them."""
    rows = feed.alike(row)
    made = search.runner.condition.valid
    for valid in ({} if made is None else made(feed)).values():
        rows = [r for r in rows if np.array_equal(valid[r], valid[row])]
    return rows


def _pairs(leak: Leak, matrix: Matrix | None) -> tuple[Pair, ...]:
    if matrix is None:
        return ()
    cells: Iterable[tuple[int, int]] = zip(*np.nonzero(matrix.leaks), strict=True)
    return tuple(Pair(leak.row, int(q), int(k)) for q, k in list(cells)[:MOST_PAIRS])


def _bisected(search: Search, leak: Leak) -> tuple[Pair, ...]:
    """Return one pair, found by halving the keys (or more parts, one a row) again and again."""
    keys = np.flatnonzero(leak.keys)
    rows = list(range(search.feed.batch))
    alike = len(_alike(search, search.feed, leak.row)) == search.feed.batch
    feed = search.feed.repeated(leak.row) if alike else search.feed
    rows = rows if alike else [leak.row]
    base = search.runner(feed)[leak.output] if alike else search.base[leak.output]
    while len(keys) > 1 and search.runner.counter.left > 2:
        # One part more than there are rows: if none of the others leaks, the last one does.
        parts = np.array_split(keys, min(len(rows) + 1, len(keys)))
        where = np.zeros((feed.batch, search.target.length), dtype=bool)
        for row, part in zip(rows, parts, strict=False):
            where[row, part] = True
        other = search.runner(search.target.changed(feed, where, leak.seed))[leak.output]
        wrong: Bools = np.any(moved(base, other) & leak.quiet, axis=1)
        hit = [part for row, part in zip(rows, parts, strict=False) if wrong[row]]
        keys = hit[0] if hit else parts[-1]
    if len(keys) != 1:
        return ()
    return (Pair(leak.row, int(np.flatnonzero(leak.queries)[0]), int(keys[0])),)


def _expression(declared: Mask, matrix: Matrix | None) -> Mask | None:
    """Return the tightest mask found that is what the model does; None if it has no short name."""
    if matrix is None or not matrix.depends.size:
        return None
    mask = recognize(matrix.depends, means="attend", q_offset=0).mask
    if len(repr(mask)) <= MOST_LETTERS:
        return mask
    # What is allowed and not used may be what makes it long.
    more = declared | recognize(matrix.leaks, means="attend", q_offset=0).mask
    same = (more.dense(*matrix.depends.shape) == (matrix.depends | matrix.allowed)).all()
    return more if same and len(repr(more)) <= MOST_LETTERS else None


def _message(leak: Leak, names: tuple[str, ...], pairs: tuple[Pair, ...]) -> str:
    name = " and ".join(names)
    if pairs:
        first = pairs[0]
        return f"{leak.output} at position {first.query} depends on {name} at position {first.key}"
    query = int(np.flatnonzero(leak.queries)[0])
    keys = np.flatnonzero(leak.keys)
    return (
        f"{leak.output} at position {query} depends on {name} somewhere in positions "
        f"{keys[0]} to {keys[-1]}"
    )
