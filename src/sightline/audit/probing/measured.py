"""Who depends on whom, measured: one key is changed at a time, one in each row of the batch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sightline.audit.contracts import Clause
from sightline.audit.probing.feed import Feed
from sightline.audit.probing.judging import moved, sequences
from sightline.audit.probing.runner import Runner
from sightline.audit.probing.subject import Outputs
from sightline.audit.probing.visibility import Target
from sightline.masks.positional import everything

Bools = NDArray[np.bool_]

# Changes smaller than this part of the largest one are rounding (in float64).
ROUNDING = 1e-12


def measure(
    runner: Runner,
    feed: Feed,
    names: tuple[str, ...],
    outputs: tuple[str, ...] | None = None,
    *,
    base: Outputs | None = None,
    features: slice | None = None,
    rows: Sequence[int] | None = None,
    seed: int = 7,
) -> dict[str, Bools]:
    """Return which outputs depend on which positions of the inputs: bool ``[queries, keys]`` each.

    Rows of the batch must not depend on each other; a key is changed in one row only. Takes
    ``keys / batch`` passes, and one for the base if it is not given.

    Args:
        runner: the subject under a condition.
        feed: the inputs; what the rows hold may differ, what may be seen must not.
        names: the inputs that are changed together, all of one length.
        outputs: the names of outputs ``[batch, queries, ...]``; None is all of that form.
        base: the outputs for the feed, if they are known.
        features: which features of the last axis are changed; None is all.
        rows: the batch rows to use, which must be alike in what they may see; None is all.
        seed: of the values.
    """
    base = runner(feed) if base is None else base
    length = feed.inputs[names[0]].length
    judged = sequences(base, feed.batch, feed.lengths)
    wanted = judged if outputs is None else {name: base[name] for name in outputs}
    target = Target(Clause(everything()), names, length, features)
    found = {name: np.zeros((array.shape[1], length), dtype=bool) for name, array in wanted.items()}
    used = np.arange(feed.batch) if rows is None else np.asarray(rows)
    for first in range(0, length, len(used)):
        keys = np.arange(first, min(first + len(used), length))
        where = np.zeros((feed.batch, length), dtype=bool)
        where[used[: len(keys)], keys] = True
        other = runner(target.changed(feed, where, seed + first))
        for name, array in wanted.items():
            found[name][:, keys] = _moved_far(array, other[name])[used[: len(keys)]].T
    return found


def _moved_far(base: NDArray, other: NDArray) -> Bools:
    """Return bool ``[batch, queries]``: where a change is more than rounding of the largest one."""
    which = moved(base, other)
    if base.dtype.kind != "f":
        return which
    gap = np.abs(other.astype(np.float64) - base).reshape(*base.shape[:2], -1).max(axis=-1)
    gap = np.where(np.isfinite(gap), gap, np.inf)
    finite = gap[np.isfinite(gap)]
    least = ROUNDING * finite.max(initial=0.0) if base.dtype == np.float64 else 0.0
    return which & (gap > least)
