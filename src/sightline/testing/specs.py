"""Build a mask from its plain-tuple form through the public constructors and operators.

The oracle reads the same tuples by its own definitions, so the two meet only in a test.
"""

from __future__ import annotations

from typing import Any

from sightline.masks.mask import Mask, Spec
from sightline.masks.names import NAMES


def build(spec: Spec) -> Mask:
    """Return the mask that ``spec`` describes, made as a user would make it.

    >>> build(("and", ("causal", {}), ("padding", {"lengths": [3, 2]})))
    causal() & padding(lengths=[3, 2])
    """
    kind, *rest = spec
    if kind in ("and", "or"):
        result = build(rest[0])
        for part in rest[1:]:
            result = result & build(part) if kind == "and" else result | build(part)
        return result
    if kind == "not":
        return ~build(rest[0])
    if kind == "minus":
        return build(rest[0]) - build(rest[1])
    if kind == "xor":
        return build(rest[0]) ^ build(rest[1])
    if kind == "transpose":
        return build(rest[0]).T
    if kind == "shift":
        return build(rest[0]).shift(**rest[1])
    return NAMES[kind](**_built_arguments(rest[0]))


def _built_arguments(arguments: dict[str, Any]) -> dict[str, Any]:
    return {
        name: [build(part) for part in value] if name == "masks" else value
        for name, value in arguments.items()
    }
