"""Destination ``swin``: the masks of shifted windows, one for each window, added to the scores.

Swin rolls the grid, cuts it into windows and attends within each; a mask for each window keeps
apart what the roll brought together.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline.errors import CannotExpress, InvalidArgument
from sightline.lower.arguments import Asked
from sightline.lower.destinations import Destination
from sightline.lower.forms.one_head import for_one_head
from sightline.masks.grid import ShiftedWindow

DESTINATION = Destination(
    name="swin",
    gives="the keyword attn_mask: floats [windows, tokens, tokens] to add within each window of "
    "the rolled grid: 0, or -100 as Swin has it (constant=-np.inf for a hard mask)",
    expresses="every mask that allows no pair of different windows; grid=, window= and shift= are "
    "read off a shifted_window if the mask is one",
    refuses="pairs of different windows, heads or batch rows that differ, empty rows, grids that "
    "are no whole number of windows (Swin pads those)",
    in_principle="the same; batch rows could differ if windows * batch masks were given, which no "
    "Swin takes",
    options=("grid", "window", "shift", "constant"),
)
_ALTERNATIVE = "sl.attend(query, key, value, mask)"


def translate(
    asked: Asked,
    grid: Sequence[int] | None = None,
    window: Sequence[int] | int | None = None,
    shift: Sequence[int] | int | None = None,
    constant: float = -100.0,
) -> dict[str, Any]:
    """Return ``{"attn_mask": float32 [windows, tokens, tokens]}``, in Swin's order of windows.

    The constant of Swin is soft: a score that is more than 100 above the others still shows
    through. Trained weights expect it; ``constant=-np.inf`` forbids.

    Args:
        asked: the mask and its shape: all tokens of the grid, row by row.
        grid: rows and columns (or more axes) of tokens.
        window: tokens along a window's sides.
        shift: by how much the grid is rolled before it is cut.
        constant: what is added where a token may not attend.

    Raises:
        CannotExpress: see ``refuses``.
        InvalidArgument: grid, window or shift is missing or does not fit.

    Source: Liu et al. 2021, "Swin Transformer", section 3.2 and figure 4, and the authors' code.

    >>> import sightline as sl
    >>> mask = sl.shifted_window((4, 4), window=2, shift=1)
    >>> made = sl.lower(mask, to="swin", q_len=16)["attn_mask"]
    >>> made.shape, made[1, 0]
    ((4, 4, 4), array([   0., -100.,    0., -100.], dtype=float32))
    """
    if not constant < 0:
        raise InvalidArgument(
            f"got constant={constant!r} for swin; wanted a negative number such as -100 or -inf."
        )
    sides = _sides(asked, grid, window, shift)
    tokens = tokens_of_windows(*sides)
    _refuse_other_lengths(asked, tokens.size)
    allowed = _pairs(asked)
    within = allowed[tokens[:, :, None], tokens[:, None, :]]
    _refuse_pairs_across(allowed, within, tokens)
    asked.refuse_empty_rows(
        DESTINATION.name,
        reason="the same number on a whole row cancels in softmax, which gives a mean of values",
    )
    return {"attn_mask": np.where(within, np.float32(0), np.float32(constant))}


def tokens_of_windows(
    grid: tuple[int, ...], window: tuple[int, ...], shift: tuple[int, ...]
) -> NDArray[np.int64]:
    """Return [windows, tokens]: which token stands where, after the roll by -shift and the cut."""
    numbers = np.arange(math.prod(grid)).reshape(grid)
    rolled = np.roll(numbers, [-step for step in shift], axis=range(len(grid)))
    split = [part for n, w in zip(grid, window, strict=True) for part in (n // w, w)]
    axes = [*range(0, len(split), 2), *range(1, len(split), 2)]
    return rolled.reshape(split).transpose(axes).reshape(-1, math.prod(window))


def _sides(asked: Asked, grid: Any, window: Any, shift: Any) -> tuple[tuple[int, ...], ...]:
    """Return grid, window and shift, one number for each axis, given or read off the mask."""
    if grid is None and window is None and shift is None and isinstance(asked.mask, ShiftedWindow):
        sides = asked.mask.grid, asked.mask.window, asked.mask.shift_by
    elif grid is None or window is None:
        raise InvalidArgument(
            f"got grid={grid!r}, window={window!r} for swin and a mask that is no shifted_window; "
            "wanted both, such as grid=(56, 56), window=7, shift=3."
        )
    else:
        axes = len(grid)
        each = (grid, window, 0 if shift is None else shift)
        sides = tuple((s,) * axes if isinstance(s, int) else tuple(s) for s in each)
    fits = len({len(side) for side in sides}) == 1 and all(
        n > 0 and w > 0 and 0 <= s < w for n, w, s in zip(*sides, strict=True)
    )
    if not fits:
        raise InvalidArgument(
            f"got grid={sides[0]}, window={sides[1]}, shift={sides[2]} for swin; wanted as many "
            "numbers in each, windows of at least 1 and shifts from 0 to below the window."
        )
    if any(n % w for n, w in zip(*sides[:2], strict=True)):
        raise CannotExpress(
            destination=DESTINATION.name,
            part=f"a grid of {sides[0]} in windows of {sides[1]}",
            reason="Swin pads such a grid with tokens that this mask does not know",
            alternative=f"the mask of the padded grid, or {_ALTERNATIVE}",
        )
    return sides


def _refuse_other_lengths(asked: Asked, tokens: int) -> None:
    if asked.q_offset or (asked.q_len, asked.kv_len) != (tokens, tokens):
        raise CannotExpress(
            destination=DESTINATION.name,
            part=asked.lengths,
            reason=f"the grid has {tokens} tokens, and each is a query and a key",
            alternative=_ALTERNATIVE,
        )


def _pairs(asked: Asked) -> NDArray[np.bool_]:
    """Return [tokens, tokens], if that is all the mask says."""
    alone = for_one_head(
        asked, DESTINATION.name, "Swin adds the same masks for every head", _ALTERNATIVE
    )
    differ = np.argwhere((alone.dense != alone.dense[:1]).any((1, 2, 3)))
    if len(differ):
        raise CannotExpress(
            destination=DESTINATION.name,
            part=f"batch rows that differ (row {differ[0, 0]} from row 0)",
            reason="Swin adds the same masks for every image",
            alternative=_ALTERNATIVE,
        )
    return alone.dense[0, 0]


def _refuse_pairs_across(
    allowed: NDArray[np.bool_], within: NDArray[np.bool_], tokens: NDArray[np.int64]
) -> None:
    if np.count_nonzero(allowed) == np.count_nonzero(within):
        return
    window_of = np.empty(tokens.size, dtype=np.int64)
    window_of[tokens] = np.arange(len(tokens))[:, None]
    query, key = np.argwhere(allowed & (window_of[:, None] != window_of))[0].tolist()
    raise CannotExpress(
        destination=DESTINATION.name,
        part=f"query {query} that may see key {key}",
        reason="they lie in different windows, and Swin attends within windows only",
        alternative=f"{_ALTERNATIVE}, or the right grid=, window= and shift=",
    )
