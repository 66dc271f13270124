"""Learning rates as a share of the greatest one: up in a straight line, then down."""

from __future__ import annotations

import math

from sightline.errors import InvalidArgument

__all__ = ["DECAYS", "check_decay", "share_of_peak"]

DECAYS = ("cosine", "inverse-root")


def check_decay(decay: str) -> None:
    """Refuse a word that is none of ``DECAYS``.

    Raises:
        InvalidArgument: another word.
    """
    if decay not in DECAYS:
        raise InvalidArgument(f"got decay={decay!r}; wanted {' or '.join(map(repr, DECAYS))}.")


def share_of_peak(step: int, *, warmup: int, steps: int, decay: str) -> float:
    """Return the rate of update number ``step`` (from 1) as a share of the greatest, 0 to 1.

    Args:
        step: the update.
        warmup: updates until the rate is at its peak.
        steps: updates in all.
        decay: how it falls: "cosine" along half a wave to 0 at the last update (Loshchilov and
            Hutter 2017, equation 5, without restarts), or with the "inverse-root" of the step
            (Vaswani et al. 2017, section 5.3), which goes on for ever.

    >>> [share_of_peak(step, warmup=10, steps=30, decay="cosine") for step in (5, 10, 30)]
    [0.5, 1.0, 0.0]
    >>> share_of_peak(40, warmup=10, steps=30, decay="inverse-root")
    0.5
    """
    if step <= warmup:
        return step / warmup
    if decay == "inverse-root":
        return math.sqrt(warmup / step)
    passed = (step - warmup) / max(1, steps - warmup)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, passed)))
