"""The signs and colors with which a cell is drawn in a terminal.

Colors are blue, orange and gray, which people with any kind of color vision tell apart; every
difference is also one of shape, so that plain text loses nothing. Layout is in terminal.py.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rich.color import ColorSystem
from rich.style import Style

from sightline.views.picture import MaskPicture

# What fits in a terminal of 80 columns.
_LINE = 80

__all__ = ["STYLES", "Glyphs", "block_lines", "glyph_of", "glyphs_for", "legend_of", "paint"]

STYLES = {
    "allowed": Style(color="color(33)"),
    "forbidden": Style(color="color(244)"),
    "empty": Style(color="color(208)"),
    "leak": Style(color="color(208)", bold=True),
    "added": Style(color="color(36)", bold=True),
    "label": Style(),
    "title": Style(bold=True),
    "note": Style(color="color(244)"),
}


@dataclass(frozen=True)
class Glyphs:
    """One set of signs.

    Attributes:
        allowed: an allowed pair.
        forbidden: a forbidden pair, or a cell in which every pair is forbidden.
        shades: lightest to darkest; the last is a cell in which every pair is allowed.
        unused: an allowed pair that was not seen to be used.
        leak: weight on a forbidden pair, or its use.
        broken: a weight that is not a number.
        added: newly allowed, in a difference.
        removed: no longer allowed.
        mixed: a cell in which pairs are added and others removed.
        blocks: an empty, a partial and a full block of a plan.
        arrow: points at a row that is spoken about.
        more: stands for what was cut off.
    """

    allowed: str
    forbidden: str
    shades: tuple[str, str, str, str]
    unused: str
    leak: str
    broken: str
    arrow: str
    more: str
    added: str = "+"
    removed: str = "-"
    mixed: str = "*"
    blocks: tuple[str, str, str] = (".", "o", "#")


UNICODE = Glyphs(
    *("■", "·", ("░", "▒", "▓", "█"), "□", "!", "?", "←", "…"),
    removed="−",
    mixed="±",
    blocks=("○", "◐", "●"),
)
ASCII = Glyphs("#", ".", ("-", "+", "*", "#"), "o", "!", "?", "<-", "~")


def glyphs_for(encoding: str) -> Glyphs:
    """Return the Unicode signs if ``encoding`` can write all of them, else the ASCII ones.

    >>> glyphs_for("utf-8").allowed, glyphs_for("ascii").allowed, glyphs_for("latin-1").allowed
    ('■', '#', '#')
    """
    signs = [
        UNICODE.allowed,
        UNICODE.forbidden,
        *UNICODE.shades,
        *UNICODE.blocks,
        UNICODE.removed,
        UNICODE.mixed,
        UNICODE.unused,
        UNICODE.arrow,
        UNICODE.more,
    ]
    try:
        "".join(signs).encode(encoding)
    except UnicodeEncodeError:
        return ASCII
    return UNICODE


def paint(text: str, style: str, color: bool) -> str:
    """Return ``text`` in the style of that name, or as it is without ``color``."""
    if not color or not text:
        return text
    return STYLES[style].render(text, color_system=ColorSystem.EIGHT_BIT)


def glyph_of(picture: MaskPicture, row: int, column: int, glyphs: Glyphs) -> tuple[str, str]:
    """Return the sign of a cell and the name of its style."""
    allowed = bool(picture.allowed[row, column])
    if picture.used is not None:
        if picture.used[row, column]:
            return (glyphs.allowed, "allowed") if allowed else (glyphs.leak, "leak")
        return (glyphs.unused, "allowed") if allowed else (glyphs.forbidden, "forbidden")
    if picture.weights is not None:
        return _weighted(picture, row, column, glyphs)
    if picture.change is not None and picture.change.any[row, column]:
        added, removed = picture.change.added[row, column], picture.change.removed[row, column]
        sign = glyphs.mixed if added and removed else glyphs.added if added else glyphs.removed
        return sign, "leak" if removed else "added"
    if not allowed:
        return glyphs.forbidden, "forbidden"
    if not picture.aggregated:
        return glyphs.allowed, "allowed"
    share = float(picture.share[row, column])
    # Only a cell that is allowed throughout gets the full sign.
    return glyphs.shades[3 if share == 1.0 else min(2, int(share * 3))], "allowed"


def _weighted(picture: MaskPicture, row: int, column: int, glyphs: Glyphs) -> tuple[str, str]:
    assert picture.weights is not None
    weight = float(picture.weights[row, column])
    if not math.isfinite(weight):
        return glyphs.broken, "leak"
    if not picture.allowed[row, column]:
        return (glyphs.leak, "leak") if weight != 0.0 else (glyphs.forbidden, "forbidden")
    part = weight / (picture.heaviest or 1.0)
    return glyphs.shades[max(0, min(3, int(part * 4)))], "allowed"


def legend_of(picture: MaskPicture, glyphs: Glyphs) -> str:
    """Return the line that says what the signs in this picture mean."""
    low, middle, high, full = glyphs.shades
    if picture.used is not None:
        return _legend_of_use(picture, picture.used, glyphs)
    if picture.weights is not None:
        quarter = picture.heaviest / 4
        text = (
            f"weight: {low} to {quarter:.2g}  {middle} to {2 * quarter:.2g}  "
            f"{high} to {3 * quarter:.2g}  {full} to {4 * quarter:.2g}   "
            f"{glyphs.forbidden} may not attend"
        )
        if (picture.leaks & np.isfinite(picture.weights)).any():
            text += f"   {glyphs.leak} weight where none may be"
        if not np.isfinite(picture.weights).all():
            text += f"   {glyphs.broken} not a number"
        return text
    if picture.change is not None:
        return _legend_of_change(picture, glyphs)
    if picture.aggregated:
        size = f"1 cell = {cell_text(picture)}:"
        shades = (
            f"{glyphs.forbidden} none  {low} under 1/3  {middle} under 2/3  {high} under all  "
            f"{full} all"
        )
        return (" " if len(size) + len(shades) < _LINE else "\n").join((size, shades))
    return f"{glyphs.allowed} may attend   {glyphs.forbidden} may not"


def _legend_of_change(picture: MaskPicture, glyphs: Glyphs) -> str:
    signs = ((glyphs.added, "added"), (glyphs.removed, "removed"))
    parts = [f"{glyphs.allowed} in both", *(f"{sign} {words}" for sign, words in signs)]
    if picture.aggregated:
        low, middle, high, full = glyphs.shades
        parts[0] = f"{low}{middle}{high}{full} share in both"
        parts.append(f"{glyphs.mixed} both of these")
    text = "   ".join([*parts, f"{glyphs.forbidden} in neither"])
    return f"1 cell = {cell_text(picture)}:\n{text}" if picture.aggregated else text


def block_lines(picture: MaskPicture, glyphs: Glyphs) -> list[str]:
    """Return the blocks of a plan as a drawing of their own, a sign for each; none if too many."""
    overlay = picture.overlay
    if overlay is None or overlay.states is None or max(overlay.states.shape) > _LINE // 2 - 2:
        return []
    empty, partial, full = glyphs.blocks
    rows = ["  " + " ".join(glyphs.blocks[state] for state in row) for row in overlay.states]
    return [*rows, f"{full} full block   {partial} partial   {empty} empty"]


def _legend_of_use(picture: MaskPicture, used: NDArray[np.bool_], glyphs: Glyphs) -> str:
    """Return the line for a picture of what is used; a sign that does not occur is left out."""
    meanings = (
        (glyphs.allowed, "allowed and used", picture.allowed & used),
        (glyphs.unused, "allowed, not used", picture.allowed & ~used),
        (glyphs.leak, "forbidden, yet used", picture.leaks),
        (glyphs.forbidden, "forbidden", ~picture.allowed & ~used),
    )
    return "   ".join(f"{sign} {words}" for sign, words, cells in meanings if cells.any())


def cell_text(picture: MaskPicture) -> str:
    """Return what one cell of an aggregated picture stands for."""
    queries, keys = picture.cell
    return f"{queries} x {keys} pairs"
