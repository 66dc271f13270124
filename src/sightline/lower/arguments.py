"""What every translation is asked for, checked once: the mask, the lengths, the options.

Which form comes out is left to the file of each destination.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline.errors import (
    CannotExpress,
    InvalidMask,
    MissingExtra,
    ShapeMismatch,
)
from sightline.masks.mask import Mask


@dataclass(frozen=True)
class Asked:
    """One question to a destination: this mask at this shape.

    Attributes:
        mask: the mask to translate.
        q_len: the number of queries.
        kv_len: the number of keys.
        q_offset: the absolute position of query 0; key 0 stands at position 0.
    """

    mask: Mask
    q_len: int
    kv_len: int
    q_offset: int

    @cached_property
    def dense(self) -> NDArray[np.bool_]:
        """The mask as bools ``[batch|1, heads|1, q_len, kv_len]``; True may attend."""
        return self.mask.dense(self.q_len, self.kv_len, self.q_offset)

    @cached_property
    def empty_rows(self) -> NDArray[np.bool_]:
        """Bools ``[batch|1, heads|1, q_len]``; True where a query may see nothing."""
        return self.mask.empty_rows(self.q_len, self.kv_len, self.q_offset)

    def batch_rows(self, given: Any, destination: str) -> int:
        """Return how many batch rows the tensors have: what the caller says, or the mask's own.

        Raises:
            ShapeMismatch: the mask tells another number of batch rows apart.
        """
        own = self.mask.batch
        return own if given is None else check_axis("batch", given, own, destination)

    def name_an_empty_row(self) -> str | None:
        """Return which row is empty, as words for a message, or None if no row is."""
        found = np.argwhere(self.empty_rows)
        if not len(found):
            return None
        batch, head, query = (int(index) for index in found[0])
        return (
            f"rows that may see nothing ({len(found)} of {self.empty_rows.size}, first: "
            f"batch {batch}, head {head}, query {query})"
        )

    @property
    def lengths(self) -> str:
        """The lengths, as words for a message."""
        return f"{self.q_len} queries from position {self.q_offset} on, {self.kv_len} keys"

    def refuse_rectangle(self, destination: str, reason: str, alternative: str) -> None:
        """Refuse queries that are not the positions of the keys.

        Raises:
            CannotExpress: they are not.
        """
        if self.q_offset or self.q_len != self.kv_len:
            raise CannotExpress(
                destination=destination,
                part=self.lengths,
                reason=reason,
                alternative=alternative,
            )

    def refuse_no_pairs(self, destination: str, reason: str) -> None:
        """Refuse a call without queries or without keys.

        Raises:
            CannotExpress: there are none.
        """
        for name in ("q_len", "kv_len"):
            if getattr(self, name) == 0:
                raise CannotExpress(
                    destination=destination,
                    part=f"{name}=0",
                    reason=reason,
                    alternative="no call at all: the output is empty, or 0 where there are no keys",
                )

    def refuse_empty_rows(
        self,
        destination: str,
        reason: str,
        alternative: str = "sl.attend(query, key, value, mask), which gives 0",
    ) -> None:
        """Refuse a mask with a query that may see nothing, where the destination spoils it.

        Raises:
            CannotExpress: there is such a row.
        """
        part = self.name_an_empty_row()
        if part is not None:
            raise CannotExpress(
                destination=destination, part=part, reason=reason, alternative=alternative
            )


def check_mask(mask: object) -> Mask:
    """Return ``mask`` if it is one; say how to make one of what it is otherwise.

    Raises:
        InvalidMask: not a Mask.
    """
    if isinstance(mask, Mask):
        return mask
    if mask is None:
        raise InvalidMask(
            "got mask None; wanted a sightline mask: None means other things elsewhere. "
            "Pass sl.everything() to allow all."
        )
    if hasattr(mask, "shape") or isinstance(mask, (list, tuple)):
        raise InvalidMask(
            f"got an array ({type(mask).__name__}) as mask; wanted a sightline mask: an array does "
            'not say what True means. Pass sl.dense(array, means="attend"), "ignore" or "additive".'
        )
    raise InvalidMask(
        f"got {mask!r} ({type(mask).__name__}) as mask; wanted a sightline mask. Write one as "
        "sl.causal() & sl.padding(lengths=[5, 3]), or read text with sl.parse(text)."
    )


def check_length(name: str, value: Any) -> int:
    """Return ``value`` as an int that is not negative.

    Raises:
        ShapeMismatch: not an integer, or negative.
    """
    try:
        if isinstance(value, bool):
            raise TypeError
        # torch.compile would fix the number of a call to operator.index, and trace each anew.
        number = value if type(value) is int else operator.index(value)
    except TypeError:
        raise ShapeMismatch(
            f"got {name}={value!r}; wanted an integer of at least 0; give a length or position."
        ) from None
    if number < 0:
        raise ShapeMismatch(
            f"got {name}={number}; wanted an integer of at least 0; positions are absolute and "
            "start at 0."
        )
    return number


def check_axis(name: str, given: Any, own: int, destination: str) -> int:
    """Return the size of an axis that the caller gives, if a mask of ``own`` rows on it fits.

    Raises:
        ShapeMismatch: it does not, or is no size.
    """
    given = check_length(name, given)
    if own not in (1, given):
        raise ShapeMismatch(
            f"got {name}={given} for {destination} and a mask with {own}; wanted equal sizes, or a "
            "mask that is the same for all."
        )
    return given


def require_module(name: str, what: str, extra: str) -> ModuleType:
    """Return a module of an optional package, imported now.

    Raises:
        MissingExtra: the package is not installed.
    """
    try:
        return import_module(name)
    except ImportError as missing:
        package = name.partition(".")[0]
        raise MissingExtra(what=what, package=package, extra=extra) from missing


def require_torch(what: str) -> ModuleType:
    """Return the torch module, imported now.

    Raises:
        MissingExtra: torch is not installed.
    """
    return require_module("torch", what, extra="torch")
