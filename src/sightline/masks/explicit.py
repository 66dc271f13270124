"""Masks given cell by cell or case by case: dense arrays, per-row masks.

The structured masks of the other files say more with less; these take what a user already has.
Intervals of keys are in key_intervals.py, functions in opaque.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np

from sightline.errors import InvalidMask, ShapeMismatch
from sightline.masks.arguments import as_array, as_bools, describe
from sightline.masks.arrays import Array, Cells, Data
from sightline.masks.bounds import EMPTY, every, states
from sightline.masks.mask import Extent, Mask, Spec
from sightline.masks.nodes import Atom, common_size, side_by_side, widest

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sightline.masks.bounds import Ints, States, Tiles

# Additive masks in the wild forbid with -inf, the dtype's minimum, -1e9 or -1e4 (BERT); anything
# weaker (Swin's -100) still lets a strong key through and is a bias, not a mask.
ADDITIVE_FORBIDS = -1e4


@dataclass(frozen=True, slots=True, repr=False)
class Dense(Atom):
    """As an array says, ``[B|1, H|1, Q, K]``; bound to that many queries and keys."""

    array: Data
    kept: list[Any] = field(default_factory=list[Any], compare=False)

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

    def bounds(self, tiles: Tiles) -> States:
        table = self._allowed_before()
        row = tiles.batch if self.batch > 1 else tiles.batch * 0
        head = tiles.head if self.heads > 1 else tiles.head * 0
        top, bottom = (np.minimum(q, table.shape[2] - 1) for q in (tiles.q_first, tiles.q_last + 1))
        left, right = (np.minimum(k, table.shape[3] - 1) for k in (tiles.k_first, tiles.k_last + 1))
        allowed = table[row, head, bottom, right] - table[row, head, top, right]
        allowed = allowed - table[row, head, bottom, left] + table[row, head, top, left]
        return states(allowed == 0, allowed == tiles.heights * tiles.widths)

    def _allowed_before(self) -> NDArray[np.int64]:
        """Return the summed-area table: allowed cells above and left of each corner. Kept."""
        if not self.kept:
            rows = np.cumsum(self.array.array, axis=2, dtype=np.int64)
            table = np.cumsum(rows, axis=3, out=rows)
            self.kept.append(np.pad(table, ((0, 0), (0, 0), (1, 0), (1, 0))))
        return self.kept[0]

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

    def each(self, tiles: Tiles) -> Iterator[tuple[Mask, Ints]]:
        """Yield the masks with the numbers of the tiles of their batch rows or heads."""
        index = tiles.batch if self.axis == "batch" else tiles.head
        for i, mask in enumerate(self.masks):
            mine = np.flatnonzero(index == i)
            if len(mine):
                yield mask, mine

    def bounds(self, tiles: Tiles) -> States:
        result = every(EMPTY, tiles)
        for mask, mine in self.each(tiles):
            result[mine] = mask.bounds(tiles.at(mine))
        return result

    def signature(self, tiles: Tiles) -> list[Ints]:
        columns = [tiles.batch if self.axis == "batch" else tiles.head]
        for mask, mine in self.each(tiles):
            for place, column in enumerate(mask.signature(tiles.at(mine)), start=1):
                if place == len(columns):
                    columns.append(np.zeros_like(tiles.batch))
                columns[place][mine] = column
        return columns

    def cuts(self) -> Ints:
        each = [mask.cuts() for mask in self.masks]
        if self.axis == "head":
            return side_by_side(each)
        width = max(cuts.shape[1] for cuts in each)
        padded = [np.pad(cuts, ((0, 0), (0, width - cuts.shape[1]))) for cuts in each]
        return np.concatenate(padded)

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


__all__ = ["dense", "per_batch", "per_head"]
