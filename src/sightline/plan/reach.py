"""Who can influence whom after several layers of self-attention.

Reads the arguments and chooses: a formula that holds for every length (reach_forms.py), or else
the layers one after the other at a shape (relations.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any, cast

from sightline.errors import InvalidArgument
from sightline.masks.arguments import as_int, mask_wanted
from sightline.masks.heads import any_head
from sightline.masks.mask import Mask
from sightline.masks.nodes import common_size
from sightline.plan.reach_forms import Stack, closed_form, with_own
from sightline.plan.relations import Relation, after, power, relation_at


def reach(
    mask: Mask | Sequence[Mask],
    layers: int | None = None,
    q_len: int | None = None,
    *,
    residual: bool = True,
    mix_heads: bool = True,
) -> Mask:
    """Return who can influence whom after that many layers of self-attention.

    In one layer information flows from key to query where the mask allows it. The result allows
    (q, k) iff the output at q after all layers can depend on the input at k, by way of positions
    0 .. q_len - 1. Batch rows never meet. Heads do: after every layer an output projection mixes
    them, so that what any head sees is seen.

    Where a formula holds for every length, it is returned and ``q_len`` is not needed: windows
    add up; documents, chunks, causal masks and whatever else is transitive stay as they are. At a
    shape, rows that are one run of keys around their own position stay runs (``intervals``), at a
    million positions too; anything else is followed pair by pair and becomes ``dense``.

    Args:
        mask: who may see whom in every layer; or one mask for each layer, from the first (next to
            the input) to the last.
        layers: the number of layers, at least 0; with a sequence of masks None or their number.
        q_len: the number of positions; the result speaks of these only. Not needed for formulas.
        residual: every position also keeps what it had, as a residual connection does. Without
            it only what comes by way of keys is followed: that the weights of a position depend
            on its own query vector is not counted.
        mix_heads: what one head sees, all of them know in the next layer, as in a Transformer. If
            False, every head reads only what the same head wrote, and the result has heads.

    Raises:
        InvalidArgument: no mask; a number of layers that is missing, negative or not that of the
            masks; ``q_len`` missing where there is no formula, or too large to go pair by pair.
        ShapeMismatch: layers of different numbers of batch rows or heads; ``q_len`` beyond the
            array of a ``dense`` mask.

    Source: the composition of relations; for windows, that layers of them see as far as their
    lengths together (Jiang et al. 2023, "Mistral 7B", section 2).

    >>> import sightline as sl
    >>> sl.reach(sl.window(left=2, right=0), layers=3) == sl.window(left=6, right=0)
    True
    >>> packed = sl.causal() & sl.documents(lengths=[3, 2])
    >>> sl.reach(packed & sl.window(left=1), layers=2, q_len=5).dense(5)[0, 0].astype(int)
    array([[1, 0, 0, 0, 0],
           [1, 1, 0, 0, 0],
           [1, 1, 1, 0, 0],
           [0, 0, 0, 1, 0],
           [0, 0, 0, 1, 1]])
    """
    stack = _stack(mask, layers, residual, mix_heads)
    length = _length(q_len, stack)
    form = closed_form(stack)
    if form is not None:
        return form
    needed = _needed(length, stack)
    known = _at(needed, stack)
    (first, times), *others = stack
    result = power(known[first], times)
    for layer, times in others:
        result = after(power(known[layer], times), result)
    return result.mask()


def reach_by_layer(
    mask: Mask | Sequence[Mask],
    layers: int | None = None,
    q_len: int | None = None,
    *,
    residual: bool = True,
    mix_heads: bool = True,
) -> list[Mask]:
    """Return who can influence whom after 1, 2, ... layers: ``reach`` of each, the last one last.

    Arguments, errors and source are those of ``reach``.

    >>> import sightline as sl
    >>> reach_by_layer(sl.window(left=2, right=0), layers=3)
    [window(left=2, right=0), window(left=4, right=0), window(left=6, right=0)]
    """
    stack = _stack(mask, layers, residual, mix_heads)
    length = _length(q_len, stack)
    # The last layer of each is the one that it adds to those below.
    prefixes = [
        [*stack[:place], (layer, done)]
        for place, (layer, times) in enumerate(stack)
        for done in range(1, times + 1)
    ]
    forms = [closed_form(prefix) for prefix in prefixes]
    if all(form is not None for form in forms):
        return cast("list[Mask]", forms)
    needed = _needed(length, stack)
    known = _at(needed, stack)
    results: list[Mask] = []
    below: Relation | None = None
    for prefix, form in zip(prefixes, forms, strict=True):
        layer = prefix[-1][0]
        below = known[layer] if below is None else after(known[layer], below)
        results.append(below.mask() if form is None else form)
    return results


# -- reading the arguments ---------------------------------------------------------------------


def _stack(mask: object, layers: object, residual: bool, mix_heads: bool) -> Stack:
    """Return the layers, each with its own position if there is a residual connection."""
    if isinstance(mask, Mask):
        if layers is None:
            raise InvalidArgument(
                "reach of one mask wants the number of layers, got layers=None; give layers=, or "
                "a list with the mask of each layer."
            )
        masks, times = [mask], _number(layers, "layers")
    else:
        masks, times = _masks(mask), 1
        if layers is not None and _number(layers, "layers") != len(masks):
            raise InvalidArgument(
                f"reach got {len(masks)} masks and layers={layers}; with one mask for each layer, "
                "leave layers out or give their number."
            )
    common_size(masks, "batch")
    common_size(masks, "heads")
    masks = [any_head(each) for each in masks] if mix_heads else masks
    masks = [with_own(each) if residual else each for each in masks]
    return [(each, count * times) for each, count in _grouped(masks) if times]


def _masks(given: object) -> list[Mask]:
    masks = list(cast("Sequence[Any]", given)) if isinstance(given, (list, tuple)) else [given]
    for each in masks:
        if not isinstance(each, Mask):
            raise InvalidArgument(
                "reach wants a mask, or a list with the mask of each layer, " + mask_wanted(each)
            )
    return cast("list[Mask]", masks)


def _grouped(masks: list[Mask]) -> Stack:
    return [(mask, len(list(alike))) for mask, alike in groupby(masks)]


def _number(value: object, name: str) -> int:
    return as_int(value, f"reach({name}=)", least=0, error=InvalidArgument)


def _length(q_len: object, stack: Stack) -> int | None:
    if q_len is None:
        return None
    length = _number(q_len, "q_len")
    for mask, _ in stack:
        mask.check_reach(length, length)
    return length


def _needed(length: int | None, stack: Stack) -> int:
    if length is None:
        masks = " then ".join(dict.fromkeys(repr(mask) for mask, _ in stack))
        raise InvalidArgument(
            f"reach knows no formula that holds for every length for {masks}, and got "
            "q_len=None; give q_len=, the number of positions."
        )
    return length


def _at(length: int, stack: Stack) -> dict[Mask, Relation]:
    """Return each mask of the layers as a relation; equal masks are looked at once."""
    return {mask: relation_at(mask, length) for mask in dict.fromkeys(m for m, _ in stack)}
