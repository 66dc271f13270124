"""Source ``swin``: the attn_mask of shifted windows, laid out again over the whole grid.

Swin pads the grid, rolls it back by the shift, cuts it into windows and adds -100 between parts of
a window that only the roll brought together.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline.errors import InvalidArgument, ShapeMismatch
from sightline.masks.arguments import as_grid, as_per_axis
from sightline.recognize.sources.reading import (
    Bools,
    Read,
    Source,
    keywords,
    numbers,
    refuse_many_pairs,
)

SOURCE = Source(
    name="swin",
    reads="attn_mask [windows, N, N] of 0 and -100 (None without a shift), or a dict with it",
    true_means="floats are added to the scores: 0 may attend",
    options=("grid", "window", "shift"),
)
_WEAK = -1e4


def read(given: object, grid: Any = None, window: Any = None, shift: Any = 0) -> Read:
    """Read the mask of one block; tokens keep their numbers on the grid, row by row.

    >>> read({"attn_mask": None}, grid=(1, 4), window=(1, 2)).allowed[0, 0].astype(int)
    array([[1, 1, 0, 0],
           [1, 1, 0, 0],
           [0, 0, 1, 1],
           [0, 0, 1, 1]])
    """
    call = keywords({"attn_mask": None} if given is None else given, SOURCE.name, ("attn_mask",))
    if grid is None or window is None:
        raise InvalidArgument(
            "got no grid or no window for swin; wanted both, such as grid=(56, 56), window=7, "
            "shift=3: the mask does not tell where its windows lie."
        )
    sizes = as_grid(grid, "grid", dimensions=(2, 3))
    windows = as_per_axis(window, "window", len(sizes), least=1)
    shifts = as_per_axis(shift, "shift", len(sizes), least=0)
    counts = tuple(-(-n // w) for n, w in zip(sizes, windows, strict=True))
    refuse_many_pairs(prod(sizes), prod(sizes))
    inside = _inside(call["attn_mask"], prod(counts), prod(windows))
    room, place = _places(sizes, windows, shifts, counts)
    allowed = room[:, None] == room
    if inside is not None:
        allowed &= inside[0][room[:, None], place[:, None], place]
    evidence = (
        f"{_times(counts)} windows of {_times(windows)} tokens, rolled back by "
        f"{_times(shifts)}; tokens of different windows never meet",
    )
    warnings = () if inside is None else inside[1]
    if any(n % w for n, w in zip(sizes, windows, strict=True)):
        warnings += (
            "the grid is no multiple of the window: Swin pads it with zeros at its end, and tokens "
            "attend to that padding, which is not shown here",
        )
    return Read(allowed[None, None], evidence, 0, warnings, "additive")


def _inside(mask: Any, count: int, tokens: int) -> tuple[Bools, tuple[str, ...]] | None:
    """Return what the mask allows inside each window, and a warning; None if there is no mask."""
    if mask is None:
        return None
    array = numbers(mask, "attn_mask", (3,))
    if array.shape != (count, tokens, tokens):
        raise ShapeMismatch(
            f"got attn_mask of shape {list(array.shape)} for swin; wanted "
            f"{[count, tokens, tokens]} for this grid and window."
        )
    constants = np.unique(array[array != 0])
    if array.dtype.kind != "f" or len(constants) > 1 or (constants > -10).any():
        raise InvalidArgument(
            f"got attn_mask of {array.dtype} with {[0, *constants.tolist()[:4]]} for swin; wanted "
            "floats of 0 and one constant, which is -100."
        )
    if len(constants) and constants[0] > _WEAK:
        weak = (
            f"{constants[0]:g} is added and not -inf: a key with a score higher by that much gets "
            "through; read as forbidden",
        )
        return array == 0, weak
    return array == 0, ()


def _places(
    sizes: tuple[int, ...],
    windows: tuple[int, ...],
    shifts: tuple[int, ...],
    counts: tuple[int, ...],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the window of each token and its place in the window, both ``[tokens]``."""
    at = np.unravel_index(np.arange(prod(sizes)), sizes)
    rolled = [
        (axis - shift) % (count * window)
        for axis, shift, count, window in zip(at, shifts, counts, windows, strict=True)
    ]
    parts = [np.divmod(axis, window) for axis, window in zip(rolled, windows, strict=True)]
    room = np.ravel_multi_index([part[0] for part in parts], counts)
    return room, np.ravel_multi_index([part[1] for part in parts], windows)


def _times(sizes: tuple[int, ...]) -> str:
    return " x ".join(map(str, sizes))
