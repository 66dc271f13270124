"""What every source shares: what it says of itself, what it returns, and how arrays are read.

What True means is the matter of each source; here numbers only become bools.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sightline.errors import InvalidArgument, InvalidMask, ShapeMismatch
from sightline.masks.arguments import as_array, as_int, describe
from sightline.masks.explicit import ADDITIVE_FORBIDS
from sightline.recognize.result import Convention

Bools = NDArray[np.bool_]

# More pairs than this are not written out: 256 MiB of bools.
MOST_PAIRS = 1 << 28
# How a warning of empty rows begins, after their number.
NO_KEY = "rows may see nothing"


@dataclass(frozen=True)
class Source:
    """A library's form that can be read back.

    Attributes:
        name: what to pass as ``source``; the name of the destination that makes this form.
        reads: what to give.
        true_means: what True, or 1, means there.
        options: the keyword options of ``recognize`` that it takes.
        gives: what comes out: one mask, or several, each with a name.
    """

    name: str
    reads: str
    true_means: str
    options: tuple[str, ...] = ()
    gives: tuple[str, ...] = ("mask",)


@dataclass(frozen=True)
class Read:
    """What a library's object says, as bools.

    Attributes:
        allowed: ``[batch|1, heads|1, q_len, kv_len]``; True may attend.
        evidence: how it was read, in sentences.
        q_offset: the absolute position of query 0, where the form tells it; else None.
        warnings: what the library will do that its user may not expect.
        convention: what the form's own values mean.
    """

    allowed: Bools
    evidence: tuple[str, ...]
    q_offset: int | None = None
    warnings: tuple[str, ...] = ()
    convention: Convention = "attend"


# -- arguments --------------------------------------------------------------------------------


def keywords(given: object, source: str, known: tuple[str, ...]) -> dict[str, Any]:
    """Return the keywords of a call; a bare array stands for the first of them.

    Raises:
        InvalidArgument: a keyword that the call does not have, or no array and no dict.
    """
    if isinstance(given, dict):
        unknown = sorted(str(name) for name in given if name not in known)
        if unknown:
            raise InvalidArgument(
                f"got keyword {', '.join(unknown)} for {source}; wanted some of "
                f"{', '.join(known)}; leave it out or correct its name."
            )
        return dict(given)
    if given is None or isinstance(given, (str, bytes)):
        raise InvalidArgument(
            f"got {describe(given)} for {source}; wanted a dict of the call's keywords "
            f"({', '.join(known)}), or the array {known[0]}."
        )
    return {known[0]: given}


def flag(given: dict[str, Any], name: str, *, default: bool = False) -> bool:
    """Return a keyword that must be True or False; None means the default."""
    value = given.get(name)
    if value is None:
        return default
    if not isinstance(value, (bool, np.bool_)):
        raise InvalidArgument(f"got {name}={describe(value)}; wanted True or False.")
    return bool(value)


def size(value: object, name: str, *, least: int = 1) -> int:
    """Return a length that was given as an option."""
    return as_int(value, name, least=least, error=ShapeMismatch)


def agreed(name: str, source: str, *found: object) -> int:
    """Return the one size that several places tell; those that are None tell nothing.

    Raises:
        InvalidArgument: no place tells it.
        ShapeMismatch: two places differ.
    """
    sizes = {size(value, name) for value in found if value is not None}
    if not sizes:
        raise InvalidArgument(
            f"got no {name} for {source}; no array of the call tells it; pass {name}=."
        )
    if len(sizes) > 1:
        told = " and ".join(str(each) for each in sorted(sizes))
        raise ShapeMismatch(f"got {name} of {told} for {source}; wanted one; correct the arrays.")
    return sizes.pop()


def refuse_many_pairs(*sizes: int) -> None:
    """Refuse what would take too much memory when written out."""
    pairs = 1
    for each in sizes:
        pairs *= each
    if pairs > MOST_PAIRS:
        raise InvalidArgument(
            f"got {' x '.join(map(str, sizes))} = {pairs} pairs; wanted at most {MOST_PAIRS}, "
            "since each is looked at; read the same mask at a smaller size."
        )


# -- arrays -----------------------------------------------------------------------------------


def numbers(value: Any, name: str, ranks: tuple[int, ...]) -> NDArray[Any]:
    """Return an array or tensor of any library as numpy, of one of the given ranks.

    Raises:
        InvalidArgument: no array of numbers.
        ShapeMismatch: another rank, or an axis of size 0.
    """
    try:
        # Tensors may live on a device, want gradients, or have a type that numpy lacks.
        plain = value.detach().cpu() if hasattr(value, "detach") else value
        if hasattr(plain, "is_floating_point") and plain.is_floating_point():
            plain = plain.double()
        array = as_array(plain, name)
    except InvalidMask as error:
        raise InvalidArgument(str(error)) from None
    if array.ndim not in ranks:
        wanted = " or ".join(str(rank) for rank in ranks)
        raise ShapeMismatch(f"got {name} of shape {list(array.shape)}; wanted {wanted} axes.")
    if not array.size:
        raise ShapeMismatch(f"got {name} of shape {list(array.shape)}; wanted no axis of size 0.")
    return array


def flags(value: Any, name: str, ranks: tuple[int, ...]) -> Bools:
    """Return an array of 0 and 1, whatever its type, as bools.

    Raises:
        InvalidArgument: another number.
    """
    array = numbers(value, name, ranks)
    strange = array[(array != 0) & (array != 1)] if array.dtype.kind != "b" else array[:0]
    if strange.size:
        raise InvalidArgument(f"got {strange.flat[0]} in {name}; wanted bools, or 0 and 1 only.")
    return array.astype(np.bool_)


def integers(value: Any, name: str, ranks: tuple[int, ...]) -> NDArray[np.int64]:
    """Return an array of integers.

    Raises:
        InvalidArgument: another type of numbers.
    """
    array = numbers(value, name, ranks)
    if array.dtype.kind not in "iu":
        raise InvalidArgument(f"got {name} of {array.dtype}; wanted integers.")
    return array.astype(np.int64)


def bools_or_added(
    value: Any, name: str, ranks: tuple[int, ...], true_means: Literal["attend", "ignore"]
) -> Read:
    """Return what a mask of bools, or of floats that are added to the scores, allows.

    What comes out has the axes of ``value``, not four.

    Raises:
        InvalidArgument: integers; floats of 0 and 1; a bias.
    """
    array = numbers(value, name, ranks)
    if array.dtype.kind == "b":
        word = "may attend" if true_means == "attend" else "is ignored"
        allowed = array == (true_means == "attend")
        return Read(allowed, (f"{name} holds bools: True {word}",), convention=true_means)
    if array.dtype.kind != "f":
        raise InvalidArgument(
            f"got {name} of {array.dtype}; wanted bools (True {true_means}s) or floats, which are "
            f"added to the scores; convert it: {name} != 0."
        )
    _refuse_bias(array, name)
    least = array.min()
    words = f"{name} holds floats, which are added: 0 may attend" + (
        f", {least:g} may not" if least < 0 else ""
    )
    warnings = _finite_rows(array, name)
    return Read(array == 0, (words,), warnings=warnings, convention="additive")


def _refuse_bias(array: NDArray[Any], name: str) -> None:
    if np.isnan(array).any():
        raise InvalidArgument(
            f"got nan in {name}; wanted 0 and -inf; nan may come from 0 * -inf or -inf + inf."
        )
    strange = array[(array != 0) & ~(array <= ADDITIVE_FORBIDS)]
    if not strange.size:
        return
    if (strange == 1).all() and strange.size + (array == 0).sum() == array.size:
        raise InvalidArgument(
            f"got floats 0 and 1 in {name}, which the library adds to the scores, so that nothing "
            f"is forbidden; convert it to bools: {name} != 0."
        )
    raise InvalidArgument(
        f"got {strange.flat[0]:g} in {name}; wanted 0 and -inf (or {ADDITIVE_FORBIDS:g} and "
        "below); a value that only weakens or favors a key is a bias, not a mask."
    )


def _finite_rows(array: NDArray[Any], name: str) -> tuple[str, ...]:
    """Warn of rows that forbid every key with a finite constant: softmax does not give 0."""
    rows = (array < 0).all(axis=-1) & np.isfinite(array).any(axis=-1)
    if not rows.any():
        return ()
    place = [int(index) for index in np.argwhere(rows)[0]]
    return (
        f"{name} forbids every key of {int(rows.sum())} of {rows.size} rows (first: {place}) with "
        "finite numbers: the library attends there all the same, mostly to the mean of all keys",
    )


def warn_of_empty_rows(allowed: Bools, outcome: str) -> tuple[str, ...]:
    """Warn if a query may see nothing; ``outcome`` is what the library makes of it."""
    found = np.argwhere(~allowed.any(axis=-1))
    if not len(found):
        return ()
    batch, head, query = (int(index) for index in found[0])
    return (f"{len(found)} {NO_KEY} (first: batch {batch}, head {head}, query {query}): {outcome}",)
