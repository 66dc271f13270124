"""The laws that bring an expression to canonical form: one rule, one function, one theorem.

``conjunction`` and ``disjunction`` are the only ways in which ``And`` and ``Or`` come to be, so
that structure decides ``==``, hash and text. Negation, ``.T`` and ``.shift`` are pushed down to
the atoms by the nodes themselves (De Morgan); what two atoms of a kind mean together is said by
the atom (its ``meet`` and ``join``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from sightline.masks.mask import Mask
from sightline.masks.nodes import And, Atom, Everything, Nothing, Or, common_size
from sightline.masks.positional import Axis, Band, Positions, band, join_of, meet_of

Connective = type[And] | type[Or]


def conjunction(masks: Iterable[Mask]) -> Mask:
    """Return the canonical form of ``masks[0] & masks[1] & ...``."""
    parts = unique(flatten(masks, And))
    common_size(parts, "batch")
    common_size(parts, "heads")
    parts = meet_positions(meet_bands(without(parts, Everything())))
    if Nothing() in parts or contradicts(parts, Or):
        return Nothing()
    parts = absorb(parts, Or)
    if not parts:
        return Everything()
    return And(in_order(parts)) if len(parts) > 1 else parts[0]


def disjunction(masks: Iterable[Mask]) -> Mask:
    """Return the canonical form of ``masks[0] | masks[1] | ...``."""
    parts = unique(flatten(masks, Or))
    common_size(parts, "batch")
    common_size(parts, "heads")
    parts = join_positions(join_bands(without(parts, Nothing())))
    if Everything() in parts or contradicts(parts, And):
        return Everything()
    parts = absorb(parts, And)
    if not parts:
        return Nothing()
    return Or(in_order(parts)) if len(parts) > 1 else parts[0]


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


def absorb(parts: list[Mask], inner: Connective) -> list[Mask]:
    """``a & (a | b) == a`` and ``a | (a & b) == a``; ``inner`` is the connective inside."""
    if not any(isinstance(part, inner) for part in parts):
        return parts
    insides = [frozenset(p.parts if isinstance(p, inner) else (p,)) for p in parts]
    return [
        part
        for part, inside in zip(parts, insides, strict=True)
        if not any(other < inside for other in insides)
    ]


def in_order(parts: list[Mask]) -> tuple[Mask, ...]:
    """``a & b == b & a`` and ``a | b == b | a``."""
    return tuple(sorted(parts, key=lambda part: part.order_key()))


# -- laws of bands and of positions ------------------------------------------------------------


def meet_bands(parts: list[Mask]) -> list[Mask]:
    """``band(a, b) & band(c, d) == band(max(a, c), min(b, d))``, so one band is left at most."""
    bands = [part for part in parts if isinstance(part, Band)]
    if len(bands) < 2:
        return parts
    low = max((b.low for b in bands if b.low is not None), default=None)
    high = min((b.high for b in bands if b.high is not None), default=None)
    return [band(low, high), *(part for part in parts if not isinstance(part, Band))]


def _left_end(band: Band) -> float:
    return float("-inf") if band.low is None else band.low


def join_bands(parts: list[Mask]) -> list[Mask]:
    """``band(a, b) | band(c, d) == band(min(a, c), max(b, d))`` where they touch or overlap."""
    bands = [part for part in parts if isinstance(part, Band)]
    if len(bands) < 2:
        return parts
    # From left to right a band either touches what has been joined so far or starts anew.
    joined: list[Mask] = []
    for following in sorted(bands, key=_left_end):
        last = joined[-1] if joined else None
        together = last.join(following) if isinstance(last, Band) else None
        if together is None:
            joined.append(following)
        else:
            joined[-1] = together
    return [*joined, *(part for part in parts if not isinstance(part, Band))]


def meet_positions(parts: list[Mask]) -> list[Mask]:
    """``keys(A) & keys(B) == keys(A ∩ B)``, and the same for queries."""
    return _per_axis(parts, meet_of)


def join_positions(parts: list[Mask]) -> list[Mask]:
    """``keys(A) | keys(B) == keys(A ∪ B)``, and the same for queries."""
    return _per_axis(parts, join_of)


def _per_axis(parts: list[Mask], together: Callable[[Axis, list[Positions]], Mask]) -> list[Mask]:
    result = [part for part in parts if not isinstance(part, Positions)]
    axes: tuple[Axis, Axis] = ("query", "key")
    for axis in axes:
        alike = [part for part in parts if isinstance(part, Positions) and part.axis == axis]
        result.extend(alike if len(alike) < 2 else [together(axis, alike)])
    return result
