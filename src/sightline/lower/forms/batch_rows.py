"""How many batch rows the tensors have, for destinations that do not broadcast a mask of one."""

from __future__ import annotations

from typing import Any

from sightline.errors import CannotExpress, ShapeMismatch
from sightline.lower.arguments import Asked, check_length


def batch_rows(destination: str, asked: Asked, batch: Any) -> int:
    """Return the number of batch rows: what was given, or the mask's own.

    Raises:
        ShapeMismatch: the mask tells another number of batch rows apart.
    """
    own = asked.mask.batch
    if batch is None:
        return own
    batch = check_length("batch", batch)
    if own not in (1, batch):
        raise ShapeMismatch(
            f"got batch={batch} for {destination} and a mask with {own}; wanted equal sizes, or a "
            "mask that is the same for all batch rows."
        )
    return batch


def refuse_heads(destination: str, asked: Asked) -> None:
    """Refuse a mask that tells heads apart, where one form serves all of them.

    Raises:
        CannotExpress: the mask tells heads apart.
    """
    if asked.mask.heads > 1:
        raise CannotExpress(
            destination=destination,
            part=f"a mask that tells {asked.mask.heads} heads apart",
            reason="one mask serves all heads of a call",
            alternative="one call for each head, with the mask of that head alone, or "
            "sl.attend(query, key, value, mask)",
        )
