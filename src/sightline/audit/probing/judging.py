"""Did an output move, and if so, is it a leak or rounding?

Where kernels do the same work on the same numbers, what must not matter changes no bit, so any
change at all is suspicious. Rounding shows in that it shrinks with the precision; a leak does not.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sightline.audit.probing.subject import Outputs

Bools = NDArray[np.bool_]
Verdict = Literal["still", "leak", "drift", "unclear"]

# Beyond this part of the output's size no rounding reaches, even after a change of the inputs
# that is many times as large as the inputs.
SURE = {"float64": 1e-7, "float32": 1e-2}
# Where only one precision can be had: below this a change may be rounding.
UNSURE = {"float64": 1e-10, "float32": 1e-4}
# Some hundred units in the last place. Vectorised exponentials round a number by what stands beside
# it, so that this much crosses over without any path; and float32 may hit none of it by chance.
LAST_PLACES = {"float64": 1e-13, "float32": 1e-6}
# float64 is 2**29 times as fine as float32; a leak is as large in both.
FINER = 1e3


def sequences(outputs: Outputs, batch: int, lengths: set[int]) -> Outputs:
    """Return the outputs that are sequences: ``[batch, length, ...]`` of numbers."""
    return {
        name: array
        for name, array in outputs.items()
        if array.ndim >= 2
        and array.dtype.kind in "fiub"
        and array.shape[0] == batch
        and array.shape[1] in lengths
    }


def moved(base: NDArray, other: NDArray) -> Bools:
    """Return bool ``[batch, length]``: where anything differs; NaN equals NaN."""
    same = (base == other) | (_nan(base) & _nan(other))
    return ~same.reshape(*base.shape[:2], -1).all(axis=-1)


def size_of_change(base: NDArray, other: NDArray, where: Bools) -> float:
    """Return the largest change where asked, as a part of the output's root mean square.

    A change to or from NaN or infinity is infinitely large.
    """
    if not where.any():
        return 0.0
    before, after = (array[where].astype(np.float64) for array in (base, other))
    gap = np.abs(np.where(before == after, 0.0, after - before))
    if not np.isfinite(gap).all():
        both = _nan(before) & _nan(after)
        return (
            0.0 if np.isfinite(gap[~both]).all() and both.any() and not gap[~both].any() else np.inf
        )
    finite = base[np.isfinite(base)].astype(np.float64) if base.dtype.kind == "f" else base
    scale = float(np.sqrt(np.mean(np.square(finite, dtype=np.float64)))) if finite.size else 0.0
    return float(gap.max() / scale) if scale else float("inf") if gap.any() else 0.0


def verdict(size: float, dtype: str, coarse: float | None) -> Verdict:
    """Say what a change is.

    Args:
        size: how large, as ``size_of_change`` gives it.
        dtype: the numbers of the run; unknown ones count as float64.
        coarse: how large the same change is in float32, if that could be run.
    """
    if size == 0.0:
        return "still"
    if size < LAST_PLACES.get(dtype, LAST_PLACES["float64"]):
        return "drift"
    if size > SURE.get(dtype, SURE["float64"]):
        return "leak"
    if coarse is not None and dtype == "float64":
        return "drift" if coarse > FINER * size else "leak"
    return "unclear" if size > UNSURE.get(dtype, UNSURE["float64"]) else "drift"


def _nan(array: NDArray) -> Bools:
    return np.isnan(array) if array.dtype.kind == "f" else np.zeros(array.shape, dtype=bool)
