"""The laws that bring an expression to canonical form: one rule, one function, one theorem.

``conjunction`` and ``disjunction`` are the only ways in which ``And`` and ``Or`` come to be, so
that structure decides ``==``, hash and text. Negation, ``.T`` and ``.shift`` are pushed down to
the atoms by the nodes themselves (De Morgan); what two atoms of a kind mean together is said by
the functions at the end for bands and positions, by data_rules.py for masks that carry data.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from sightline.masks.data_order import data_within
from sightline.masks.data_rules import meet_data
from sightline.masks.intervals import complement, union
from sightline.masks.mask import Mask
from sightline.masks.nodes import And, Atom, Everything, Nothing, Or, common_size, in_order
from sightline.masks.positional import Axis, Band, Positions, band, positions

if TYPE_CHECKING:
    from sightline.masks.intervals import Intervals

Connective = type[And] | type[Or]

# How many parts are compared with each other; beyond, an expression stays as it was written.
MOST_COMPARED = 64


def conjunction(masks: Iterable[Mask]) -> Mask:
    """Return the canonical form of ``masks[0] & masks[1] & ...``."""
    parts = flatten(masks, And)
    while True:
        parts = unique(flatten(parts, And))
        common_size(parts, "batch")
        common_size(parts, "heads")
        parts = meet_data(meet_positions(meet_bands(without(parts, Everything()))))
        if Nothing() in parts or contradicts(parts):
            return Nothing()
        decided = decide(parts)
        if decided == parts:
            break
        parts = decided
    parts = absorb(list(in_order(parts)))
    if not parts:
        return Everything()
    return And(tuple(parts)) if len(parts) > 1 else parts[0]


def disjunction(masks: Iterable[Mask]) -> Mask:
    """``a | b == ~(~a & ~b)``: every law of ``&`` is one of ``|``."""
    opposite = conjunction([mask.complement() for mask in masks])
    if not isinstance(opposite, And):
        return opposite.complement()
    return Or(in_order([part.complement() for part in opposite.parts]))


# -- laws of any Boolean algebra ---------------------------------------------------------------


def flatten(masks: Iterable[Mask], connective: Connective) -> list[Mask]:
    """``(a & b) & c == a & b & c``, and the same for ``|``."""
    parts: list[Mask] = []
    for mask in masks:
        parts.extend(mask.parts if isinstance(mask, connective) else (mask,))
    return parts


def unique(parts: list[Mask]) -> list[Mask]:
    """``a & a == a`` and ``a | a == a``."""
    return list(dict.fromkeys(parts))


def without(parts: list[Mask], neutral: Mask) -> list[Mask]:
    """``a & everything() == a`` and ``a | nothing() == a``."""
    return [part for part in parts if part != neutral]


def contradicts(parts: list[Mask]) -> bool:
    """``a & ~a == nothing()``, also where a is a compound, whose parts are spread over these."""
    present = set(parts)
    if any(isinstance(part, Atom) and part.complement() in present for part in parts):
        return True
    return any(isinstance(p, Or) and implied(p.complement(), parts) for p in few(parts))


def decide(parts: list[Mask]) -> list[Mask]:
    """``a & (a | b) == a`` and ``a & (~a | b) == a & b``: settle an Or by what stands beside it."""
    return [decided_by(parts, p) if isinstance(p, Or) and few(parts) else p for p in parts]


def decided_by(facts: list[Mask], part: Or) -> Mask:
    """Return what is left of ``part`` where all ``facts``, of which it is one, hold."""
    given = [option for option in part.parts if implied(option, facts)]
    if given:
        return given[0] if len(given) == 1 else And(tuple(flatten(given, And)))
    left = [option for option in part.parts if not implied(option.complement(), facts)]
    if len(left) == len(part.parts):
        return part
    return left[0] if len(left) == 1 else Or(tuple(left))


def few(parts: list[Mask]) -> list[Mask]:
    """Return the parts, or none of them if they are too many to compare with each other."""
    return parts if len(parts) <= MOST_COMPARED else []


def absorb(parts: list[Mask]) -> list[Mask]:
    """``(a | b) & (a | b | c) == a | b``: drop what the other parts imply."""
    if not few(parts) or not any(isinstance(part, Or) for part in parts):
        return parts
    kept = parts
    for part in parts:
        others = [other for other in kept if other is not part]
        kept = others if implied(part, others) else kept
    return kept


def implied(goal: Mask, facts: Sequence[Mask], depth: int = 4) -> bool:
    """Return True only if everything that all ``facts`` allow is allowed by ``goal``.

    Looks ``depth`` connectives deep, so that the answer costs little; False may be "unknown".
    """
    if any(within(fact, goal) for fact in facts):
        return True
    if not depth:
        return False
    if isinstance(goal, And):
        return all(implied(part, facts, depth - 1) for part in goal.parts)
    if isinstance(goal, Or) and any(implied(part, facts, depth - 1) for part in goal.parts):
        return True
    return any(
        isinstance(fact, Or) and all(implied(goal, _facts(p), depth - 1) for p in fact.parts)
        for fact in facts
    )


def within(inner: Mask, outer: Mask) -> bool:
    """Return whether two single parts are equal, or of kinds of which one can hold the other."""
    if inner == outer:
        return True
    if isinstance(inner, Band) and isinstance(outer, Band):
        return join_bands([inner, outer]) == [outer]
    if isinstance(inner, Positions) and isinstance(outer, Positions):
        return inner.axis == outer.axis and join_positions([inner, outer]) == [outer]
    return data_within(inner, outer)


def _facts(mask: Mask) -> tuple[Mask, ...]:
    return mask.parts if isinstance(mask, And) else (mask,)


# -- laws of bands and of positions, which are sets of gaps and of positions --------------------


def join_bands(parts: list[Mask]) -> list[Mask]:
    """``band(G) | band(H) == band(G ∪ H)``."""
    alike = [part for part in parts if isinstance(part, Band)]
    if len(alike) < 2:
        return parts
    together = band(union(part.gaps.array for part in alike))
    return [together, *(part for part in parts if not isinstance(part, Band))]


def meet_bands(parts: list[Mask]) -> list[Mask]:
    """``band(G) & band(H) == band(G ∩ H)``, by De Morgan."""
    alike: list[Mask] = [part for part in parts if isinstance(part, Band)]
    if len(alike) < 2:
        return parts
    outside = join_bands([part.complement() for part in alike])[0]
    return [outside.complement(), *(part for part in parts if not isinstance(part, Band))]


def join_positions(parts: list[Mask]) -> list[Mask]:
    """``keys(A) | keys(B) == keys(A ∪ B)``, and the same for queries."""
    return _per_axis(parts, lambda axis, sets: positions(axis, union(sets)))


def meet_positions(parts: list[Mask]) -> list[Mask]:
    """``keys(A) & keys(B) == keys(A ∩ B)``, by De Morgan, and the same for queries."""

    def meet(axis: Axis, sets: list[Intervals]) -> Mask:
        outside = union(complement(members, 0) for members in sets)
        return positions(axis, complement(outside, 0))

    return _per_axis(parts, meet)


def _per_axis(parts: list[Mask], together: Callable[[Axis, list[Intervals]], Mask]) -> list[Mask]:
    result = [part for part in parts if not isinstance(part, Positions)]
    axes: tuple[Axis, Axis] = ("query", "key")
    for axis in axes:
        alike = [part for part in parts if isinstance(part, Positions) and part.axis == axis]
        if len(alike) < 2:
            result.extend(alike)
        else:
            result.append(together(axis, [part.members.array for part in alike]))
    return result
