"""Marked keys, the same for every query: padding on either side, prefixes, lists of keys."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sightline.masks.intervals import ENDLESS
from sightline.masks.padding import padding, padding_bits
from sightline.masks.positional import positions

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sightline.masks.mask import Mask
    from sightline.recognize.region import Region

    Bools = NDArray[np.bool_]
    Ints = NDArray[np.int64]

# Lists of more runs of keys than this say no more than the bits do.
MOST_RUNS = 64


def above(need: Region) -> list[Mask]:
    """The least sets of keys: one for all batch rows, and one for each."""
    found = _keys(np.logical_or.reduce(need.keys, axis=0))
    if len(need.keys) > 1 and need.keys.any():
        found.append(padding_bits(need.keys))
    return found


def below(avoid: Region) -> list[Mask]:
    """The greatest sets of keys in whose columns nothing is to be avoided."""
    found = _keys(~np.logical_or.reduce(avoid.keys, axis=0))
    if len(avoid.keys) > 1 and not avoid.keys.all():
        found.append(padding_bits(~avoid.keys))
    return found


def between(need: Region, avoid: Region) -> list[Mask]:
    """Prefixes, runs and lists for all batch rows; then lengths and bits for each."""
    some, others = need.keys, avoid.keys
    if (some & others).any():
        return []
    found = _shared(np.logical_or.reduce(some, axis=0), np.logical_or.reduce(others, axis=0))
    if len(some) > 1 and some.any() and not found:
        found = [*_lengths(some, others), padding_bits(filled(some, others)), padding_bits(some)]
    return found


def _keys(members: Bools) -> list[Mask]:
    return [positions("key", _runs(members))] if members.any() and not members.all() else []


def _runs(members: Bools) -> Ints:
    edges = np.diff(np.concatenate([[False], members, [False]]).astype(np.int8))
    return np.stack([np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)], axis=1)


def _shared(some: Bools, others: Bools) -> list[Mask]:
    """Return sets of keys that are the same for every batch row."""
    if (some & others).any() or not some.any() or not others.any():
        return []
    needed, avoided = np.flatnonzero(some), np.flatnonzero(others)
    if needed[-1] < avoided[0]:
        return [_run(0, int(needed[-1]) + 1)]
    if avoided[-1] < needed[0]:
        return [_run(int(avoided[-1]) + 1, ENDLESS)]
    wide = filled(some[None], others[None])[0]
    found = [_runs(wide), _runs(some)]
    return [positions("key", runs) for runs in found if len(runs) <= MOST_RUNS]


def _run(start: int, stop: int) -> Mask:
    return positions("key", np.array([[start, stop]], dtype=np.int64))


def filled(some: Bools, others: Bools) -> Bools:
    """Return the needed positions and all free ones between two of them that nothing parts."""
    position = np.arange(some.shape[1])
    last = np.maximum.accumulate(np.where(some, position, -1), axis=1)
    wall = np.maximum.accumulate(np.where(others, position, -1), axis=1)
    upcoming = np.minimum.accumulate(np.where(some, position, ENDLESS)[:, ::-1], axis=1)[:, ::-1]
    next_wall = np.minimum.accumulate(np.where(others, position, ENDLESS)[:, ::-1], axis=1)
    joined = (last > wall) & (upcoming < next_wall[:, ::-1])
    return some | joined


def _lengths(some: Bools, others: Bools) -> list[Mask]:
    """Return the paddings with one length for each batch row, on either side."""
    size = some.shape[1]
    any_needed = some.any(axis=1)
    first = np.where(any_needed, some.argmax(axis=1), size)
    last = np.where(any_needed, size - some[:, ::-1].argmax(axis=1), 0)
    found: list[Mask] = []
    if not _met(others, np.zeros_like(last), last):
        found.append(padding(lengths=last))
    for total in {size, int(last.max())}:
        start = np.minimum(first, total)
        stop = np.full_like(start, total)
        if _met(others, start, stop):
            continue
        found.append(padding(lengths=total - start, side="left", total=total))
        # A row of full length makes total= needless.
        whole = np.flatnonzero(~others[:, :total].any(axis=1))
        if start.min() > 0 and len(whole):
            start = np.where(np.arange(len(start)) == whole[0], 0, start)
            found.append(padding(lengths=total - start, side="left", total=total))
    return found


def _met(others: Bools, start: Ints, stop: Ints) -> bool:
    """Return whether a key to avoid lies in one of the runs."""
    position = np.arange(others.shape[1])
    return bool((others & (position >= start[:, None]) & (position < stop[:, None])).any())
