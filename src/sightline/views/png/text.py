"""Letters of a PNG: fonts that the machine has, and escapes for what none of them can write."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline.views.png.style import color_of

__all__ = ["Pen", "spelled", "writable"]

# The first comes with matplotlib; of the others as many as there are.
_FIRST = "DejaVu Sans"
_OTHERS = (
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "Source Han Sans SC",
    "WenQuanYi Micro Hei",
    "WenQuanYi Zen Hei",
    "PingFang SC",
    "Hiragino Sans GB",
    "Microsoft YaHei",
    "SimHei",
    "Droid Sans Fallback",
    "Arial Unicode MS",
    "Noto Emoji",
    "Symbola",
    "Segoe UI Emoji",
)


def writable(text: str) -> str:
    """Return ``text`` with escapes for what no font here can write: before it is given room."""
    return spelled(text)[0]


class Pen:
    """Writes the texts of a drawing that is ``height`` pixels high."""

    def __init__(self, renderer: Any, height: int) -> None:
        self._renderer, self._height = renderer, height

    def write(
        self,
        element: ET.Element,
        matrix: NDArray[np.float64],
        style: dict[str, str],
        scale: float,
    ) -> None:
        """Write a text element; ``matrix`` leads from its place to pixels from the top."""
        from matplotlib.font_manager import FontProperties

        words, families = spelled(element.text or "")
        if not words:
            return
        # A point is a pixel of the drawing: the renderer has 72 of them to its inch.
        size = float(style.get("font-size", "12px").removesuffix("px"))
        weight = "bold" if int(style.get("font-weight", "400")) >= 600 else "normal"
        font = FontProperties(family=list(families), size=size, weight=weight)
        place = np.array([float(element.get("x", "0")), float(element.get("y", "0")), 1.0])
        x, y, _ = matrix @ place
        turn = math.degrees(math.atan2(-matrix[1, 0], matrix[0, 0]))
        wide = self._renderer.get_text_width_height_descent(words, font, False)[0]
        back = {"middle": wide / 2, "end": wide}.get(element.get("text-anchor", ""), 0.0)
        x -= back * math.cos(math.radians(turn))
        y += back * math.sin(math.radians(turn))
        context = self._renderer.new_gc()
        color = color_of(style.get("fill", "#000"))
        context.set_foreground(color)
        self._renderer.draw_text(context, x, y, words, font, turn, False)


@lru_cache(maxsize=4096)
def spelled(text: str) -> tuple[str, tuple[str, ...]]:
    """Return ``text`` with escapes for what no font here can write, and the fonts it needs."""
    if text.isascii():
        return text, (_FIRST,)
    fonts = {_FIRST: _letters(_FIRST)}
    if not set(map(ord, text)) <= fonts[_FIRST]:
        fonts.update((name, _letters(name)) for name in _installed())
    known = frozenset[int]().union(*fonts.values())
    shown = "".join(
        each if ord(each) in known else each.encode("unicode_escape").decode("ascii")
        for each in _without_joiners(text, known)
    )
    needed = [name for name, letters in fonts.items() if any(ord(each) in letters for each in text)]
    return shown, tuple(dict.fromkeys([_FIRST, *needed]))


def _without_joiners(text: str, known: Iterable[int]) -> str:
    # What chooses between styles of a character shows nothing itself.
    return "".join(each for each in text if ord(each) in known or each not in "\ufe0e\ufe0f")


@lru_cache(maxsize=1)
def _installed() -> tuple[str, ...]:
    from matplotlib.font_manager import fontManager

    names = {entry.name for entry in fontManager.ttflist}
    return tuple(name for name in _OTHERS if name in names)


@lru_cache(maxsize=32)
def _letters(name: str) -> frozenset[int]:
    """Return the characters that a font can write."""
    from matplotlib.font_manager import FontProperties, findfont, get_font

    return frozenset(get_font(findfont(FontProperties(family=name))).get_charmap())
