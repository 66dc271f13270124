"""The front door of recognition: a bare array or a drawing in, an exact expression out.

What the values mean is judged in conventions.py, the expression is found in search.py; here the
parts meet, and the result is compared with the array, cell by cell.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, overload

import numpy as np

from sightline.errors import InvalidArgument, ShapeMismatch, SightlineError
from sightline.masks.arguments import as_int
from sightline.masks.text import short
from sightline.recognize.canvas import Canvas
from sightline.recognize.conventions import Reading, as_numbers, readings, with_four_axes
from sightline.recognize.cost import Cost
from sightline.recognize.drawn import recognize_drawing
from sightline.recognize.findings import open_questions, warnings
from sightline.recognize.region import Region
from sightline.recognize.result import Recognized
from sightline.recognize.search import Budget, Search
from sightline.recognize.sources.front import recognize_library
from sightline.recognize.sources.table import source_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sightline.masks.mask import Mask

# Cells that one search may look at. On an ordinary machine half a second.
MOST_CELLS = 20_000_000


@overload
def recognize(
    array: object, means: str | None = None, *, source: None = None, q_offset: int | None = None
) -> Recognized: ...


@overload
def recognize(
    array: object, *, source: str, q_offset: int | None = None, **options: Any
) -> Recognized | tuple[Recognized, ...]: ...


def recognize(
    array: object,
    means: str | None = None,
    *,
    source: str | None = None,
    q_offset: int | None = None,
    **options: Any,
) -> Recognized | tuple[Recognized, ...]:
    """Read a mask back from an array, exactly: the shortest expression that has these cells.

    Args:
        array: bools or numbers ``[queries, keys]``, ``[batch, queries, keys]`` or ``[batch, heads,
            queries, keys]``; anything numpy reads, torch tensors included. With ``source`` what
            that library takes: mostly a dict of the call's keywords. A text is a drawing, as
            ``sl.draw(mask, to="txt")`` makes it, or rows of x and . (or 0 and 1) written by hand.
        means: ``"attend"`` (True or 1 may), ``"ignore"`` (True or 1 may not), ``"additive"`` (0
            may, -inf or -1e4 and below may not), or None to be judged from the values: bools by
            what masks have in common, floats by their values; 0 and 1 as numbers are refused.
        source: the form of a library instead of ``means``: a name that ``lower`` has, such as
            ``"torch.mha"``; a BlockMask of FlexAttention is known by its type.
        q_offset: the absolute position of the first query; None is 0, or with more keys than
            queries whichever of 0 and ``keys - queries`` gives the shorter expression.
        options: what the source takes besides, such as ``num_heads`` or ``q_len``.

    Returns:
        The expression, the convention found, why, what stays open, and what looks like a mistake.
        Where no expression of known masks fits, ``intervals(...)``: still the same cells. Three of
        them (source, target, memory) for ``source="torch.transformer"``.

    Raises:
        InvalidArgument: not an array of bools or numbers, values that are no mask (nan, a bias), or
            values that do not say what they mean; an option without its source.
        ParseError: a drawing that cannot be read exactly; says in which line and why.
        UnknownBackend: no source of that name.
        ShapeMismatch: not two to four axes, or no cell at all.

    >>> import numpy as np
    >>> import sightline as sl
    >>> banned = np.triu(np.ones((4, 4), dtype=bool), k=1)
    >>> print(sl.recognize(banned))
    causal()
    means "ignore"
    because: bools: every real query sees itself, which in means="attend" not every one does
    open: bools: under the other reading (True = attend) it would be ~causal()
    """
    source = source_of(array) if source is None else source
    if source is not None:
        _refuse_means(means, source)
        return recognize_library(array, source, recognize, q_offset=q_offset, options=options)
    if options:
        raise InvalidArgument(
            f"got option {', '.join(sorted(options))} without a source; options belong to the form "
            'of a library: pass source=, such as source="torch.mha".'
        )
    if isinstance(array, str):
        return recognize_drawing(array, means, recognize, q_offset=q_offset)
    numbers = as_numbers(array)
    axes = numbers.ndim
    numbers = with_four_axes(numbers)
    offsets = _offsets(numbers, q_offset)
    found = [
        (reading, offset, find(reading.allowed, offset))
        for reading in readings(numbers, means, offsets)
        for offset in offsets
    ]
    reading, offset, mask = min(found, key=lambda each: Cost.of(each[2]))
    _check(mask, reading, offset)
    others = [(at, other) for which, at, other in found if which is reading and at != offset]
    return Recognized(
        mask,
        offset,
        reading.convention,
        evidence=(*reading.evidence, *_evidence(mask, offset, others)),
        ambiguous=tuple(open_questions(mask, reading, axes)),
        warnings=warnings(mask, reading, numbers, offset),
    )


def _refuse_means(means: str | None, source: str) -> None:
    if means is not None:
        raise InvalidArgument(
            f"got means={means!r} and source={source!r}; wanted one of them: a library's form says "
            "what its values mean."
        )


def _offsets(numbers: NDArray[Any], q_offset: int | None) -> list[int]:
    q_len, kv_len = numbers.shape[2:]
    if q_offset is not None:
        return [as_int(q_offset, "q_offset", least=0, error=ShapeMismatch)]
    return [0, kv_len - q_len] if kv_len > q_len else [0]


def find(allowed: NDArray[np.bool_], q_offset: int, most_cells: int = MOST_CELLS) -> Mask:
    """Return the shortest mask that was found for bools ``[batch, heads, queries, keys]``.

    Batch rows, or heads, that are all equal count as one. Deterministic: the search is bounded by
    the number of cells that it looks at, not by time.
    """
    for axis in (0, 1):
        first = allowed.take([0], axis=axis)
        if np.array_equal(np.broadcast_to(first, allowed.shape), allowed):
            allowed = first
    batch, heads, q_len, kv_len = allowed.shape
    canvas = Canvas(batch, heads, q_len, kv_len, q_offset)
    need, avoid = (Region(canvas, canvas.pack(cells)) for cells in (allowed, ~allowed))
    return Search(canvas, Budget(most_cells)).complete(need, avoid).mask


def _check(mask: Mask, reading: Reading, q_offset: int) -> None:
    """Compare the result with the array.

    Raises:
        SightlineError: they differ, which is a fault of this library.
    """
    batch, heads, q_len, kv_len = reading.allowed.shape
    same = mask.batch in (1, batch) and mask.heads in (1, heads)
    if not same or not (mask.dense(q_len, kv_len, q_offset) == reading.allowed).all():
        raise SightlineError(
            f"the expression {short(mask)} that was found does not have the array's cells; this is "
            "a fault of sightline: please report it with the array, and use sl.dense(array, "
            "means=...) meanwhile."
        )


def _evidence(mask: Mask, offset: int, others: list[tuple[int, Mask]]) -> list[str]:
    found: list[str] = []
    if Cost.of(mask).listed:
        found.append("no expression of known masks was found: the keys of each query are listed")
    for at, other in others:
        if other != mask and not Cost.of(mask).listed:
            found.append(
                f"the first query at position {offset}: at {at} it would be {short(other)}"
            )
    return found
