"""Masks given cell by cell or case by case: dense arrays, intervals, per-row masks.

The structured masks of the other files say more with less; these take what a user already has.
Functions are in opaque.py.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np

from sightline.errors import InvalidMask, ShapeMismatch
from sightline.masks.arguments import as_array, as_bools, as_integers, describe
from sightline.masks.arrays import Array, Cells, Data
from sightline.masks.mask import Extent, Mask, Spec
from sightline.masks.nodes import Atom, Nothing, common_size, widest

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Additive masks in the wild forbid with -inf, the dtype's minimum, -1e9 or -1e4 (BERT); anything
# weaker (Swin's -100) still lets a strong key through and is a bias, not a mask.
ADDITIVE_FORBIDS = -1e4


@dataclass(frozen=True, slots=True, repr=False)
class Dense(Atom):
    """As an array says, ``[B|1, H|1, Q, K]``; bound to that many queries and keys."""

    array: Data

    @property
    def batch(self) -> int:
        return self.array.array.shape[0]

    @property
    def heads(self) -> int:
        return self.array.array.shape[1]

    def allowed(self, cells: Cells) -> Array:
        table = self.array.array
        batch = cells.batch if self.batch > 1 else 0
        head = cells.head if self.heads > 1 else 0
        in_rows, in_columns = cells.query < table.shape[2], cells.key < table.shape[3]
        query, key = cells.query * in_rows, cells.key * in_columns
        return cells.place(table)[batch, head, query, key] & in_rows & in_columns

    def spec(self) -> Spec:
        table = self.array.array.astype(np.int64)
        table = table[0, 0] if table.shape[:2] == (1, 1) else table
        return "dense", {"array": table.tolist(), "means": "attend"}

    def extent(self) -> Extent:
        return self.array.array.shape[2], self.array.array.shape[3]

    def check_reach(self, q_stop: int, k_stop: int) -> None:
        queries, keys = self.array.array.shape[2:]
        if q_stop > 0 and k_stop > 0 and (q_stop > queries or k_stop > keys):
            raise ShapeMismatch(
                f"a dense mask of {queries} queries and {keys} keys was asked for queries up to "
                f"{q_stop} and keys up to {k_stop}; what is not in the array is not known. Give a "
                "larger array, or a mask that is defined everywhere."
            )


@dataclass(frozen=True, slots=True, repr=False)
class Intervals(Atom):
    """Query q sees start[q] <= k < end[q], for the union of n intervals: ``[B|1, H|1, Q, n]``."""

    start: Data
    end: Data

    @property
    def batch(self) -> int:
        return self.start.array.shape[0]

    @property
    def heads(self) -> int:
        return self.start.array.shape[1]

    def allowed(self, cells: Cells) -> Array:
        starts, ends = self.start.array, self.end.array
        batch = cells.batch if self.batch > 1 else 0
        head = cells.head if self.heads > 1 else 0
        inside = cells.query < starts.shape[2]
        query = cells.query * inside
        result = cells.key < 0
        for i in range(starts.shape[3]):
            start = cells.place(starts[..., i])[batch, head, query]
            end = cells.place(ends[..., i])[batch, head, query]
            result = result | ((cells.key >= start) & (cells.key < end))
        return result & inside

    def spec(self) -> Spec:
        def short(data: Data) -> list[Any]:
            table = data.array
            if self.heads > 1:
                return table.tolist()
            if self.batch > 1:
                return table[:, 0].tolist()
            return table[0, 0, :, 0].tolist() if table.shape[3] == 1 else table[0, 0].tolist()

        return "intervals", {"start": short(self.start), "end": short(self.end)}

    def extent(self) -> Extent:
        return self.start.array.shape[2], int(self.end.array.max())


@dataclass(frozen=True, slots=True, repr=False)
class PerRow(Atom):
    """The b-th mask for batch row b, or the h-th for head h."""

    axis: Literal["batch", "head"]
    masks: tuple[Mask, ...]

    @property
    def batch(self) -> int:
        return len(self.masks) if self.axis == "batch" else common_size(self.masks, "batch")

    @property
    def heads(self) -> int:
        return len(self.masks) if self.axis == "head" else common_size(self.masks, "heads")

    def allowed(self, cells: Cells) -> Array:
        index = cells.batch if self.axis == "batch" else cells.head
        result = (index == 0) & self.masks[0].allowed(cells)
        for i, mask in enumerate(self.masks[1:], start=1):
            result = result | ((index == i) & mask.allowed(cells))
        return result

    def spec(self) -> Spec:
        return f"per_{self.axis}", {"masks": [mask.spec() for mask in self.masks]}

    def transposed(self) -> Mask:
        return PerRow(self.axis, tuple(mask.transposed() for mask in self.masks))

    def moved(self, rows: int, columns: int) -> Mask:
        return PerRow(self.axis, tuple(mask.moved(rows, columns) for mask in self.masks))

    def complement(self) -> Mask:
        return PerRow(self.axis, tuple(mask.complement() for mask in self.masks))

    def extent(self) -> Extent:
        return widest(mask.extent() for mask in self.masks)

    def check_reach(self, q_stop: int, k_stop: int) -> None:
        for mask in self.masks:
            mask.check_reach(q_stop, k_stop)


# -- what users call --------------------------------------------------------------------------


def per_batch(masks: Iterable[Mask]) -> Mask:
    """The b-th mask for batch row b. The masks themselves must not tell batch rows apart.

    >>> import sightline as sl
    >>> sl.per_batch([sl.causal(), sl.everything()]).dense(2)[:, 0].astype(int).tolist()
    [[[1, 0], [1, 1]], [[1, 1], [1, 1]]]
    """
    return _per_row("batch", masks)


def per_head(masks: Iterable[Mask]) -> Mask:
    """The h-th mask for (query) head h. The masks themselves must not tell heads apart.

    >>> import sightline as sl
    >>> sl.per_head([sl.window(left=1), sl.causal(), sl.causal()]).heads
    3
    """
    return _per_row("head", masks)


def _per_row(axis: Literal["batch", "head"], masks: object) -> Mask:
    what = f"per_{axis}(masks=)"
    attribute, word = ("batch", "batch rows") if axis == "batch" else ("heads", "heads")
    if not isinstance(masks, Iterable) or isinstance(masks, (str, bytes)):
        raise InvalidMask(f"{what} wants a list of masks, got {describe(masks)}.")
    each = tuple(cast("Iterable[object]", masks))
    for i, mask in enumerate(each):
        if not isinstance(mask, Mask):
            raise InvalidMask(f"{what}[{i}] must be a mask, got {describe(mask)}.")
        if getattr(mask, attribute) != 1 and len(each) > 1:
            raise ShapeMismatch(
                f"{what}[{i}] already tells {getattr(mask, attribute)} {word} apart; give masks "
                "that are the same for all of them."
            )
    if not each:
        raise InvalidMask(f"{what} is empty; give one mask for each.")
    rows = PerRow(axis, cast("tuple[Mask, ...]", each))
    _ = rows.batch, rows.heads  # masks that disagree on the other axis are refused here
    return rows if len(each) > 1 else rows.masks[0]


def dense(array: object, means: Literal["attend", "ignore", "additive"]) -> Mask:
    """As ``array`` says, cell by cell; ``means`` is required because libraries disagree.

    Args:
        array: ``[Q, K]`` or ``[B|1, H|1, Q, K]``. (Three axes could be batch rows, heads or both:
            give four.)
        means: ``"attend"``: True or 1 may attend (SDPA, JAX, Keras). ``"ignore"``: True or 1 may
            not (``nn.MultiheadAttention``, ``nn.Transformer``). ``"additive"``: 0 may attend;
            -inf, or -1e4 and below, may not; anything between is a bias and is refused.

    The mask is bound to the array's size; asking beyond it raises ShapeMismatch.

    >>> import sightline as sl
    >>> sl.dense([[0, 1], [0, 0]], means="ignore").dense(2)[0, 0].astype(int)
    array([[1, 0],
           [1, 1]])
    """
    if not isinstance(cast(Any, means), str) or means not in ("attend", "ignore", "additive"):
        raise InvalidMask(
            f"dense(means=) must be 'attend', 'ignore' or 'additive', got {describe(means)}: say "
            "whether True may attend (SDPA), may not (nn.MultiheadAttention), or numbers are added."
        )
    if np.ndim(as_array(array, "dense(array=)")) == 3:
        raise InvalidMask(
            "dense(array=) has 3 axes, which could be batch rows, heads or both; give 4: "
            "array[:, None] for one mask a batch row, array[None] for one a head."
        )
    if means == "additive":
        allowed = _allowed_by_numbers(as_array(array, "dense(array=)"))
    else:
        allowed = as_bools(array, "dense(array=)", ranks=(2, 4)) == (means == "attend")
    return Dense(
        Data(allowed.reshape((1, 1, *allowed.shape) if allowed.ndim == 2 else allowed.shape))
    )


def _allowed_by_numbers(numbers: NDArray[Any]) -> NDArray[np.bool_]:
    if numbers.ndim not in (2, 4) or not numbers.size:
        raise InvalidMask(
            "dense(array=) must have 2 or 4 axes, none of them of size 0, got shape "
            f"{list(numbers.shape)}."
        )
    if numbers.dtype.kind == "f" and np.isnan(numbers).any():
        raise InvalidMask(
            "dense(means='additive') wants 0 and -inf, got nan, which may come from 0 * -inf or "
            "-inf + inf; build the mask of bools and convert it once."
        )
    if numbers.dtype.kind != "f":
        raise InvalidMask(
            f"dense(means='additive') wants floats, got {numbers.dtype}; bools are "
            "means='attend' or means='ignore'."
        )
    strange = numbers[~((numbers == 0) | (numbers <= ADDITIVE_FORBIDS))]
    if strange.size:
        raise InvalidMask(
            f"dense(means='additive') wants 0 and -inf (or {ADDITIVE_FORBIDS:g} and below), got "
            f"{strange.flat[0]}; a value that only weakens a key is a bias: attend(..., bias=...)."
        )
    return numbers == 0


def intervals(start: object, end: object) -> Mask:
    """Query q sees the keys start[q] <= k < end[q].

    ``start`` and ``end`` are ``[Q]``, ``[Q, n]`` for the union of n intervals a row,
    ``[B, Q, n]`` or ``[B|1, H|1, Q, n]``; an interval with start = end is empty. Queries from Q
    on see nothing.

    >>> import sightline as sl
    >>> sl.intervals(start=[0, 0, 2], end=[1, 2, 4]).dense(3, 4)[0, 0].astype(int)
    array([[1, 0, 0, 0],
           [1, 1, 0, 0],
           [0, 0, 1, 1]])
    """
    starts = as_integers(start, "intervals(start=)", ranks=(1, 2, 3, 4))
    ends = as_integers(end, "intervals(end=)", ranks=(1, 2, 3, 4))
    if starts.shape != ends.shape:
        raise ShapeMismatch(
            "intervals wants start and end of the same shape, got "
            f"{list(starts.shape)} and {list(ends.shape)}."
        )
    if (starts > ends).any():
        at = tuple(int(i) for i in np.argwhere(starts > ends)[0])
        raise InvalidMask(
            f"intervals(end=) must not be before start, got {starts[at]} .. {ends[at]} at "
            f"{list(at)}; an empty interval has end = start."
        )
    full = {1: (1, 1, -1, 1), 2: (1, 1, *starts.shape), 3: (len(starts), 1, *starts.shape[1:])}
    shape = full.get(starts.ndim, starts.shape)
    return _intervals(starts.reshape(shape), ends.reshape(shape)) if starts.size else Nothing()


def _intervals(start: NDArray[np.int64], end: NDArray[np.int64]) -> Mask:
    """Merge the intervals of each row that touch, sort them, and cut off what is empty."""
    start = np.where(start < end, start, np.iinfo(np.int64).max)  # empty ones sort to the end
    order = np.argsort(start, axis=-1, kind="stable")
    start, end = np.take_along_axis(start, order, -1), np.take_along_axis(end, order, -1)
    merged_start, merged_end = np.zeros_like(start), np.zeros_like(end)
    filled = np.zeros(start.shape[:-1], dtype=np.int64)
    for i in range(start.shape[-1]):
        real = start[..., i] < end[..., i]
        last = np.maximum(filled - 1, 0)[..., None]
        last_end = np.take_along_axis(merged_end, last, -1)[..., 0]
        touches = real & (filled > 0) & (start[..., i] <= last_end)
        fresh = real & ~touches
        slot = np.where(touches, last[..., 0], np.minimum(filled, start.shape[-1] - 1))[..., None]
        new_end = np.where(touches, np.maximum(last_end, end[..., i]), end[..., i])
        keep_start = np.take_along_axis(merged_start, slot, -1)[..., 0]
        keep_end = np.take_along_axis(merged_end, slot, -1)[..., 0]
        put_start = np.where(fresh, start[..., i], keep_start)
        put_end = np.where(real, new_end, keep_end)
        np.put_along_axis(merged_start, slot, put_start[..., None], -1)
        np.put_along_axis(merged_end, slot, put_end[..., None], -1)
        filled = filled + fresh
    used = np.flatnonzero(filled.any(axis=(0, 1)))
    if not used.size:
        return Nothing()
    rows, width = int(used[-1]) + 1, int(filled.max())
    return Intervals(Data(merged_start[:, :, :rows, :width]), Data(merged_end[:, :, :rows, :width]))


__all__ = ["dense", "intervals", "per_batch", "per_head"]
