"""The laws that bring an expression to canonical form: one rule, one function, one theorem.

``conjunction`` and ``disjunction`` are the only ways in which ``And`` and ``Or`` come to be, so
that structure decides ``==``, hash and text. Negation, ``.T`` and ``.shift`` are pushed down to
the atoms by the nodes themselves (De Morgan); what two atoms of a kind mean together is said by
the atom (its ``meet`` and ``join``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from sightline.masks.intervals import complement, union
from sightline.masks.mask import Mask
from sightline.masks.nodes import And, Atom, Everything, Nothing, Or, common_size
from sightline.masks.positional import Axis, Band, Positions, band, positions

if TYPE_CHECKING:
    from sightline.masks.intervals import Intervals

Connective = type[And] | type[Or]

# How many parts are compared with each other; beyond, an expression stays as it was written.
MOST_COMPARED = 64


def conjunction(masks: Iterable[Mask]) -> Mask:
    """Return the canonical form of ``masks[0] & masks[1] & ...``."""
    parts = unique(flatten(masks, And))
    common_size(parts, "batch")
    common_size(parts, "heads")
    parts = meet_positions(meet_bands(without(parts, Everything())))
    if Nothing() in parts or contradicts(parts, Or):
        return Nothing()
    parts = absorb(list(in_order(parts)), And)
    if not parts:
        return Everything()
    return And(tuple(parts)) if len(parts) > 1 else parts[0]


def disjunction(masks: Iterable[Mask]) -> Mask:
    """Return the canonical form of ``masks[0] | masks[1] | ...``."""
    parts = unique(flatten(masks, Or))
    common_size(parts, "batch")
    common_size(parts, "heads")
    parts = join_positions(join_bands(without(parts, Nothing())))
    if Everything() in parts or contradicts(parts, And):
        return Everything()
    parts = absorb(list(in_order(parts)), Or)
    if not parts:
        return Nothing()
    return Or(tuple(parts)) if len(parts) > 1 else parts[0]


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


def contradicts(parts: list[Mask], inner: Connective) -> bool:
    """``a & ~a == nothing()``, ``(a | b) & ~a & ~b == nothing()``, and the same the other way.

    ``inner`` is the connective that may stand inside the parts. Only atoms are looked for: the
    complement of a connective is one whose parts have been spread over ``parts`` already.
    """
    present = set(parts)

    def denied(part: Mask) -> bool:
        options = part.parts if isinstance(part, inner) else (part,)
        return all(isinstance(o, Atom) and o.complement() in present for o in options)

    return any(denied(part) for part in parts)


def absorb(parts: list[Mask], connective: Connective) -> list[Mask]:
    """``a & b == a`` if a implies b, and ``a | b == b``: drop what the other parts make needless.

    This covers ``a & (a | b) == a`` and ``a | (a & b) == a``.
    """
    if len(parts) > MOST_COMPARED or not any(isinstance(p, (And, Or)) for p in parts):
        return parts
    kept = parts
    for part in parts:
        others = [other for other in kept if other is not part]
        if connective is And:
            needless = implied(part, others)
        else:
            needless = any(implied(other, _facts(part)) for other in others)
        kept = others if needless else kept
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
    """Return whether two single parts are equal, or bands or positions one of which holds both."""
    if inner == outer:
        return True
    if isinstance(inner, Band) and isinstance(outer, Band):
        return join_bands([inner, outer]) == [outer]
    if isinstance(inner, Positions) and isinstance(outer, Positions):
        return inner.axis == outer.axis and join_positions([inner, outer]) == [outer]
    return False


def _facts(mask: Mask) -> tuple[Mask, ...]:
    return mask.parts if isinstance(mask, And) else (mask,)


def in_order(parts: list[Mask]) -> tuple[Mask, ...]:
    """``a & b == b & a`` and ``a | b == b | a``."""
    return tuple(sorted(parts, key=lambda part: part.order_key()))


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
