"""Names of stretches of queries and keys that a mask's expression speaks of.

Documents, prefixes, padding, chunks and windows, read off the expression itself; svg/margins.py
draws them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import groupby, islice
from typing import Any, Literal

from sightline.masks.frame import Frame
from sightline.masks.mask import Mask, Spec
from sightline.views.extras import Mark
from sightline.views.svg.words import ENGLISH, Words

__all__ = ["marks_of", "marks_text"]

# More than these of one axis are not told one by one.
_MOST = 64
# And no more than these are looked through.
_MOST_LOOKED_AT = 20_000

Arguments = dict[str, Any]
Axis = Literal["query", "key"]
BOTH: tuple[Axis, Axis] = ("query", "key")


def marks_of(
    mask: Mask, frame: Frame, batch: int = 0, head: int = 0, words: Words = ENGLISH
) -> tuple[Mark, ...]:
    """Return the stretches to name, in absolute positions cut to the frame, without repetition.

    >>> import sightline as sl
    >>> for mark in marks_of(sl.causal() & sl.padding(lengths=[3, 2]), Frame.of(4, 4), batch=1):
    ...     print(mark.axis, mark.start, mark.stop, mark.label)
    key 2 4 padding
    """
    found: dict[Mark, None] = {}
    for mark in islice(_walk(mask.spec(), frame, batch, head), _MOST_LOOKED_AT):
        low, length = (frame.q_offset, frame.q_len) if mark.axis == "query" else (0, frame.kv_len)
        cut = replace(mark, start=max(mark.start, low), stop=min(mark.stop, low + length))
        if cut.start < cut.stop:
            found[replace(cut, label=_said(cut.label, words))] = None
    kept: list[Mark] = []
    for axis in BOTH:
        mine = [mark for mark in found if mark.axis == axis]
        kept += sorted(mine, key=lambda mark: (mark.start, mark.stop))[: _MOST + 1]
    return tuple(kept)


def _said(label: str, words: Words) -> str:
    """Return a name, numbered or not, in the reader's language."""
    name, _, number = label.rpartition(" ")
    return f"{words[name]} {number}" if number.isdigit() else words[label]


def marks_text(marks: Sequence[Mark], labels: str = "") -> list[str]:
    """Return the marks as lines of text: what is named, and where.

    >>> marks_text([Mark("key", 0, 3, "document 0"), Mark("key", 3, 4, "padding")])
    ['keys: document 0 at 0-2, padding at 3']
    """
    lines = []
    for axis, word in (("query", "queries"), ("key", "keys")):
        mine = [mark for mark in marks if mark.axis == axis]
        if not mine:
            continue
        told = ", ".join(f"{mark.label} at {_range(mark)}" for mark in mine[:_MOST])
        more = ", ..." if len(mine) > _MOST else ""
        lines.append(f"{labels}{word}: {told}{more}")
    return lines


def _range(mark: Mark) -> str:
    last = mark.stop - 1
    return str(mark.start) if mark.start == last else f"{mark.start}-{last}"


def _walk(spec: Spec, frame: Frame, batch: int, head: int) -> Iterator[Mark]:
    kind, *rest = spec
    if kind in ("and", "or", "not"):
        for part in rest:
            yield from _walk(part, frame, batch, head)
    elif kind == "transpose":
        turned = Frame(frame.kv_len, frame.q_offset + frame.q_len, 0, 0)
        for mark in _walk(rest[0], turned, batch, head):
            yield replace(mark, axis="key" if mark.axis == "query" else "query")
    elif kind == "shift":
        by = {"query": rest[1].get("query", 0), "key": rest[1].get("key", 0)}
        before = Frame(
            frame.q_len,
            max(0, frame.kv_len - by["key"]),
            max(0, frame.q_offset - by["query"]),
            0,
        )
        for mark in _walk(rest[0], before, batch, head):
            move = by[mark.axis]
            yield replace(mark, start=mark.start + move, stop=mark.stop + move)
    elif kind in ("per_batch", "per_head"):
        parts = rest[0]["masks"]
        yield from _walk(parts[batch if kind == "per_batch" else head], frame, batch, head)
    elif kind in MARKS:
        yield from MARKS[kind](rest[0], frame, batch)


def _row(values: Any, batch: int) -> Any:
    """Return one batch row of data that may be the same for all of them."""
    if not isinstance(values, list):
        return values
    return values[batch if len(values) > 1 else 0]


def _in_a_row(lengths: Sequence[int], name: str, first: int = 0) -> Iterator[Mark]:
    start = first
    for number, length in enumerate(lengths):
        for axis in BOTH:
            yield Mark(axis, start, start + length, f"{name} {number}")
        start += length


def _runs(values: Sequence[Any]) -> Iterator[tuple[int, int, Any]]:
    """Yield (start, stop, value) of each run of equal values."""
    start = 0
    for value, run in groupby(values):
        stop = start + len(list(run))
        yield start, stop, value
        start = stop


def _documents(given: Arguments, frame: Frame, batch: int) -> Iterator[Mark]:
    lengths = given["lengths"]
    rows = lengths if lengths and isinstance(lengths[0], list) else [lengths]
    return _in_a_row(_row(rows, batch), "document")


def _spans(given: Arguments, frame: Frame, batch: int) -> Iterator[Mark]:
    ids = given["ids"]
    own = _row(ids if ids and isinstance(ids[0], list) else [ids], batch)
    for start, stop, name in _runs(own):
        if name >= 0:
            for axis in BOTH:
                yield Mark(axis, start, stop, f"span {name}")


def _padding(given: Arguments, frame: Frame, batch: int) -> Iterator[Mark]:
    if "valid" in given:
        valid = [bool(each) for each in _row(given["valid"], batch)]
        for start, stop, is_real in _runs(valid):
            if not is_real:
                yield Mark("key", start, stop, "padding")
        yield Mark("key", len(valid), frame.kv_len, "padding")
        return
    length = _row(given["lengths"], batch)
    if given.get("side") == "left":
        total = given.get("total", max(given["lengths"]))
        yield Mark("key", 0, total - length, "padding")
        yield Mark("key", total, frame.kv_len, "padding")
    else:
        yield Mark("key", length, frame.kv_len, "padding")


def _prefix(given: Arguments, frame: Frame, batch: int) -> Iterator[Mark]:
    yield Mark("key", 0, given["n"], "prefix")


def _prefix_lm(given: Arguments, frame: Frame, batch: int) -> Iterator[Mark]:
    length = _row(given["lengths"], batch)
    for axis in BOTH:
        yield Mark(axis, 0, length, "prefix")


def _chunks(given: Arguments, frame: Frame, batch: int) -> Iterator[Mark]:
    size = given["size"]
    sides = (frame.q_offset, frame.q_len), (0, frame.kv_len)
    for axis, (first, length) in zip(BOTH, sides, strict=True):
        if length > size * _MOST:
            continue
        for number in range(first // size, -(-(first + length) // size)):
            yield Mark(axis, number * size, (number + 1) * size, f"chunk {number}")


def _block_diffusion(given: Arguments, frame: Frame, batch: int) -> Iterator[Mark]:
    length = given["length"]
    for axis in BOTH:
        yield Mark(axis, 0, length, "noisy")
        yield Mark(axis, length, 2 * length, "clean")


def _window(given: Arguments, frame: Frame, batch: int) -> Iterator[Mark]:
    """Return the window of the last query, which stands just above the margin."""
    left, right = given.get("left"), given.get("right")
    query = frame.q_offset + frame.q_len - 1
    if left is None or query < 0:
        return
    stop = frame.kv_len if right is None else query + right + 1
    yield Mark("key", max(0, query - left), stop, f"window of query {query}", border=False)


MARKS: dict[str, Callable[[Arguments, Frame, int], Iterator[Mark]]] = {
    "documents": _documents,
    "spans": _spans,
    "padding": _padding,
    "prefix": _prefix,
    "prefix_lm": _prefix_lm,
    "chunks": _chunks,
    "block_causal": _chunks,
    "block_diffusion": _block_diffusion,
    "window": _window,
}
