"""Gaps key - query that repeat: dilated, and Sparse Transformer's and LogSparse's sets of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sightline.masks.periodic import dilated
from sightline.masks.sparse import log_sparse, strided

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sightline.masks.mask import Mask
    from sightline.recognize.region import Region

    Ints = NDArray[np.int64]

# Longer strides are found where the gaps themselves name them, not by trying.
MOST_STRIDE = 64
# How many of the free classes of gaps are offered.
MOST_CLASSES = 4


def _common_stride(gaps: Ints) -> int:
    """Return the longest stride by which all gaps are alike; 0 where there is only one."""
    return int(np.gcd.reduce(gaps - gaps[0])) if len(gaps) else 0


def above(need: Region) -> list[Mask]:
    """The longest stride that all gaps have in common, and the named sets of distances."""
    stride = _common_stride(need.gaps)
    found = [dilated(stride, -int(need.gaps[0]))] if stride > 1 else []
    if need.gaps[-1] <= 0:
        back = -need.gaps
        found += [strided(n) for n in _strides(back)[-1:]]
        found += [log_sparse()] * bool(((back & (back - 1)) == 0).all())
    return found


def below(avoid: Region) -> list[Mask]:
    """The classes of gaps, by the shortest strides, in which no gap is to be avoided."""
    gaps = avoid.gaps
    found: list[tuple[int, int]] = []
    for stride in range(2, min(MOST_STRIDE, avoid.canvas.positions) + 1):
        free = np.setdiff1d(np.arange(stride), gaps % stride)
        for residue in free.tolist():
            if not any(stride % n == 0 and residue % n == r for n, r in found):
                found.append((stride, residue))
        if len(found) >= MOST_CLASSES:
            break
    return [dilated(stride, -residue) for stride, residue in found[:MOST_CLASSES]]


def between(need: Region, avoid: Region) -> list[Mask]:
    """The shortest stride that tells the gaps apart; then the named sets."""
    gaps, others = need.gaps, avoid.gaps
    stride = _common_stride(gaps)
    if not len(gaps):
        return []
    # A stride as long as the picture would show a single diagonal, which is a window.
    longest = stride or min(MOST_STRIDE, max(need.canvas.q_len, need.canvas.kv_len) - 1)
    tried = [n for n in range(2, longest + 1) if stride % n == 0] if longest < 2**16 else []
    fitting = [n for n in tried if not ((others - gaps[0]) % n == 0).any()]
    without_phase = [n for n in fitting if gaps[0] % n == 0]
    found = [dilated(n, -int(gaps[0])) for n in dict.fromkeys(fitting[:1] + without_phase[:1])]
    if gaps[-1] <= 0 and len(others):
        back, forbidden = -gaps, -others
        fits = [n for n in _strides(back) if not _in_strided(forbidden, n).any()]
        found += [strided(n) for n in fits[:1]]
        near = (forbidden >= 0) & ((forbidden & (forbidden - 1)) == 0)
        if not near.any() and ((back & (back - 1)) == 0).all():
            found.append(log_sparse())
    return found


def _strides(back: Ints) -> list[int]:
    """Return the strides n, from 2 on, of which ``strided(n)`` shows all these distances."""
    most = int(back.max(initial=0))
    return [n for n in range(2, min(MOST_STRIDE, most // 2) + 1) if _in_strided(back, n).all()]


def _in_strided(back: Ints, stride: int) -> np.ndarray:
    return (back >= 0) & ((back <= stride) | (back % stride == 0))
