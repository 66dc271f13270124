"""Reading the arguments of masks: numbers, lists and arrays in, clean integers out, or a clear no.

Every refusal says what was got, what was wanted and what to do.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from sightline.errors import InvalidMask, SightlineError

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Far beyond any sequence, and small enough that sums and differences stay inside int64.
LARGEST_POSITION = 2**48


def as_int(
    value: object,
    what: str,
    *,
    least: int | None = None,
    most: int | None = None,
    error: type[SightlineError] = InvalidMask,
) -> int:
    """Return ``value`` as an int between ``least`` and ``most``; bools and floats are refused."""
    given = cast(Any, value)
    try:
        if isinstance(given, (bool, np.bool_)):
            raise TypeError
        number = operator.index(given)
    except TypeError:
        raise error(f"{what} must be an integer, got {describe(value)}.") from None
    low = -LARGEST_POSITION if least is None else least
    high = LARGEST_POSITION if most is None else most
    if not low <= number <= high:
        one_sided = f"at least {low}" if number < low else f"at most {high}"
        wanted = one_sided if most is None else f"from {low} to {high}"
        got = str(number) if number.bit_length() < 64 else f"one of {number.bit_length()} bits"
        raise error(f"{what} must be {wanted}, got {got}.")
    return number


def as_size(value: object, what: str, *, error: type[SightlineError] = InvalidMask) -> int:
    """Return ``value`` as an int of at least 1."""
    return as_int(value, what, least=1, error=error)


def as_distance(value: object, what: str) -> int | None:
    """Return ``value`` as an int of at least 0; None means unbounded and stays None."""
    if value is None:
        return None
    try:
        return as_int(value, what, least=0)
    except InvalidMask as error:
        raise InvalidMask(f"{error} Use None for unbounded.") from None


def as_per_axis(value: object, what: str, axes: int, *, least: int) -> tuple[int, ...]:
    """Return one int for each of ``axes`` axes; a single int serves all of them."""
    given = cast(Any, value)
    if _is_list(given):
        values = list(cast("Sequence[object]", given))
        if len(values) != axes:
            raise InvalidMask(
                f"{what} must be one integer or {axes} of them, one for each axis of the grid, "
                f"got {len(values)}: {describe(values)}."
            )
        return tuple(as_int(v, f"{what}[{i}]", least=least) for i, v in enumerate(values))
    return (as_int(given, what, least=least),) * axes


def _is_list(value: object) -> bool:
    return isinstance(value, (list, tuple)) or getattr(value, "ndim", 0) > 0


def as_grid(value: object, what: str, *, dimensions: tuple[int, int]) -> tuple[int, ...]:
    """Return the sizes of a grid with between ``dimensions[0]`` and ``dimensions[1]`` axes."""
    least, most = dimensions
    given = cast(Any, value)
    if not _is_list(given):
        raise InvalidMask(f"{what} must be a tuple of sizes such as (8, 8), got {describe(value)}.")
    values = list(cast("Sequence[object]", given))
    if not least <= len(values) <= most:
        raise InvalidMask(f"{what} must have {least} to {most} axes, got {len(values)}.")
    grid = tuple(as_size(v, f"{what}[{i}]") for i, v in enumerate(values))
    cells = 1
    for size in grid:
        cells *= size
    as_int(cells, f"the number of cells of {what}")
    return grid


def as_array(values: object, what: str) -> NDArray[Any]:
    """Return ``values`` as a numpy array; ragged lists and objects are refused."""
    try:
        array: NDArray[Any] = np.asarray(values)
    except (ValueError, TypeError, RuntimeError):
        raise InvalidMask(
            f"{what} cannot be read as an array, got {describe(values)}; give rows of equal "
            "length, a numpy array, or a torch tensor as tensor.detach().float().cpu()."
        ) from None
    if array.dtype == object and all(type(number) is int for number in array.flat):
        raise InvalidMask(f"{what} holds a number beyond {LARGEST_POSITION}.")
    if array.dtype.kind not in "biuf":
        raise InvalidMask(f"{what} must hold numbers, got {describe(values)}.")
    return array


def as_integers(
    values: object, what: str, *, ranks: tuple[int, ...], least: int | None = 0
) -> NDArray[np.int64]:
    """Return ``values`` as int64 of one of the given ranks, every one of at least ``least``."""
    array = as_array(values, what)
    if array.size == 0 and array.dtype.kind == "f":
        array = array.astype(np.int64)  # an empty list reads as float; it holds no float
    if array.dtype.kind not in "iu":
        raise InvalidMask(f"{what} must hold integers, got {array.dtype} ({describe(values)}).")
    if array.ndim not in ranks:
        wanted = " or ".join(str(rank) for rank in ranks)
        raise InvalidMask(f"{what} must have {wanted} dimensions, got shape {list(array.shape)}.")
    if array.size:
        low, high = int(array.min()), int(array.max())
        if high > LARGEST_POSITION:
            raise InvalidMask(f"{what} must be at most {LARGEST_POSITION}, got {high}.")
        if least is not None and low < least:
            raise InvalidMask(f"{what} must be at least {least}, got {low}.")
    return array.astype(np.int64)


def as_column(values: object, what: str) -> NDArray[np.int64]:
    """Return one non-negative int per batch row, ``[B]``; a single int becomes ``[1]``."""
    column = as_integers(values, what, ranks=(0, 1)).reshape(-1)
    if not column.size:
        raise InvalidMask(f"{what} is empty; give one number for each batch row.")
    return column


def as_rows(values: object, what: str, *, least: int | None = 0) -> NDArray[np.int64]:
    """Return one row of ints per batch row, ``[B, N]``; a flat list becomes ``[1, N]``."""
    rows = as_integers(values, what, ranks=(1, 2), least=least)
    rows = rows.reshape(1, -1) if rows.ndim == 1 else rows
    if not rows.size:
        raise InvalidMask(f"{what} is empty; give at least one position.")
    return rows


def as_bools(values: object, what: str, *, ranks: tuple[int, ...]) -> NDArray[np.bool_]:
    """Return ``values`` as bool: bools as they are, numbers only where all of them are 0 or 1."""
    array = as_array(values, what)
    if array.ndim not in ranks:
        wanted = " or ".join(str(rank) for rank in ranks)
        raise InvalidMask(f"{what} must have {wanted} dimensions, got shape {list(array.shape)}.")
    if not array.size:
        raise InvalidMask(f"{what} is empty (shape {list(array.shape)}); give at least one cell.")
    if array.dtype.kind != "b":
        strange = array[(array != 0) & (array != 1)]
        if strange.size:
            raise InvalidMask(
                f"{what} must hold bools, or 0 and 1 only, got {strange.flat[0]} ({array.dtype})."
            )
    return array.astype(np.bool_)


def mask_wanted(value: object) -> str:
    """Return what came where a mask was wanted, and how to make a mask of it.

    >>> mask_wanted("causal()")
    "got 'causal()' (str); read an expression with sl.parse(text)."
    """
    hint = "wrap an array as sl.dense(array, means=...)"
    if isinstance(value, str):
        hint = "read an expression with sl.parse(text)"
    elif value is None:
        hint = "a mask is never None; sl.everything() allows all, sl.nothing() forbids all"
    return f"got {describe(value)}; {hint}."


def describe(value: object) -> str:
    """Return a short description of a wrong argument for an error message."""
    shape = getattr(value, "shape", None)
    if shape is not None:
        return f"{type(value).__name__} of shape {list(shape)}"
    try:
        text = repr(value)
    except ValueError:  # an integer of thousands of digits
        text = "a number too long to print"
    return f"{text[:60]}..." if len(text) > 63 else f"{text} ({type(value).__name__})"
