"""Two fingerprints compared: what changed, in words, with the first pair that shows it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from sightline.audit.fingerprint import Bools, Difference, Fingerprint, Part
from sightline.errors import ShapeMismatch

__all__ = ["difference"]

# Parts by their name and a condition.
Parts = dict[tuple[str, str], Part]


def difference(old: Fingerprint, new: Fingerprint) -> Difference:
    """Return what is different in the newer one.

    Raises:
        ShapeMismatch: they were measured on inputs of different shapes.
    """
    if old.sizes != new.sizes:
        raise ShapeMismatch(
            f"the fingerprint was measured on {_sizes(old)}, this is {_sizes(new)}; "
            "measure both on inputs of the same names and shapes, or anew."
        )
    before, after = _by_condition(old), _by_condition(new)
    return Difference(
        tuple(_changes(before, after)), (*_gone_ways(before, after), *_versions(old, new))
    )


def _sizes(which: Fingerprint) -> str:
    return ", ".join(f"{name} {list(shape)}" for name, shape in which.sizes.items())


def _changes(before: Parts, after: Parts) -> Iterator[str]:
    told: set[tuple[str, str]] = set()
    for (name, condition), part in before.items():
        now = after.get((name, condition))
        if now is not None and not np.array_equal(part.depends, now.depends):
            words = f"was {part}, now {now} ({_pairs(part.depends, now.depends)})"
            # What changed alike under several conditions is told once.
            if (name, words) not in told:
                told.add((name, words))
                where = f" ({condition})" if _depends_on_condition(name, before, after) else ""
                yield f"{name}{where}: {words}"
    old, new = ({name: part for (name, _), part in all_.items()} for all_ in (before, after))
    yield from (f"{name}: gone, was {part}" for name, part in old.items() if name not in new)
    yield from (f"{name}: new, {part}" for name, part in new.items() if name not in old)


def _depends_on_condition(name: str, *both: Parts) -> bool:
    return any(len({id(part) for (n, _), part in each.items() if n == name}) > 1 for each in both)


def _gone_ways(before: Parts, after: Parts) -> Iterator[str]:
    """Yield ways of running the model that it no longer has, which changes no dependency."""
    names = {name for name, _ in after}
    gone = [condition for (name, condition) in before if name in names]
    known = {condition for _, condition in after}
    for condition in dict.fromkeys(gone):
        if condition not in known:
            yield f"it can no longer be run under {condition}"


def _by_condition(which: Fingerprint) -> Parts:
    return {(part.name, each): part for part in which.parts for each in part.conditions}


def _pairs(old: Bools, new: Bools) -> str:
    """Return the first pair that changed, and how many more did."""
    if old.shape != new.shape:
        return f"{' x '.join(map(str, old.shape))} then, {' x '.join(map(str, new.shape))} now"
    changed = np.argwhere(old != new)
    query, key = (int(each) for each in changed[0])
    how = "now depends" if new[query, key] else "no longer depends"
    more = len(changed) - 1
    rest = f", and {more} pair{'s' * (more > 1)} more" if more else ""
    return f"query {query} {how} on key {key}{rest}"


def _versions(old: Fingerprint, new: Fingerprint) -> Iterator[str]:
    for name in sorted({*old.versions, *new.versions}):
        before, after = old.versions.get(name, "none"), new.versions.get(name, "none")
        if before != after:
            yield f"{name} was {before}, is {after}"
