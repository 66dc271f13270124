"""Prefix language models: a prefix that all may see, causal after it; one length for each row."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sightline.masks.data import prefix_lm
from sightline.recognize.region import BEYOND

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sightline.masks.mask import Mask
    from sightline.recognize.region import Region

    Ints = NDArray[np.int64]


def _least(need: Region) -> Ints:
    """Return the shortest prefix of each batch row that shows what lies after the query."""
    ahead = need.last > need.canvas.query
    return np.where(ahead, need.last + 1, 0).max(axis=1)


def _most(avoid: Region) -> Ints | None:
    """Return the longest prefix of each row; None if something causal is to be avoided."""
    if (avoid.first <= avoid.canvas.query).any():
        return None
    return np.minimum(avoid.first.min(axis=1), avoid.canvas.kv_len)


def above(need: Region) -> list[Mask]:
    """The least prefixes."""
    least = _least(need)
    return _masks(least) if least.any() and least.min() < need.canvas.kv_len else []


def below(avoid: Region) -> list[Mask]:
    """The longest prefixes."""
    most = _most(avoid)
    return _masks(most) if most is not None and most.any() else []


def between(need: Region, avoid: Region) -> list[Mask]:
    """One length for all batch rows if there is one, else the least of each."""
    least, most = _least(need), _most(avoid)
    if most is None or not least.any() or (least > most).any():
        return []
    common = int(least.max())
    return _masks(np.full_like(least, common) if common <= most.min() else least)


def _masks(lengths: Ints) -> list[Mask]:
    if (lengths >= BEYOND).any():
        return []
    alike = (lengths == lengths[0]).all()
    return [prefix_lm(int(lengths[0]) if alike else lengths)]
