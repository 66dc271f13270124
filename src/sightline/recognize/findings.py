"""What may be a mistake in an array that was read, and what the array alone leaves open."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sightline.masks.nodes import Everything, Nothing
from sightline.masks.text import short
from sightline.recognize.conventions import sees_itself

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sightline.masks.mask import Mask, Spec
    from sightline.recognize.conventions import Reading


def warnings(mask: Mask, reading: Reading, numbers: NDArray[Any], q_offset: int) -> tuple[str, ...]:
    """Return what looks like a mistake, in short sentences."""
    found = [
        _empty_rows(reading, numbers),
        _inverted(reading, q_offset),
        _masked_queries(mask, reading.allowed, q_offset),
    ]
    if reading.allowed.all():
        found.append("every query sees every key: the array forbids nothing")
    return tuple(sentence for sentence in found if sentence is not None)


def _empty_rows(reading: Reading, numbers: NDArray[Any]) -> str | None:
    empty = np.argwhere(~reading.allowed.any(axis=-1))
    if not len(empty):
        return None
    batch, head, query = empty[0].tolist()
    total = reading.allowed.size // reading.allowed.shape[-1]
    told = (
        f"{len(empty)} of {total} rows see nothing (first: batch {batch}, head {head}, "
        f"query {query})"
    )
    if reading.convention == "additive" and np.isfinite(numbers).all():
        return f"{told}: with finite numbers such a row attends all the same"
    return f"{told}: some engines give nan there"


def _inverted(reading: Reading, q_offset: int) -> str | None:
    allowed = reading.allowed
    if not reading.stated or reading.convention == "additive":
        return None
    if sees_itself(allowed, q_offset) or not sees_itself(~allowed, q_offset):
        return None
    query = np.arange(q_offset, q_offset + allowed.shape[2])
    place = np.flatnonzero(query < allowed.shape[3])
    if allowed[:, :, place, query[place]].any():
        return None
    other = "ignore" if reading.convention == "attend" else "attend"
    return (
        f'looks inverted: in means="{reading.convention}" no query sees itself, in '
        f'means="{other}" every one would'
    )


def _masked_queries(mask: Mask, allowed: NDArray[np.bool_], q_offset: int) -> str | None:
    """Tell of rows that are off while their own keys are not, where the expression says so."""
    if not any(_forbids_rows(part) for part in _conjuncts(mask.spec())):
        return None
    at = np.arange(min(allowed.shape[2], max(allowed.shape[3] - q_offset, 0)))
    off = ~np.logical_or.reduce(allowed, axis=3)[:, :, at]
    if not (off & np.logical_or.reduce(allowed, axis=2)[:, :, at + q_offset]).any():
        return None  # nobody sees the keys either
    return (
        "whole rows are off: a mask of padding on the query axis leaves padded keys visible and "
        "padded queries without any; padding masks keys"
    )


def _conjuncts(spec: Spec) -> list[Spec]:
    kind, *rest = spec
    if kind == "and":
        return rest
    if kind in ("per_batch", "per_head"):
        return [part for each in rest[0]["masks"] for part in _conjuncts(each)]
    return [spec]


def _forbids_rows(spec: Spec) -> bool:
    if spec[0] == "transpose":
        return spec[1][0] == "padding"
    return spec[0] == "queries" or (spec[0] == "not" and _forbids_rows(spec[1]))


def open_questions(mask: Mask, reading: Reading, axes: int) -> list[str]:
    """Return what the array alone does not decide, in short sentences."""
    found: list[str] = []
    if not reading.stated and reading.convention != "additive":
        true = "ignore" if reading.convention == "attend" else "attend"
        found.append(f"bools: under the other reading (True = {true}) it would be {short(~mask)}")
    if reading.allowed.shape[2] == 1 and mask not in (Everything(), Nothing()):
        found.append(
            "one query: keys of certain positions cannot be told from keys at certain distances"
        )
    if axes == 3 and reading.allowed.shape[0] > 1:
        found.append(
            "three axes: the first was read as batch rows; if it is heads, pass array[None]"
        )
    return found
