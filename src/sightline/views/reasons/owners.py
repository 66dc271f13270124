"""Which batch row and head of a mask is meant where one of them is looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sightline.errors import InvalidArgument
from sightline.masks.arguments import as_int

if TYPE_CHECKING:
    from sightline.masks.mask import Mask

__all__ = ["one_of", "owner_of"]


def owner_of(mask: Mask, batch: int, head: int) -> tuple[int, int]:
    """Return the (batch row, head) to ask a mask for; 0 on an axis that it does not tell apart.

    >>> import sightline as sl
    >>> owner_of(sl.padding(lengths=[3, 2]), batch=1, head=7)
    (1, 0)

    Raises:
        InvalidArgument: a negative one, or one that the mask does not have.
    """
    rows = one_of(batch, "batch", mask.batch, "batch rows")
    return rows, one_of(head, "head", mask.heads, "heads")


def one_of(index: int, name: str, count: int, what: str) -> int:
    """Return the index of one of ``count`` batch rows or heads; 0 where one serves all."""
    index = as_int(index, f"{name}=", least=0, error=InvalidArgument)
    if count == 1:
        return 0
    if index >= count:
        raise InvalidArgument(
            f"{name}= must be from 0 to {count - 1}, as the mask has {count} {what}, got {index}."
        )
    return index
