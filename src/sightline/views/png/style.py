"""The style sheet of an SVG drawing, read for one that is painted: which rules hold for what.

Only what style.py writes is understood: `.root tag`, `.root .class`, `.root tag.class`.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from dataclasses import dataclass

__all__ = ["Styles", "color_of"]

_RULE = re.compile(r"([^{}]+)\{([^{}]*)\}")
_MEDIA = re.compile(r"@media[^{]*\{(?:[^{}]*\{[^{}]*\})*\s*\}")
_FONT = re.compile(r"(?:(\d+) )?([\d.]+)px .*")
# What elements may say of themselves.
_OWN = ("fill", "stroke", "stroke-width", "stroke-dasharray", "fill-opacity", "opacity")

Color = tuple[float, float, float, float]


@dataclass(frozen=True)
class Styles:
    """Rules, the weaker before the stronger: (tag or "", class or "", declarations)."""

    rules: tuple[tuple[str, str, dict[str, str]], ...]

    @classmethod
    def of(cls, sheet: str) -> Styles:
        """Read a sheet; what holds for dark screens alone is left out.

        >>> Styles.of(".sl text{fill:#111}.sl .in{fill:#0067b1}").rules[1]
        ('', 'in', {'fill': '#0067b1'})
        """
        rules = []
        for selectors, declarations in _RULE.findall(_MEDIA.sub("", sheet)):
            for selector in selectors.split(","):
                tag, _, name = selector.split()[-1].partition(".")
                if ":" not in selector:
                    rules.append((tag, name, _declarations(declarations)))
        return cls(tuple(sorted(rules, key=lambda rule: (bool(rule[1]), bool(rule[0])))))

    def of_element(self, element: ET.Element) -> dict[str, str]:
        """Return the properties of an element."""
        tag, names = element.tag.rpartition("}")[2], element.get("class", "").split()
        found = {name: value for name in _OWN if (value := element.get(name)) is not None}
        for rule_tag, name, declarations in self.rules:
            if rule_tag in ("", tag) and (not name or name in names):
                found.update(declarations)
        found.update(_declarations(element.get("style", "")))
        return found


def _declarations(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for declaration in text.split(";"):
        name, _, value = declaration.partition(":")
        if name.strip() == "font" and (font := _FONT.fullmatch(value.strip())):
            found["font-weight"], found["font-size"] = font[1] or "400", f"{font[2]}px"
        elif name.strip():
            found[name.strip()] = value.strip()
    return found


def color_of(text: str, opacity: float = 1.0) -> Color | None:
    """Return a color as parts of 1: red, green, blue and how opaque; None for "none".

    >>> color_of("#fff"), color_of("none")
    ((1.0, 1.0, 1.0, 1.0), None)
    """
    if text == "none":
        return None
    digits = text.lstrip("#")
    if len(digits) == 3:
        digits = "".join(2 * digit for digit in digits)
    red, green, blue = (int(digits[place : place + 2], 16) / 255 for place in (0, 2, 4))
    return red, green, blue, opacity
