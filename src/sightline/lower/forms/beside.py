"""What a mask adds to the mask that a model applies by itself: which keys it takes away."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline.errors import CannotExpress, InvalidArgument
from sightline.lower.arguments import Asked, check_mask
from sightline.lower.forms.one_head import for_one_head
from sightline.masks.mask import Mask
from sightline.masks.padding import padding
from sightline.masks.positional import causal
from sightline.masks.text import short
from sightline.plan.compare import equivalent


@dataclass(frozen=True)
class Beside:
    """A mask beside the one that the model adds by itself, asked at one shape.

    Attributes:
        asked: the mask and its shape.
        own: the model's own mask, such as ``causal()``.
        destination: who asks, for messages.
    """

    asked: Asked
    own: Mask
    destination: str

    def valid_keys(self) -> NDArray[np.bool_]:
        """Return [batch|1, kv_len]: the keys to keep, so that own & valid is the mask exactly.

        A key is taken away if the model would show it to some query and the mask to none; if any
        choice of keys makes the two equal, this one does.

        Raises:
            CannotExpress: the mask is not the model's own, less some keys.
        """
        seen, shown = (self._seen(mask) for mask in (self.asked.mask, self.own))
        valid = (seen | ~shown)[:, 0]
        if valid.size:
            self.hold(self.own & padding(valid=valid), "of keys to take away")
        return valid

    def hold(self, made: Mask, choice: str) -> None:
        """Refuse unless ``made``, from the best choice of numbers, is the mask at this shape.

        Raises:
            CannotExpress: it is not.
        """
        asked = self.asked
        answer = equivalent(asked.mask, made, asked.q_len, asked.kv_len, q_offset=asked.q_offset)
        if answer.witness is None:
            return
        batch, _, query, key = answer.witness
        raise CannotExpress(
            destination=self.destination,
            part=short(asked.mask),
            reason=f"the model applies {short(self.own)} by itself, and no choice {choice} makes "
            f"it this mask: they differ at batch {batch}, query {query}, key {key}",
            alternative="hf.4d, which says every mask; or own=, if the model's mask is another",
        )

    def _seen(self, mask: Mask) -> NDArray[np.bool_]:
        """Return [batch|1, heads|1, kv_len]: the keys that some query may see."""
        asked = self.asked
        return ~mask.T.empty_rows(asked.kv_len, asked.q_len, 0, asked.q_offset)


def beside(asked: Asked, own: Any, destination: str) -> Beside:
    """Return the mask beside ``own``; None means ``causal()``, as in a decoder.

    Raises:
        InvalidMask: ``own`` is not a mask.
        InvalidArgument: ``own`` differs from head to head.
        CannotExpress: the mask does.
    """
    own = causal() if own is None else check_mask(own)
    if own.heads > 1:
        raise InvalidArgument(
            f"got own={short(own)}, a mask of {own.heads} heads, for {destination}; wanted the one "
            "mask that the model applies to every head."
        )
    alone = for_one_head(asked, destination, "one row of numbers serves all heads", "hf.4d")
    return Beside(alone, own, destination)
