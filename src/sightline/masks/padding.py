"""Which keys are real and which are padding, for each batch row.

Kept as one run of real keys where they are one, as bits where they are not, so that two ways of
saying the same are equal. Positions beyond the data are padding.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np

from sightline.errors import InvalidMask
from sightline.masks.arguments import as_bools, as_column, as_int, describe
from sightline.masks.arrays import Array, Cells, Data
from sightline.masks.bounds import states
from sightline.masks.mask import Extent, Mask, Spec
from sightline.masks.nodes import Atom, Staircase

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sightline.masks.bounds import Ints, Rows, Run, States, Tiles


@dataclass(frozen=True, slots=True, repr=False)
class Padding(Staircase):
    """The key is real: ``start[b] <= k < stop[b]``; rows without a real token are ``[0, 0)``."""

    start: Data
    stop: Data

    @property
    def asks_key_alone(self) -> bool:
        return True

    @property
    def batch(self) -> int:
        return len(self.start.array)

    def allowed(self, cells: Cells) -> Array:
        start, stop = cells.per_row(self.start.array), cells.per_row(self.stop.array)
        return (cells.key >= start) & (cells.key < stop)

    def run(self, rows: Rows) -> Run:
        none = rows.query * 0
        return none + rows.per_row(self.start.array), none + rows.per_row(self.stop.array)

    def signature(self, tiles: Tiles) -> list[Ints]:
        ends = (tiles.top.per_row(data.array) for data in (self.start, self.stop))
        return [np.clip(end - tiles.k_first, 0, tiles.widths) for end in ends]

    def cuts(self) -> Ints:
        return np.stack([self.start.array, self.stop.array], axis=1)

    def spec(self) -> Spec:
        start, stop = self.start.array, self.stop.array
        lengths = (stop - start).tolist()
        if not start.any():
            return "padding", {"lengths": lengths}
        total = int(stop.max())
        if (stop[stop > start] == total).all():
            arguments: dict[str, Any] = {"lengths": lengths, "side": "left"}
            if max(lengths) < total:
                arguments["total"] = total
            return "padding", arguments
        position = np.arange(total)
        valid = (position >= start[:, None]) & (position < stop[:, None])
        return "padding", {"valid": valid.astype(np.int64).tolist()}

    def extent(self) -> Extent:
        return None, int(self.stop.array.max())


@dataclass(frozen=True, slots=True, repr=False)
class ValidKeys(Atom):
    """The key is real, where the real ones of a row are not one run: ``valid[b, k]``."""

    valid: Data
    kept: list[Any] = field(default_factory=list[Any], compare=False)

    @property
    def asks_key_alone(self) -> bool:
        return True

    @property
    def batch(self) -> int:
        return len(self.valid.array)

    def allowed(self, cells: Cells) -> Array:
        value, inside = cells.lookup(self.valid.array, cells.key)
        return value & inside

    def bounds(self, tiles: Tiles) -> States:
        length = self.valid.array.shape[1]
        start, stop = (np.minimum(k, length) for k in (tiles.k_first, tiles.k_last + 1))
        row = tiles.batch if self.batch > 1 else 0
        real = self._real_before()[row, stop] - self._real_before()[row, start]
        return states(real == 0, real == tiles.widths)

    def signature(self, tiles: Tiles) -> list[Ints]:
        return [tiles.batch, tiles.k_first]

    def _real_before(self) -> Ints:
        """Return how many real keys lie before each position, ``[B, K + 1]``."""
        if not self.kept:
            self.kept.append(np.pad(np.cumsum(self.valid.array, axis=1), ((0, 0), (1, 0))))
        return self.kept[0]

    def spec(self) -> Spec:
        return "padding", {"valid": self.valid.array.astype(np.int64).tolist()}

    def extent(self) -> Extent:
        return None, self.valid.array.shape[1]


# -- what users call --------------------------------------------------------------------------


def padding(
    lengths: object = None,
    valid: object = None,
    side: Literal["right", "left"] = "right",
    total: int | None = None,
) -> Mask:
    """The key is a real token, not padding. ``.T`` masks padded queries.

    Args:
        lengths: how many real tokens each batch row has, ``[B]``. With ``side="right"`` (padding
            at the end) k < length; with ``side="left"`` total - length <= k < total.
        valid: instead of lengths, ``[B, K]`` bools or 0/1, True for a real token; nothing beyond
            K is real. (Hugging Face's 2-D ``attention_mask`` is this; a
            ``key_padding_mask`` of torch is its opposite.)
        side: where the padding is; only with ``lengths``.
        total: the padded length; None takes the longest length.

    >>> import sightline as sl
    >>> sl.padding(lengths=[3, 1]).dense(1, 4)[:, 0].astype(int)
    array([[[1, 1, 1, 0]],
    <BLANKLINE>
           [[1, 0, 0, 0]]])
    >>> sl.padding(valid=[[0, 1, 1], [0, 0, 1]]) == sl.padding(lengths=[2, 1], side="left", total=3)
    True
    """
    if (lengths is None) == (valid is None):
        raise InvalidMask("padding wants either lengths= or valid=, exactly one of them.")
    if not isinstance(cast(Any, side), str) or side not in ("right", "left"):
        raise InvalidMask(f"padding(side=) must be 'right' or 'left', got {describe(side)}.")
    if valid is not None:
        if side == "left" or total is not None:
            raise InvalidMask("padding(valid=) already says where; drop side= and total=.")
        return _from_bools(valid)
    real = as_column(lengths, "padding(lengths=)")
    longest = int(real.max())
    end = longest if total is None else as_int(total, "padding(total=)", least=0)
    if longest > end:
        raise InvalidMask(
            f"padding(lengths=) reach {longest}, beyond total={end}; "
            "raise total or cut the sequences."
        )
    return (
        padding_runs(end - real, np.full_like(real, end))
        if side == "left"
        else padding_runs(0 * real, real)
    )


def padding_runs(start: Ints, stop: Ints) -> Mask:
    """Return the mask of the keys ``start[b] <= k < stop[b]``; no key where they are no run."""
    some = start < stop
    return Padding(Data(start * some), Data(stop * some))


def _from_bools(valid: object) -> Mask:
    bits = as_bools(valid, "padding(valid=)", ranks=(1, 2))
    return padding_bits(bits.reshape(1, -1) if bits.ndim == 1 else bits)


def padding_bits(bits: NDArray[np.bool_]) -> Mask:
    """Return the mask of the keys that are True in ``bits``, ``[B, K]`` with K >= 1."""
    start, count = np.argmax(bits, axis=1), np.count_nonzero(bits, axis=1)
    stop = bits.shape[1] - np.argmax(bits[:, ::-1], axis=1)
    if (stop - start == count)[count > 0].all():
        return padding_runs(start, np.where(count > 0, stop, 0))
    return ValidKeys(Data(bits[:, : int(stop[count > 0].max())]))


__all__ = ["padding"]
