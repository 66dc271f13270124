"""The mask of one head, and of all heads together."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

from sightline.masks.arrays import Data
from sightline.masks.explicit import Dense, PerRow
from sightline.masks.key_intervals import Intervals
from sightline.masks.mask import Mask
from sightline.masks.moves import Shifted, Transposed
from sightline.masks.nodes import And, Not, Or, Wrapper, all_of, any_of
from sightline.masks.opaque import Predicate

if TYPE_CHECKING:
    from collections.abc import Callable


def any_head(mask: Mask) -> Mask:
    """Return the mask of what at least one head allows: the same for all heads.

    >>> import sightline as sl
    >>> any_head(sl.per_head([sl.window(left=1, right=0), sl.window(left=0, right=2)]))
    window(left=1, right=2)
    """
    if mask.heads == 1:
        return mask
    return any_of(at_head(mask, head) for head in range(mask.heads))


def at_head(mask: Mask, head: int) -> Mask:
    """Return what a mask allows one head, as a mask that is the same for all heads."""
    if mask.heads == 1:
        return mask
    if isinstance(mask, And):
        return all_of(at_head(part, head) for part in mask.parts)
    if isinstance(mask, Or):
        return any_of(at_head(part, head) for part in mask.parts)
    if isinstance(mask, Wrapper):
        return _wrapped(mask, at_head(mask.part, head))
    if isinstance(mask, PerRow):
        if mask.axis == "head":
            return mask.masks[head]
        return PerRow("batch", tuple(at_head(each, head) for each in mask.masks))
    if isinstance(mask, Dense):
        return Dense(Data(mask.array.array[:, head : head + 1]))
    if isinstance(mask, Intervals):
        one = slice(head, head + 1)
        return Intervals(Data(mask.start.array[:, one]), Data(mask.end.array[:, one]))
    if isinstance(mask, Predicate):
        bounds = None if mask.tile_bounds is None else AtHead(mask.tile_bounds, head)
        return replace(mask, fn=AtHead(mask.fn, head), tile_bounds=bounds, head_count=None)
    raise TypeError(f"{type(mask).__name__} tells heads apart in a way that is not known here")


def _wrapped(mask: Wrapper, part: Mask) -> Mask:
    """Return the wrapper of another part."""
    if isinstance(mask, Not):
        return part.complement()
    if isinstance(mask, Transposed):
        return part.transposed()
    if isinstance(mask, Shifted):
        return part.shift(mask.rows_down, mask.columns_right)
    return replace(cast("Any", mask), part=part)  # a cache's, which no law touches


@dataclass(frozen=True)
class AtHead:
    """A function of (batch, head, ...) with the head filled in; equal for equal functions."""

    fn: Callable[..., Any]
    head: int

    def __call__(self, b: Any, h: Any, q: Any, *others: Any) -> Any:
        """Ask the function about that head; ``h`` is not looked at."""
        return self.fn(b, q * 0 + self.head, q, *others)
