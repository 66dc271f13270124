"""Who can influence whom after several layers, where a formula says it for every length.

One rule, one function, one theorem. All of them rest on this: where a key k reaches a query q, it
does so by way of positions that lie between the two or are one of them. Hence it makes no
difference how long the sequence is, and none where it ends. reach.py has what is left over.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Flag

from sightline.errors import InvalidArgument
from sightline.masks.arguments import LARGEST_POSITION
from sightline.masks.block_sparse import BlockDiffusion
from sightline.masks.data import PrefixLM, Segments
from sightline.masks.explicit import PerRow
from sightline.masks.grid import Axial, ShiftedWindow
from sightline.masks.mask import Mask
from sightline.masks.moves import Transposed
from sightline.masks.nodes import And, Everything, Nothing, Or
from sightline.masks.orders import Permutation, Tree
from sightline.masks.padding import Padding, ValidKeys
from sightline.masks.periodic import BlockCausal, Chunks, Dilated
from sightline.masks.positional import Band, Positions, window_of
from sightline.masks.rewrite import implied
from sightline.masks.sparse import Fixed, LogSparse, Strided

# Masks with the number of times that each stands in a row, from the first layer to the last.
Stack = Sequence[tuple[Mask, int]]

# Every position sees itself and nothing else.
IDENTITY = window_of(0, 0)


class Known(Flag):
    """What is known of a mask as a relation; what is not known is not set."""

    NOTHING = 0
    # q sees m and m sees k => q sees k
    TRANSITIVE = 1
    # every q sees q
    REFLEXIVE = 2
    # q sees k => q sees q
    SEER_SEES_ITSELF = 4
    # q sees k => k sees k
    SEEN_SEES_ITSELF = 8


SEES_ITSELF = Known.SEER_SEES_ITSELF | Known.SEEN_SEES_ITSELF
# A preorder on the positions of the data; those beyond see nothing.
PREORDER_OF_DATA = Known.TRANSITIVE | SEES_ITSELF
REFLEXIVE = Known.REFLEXIVE | SEES_ITSELF
PREORDER = Known.TRANSITIVE | REFLEXIVE
KEYS_ONLY = Known.TRANSITIVE | Known.SEEN_SEES_ITSELF

ALWAYS: dict[type[Mask], Known] = {
    Everything: PREORDER,
    Nothing: PREORDER_OF_DATA,
    Chunks: PREORDER,
    BlockCausal: PREORDER,
    PrefixLM: PREORDER,
    Segments: PREORDER_OF_DATA,
    Tree: PREORDER_OF_DATA,
    Axial: PREORDER_OF_DATA,
    ShiftedWindow: PREORDER_OF_DATA,
    BlockDiffusion: PREORDER_OF_DATA,
    Padding: KEYS_ONLY,
    ValidKeys: KEYS_ONLY,
    LogSparse: REFLEXIVE,
    Strided: REFLEXIVE,
    Fixed: REFLEXIVE,
}


def known(mask: Mask) -> Known:
    """Return what is known of a mask.

    All four hold of a conjunction if they hold of each part, and of a mask that differs from
    batch row to batch row (or head) if they hold of each.
    """
    if isinstance(mask, And):
        return _of_all(mask.parts)
    if isinstance(mask, PerRow):
        return _of_all(mask.masks)
    if isinstance(mask, Or):
        return _known_of_or(mask)
    if isinstance(mask, Transposed):
        return _swapped(known(mask.part))
    if isinstance(mask, Band):
        return _known_of_band(mask)
    if isinstance(mask, Positions):
        return KEYS_ONLY if mask.axis == "key" else _swapped(KEYS_ONLY)
    if isinstance(mask, Permutation):
        return PREORDER_OF_DATA if mask.stream == "content" else Known.TRANSITIVE
    if isinstance(mask, Dilated):
        return Known.NOTHING if mask.phase else PREORDER
    return ALWAYS.get(type(mask), Known.NOTHING)


def _of_all(masks: Sequence[Mask]) -> Known:
    found = PREORDER
    for mask in masks:
        found &= known(mask)
    return found


def _known_of_or(mask: Or) -> Known:
    """``a | b`` is reflexive if a is; ``a | window(0, 0)`` is transitive if a is."""
    if not any(Known.REFLEXIVE in known(part) for part in mask.parts):
        return Known.NOTHING
    rest = [part for part in mask.parts if part != IDENTITY]
    if len(rest) == 1 and Known.TRANSITIVE in known(rest[0]):
        return PREORDER
    return REFLEXIVE


def _known_of_band(mask: Band) -> Known:
    """Gaps before (or after) a limit stay so when added, if 0 is at the limit or beyond it."""
    low, high = mask.ends()
    past = low is None and high is not None and high <= 0
    future = high is None and low is not None and low >= 0
    transitive = mask == IDENTITY or (len(mask.gaps.array) == 1 and (past or future))
    found = Known.TRANSITIVE if transitive else Known.NOTHING
    start, stop = mask.gaps.array.T
    reflexive = bool(((start <= 0) & (stop > 0)).any())
    return found | REFLEXIVE if reflexive else found


def _swapped(found: Known) -> Known:
    """``.T`` turns who sees into who is seen."""
    if found & SEES_ITSELF in (Known.SEER_SEES_ITSELF, Known.SEEN_SEES_ITSELF):
        return found ^ SEES_ITSELF
    return found


def with_own(mask: Mask) -> Mask:
    """Return the mask with each position's own key, which the residual connection carries on."""
    return mask if Known.REFLEXIVE in known(mask) else mask | IDENTITY


def closed_form(stack: Stack) -> Mask | None:
    """Return who can influence whom through a stack of layers, for every length; None if unknown.

    >>> from sightline.masks.positional import causal, window
    >>> closed_form([(window(left=2, right=0), 3), (window(left=1, right=1), 1)])
    window(left=7, right=1)
    >>> closed_form([(window(left=2, right=0), 3), (causal(), 1)])
    causal()
    """
    stack = [(mask, times) for mask, times in stack if times and mask != IDENTITY]
    if not stack:
        return IDENTITY
    if any(mask == Nothing() for mask, _ in stack):
        return Nothing()
    if len(stack) == 1 and stack[0][1] == 1:
        return stack[0][0]
    for rule in (added_bands, one_over_all, same_again):
        found = rule(stack)
        if found is not None:
            return found
    return None


def added_bands(stack: Stack) -> Mask | None:
    """Gaps add up: ``window(a, b)`` then ``window(c, d)`` is ``window(a + c, b + d)``.

    For bands of one interval of gaps, if all of them hold the gap 0, or none a gap after 0, or
    none a gap before 0. Then whatever gap the ends add up to can be walked without turning back,
    so that every stop on the way lies between key and query, within any sequence that has both.
    """
    lows: list[int | None] = []
    highs: list[int | None] = []
    for mask, times in stack:
        if not isinstance(mask, Band) or len(mask.gaps.array) > 1:
            return None
        low, high = mask.ends()
        lows.append(None if low is None else low * times)
        highs.append(None if high is None else high * times)
    some_before = [low is None or low <= 0 for low in lows]
    some_after = [high is None or high >= 0 for high in highs]
    around = all(some_before) and all(some_after)
    backward = all(high is not None and high <= 0 for high in highs)
    forward = all(low is not None and low >= 0 for low in lows)
    if not (around or backward or forward):
        return None
    return window_of(_sum(lows), _sum(highs))


def _sum(distances: list[int | None]) -> int | None:
    finite = [distance for distance in distances if distance is not None]
    if len(finite) < len(distances):
        return None
    total = sum(finite)
    if abs(total) > LARGEST_POSITION:
        raise InvalidArgument(
            f"the windows of all layers add up to a distance of {abs(total)}, wanted at most "
            f"{LARGEST_POSITION}; make them unbounded (None), or give fewer layers."
        )
    return total


def one_over_all(stack: Stack) -> Mask | None:
    """If all layers are reflexive and one of them, P, is transitive and holds all others: P.

    Each layer can pass on what it got, so that nothing of P is lost; a walk through layers within
    P is a walk through P, which P allows in one step.
    """
    masks = list(dict.fromkeys(mask for mask, _ in stack))
    if not all(Known.REFLEXIVE in known(mask) for mask in masks):
        return None
    for largest in masks:
        if Known.TRANSITIVE in known(largest) and all(
            implied(largest, mask.parts if isinstance(mask, And) else [mask]) for mask in masks
        ):
            return largest
    return None


def same_again(stack: Stack) -> Mask | None:
    """The same transitive mask in every layer is that mask, if who sees, or is seen, sees itself.

    Transitive: many steps are no more than one. And one step is as good as many: q to k by way of
    q itself, or of k itself, as often as needed.
    """
    mask = stack[0][0]
    found = known(mask)
    if any(other != mask for other, _ in stack) or Known.TRANSITIVE not in found:
        return None
    return mask if found & SEES_ITSELF else None
