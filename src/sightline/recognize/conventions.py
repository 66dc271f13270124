"""What an array's values mean: True may attend, True may not, or numbers that are added.

Bools carry no sign of it; which reading is likelier is judged here by what masks have in common
(a query sees itself, no query sees nothing). Numbers that are 0 and 1 are never guessed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from sightline.errors import InvalidArgument, ShapeMismatch
from sightline.masks.arguments import describe
from sightline.masks.arrays import as_numpy
from sightline.masks.explicit import ADDITIVE_FORBIDS
from sightline.masks.mask import Mask

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from sightline.recognize.result import Convention

    Bools = NDArray[np.bool_]

MEANS = ("attend", "ignore", "additive")


@dataclass(frozen=True)
class Reading:
    """One way to read an array.

    Attributes:
        allowed: ``[batch, heads, queries, keys]``, True may attend.
        convention: what the values mean.
        evidence: why.
        stated: whether the caller said so.
    """

    allowed: Bools
    convention: Convention
    evidence: tuple[str, ...]
    stated: bool = True


def as_numbers(array: object) -> NDArray[Any]:
    """Return an array of bools or numbers as numpy's, tensors of torch included.

    Raises:
        InvalidArgument: not an array of numbers.
    """
    if array is None or isinstance(array, (str, bytes)):
        raise InvalidArgument(
            f"got {describe(array)}; wanted an array of bools or numbers, [queries, keys]."
        )
    if isinstance(array, Mask):
        raise InvalidArgument(f"got {describe(array)}, a mask already; there is nothing to read.")
    if getattr(array, "kind", None) in ("svg", "png", "html", "txt"):
        raise InvalidArgument(
            f"got {describe(array)}; a drawing is read from its text, str(sl.draw(..., to='txt'))."
        )
    try:
        numbers = as_numpy(array)
    except (TypeError, ValueError, RuntimeError):
        raise InvalidArgument(
            f"got {describe(array)}, which cannot be read as an array; give rows of equal length, "
            "a numpy array or a torch tensor."
        ) from None
    if numbers.dtype.kind not in "biuf":
        raise InvalidArgument(
            f"got {describe(array)} of {numbers.dtype}; wanted bools, integers or floats."
        )
    return numbers


def with_four_axes(numbers: NDArray[Any]) -> NDArray[Any]:
    """Return ``[batch, heads, queries, keys]``; three axes are batch rows, queries, keys.

    Raises:
        ShapeMismatch: another number of axes, or no cell.
    """
    if numbers.ndim not in (2, 3, 4):
        raise ShapeMismatch(
            f"got an array of shape {list(numbers.shape)}; wanted [queries, keys], [batch, "
            "queries, keys] or [batch, heads, queries, keys]; a row of keys for each batch row is "
            "array[:, None, None, :]."
        )
    if not numbers.size:
        raise ShapeMismatch(
            f"got an array of shape {list(numbers.shape)}; wanted at least one query and one key; "
            "an empty array says nothing of a mask."
        )
    if numbers.ndim == 2:
        return numbers[None, None]
    return numbers[:, None] if numbers.ndim == 3 else numbers


def readings(numbers: NDArray[Any], means: str | None, offsets: Sequence[int]) -> list[Reading]:
    """Return the ways to read the array, likeliest first; two where the cells do not decide.

    Args:
        numbers: ``[batch, heads, queries, keys]``.
        means: what the caller says of it, or None.
        offsets: where the first query may stand, for "sees itself".

    Raises:
        InvalidArgument: ``means`` is none of the three, or the values do not fit it.
    """
    if means is not None and means not in MEANS:
        raise InvalidArgument(
            f"got means={means!r}; wanted 'attend' (True may), 'ignore' (True may not), 'additive' "
            "(0 may, -inf may not) or None."
        )
    if means in ("attend", "ignore"):
        bools = _stated_bools(numbers, means)
        said = (f'means="{means}" was stated',)
        return [Reading(bools == (means == "attend"), cast("Convention", means), said)]
    if means == "additive" or numbers.dtype.kind != "b":
        return [_additive(numbers, stated=means == "additive")]
    return _unstated_bools(numbers, offsets)


def _stated_bools(numbers: NDArray[Any], means: str) -> Bools:
    if numbers.dtype.kind != "b":
        strange = numbers[(numbers != 0) & (numbers != 1)]
        if strange.size:
            raise InvalidArgument(
                f"got {strange.flat[0]} in an array that means={means!r}; wanted bools, or 0 and 1 "
                "only; numbers that are added to the scores are means='additive'."
            )
    return numbers.astype(np.bool_)


# -- numbers that are added ------------------------------------------------------------------------


def _additive(numbers: NDArray[Any], *, stated: bool) -> Reading:
    if not stated and bool(((numbers == 0) | (numbers == 1)).all()):
        raise InvalidArgument(
            f"got numbers that are 0 and 1 only ({numbers.dtype}); they do not say what 1 means: "
            "in means='attend' it may attend (SDPA, JAX, Keras), in means='ignore' it may not "
            "(nn.MultiheadAttention), and in means='additive' it would be added to the scores. "
            "Say which."
        )
    if numbers.dtype.kind != "f":
        raise InvalidArgument(
            f"got {numbers.dtype} numbers to be added; wanted floats 0 and -inf; convert them "
            "once, or pass bools."
        )
    if np.isnan(numbers).any():
        raise InvalidArgument(
            "got nan, which may come from 0 * -inf or -inf + inf; wanted 0 and -inf; build the "
            "array from bools."
        )
    allowed = numbers == 0
    strange = numbers[~allowed & ~(numbers <= ADDITIVE_FORBIDS)]
    if strange.size:
        raise InvalidArgument(
            f"got {strange.flat[0]:g} among the values; wanted 0 and -inf (or {ADDITIVE_FORBIDS:g} "
            "and below): a value that only weakens a key is a bias, not a mask; pass it as "
            "attend(..., bias=...)."
        )
    return Reading(allowed, "additive", tuple(_told_by(numbers[~allowed], stated=stated)), stated)


def _told_by(forbidding: NDArray[Any], *, stated: bool) -> list[str]:
    told = ['means="additive" was stated'] if stated else []
    values = np.unique(forbidding)
    if len(values) == 1:
        name = "-inf" if np.isneginf(values[0]) else f"{values[0]:g}"
        told.append(f"floats, only 0 and {name}: additive")
    elif len(values):
        few = ", ".join(f"{value:g}" for value in values[:3])
        told.append(
            f"floats, 0 and {len(values)} different numbers that forbid ({few}"
            f"{', ...' if len(values) > 3 else ''}): additive, perhaps a sum of masks"
        )
    return told


# -- bools ----------------------------------------------------------------------------------------


def _unstated_bools(bools: Bools, offsets: Sequence[int]) -> list[Reading]:
    """Return the reading in which queries see themselves, or none sees nothing; else both."""
    themselves = [any(sees_itself(a, at) for at in offsets) for a in (bools, ~bools)]
    whole = bool(bools.any(axis=-1).all()), bool((~bools).any(axis=-1).all())
    if themselves[0] != themselves[1]:
        attend = themselves[0]
        other = "ignore" if attend else "attend"
        why = f'every real query sees itself, which in means="{other}" not every one does'
    elif whole[0] != whole[1]:
        attend = whole[0]
        other = "ignore" if attend else "attend"
        why = f'every query sees a key, while in means="{other}" some see nothing'
    else:
        return [
            Reading(bools, "attend", ("bools: the reading with the shorter expression",), False),
            Reading(~bools, "ignore", ("bools: the reading with the shorter expression",), False),
        ]
    convention: Convention = "attend" if attend else "ignore"
    return [Reading(bools == attend, convention, (f"bools: {why}",), False)]


def sees_itself(allowed: Bools, q_offset: int) -> bool:
    """Return whether every query that is real (sees a key, is seen by a query) sees itself."""
    query = np.arange(q_offset, q_offset + allowed.shape[2])
    place = np.flatnonzero(query < allowed.shape[3])
    if len(place) < 2:
        return False  # a single query says nothing
    row_real = np.logical_or.reduce(allowed, axis=3)[:, :, place]
    key_real = np.logical_or.reduce(allowed, axis=2)[:, :, query[place]]
    own = allowed[:, :, place, query[place]]
    real = row_real & key_real
    return bool(own[real].all()) and bool(real.any())
