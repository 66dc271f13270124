"""The cells of the map as small numbers that a palette turns into colors, for one mask or two.

What each number means stands here once; the colors are palette.py's, the counting is look.py's.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sightline.masks.bounds import EMPTY, FULL
from sightline.masks.mask import Mask
from sightline.views.atlas.look import Look, View, look

__all__ = ["BOTH_WAYS", "FIRST_ONLY", "SECOND_ONLY", "SHADES", "compared", "shades"]

# 0 is forbidden, 1 .. SHADES - 1 are more and more of a cell, SHADES is all of it.
SHADES = 32
# Where two masks are compared, a shade is of what both allow, and these are where they differ:
# somewhere in the cell only the first allows, only the second, or one here and the other there.
FIRST_ONLY, SECOND_ONLY, BOTH_WAYS = SHADES + 1, SHADES + 2, SHADES + 3


def shades(seen: Look) -> NDArray[np.uint8]:
    """Return the shade of each cell; only EMPTY is 0, only FULL is SHADES.

    >>> import sightline as sl
    >>> shades(look(sl.causal(), View(0, 8, 0, 8, rows=2, columns=2))).tolist()
    [[20, 0], [32, 20]]
    """
    partial = np.clip(np.rint(seen.share * SHADES), 1, SHADES - 1).astype(np.uint8)
    return np.select(
        [seen.state == EMPTY, seen.state == FULL], [np.uint8(0), np.uint8(SHADES)], partial
    ).astype(np.uint8)


def compared(
    first: Mask, second: Mask, view: View, seconds: float
) -> tuple[Look, NDArray[np.uint8], NDArray[np.bool_]]:
    """Return what both allow, the number of each cell, and where both are known exactly.

    >>> import sightline as sl
    >>> _, cells, _ = compared(sl.causal(), sl.everything(), View(0, 2, 0, 2), 1.0)
    >>> cells.tolist()
    [[32, 34], [32, 32]]
    """
    both, only_first, only_second = (
        look(mask, view, seconds=seconds / 3)
        for mask in (first & second, first & ~second, second & ~first)
    )
    cells = shades(both)
    one, other = _somewhere(only_first), _somewhere(only_second)
    cells[one] = FIRST_ONLY
    cells[other] = SECOND_ONLY
    cells[one & other] = BOTH_WAYS
    return both, cells, both.sure & only_first.sure & only_second.sure


def _somewhere(seen: Look) -> NDArray[np.bool_]:
    """Where a pair is allowed, or was found in the sample; not where nothing was found yet."""
    return (seen.state != EMPTY) & (seen.sure | (seen.share > 0))
