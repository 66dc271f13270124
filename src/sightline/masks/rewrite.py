"""The laws that bring an expression to canonical form: one rule, one function, one theorem.

``conjunction`` and ``disjunction`` are the only ways in which ``And`` and ``Or`` come to be, so
that structure decides ``==``, hash and text. Negation, ``.T`` and ``.shift`` are pushed down to
the atoms by the nodes themselves (De Morgan); what two atoms of a kind mean together is said by
the atom (``meet`` and ``join`` below).
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations

from sightline.masks.mask import Mask
from sightline.masks.nodes import And, Everything, Nothing, Or, common_size
from sightline.masks.positional import Band, Positions


def conjunction(masks: list[Mask]) -> Mask:
    """Return the canonical form of ``masks[0] & masks[1] & ...``."""
    parts = flatten(masks, And)
    common_size(parts, "batch")
    common_size(parts, "heads")
    if Nothing() in parts or has_complements(parts):
        return Nothing()
    parts = merge_pairs([p for p in parts if not isinstance(p, Everything)], meet)
    if Nothing() in parts:
        return Nothing()
    parts = absorb(sort_unique(parts), Or)
    if not parts:
        return Everything()
    return And(tuple(parts)) if len(parts) > 1 else parts[0]


def disjunction(masks: list[Mask]) -> Mask:
    """Return the canonical form of ``masks[0] | masks[1] | ...``."""
    parts = flatten(masks, Or)
    common_size(parts, "batch")
    common_size(parts, "heads")
    if Everything() in parts or has_complements(parts):
        return Everything()
    parts = merge_pairs([p for p in parts if not isinstance(p, Nothing)], join)
    if Everything() in parts:
        return Everything()
    parts = absorb(sort_unique(parts), And)
    if not parts:
        return Nothing()
    return Or(tuple(parts)) if len(parts) > 1 else parts[0]


def flatten(masks: list[Mask], connective: type[And] | type[Or]) -> list[Mask]:
    """``(a & b) & c == a & b & c``, and the same for ``|``."""
    parts: list[Mask] = []
    for mask in masks:
        parts.extend(mask.parts if isinstance(mask, connective) else (mask,))
    return parts


def has_complements(parts: list[Mask]) -> bool:
    """``a & ~a == nothing()`` and ``a | ~a == everything()``."""
    return any(a == b.complement() for a, b in combinations(parts, 2))


def sort_unique(parts: list[Mask]) -> list[Mask]:
    """``a & b == b & a`` and ``a & a == a``, and the same for ``|``."""
    ordered = sorted(parts, key=lambda part: part.order_key())
    return [p for i, p in enumerate(ordered) if i == 0 or p != ordered[i - 1]]


def absorb(parts: list[Mask], other: type[And] | type[Or]) -> list[Mask]:
    """``a & (a | b) == a`` and ``a | (a & b) == a``; ``other`` is the connective inside."""

    def swallowed(inner: Mask) -> bool:
        inside = inner.parts if isinstance(inner, other) else (inner,)
        return any(
            set(outer.parts if isinstance(outer, other) else (outer,)) < set(inside)
            for outer in parts
        )

    return [part for part in parts if not swallowed(part)]


def merge_pairs(parts: list[Mask], merge: Callable[[Mask, Mask], Mask | None]) -> list[Mask]:
    """``a & b & c == m & c`` if ``m == a & b``: replace pairs by one atom while there are any."""
    merged: list[Mask] = []
    for part in parts:
        current = part
        at = 0
        while at < len(merged):
            together = merge(merged[at], current)
            if together is None:
                at += 1
                continue
            # The new atom may merge with parts that the old ones could not merge with.
            del merged[at]
            current, at = together, 0
        merged.append(current)
    return merged


def meet(a: Mask, b: Mask) -> Mask | None:
    """Return the one atom that equals ``a & b``, where the kinds of ``a`` and ``b`` have one."""
    if isinstance(a, Band) and isinstance(b, Band):
        return a.meet(b)
    if isinstance(a, Positions) and isinstance(b, Positions) and a.axis == b.axis:
        return a.meet(b)
    return None


def join(a: Mask, b: Mask) -> Mask | None:
    """Return the one atom that equals ``a | b``, where the kinds of ``a`` and ``b`` have one."""
    if isinstance(a, Band) and isinstance(b, Band):
        return a.join(b)
    if isinstance(a, Positions) and isinstance(b, Positions) and a.axis == b.axis:
        return a.join(b)
    return None
