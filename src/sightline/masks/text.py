"""The text form of a mask: the Python expression that builds it. ``parser.py`` reads it back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from sightline.masks.mask import Mask, Spec

# Arguments that say enough by their place; every other one is printed as name=value.
_PLAIN = {"n", "size", "stride", "positions", "ids", "order", "parents", "masks", "array", "fn"}
_DEFAULTS: dict[str, Any] = {
    "strict": False, "phase": 0, "local": 0, "restart": None, "seed": 0, "dilation": 1,
    "stream": "content", "bounds": None, "batch": None, "heads": None, "left": None, "right": None,
}  # fmt: skip
# Characters of a mask's text in messages.
LONGEST_NAME = 72
_BINDING = {"or": 1, "and": 2, "not": 3}


def short(mask: Mask) -> str:
    """Return the text of a mask cut to what a message has room for."""
    text = repr(mask)
    return text if len(text) <= LONGEST_NAME else f"{text[: LONGEST_NAME - 3]}..."


def write(spec: Spec, most_values: int | None = None) -> str:
    """Return the expression as text; lists longer than ``most_values`` are cut to their ends."""
    kind = spec[0]
    if kind in ("and", "or"):
        sign = " & " if kind == "and" else " | "
        return sign.join(_nested(part, kind, most_values) for part in spec[1:])
    if kind == "not":
        return f"~{_nested(spec[1], 'not', most_values)}"
    if kind == "transpose":
        return f"{_nested(spec[1], 'atom', most_values)}.T"
    if kind == "shift":
        amounts = ", ".join(f"{axis}={by}" for axis, by in spec[2].items())
        return f"{_nested(spec[1], 'atom', most_values)}.shift({amounts})"
    return f"{kind}({_arguments(spec[1], most_values)})"


def _nested(spec: Spec, around: str, most_values: int | None) -> str:
    text = write(spec, most_values)
    inner, outer = _BINDING.get(spec[0], 4), _BINDING.get(around, 4)
    return f"({text})" if inner < outer else text


def _arguments(arguments: dict[str, Any], most_values: int | None) -> str:
    printed: list[str] = []
    for name, value in arguments.items():
        if name in _DEFAULTS and _DEFAULTS[name] == value:
            continue
        text = _value(name, value, most_values)
        plain = name in _PLAIN and not printed
        printed.append(text if plain else f"{name}={text}")
    return ", ".join(printed)


def _value(name: str, value: Any, most_values: int | None) -> str:
    if name == "masks":
        return _list([write(part, most_values) for part in value], most_values)
    if callable(value):
        return f"<opaque {getattr(value, '__qualname__', type(value).__name__)}>"
    if isinstance(value, (range, slice)):
        section = cast(Any, value)  # its step is 1: canonical positions are whole intervals
        return f"{type(section).__name__}({section.start}, {section.stop})"
    if isinstance(value, list):
        items = cast("list[Any]", value)
        if most_values is not None and (values := _count(items)) > most_values:
            return f"[{items[0]!r:.40}, ... {values} values]"
        return f"[{', '.join(map(repr, items))}]"
    return repr(value)


def _count(items: list[Any]) -> int:
    """Return how many values a list holds, those of its lists included; an empty one is one."""
    if not any(isinstance(item, list) for item in items[:1]):
        return max(1, len(items))
    return sum(_count(item) for item in items)


def _list(items: list[str], most_values: int | None) -> str:
    """Return the items as a list; where they hold too many values, the first and their number."""
    values = sum(1 + item.count(",") for item in items)
    if most_values is not None and values > most_values:
        return f"[{items[0]:.40}, ... {values} values]"
    return f"[{', '.join(items)}]"
