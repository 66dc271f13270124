"""Sequences laid end to end, as flash-attention's variable-length calls take them.

Each sequence attends to itself; windows are aligned to the end of query and key sequence.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline.errors import InvalidArgument, ShapeMismatch
from sightline.masks.arguments import as_int, describe
from sightline.recognize.sources.reading import (
    Bools,
    Read,
    integers,
    refuse_many_pairs,
    size,
    warn_of_empty_rows,
)

Ints = NDArray[np.int64]
ALIGNED = (
    "each sequence's last query stands at its last key (bottom right), as in flash-attention "
    "since 2.1"
)
OUTCOME = "flash-attention gives 0 there"


@dataclass(frozen=True)
class Places:
    """Where packed tokens stand among ``batch * q_len`` queries and ``batch * kv_len`` keys."""

    query_index: Any
    key_index: Any
    batch: Any
    q_len: Any
    kv_len: Any


_PLACES = tuple(each.name for each in fields(Places))


def call_and_places(given: Any) -> tuple[Any, Places | None]:
    """Return the keywords of a call, and where its tokens stand, if ``given`` says that too.

    It does if it is what ``lower`` gives, as an object or as a dict of all that stands in it.
    """
    if hasattr(given, "query_index"):
        return given.keywords, Places(**{name: getattr(given, name) for name in _PLACES})
    if isinstance(given, dict) and "query_index" in given:
        missing = [name for name in _PLACES if name not in given]
        if missing:
            raise InvalidArgument(
                f"got query_index without {', '.join(missing)}; wanted all of {', '.join(_PLACES)}."
            )
        rest = {name: value for name, value in given.items() if name not in (*_PLACES, "leading")}
        return rest, Places(**{name: given[name] for name in _PLACES})
    return given, None


def laid_out(found: Read, places: Places | None) -> Read:
    """Return the mask over batch rows, if it is known where each packed token stands in them.

    Raises:
        InvalidArgument: a sequence of tokens of two batch rows.
        ShapeMismatch: places that do not fit the offsets or the lengths.
    """
    if places is None:
        return found
    batch, q_len, kv_len = (
        size(getattr(places, name), name) for name in ("batch", "q_len", "kv_len")
    )
    refuse_many_pairs(batch, q_len, kv_len)
    queries = _places(places.query_index, "query_index", found.allowed.shape[2], batch * q_len)
    keys = _places(places.key_index, "key_index", found.allowed.shape[3], batch * kv_len)
    query, key = np.nonzero(found.allowed[0, 0])
    (row, at), (other, to) = np.divmod(queries[query], q_len), np.divmod(keys[key], kv_len)
    if (row != other).any():
        raise InvalidArgument("got a sequence of tokens of several batch rows; wanted one row.")
    allowed = np.zeros((batch, 1, q_len, kv_len), dtype=np.bool_)
    allowed[row, 0, at, to] = True
    words = f"packed tokens are laid out again in {batch} batch rows"
    warnings = warn_of_empty_rows(allowed, "they are not among the packed queries, and give 0")
    return Read(allowed, (*found.evidence, words), warnings=warnings)


def _places(index: Any, name: str, count: int, room: int) -> Ints:
    found = integers(index, name, (1,))
    if len(found) != count or found.min() < 0 or found.max() >= room:
        raise ShapeMismatch(
            f"got {name} of {len(found)} places for {count} packed tokens and room for {room}; "
            f"wanted {count} numbers of 0 to {room - 1}."
        )
    return found


def offsets(value: Any, name: str) -> Ints:
    """Return where each sequence begins and the last one ends.

    Raises:
        InvalidArgument: not increasing from 0.
    """
    found = integers(value, name, (1,))
    if found[0] != 0 or (np.diff(found) < 0).any():
        raise InvalidArgument(
            f"got {name}={found.tolist()[:12]}; wanted offsets that begin with 0 and never fall, "
            "one more than there are sequences; from lengths: 0 and their running sums."
        )
    return found


def window(value: Any) -> tuple[int | None, int | None]:
    """Return how far a query sees to the left and right; a negative number is without bound."""
    if value is None:
        return None, None
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        raise InvalidArgument(f"got window_size={describe(value)}; wanted (left, right).")
    left, right = (as_int(side, "window_size", error=InvalidArgument) for side in value)
    return (None if left < 0 else left), (None if right < 0 else right)


def read_packed(
    q_offsets: Ints, kv_offsets: Ints, sides: tuple[int | None, int | None], used: Ints | None
) -> Read:
    """Return the pairs inside each sequence, between the sides of the window.

    Args:
        q_offsets: ``[sequences + 1]``.
        kv_offsets: the same for keys.
        sides: inclusive distances; None is without bound.
        used: how many keys of each sequence are there, or None for all.
    """
    if len(q_offsets) != len(kv_offsets):
        raise ShapeMismatch(
            f"got offsets of {len(q_offsets) - 1} query sequences and {len(kv_offsets) - 1} key "
            "sequences; wanted one key sequence for each query sequence."
        )
    q_lens, kv_lens = np.diff(q_offsets), np.diff(kv_offsets) if used is None else used
    sizes = int(q_offsets[-1]), int(kv_offsets[-1])
    if not all(sizes):
        raise ShapeMismatch(f"got {sizes[0]} queries and {sizes[1]} keys; wanted some of both.")
    refuse_many_pairs(*sizes)
    allowed = np.zeros((1, 1, *sizes), dtype=np.bool_)
    for q_start, kv_start, q_len, kv_len in zip(
        q_offsets[:-1], kv_offsets[:-1], q_lens, kv_lens, strict=True
    ):
        block = allowed[0, 0, q_start : q_start + q_len, kv_start : kv_start + kv_len]
        block[...] = _between(int(q_len), int(kv_len), sides)
    evidence = [
        f"{len(q_lens)} sequences laid end to end, {sizes[0]} queries and {sizes[1]} keys; none "
        "sees another"
    ]
    if sides != (None, None):
        evidence += [_of_window(sides), ALIGNED]
    q_offset = 0 if np.array_equal(q_offsets, kv_offsets) else None
    if len(q_lens) == 1 and kv_lens[0] >= q_lens[0]:
        q_offset = int(kv_lens[0] - q_lens[0])
    warnings = warn_of_empty_rows(allowed, OUTCOME)
    return Read(allowed, tuple(evidence), q_offset, warnings)


def _between(q_len: int, kv_len: int, sides: tuple[int | None, int | None]) -> Bools:
    """Return ``-left <= key - query <= right``, where the last query stands at the last key."""
    gap = np.arange(kv_len) - (np.arange(q_len)[:, None] + kv_len - q_len)
    allowed = np.ones(gap.shape, dtype=np.bool_)
    left, right = sides
    if left is not None:
        allowed &= gap >= -left
    if right is not None:
        allowed &= gap <= right
    return allowed


def _of_window(sides: tuple[int | None, int | None]) -> str:
    left, right = ("all" if side is None else f"up to {side}" for side in sides)
    total = "" if None in sides else f": {sum(side or 0 for side in sides) + 1} keys in all"
    return f"a query sees its own key, {left} before it and {right} after it{total}"
