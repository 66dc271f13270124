"""What there is to see of a mask: a record that every renderer draws the same way.

``picture_of`` reads it off a mask; ``MaskPicture`` itself takes any array, so that a mask made
by hand (or wrongly) can be drawn too. Glyphs and colors are left to text/ and svg/.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sightline.errors import ShapeMismatch
from sightline.masks.mask import Mask
from sightline.views.extras import Change, Mark, Overlay
from sightline.views.survey import Survey, survey

__all__ = ["MaskPicture", "picture_from", "picture_of"]

# The default of a field that __post_init__ works out: None to a caller, never None afterwards.
_DERIVED: Any = None


@dataclass(frozen=True, eq=False)
class MaskPicture:
    """One batch row and head of a mask, ready to be drawn.

    A cell is one (query, key) pair, or several where the mask was too big to fit; then ``share``
    says how much of the cell is allowed, and is 0 or 1 only if nothing or everything in it is.

    Attributes:
        allowed: bool ``[rows, columns]``; True where a cell holds an allowed pair.
        row_labels: one for each row of cells; None numbers them.
        column_labels: one for each column of cells; None numbers them.
        title: what is drawn.
        weights: attention weights ``[rows, columns]`` to shade the cells with, or None.
        used: bool ``[rows, columns]``, where a query was seen to depend on a key, allowed or not,
            or None. Drawn instead of weights.
        empty_rows: bool ``[rows]``; True where a row holds a query that sees nothing.
            None finds out from ``allowed``.
        share: float ``[rows, columns]`` between 0 and 1; None takes it from ``allowed``.
        cell: (queries, keys) per cell.
        shape: (queries, keys) in all; None takes it from ``allowed``.
        count: allowed pairs in all; None counts them.
        sure: bool ``[rows, columns]``, False where ``share`` is an estimate (``count`` then is
            one, too); None where all of it is exact.
        change: what is allowed more and less than by another mask, or None.
        overlay: the blocks of a plan to draw on top, or None.
        marks: names of stretches of queries and keys.
        first: the absolute positions of the first query and the first key.

    >>> picture = MaskPicture([[1, 0], [1, 1]], row_labels=("I", "am"), title="causal()")
    >>> picture.count, picture.column_labels, picture.density
    (3, ('0', '1'), 0.75)
    """

    allowed: NDArray[np.bool_]
    row_labels: tuple[str, ...] = _DERIVED
    column_labels: tuple[str, ...] = _DERIVED
    title: str = ""
    weights: NDArray[np.float64] | None = None
    used: NDArray[np.bool_] | None = None
    empty_rows: NDArray[np.bool_] = _DERIVED
    share: NDArray[np.float64] = _DERIVED
    cell: tuple[int, int] = (1, 1)
    shape: tuple[int, int] = _DERIVED
    count: int = _DERIVED
    sure: NDArray[np.bool_] | None = None
    change: Change | None = None
    overlay: Overlay | None = None
    marks: tuple[Mark, ...] = ()
    first: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        allowed = _frozen(self.allowed, np.bool_)
        if allowed.ndim != 2:
            raise ShapeMismatch(
                f"a picture shows one array [queries, keys], got shape {allowed.shape}; "
                "choose one batch row and head, such as allowed[0, 0]."
            )
        rows, columns = allowed.shape
        share = allowed if self.share is None else self.share
        empty = ~allowed.any(axis=1) if self.empty_rows is None else self.empty_rows
        fields = {
            "allowed": allowed,
            "row_labels": _labels(self.row_labels, rows, "row_labels"),
            "column_labels": _labels(self.column_labels, columns, "column_labels"),
            "share": _sized(share, (rows, columns), np.float64, "share"),
            "empty_rows": _sized(empty, (rows,), np.bool_, "empty_rows"),
            "shape": (rows, columns) if self.shape is None else self.shape,
            "count": int(allowed.sum()) if self.count is None else self.count,
        }
        if self.weights is not None:
            fields["weights"] = _sized(self.weights, (rows, columns), np.float64, "weights")
        if self.used is not None:
            fields["used"] = _sized(self.used, (rows, columns), np.bool_, "used")
        if self.sure is not None:
            fields["sure"] = _sized(self.sure, (rows, columns), np.bool_, "sure")
        for name, value in fields.items():
            object.__setattr__(self, name, value)

    @property
    def density(self) -> float:
        """Allowed pairs ÷ all pairs, between 0 and 1; 0 if there is no pair at all."""
        pairs = self.shape[0] * self.shape[1]
        return self.count / pairs if pairs else 0.0

    @property
    def aggregated(self) -> bool:
        """Whether a cell stands for more than one pair."""
        return self.cell != (1, 1)

    @property
    def estimated(self) -> bool:
        """Whether ``count`` is an estimate, and maybe shares of cells."""
        return self.sure is not None

    @property
    def leaks(self) -> NDArray[np.bool_]:
        """True where a forbidden cell is used or carries weight (or what is not a number)."""
        if self.used is not None:
            return ~self.allowed & self.used
        if self.weights is None:
            return np.zeros_like(self.allowed)
        return ~self.allowed & (self.weights != 0)

    @property
    def heaviest(self) -> float:
        """The largest weight that is a number, by which shades are scaled; 0 without weights."""
        if self.weights is None:
            return 0.0
        finite = self.weights[np.isfinite(self.weights)]
        return float(finite.max(initial=0.0))


def picture_of(
    mask: Mask,
    q_len: int,
    kv_len: int | None = None,
    *,
    q_offset: int = 0,
    batch: int = 0,
    head: int = 0,
    row_labels: Sequence[str] | None = None,
    column_labels: Sequence[str] | None = None,
    title: str | None = None,
    weights: ArrayLike | None = None,
    fit: int | tuple[int, int] = 64,
) -> MaskPicture:
    """Return the picture of one batch row and head of ``mask``.

    A mask with more than ``fit`` queries or keys (one number, or one for each) is drawn in cells
    of several pairs. ``title`` None is the mask's text.

    >>> import sightline as sl
    >>> picture_of(sl.causal(), 4096).cell
    (64, 64)

    Raises:
        ShapeMismatch: if the labels or weights do not fit, or there is no such batch row or head.
    """
    seen = survey(mask, q_len, kv_len, q_offset=q_offset, fit=fit)
    return picture_from(
        seen,
        batch=batch,
        head=head,
        row_labels=row_labels,
        column_labels=column_labels,
        title=repr(mask) if title is None else title,
        weights=weights,
    )


def picture_from(
    seen: Survey,
    *,
    batch: int = 0,
    head: int = 0,
    row_labels: Sequence[str] | None = None,
    column_labels: Sequence[str] | None = None,
    title: str = "",
    weights: ArrayLike | None = None,
) -> MaskPicture:
    """Return the picture of one batch row and head of what a survey saw."""
    for name, index, size in (
        ("batch", batch, seen.counts.shape[0]),
        ("head", head, seen.counts.shape[1]),
    ):
        if not 0 <= index < size:
            raise ShapeMismatch(
                f"got {name} {index}, but the mask has {size} of them, counted from 0."
            )
    counts, empty = seen.counts[batch, head], seen.empty[batch, head]
    if weights is not None and seen.cell != (1, 1):
        raise ShapeMismatch(
            f"weights can be drawn only where a cell is one pair, here it is "
            f"{seen.cell[0]} x {seen.cell[1]}; raise fit or draw a part."
        )
    return MaskPicture(
        allowed=counts > 0,
        row_labels=_cell_labels(row_labels, seen.q_len, seen.q_offset, seen.cell[0], "row_labels"),
        column_labels=_cell_labels(column_labels, seen.kv_len, 0, seen.cell[1], "column_labels"),
        title=title,
        weights=None if weights is None else np.asarray(weights, np.float64),
        empty_rows=np.logical_or.reduceat(empty, np.arange(0, seen.q_len, seen.cell[0]))
        if seen.q_len
        else empty,
        share=counts / seen.areas,
        cell=seen.cell,
        first=(seen.q_offset, 0),
        shape=(seen.q_len, seen.kv_len),
        count=int(counts.sum()),
    )


def _cell_labels(
    labels: Sequence[str] | None, length: int, offset: int, side: int, name: str
) -> tuple[str, ...]:
    """Return a label for each cell: its own, or its first position."""
    if labels is not None and len(labels) != length:
        raise ShapeMismatch(f"{name} has {len(labels)} labels for {length} positions.")
    if labels is None or side > 1:
        return tuple(str(offset + start) for start in range(0, length, side))
    return tuple(labels)


def _labels(labels: Sequence[str] | None, length: int, name: str) -> tuple[str, ...]:
    if labels is None:
        return tuple(str(position) for position in range(length))
    if len(labels) != length:
        raise ShapeMismatch(f"{name} has {len(labels)} labels for {length} cells.")
    return tuple(str(label) for label in labels)


def _sized(values: ArrayLike, shape: tuple[int, ...], dtype: type, name: str) -> NDArray:
    array = _frozen(values, dtype)
    if array.shape != shape:
        raise ShapeMismatch(f"{name} has shape {array.shape}, the picture needs {shape}.")
    return array


def _frozen(values: ArrayLike, dtype: type) -> NDArray:
    array = np.array(values, dtype=dtype)
    array.flags.writeable = False
    return array
