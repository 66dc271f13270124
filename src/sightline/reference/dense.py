"""The oracle of masks: every pair of positions asked one by one, straight from the definitions.

The definitions stand in positional.py, grid.py and data.py; here are the operators and the loop.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any, Protocol

import numpy as np

from sightline.errors import InvalidMask, ShapeMismatch
from sightline.reference.data import DATA
from sightline.reference.grid import GRID
from sightline.reference.meaning import Meaning, common_size
from sightline.reference.positional import POSITIONAL

__all__ = ["HasSpec", "Spec", "dense", "meaning_of", "sizes"]

Spec = tuple[Any, ...]
"""``(name, {keyword: value})`` for an atom, ``("and", part, part)`` and the like for the rest."""


class HasSpec(Protocol):
    """Anything that can say what it means as nested plain tuples, such as a mask."""

    def spec(self) -> Spec:
        """Return the nested tuples."""
        ...


SpecOrMask = Spec | HasSpec

ATOMS: dict[str, Callable[..., Meaning]] = {**POSITIONAL, **GRID, **DATA}


def dense(
    spec_or_mask: SpecOrMask,
    q_len: int,
    kv_len: int | None = None,
    q_offset: int = 0,
    kv_offset: int = 0,
) -> np.ndarray:
    """Return who may see whom, as bool [batch|1, heads|1, q_len, kv_len]; True may attend.

    Args:
        spec_or_mask: a spec, or any object with ``.spec()``.
        q_len: number of queries, at positions ``q_offset``, ``q_offset + 1``, ...
        kv_len: number of keys, at positions ``kv_offset``, ...; None means ``q_len``.
        q_offset: absolute position of the first query.
        kv_offset: absolute position of the first key.

    Raises:
        ShapeMismatch: a negative size or offset; parts whose batch or heads sizes do not
            broadcast; a dense part asked for more than its array says.
        InvalidMask: a name that has no definition.

    Source: the definitions named in the docstrings of the functions in this package.

    >>> for row in dense(("causal", {}), q_len=2, kv_len=4, q_offset=1)[0, 0]:
    ...     print("".join("x" if seen else "." for seen in row))
    xx..
    xxx.
    """
    kv_len = q_len if kv_len is None else kv_len
    given = {"q_len": q_len, "kv_len": kv_len, "q_offset": q_offset, "kv_offset": kv_offset}
    for name, number in given.items():
        if number < 0:
            raise ShapeMismatch(f"got {name}={number}; wanted {name} >= 0; positions start at 0.")
    meaning = meaning_of(spec_or_mask)
    allowed = np.zeros((meaning.batch, meaning.heads, q_len, kv_len), dtype=np.bool_)
    for b, h, i, j in product(*(range(size) for size in allowed.shape)):
        allowed[b, h, i, j] = meaning.at(b, h, q_offset + i, kv_offset + j)
    return allowed


def sizes(spec_or_mask: SpecOrMask) -> tuple[int, int]:
    """Return the batch and heads sizes of a mask; 1 where it is the same for all.

    Raises:
        ShapeMismatch: parts whose sizes do not broadcast.

    >>> sizes(("and", ("causal", {}), ("padding", {"lengths": [5, 3]})))
    (2, 1)
    """
    meaning = meaning_of(spec_or_mask)
    return meaning.batch, meaning.heads


def meaning_of(spec_or_mask: SpecOrMask) -> Meaning:
    """Return the relation that a spec, or an object with ``.spec()``, stands for.

    Raises:
        InvalidMask: a name that has no definition.
        ShapeMismatch: parts whose batch or heads sizes do not broadcast.

    >>> meaning_of(("minus", ("causal", {}), ("prefix", {"n": 1}))).at(0, 0, 2, 1)
    True
    """
    spec = spec_or_mask if isinstance(spec_or_mask, tuple) else spec_or_mask.spec()
    name, *rest = spec
    if name in OPERATORS:
        return OPERATORS[name](*rest)
    if name not in ATOMS:
        known = ", ".join(sorted([*ATOMS, *OPERATORS]))
        raise InvalidMask(f"got a mask named {name!r}; wanted one of {known}; check the spelling.")
    keywords: dict[str, Any] = rest[0] if rest else {}
    return ATOMS[name](**keywords)


def _combine(specs: tuple[SpecOrMask, ...], decide: Callable[[list[bool]], bool]) -> Meaning:
    """Ask every part, also where the first decides: a part may have to refuse."""
    parts = [meaning_of(spec) for spec in specs]
    return Meaning(
        lambda b, h, q, k: decide([part.at(b, h, q, k) for part in parts]),
        batch=common_size("batch", [part.batch for part in parts]),
        heads=common_size("heads", [part.heads for part in parts]),
    )


def _and(*specs: SpecOrMask) -> Meaning:
    return _combine(specs, all)


def _or(*specs: SpecOrMask) -> Meaning:
    return _combine(specs, any)


def _not(spec: SpecOrMask) -> Meaning:
    return _combine((spec,), lambda seen: not seen[0])


def _minus(a: SpecOrMask, b: SpecOrMask) -> Meaning:
    return _combine((a, b), lambda seen: seen[0] and not seen[1])


def _xor(a: SpecOrMask, b: SpecOrMask) -> Meaning:
    return _combine((a, b), lambda seen: seen[0] != seen[1])


def _transpose(spec: SpecOrMask) -> Meaning:
    part = meaning_of(spec)
    return Meaning(lambda b, h, q, k: part.at(b, h, k, q), part.batch, part.heads)


def _shift(spec: SpecOrMask, by: dict[str, int]) -> Meaning:
    """Move the picture down and to the right; what the move uncovers is forbidden."""
    part = meaning_of(spec)
    down, right = by.get("query", 0), by.get("key", 0)

    def allowed(b: int, h: int, q: int, k: int) -> bool:
        if q - down < 0 or k - right < 0:
            return False
        return part.at(b, h, q - down, k - right)

    return Meaning(allowed, part.batch, part.heads)


def _per_batch(keywords: dict[str, Any]) -> Meaning:
    parts = [meaning_of(mask) for mask in keywords["masks"]]
    if len(parts) == 1:
        return parts[0]
    _want_size_one("per_batch", "batch", [part.batch for part in parts])
    heads = common_size("heads", [part.heads for part in parts])
    return Meaning(lambda b, h, q, k: parts[b].at(0, h, q, k), len(parts), heads)


def _per_head(keywords: dict[str, Any]) -> Meaning:
    parts = [meaning_of(mask) for mask in keywords["masks"]]
    if len(parts) == 1:
        return parts[0]
    _want_size_one("per_head", "heads", [part.heads for part in parts])
    batch = common_size("batch", [part.batch for part in parts])
    return Meaning(lambda b, h, q, k: parts[h].at(b, 0, q, k), batch, len(parts))


def _want_size_one(name: str, axis: str, found: list[int]) -> None:
    if any(size != 1 for size in found):
        raise ShapeMismatch(
            f"got {name} of masks with {axis} sizes {found}; wanted {axis} size 1 in each; "
            f"{name} itself makes the {axis} axis."
        )


OPERATORS: dict[str, Callable[..., Meaning]] = {
    "and": _and,
    "or": _or,
    "not": _not,
    "minus": _minus,
    "xor": _xor,
    "transpose": _transpose,
    "shift": _shift,
    "per_batch": _per_batch,
    "per_head": _per_head,
}
