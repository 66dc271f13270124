"""Masks by number: what stands for a mask where only numbers can go, such as a compiled graph.

Each mask gets the next number when it is made; none is given twice in a process, so that a number
never comes to mean another mask. A mask that is gone takes its number with it.
"""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from sightline.errors import InvalidMask

if TYPE_CHECKING:
    from sightline.masks.mask import Mask

_NEXT = count(1)
_ALIVE: WeakValueDictionary[int, Mask] = WeakValueDictionary()


def enter(mask: Mask) -> int:
    """Return a number for a mask that is being made."""
    number = next(_NEXT)
    _ALIVE[number] = mask
    return number


def mask_of(number: int) -> Mask:
    """Return the mask with that number.

    Raises:
        InvalidMask: it is gone, or never was.

    >>> import sightline as sl
    >>> mask = sl.causal()
    >>> mask_of(mask.number) is mask
    True
    """
    found = _ALIVE.get(number)
    if found is None:
        raise InvalidMask(
            f"got the number {number} of a mask that is gone; wanted one that is still there. Keep "
            "the mask for as long as what was compiled or differentiated with it is used."
        )
    return found
