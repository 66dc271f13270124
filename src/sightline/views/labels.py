"""Labels that any output can show: tokens of any script, measured in terminal cells.

Tokens come from files and command lines, so nothing in them is trusted: control characters are
spelled out. Where a label is placed is left to text/terminal.py and svg/render.py.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from itertools import pairwise

from rich.cells import cell_len

__all__ = [
    "cells_of",
    "clip",
    "encodable",
    "graphemes",
    "is_scale",
    "ranges_text",
    "runs",
    "runs_text",
    "share_text",
    "visible",
]

# Characters of category Cf that reorder the text around them; spelled out like control codes.
_REORDERING = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
# Neither XML nor a terminal has a use for these two.
_NONCHARACTERS = frozenset("\ufffe\uffff")

_JOINER, _EMOJI_STYLE = "\u200d", "\ufe0f"
_REGIONAL = frozenset(map(chr, range(0x1F1E6, 0x1F200)))
# Skin tones, the tags of regional flags, and Hangul vowels and finals that join into a syllable.
_MODIFIERS = frozenset(
    map(chr, [*range(0x1F3FB, 0x1F400), *range(0xE0020, 0xE0080), *range(0x1160, 0x1200)])
)


def visible(label: str) -> str:
    r"""Return ``label`` with everything spelled out that would not show or would do harm.

    Control characters, lone surrogates and marks that reorder text become escapes, a label of
    spaces becomes visible, and a leading combining mark gets a circle to stand on.

    >>> visible("a\x1b[31m\n"), visible("  "), visible("\u0301"), visible("é日本👍🏽")
    ('a\\x1b[31m\\n', '␣␣', '◌́', 'é日本👍🏽')
    """
    if label and label.isspace() and set(label) <= {" ", "\u3000"}:
        return "␣" * len(label)
    shown = "".join(_spelled(character) for character in label)
    return f"\u25cc{shown}" if shown and unicodedata.combining(shown[0]) else shown


def _spelled(character: str) -> str:
    harmful = (
        unicodedata.category(character) in {"Cc", "Cs", "Zl", "Zp"}
        or character in _REORDERING
        or character in _NONCHARACTERS
    )
    return character.encode("unicode_escape").decode("ascii") if harmful else character


def encodable(text: str, encoding: str) -> str:
    r"""Return ``text`` with what ``encoding`` cannot write as escapes.

    >>> encodable("naïve 日", "latin-1"), encodable("naïve 日", "utf-8")
    ('naïve \\u65e5', 'naïve 日')
    """
    return text.encode(encoding, "backslashreplace").decode(encoding)


def graphemes(text: str) -> list[str]:
    """Split ``text`` into what a reader sees as one character each.

    >>> graphemes("né👍🏽🇨🇳")
    ['n', 'é', '👍🏽', '🇨🇳']
    """
    pieces: list[str] = []
    for character in text:
        if pieces and _joins(pieces[-1], character):
            pieces[-1] += character
        else:
            pieces.append(character)
    return pieces


def _joins(piece: str, character: str) -> bool:
    """Whether ``character`` belongs to the ``piece`` before it."""
    return (
        piece[-1] == _JOINER
        or character == _JOINER
        or unicodedata.category(character) in {"Mn", "Me", "Mc"}
        or character in _MODIFIERS
        or (piece in _REGIONAL and character in _REGIONAL)  # two of these are a flag
    )


def cells_of(text: str) -> int:
    """Return how many terminal cells ``text`` takes: an emoji or a CJK character two.

    >>> cells_of("mask"), cells_of("掩码"), cells_of("👍🏽"), cells_of("né")
    (4, 4, 2, 2)
    """
    return len(text) if text.isascii() else sum(_cells(piece) for piece in graphemes(text))


def _cells(piece: str) -> int:
    # Whatever is joined to a wide character changes it and does not widen it.
    flag = len(piece) == 2 and set(piece) <= _REGIONAL
    return 2 if flag or cell_len(piece[0]) == 2 or _EMOJI_STYLE in piece else cell_len(piece)


def clip(text: str, cells: int, mark: str = "…") -> str:
    """Return ``text`` if it takes at most ``cells`` terminal cells, else its start and ``mark``.

    >>> clip("attention", 6), clip("注意力机制", 6), clip("mask", 6)
    ('atten…', '注意…', 'mask')
    """
    if cells_of(text) <= cells:
        return text
    room = cells - cells_of(mark)
    kept = ""
    for piece in graphemes(text):
        if cells_of(kept + piece) > room:
            break
        kept += piece
    return kept + mark


def is_scale(labels: Sequence[str]) -> bool:
    """Whether ``labels`` count upwards in equal steps, so that some may be left out.

    >>> is_scale(["0", "32", "64"]), is_scale(["1", "9", "8"]), is_scale(["a", "b"])
    (True, False, False)
    """
    if not labels or not all(label.isascii() and label.isdigit() for label in labels):
        return False
    numbers = [int(label) for label in labels]
    steps = {after - before for before, after in pairwise(numbers)}
    return len(steps) == 0 or (len(steps) == 1 and steps.pop() > 0)


def share_text(share: float) -> str:
    """Return a share as a percentage that says 0 % and 100 % only of none and all.

    >>> share_text(0.0), share_text(1e-6), share_text(1 / 3), share_text(1 - 1e-9), share_text(1)
    ('0.0%', 'under 0.1%', '33.3%', 'over 99.9%', '100.0%')
    """
    text = f"{share:.1%}"
    if text == "0.0%" and share > 0:
        return "under 0.1%"
    return "over 99.9%" if text == "100.0%" and share < 1 else text


def ranges_text(positions: Sequence[int]) -> str:
    """Return ascending ``positions`` as compressed ranges.

    >>> ranges_text([3, 4, 5, 8]), ranges_text([0, 1]), ranges_text([])
    ('3-5, 8', '0-1', '')
    """
    return runs_text(runs(positions))


def runs_text(found: Sequence[tuple[int, int]]) -> str:
    """Return (first, last) runs as compressed ranges.

    >>> runs_text([(3, 5), (8, 8)])
    '3-5, 8'
    """
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in found)


def runs(positions: Sequence[int]) -> list[tuple[int, int]]:
    """Return ascending ``positions`` as (first, last) runs of consecutive numbers.

    >>> runs([3, 4, 5, 8])
    [(3, 5), (8, 8)]
    """
    found: list[tuple[int, int]] = []
    for position in positions:
        if found and position == found[-1][1] + 1:
            found[-1] = (found[-1][0], position)
        else:
            found.append((position, position))
    return found
