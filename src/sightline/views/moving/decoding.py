"""What happens to a cache while tokens are decoded one by one, exactly as the mask has it.

Which keys the new token sees, which are kept for later, which no later token sees: as numbers.
How frames look and move is left to frames.py.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sightline.errors import InvalidArgument
from sightline.masks.mask import Mask
from sightline.views.moving.arguments import check_row, row_of

__all__ = ["ABSENT", "GONE", "KEPT", "LAST", "SEEN", "Decoding", "Step", "follow_decoding"]

# What a key is to a step: not there yet; seen now and again later; seen now for the last time; not
# seen now but later; seen neither now nor later.
ABSENT, SEEN, LAST, KEPT, GONE = range(5)


@dataclass(frozen=True)
class Step:
    """One step: the queries that enter, and how many keys are what.

    Attributes:
        first, last: the queries of this step; of the first step all of the prompt.
        seen: keys that a query of this step sees.
        held: keys that are there, 0 .. last.
        droppable: of those, the keys that no later query sees.
    """

    first: int
    last: int
    seen: int
    held: int
    droppable: int

    @property
    def needed(self) -> int:
        """Keys that a later query sees: the least that a cache must hold after this step."""
        return self.held - self.droppable


@dataclass(frozen=True, eq=False)
class Decoding:
    """All steps of decoding ``length`` tokens.

    Attributes:
        states: uint8 ``[steps, length]``: ABSENT, SEEN, LAST, KEPT or GONE for each key.
        steps: one for the prompt, one for each token after it.
        early: allowed pairs whose key is not there yet when the query is decoded, so that decoding
            is not what one forward pass over all tokens would be.
        empty: queries that see nothing when they are decoded.
    """

    states: NDArray[np.uint8]
    steps: tuple[Step, ...]
    early: int
    empty: tuple[int, ...]


def follow_decoding(
    mask: Mask, length: int, *, prompt: int = 1, batch: int = 0, head: int = 0
) -> Decoding:
    """Return what each step sees and what it may forget.

    The first step takes the queries of the prompt together, each other step one query, against
    the keys so far. A key may be dropped after a step if no later query before ``length`` sees it.

    >>> import sightline as sl
    >>> seen = follow_decoding(sl.window(left=1, right=0), 4)
    >>> seen.states.tolist()
    [[1, 0, 0, 0], [2, 1, 0, 0], [4, 2, 1, 0], [4, 4, 2, 2]]
    >>> seen.steps[2]
    Step(first=2, last=2, seen=2, held=3, droppable=2)

    Raises:
        InvalidArgument: a prompt that is not 1 .. length tokens.
        ShapeMismatch: no such batch row or head.
    """
    if not 1 <= prompt <= length:
        raise InvalidArgument(
            f"got prompt={prompt} for {length} tokens; wanted a number from 1 to {length}."
        )
    check_row(mask, batch, head, "the mask has")
    allowed = mask.dense(length)[row_of(mask, batch, head)]
    there = np.zeros_like(allowed)  # whether a key is there when a query is decoded
    there[:prompt, :prompt] = True
    there[prompt:] = np.tri(length, dtype=np.bool_)[prompt:]
    sees = allowed & there
    # Step by step: the last query of each, what its queries see, what any later query sees.
    lasts = np.arange(prompt - 1, length)
    seen = np.concatenate([sees[:prompt].any(axis=0)[None], sees[prompt:]])
    later = np.zeros_like(seen)
    later[:-1] = np.logical_or.accumulate(seen[:0:-1], axis=0)[::-1]
    held = np.arange(length) <= lasts[:, None]
    states = np.select(
        [~held, seen & later, seen, later], [ABSENT, SEEN, LAST, KEPT], default=GONE
    ).astype(np.uint8)
    steps = [
        Step(
            first=0 if number == 0 else int(last),
            last=int(last),
            seen=int(seen[number].sum()),
            held=int(held[number].sum()),
            droppable=int((held[number] & ~later[number]).sum()),
        )
        for number, last in enumerate(lasts)
    ]
    return Decoding(
        states=states,
        steps=tuple(steps),
        early=int((allowed & ~there).sum()),
        empty=tuple(np.flatnonzero(~sees.any(axis=1)).tolist()),
    )
