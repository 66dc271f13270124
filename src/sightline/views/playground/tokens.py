"""Sentences cut into tokens: words, punctuation, and the characters of Chinese and Japanese.

No vocabulary is involved, so that any script can be typed; what a system adds (``[CLS]``, padding)
is systems.py's part. How much is taken is limited here.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sightline.errors import InvalidArgument
from sightline.views.labels import graphemes
from sightline.views.playground.words import said

__all__ = [
    "MOST_CHARACTERS",
    "MOST_SENTENCES",
    "MOST_SIDE",
    "MOST_TOKENS",
    "Refused",
    "Rows",
    "patches",
    "sentences",
    "split",
]

MOST_CHARACTERS, MOST_SENTENCES, MOST_TOKENS = 1500, 6, 24
# Rows and columns of a picture.
LEAST_SIDE, MOST_SIDE = 2, 8

# Typed by hand, they are one token.
_SPECIAL = ("[MASK]", "[CLS]", "[SEP]", "[PAD]", "<mask>", "<eos>", "<pad>")

Side = Literal["right", "left"]


class Refused(InvalidArgument):
    """Text that the playground does not take; the page says why in the reader's language.

    Attributes:
        reason: the name of the sentence in words.py.
        numbers: what is filled into it.
    """

    def __init__(self, reason: str, **numbers: object) -> None:
        self.reason, self.numbers = reason, numbers
        super().__init__(said("en", reason, **numbers))


@dataclass(frozen=True)
class Rows:
    """Sentences of one length: the shorter ones are filled up.

    Attributes:
        tokens: of each row, padding included.
        lengths: how many tokens of each row are real.
        side: where the padding stands.

    >>> rows = Rows.of([["I", "am"], ["yes"]], pad="<pad>", side="left")
    >>> rows.tokens[1], rows.valid(1).tolist(), rows.positions(1).tolist()
    (('<pad>', 'yes'), [False, True], [0, 0])
    """

    tokens: tuple[tuple[str, ...], ...]
    lengths: tuple[int, ...]
    side: Side = "right"

    @classmethod
    def of(cls, sentences: list[list[str]], *, pad: str, side: Side = "right") -> Rows:
        """Fill up ``sentences`` with ``pad`` to the longest."""
        width = max(map(len, sentences))
        filled = []
        for sentence in sentences:
            padding = [pad] * (width - len(sentence))
            filled.append((*sentence, *padding) if side == "right" else (*padding, *sentence))
        return cls(tuple(filled), tuple(map(len, sentences)), side)

    @property
    def width(self) -> int:
        """Tokens of a row, padding included."""
        return len(self.tokens[0])

    def valid(self, row: int) -> NDArray[np.bool_]:
        """Return which tokens of a row are real, bool ``[width]``."""
        counted = np.arange(self.width)
        length = self.lengths[row]
        return counted < length if self.side == "right" else counted >= self.width - length

    def positions(self, row: int) -> NDArray[np.int64]:
        """Return at which place of its sentence each token stands, counted from 0."""
        skipped = 0 if self.side == "right" else self.width - self.lengths[row]
        return np.maximum(np.arange(self.width) - skipped, 0)


def sentences(text: str) -> list[list[str]]:
    r"""Return the tokens of each line of ``text`` that is not empty.

    >>> sentences("I am.\n\n你好")
    [['I', 'am', '.'], ['你', '好']]

    Raises:
        Refused: too many characters, lines, or tokens in a line.
    """
    found = [split(line) for line in _lines(text)]
    for number, tokens in enumerate(found, 1):
        if len(tokens) > MOST_TOKENS:
            raise Refused("many tokens", got=len(tokens), most=MOST_TOKENS, line=number)
    return found


def patches(text: str) -> list[list[str]]:
    r"""Return the characters of each line: a small picture, one patch a character.

    >>> patches("🌞☁\n🌊🌊")
    [['🌞', '☁'], ['🌊', '🌊']]

    Raises:
        Refused: lines of different lengths, or too few or too many of them.
    """
    grid = [[piece for piece in graphemes(line) if not piece.isspace()] for line in _lines(text)]
    widths = {len(line) for line in grid}
    if len(widths) > 1:
        raise Refused("ragged", least=min(widths), most=max(widths))
    for size in (len(grid), *widths):
        if not LEAST_SIDE <= size <= MOST_SIDE:
            raise Refused("side", got=size, least=LEAST_SIDE, most=MOST_SIDE)
    return grid


def _lines(text: str) -> list[str]:
    if len(text) > MOST_CHARACTERS:
        raise Refused("many characters", got=len(text), most=MOST_CHARACTERS)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if len(lines) > max(MOST_SENTENCES, MOST_SIDE):
        raise Refused("many lines", got=len(lines), most=MOST_SENTENCES)
    return lines


def split(sentence: str) -> list[str]:
    """Return the tokens of one sentence.

    >>> split("It isn't [MASK], 注意力 is 👍🏽!")
    ['It', "isn't", '[MASK]', ',', '注', '意', '力', 'is', '👍🏽', '!']
    """
    tokens: list[str] = []
    joins = False
    rest = sentence
    while rest:
        special = next((each for each in _SPECIAL if rest.startswith(each)), "")
        piece = special or graphemes(rest[:40])[0]
        rest = rest[len(piece) :]
        if piece.isspace():
            joins = False
        elif not special and _in_word(piece, rest) and joins:
            tokens[-1] += piece
        else:
            tokens.append(piece)
            joins = not special and _in_word(piece, rest)
    return tokens


def _in_word(piece: str, rest: str) -> bool:
    """Whether a character is part of a word that is longer than itself."""
    first = piece[0]
    if first in "'’-":  # isn't, left-to-right; not a dash at a word's end
        return bool(rest) and rest[0].isalnum()
    hangul = "HANGUL" in unicodedata.name(first, "")
    ideographic = unicodedata.east_asian_width(first) in "WF" and not hangul
    return (first.isalnum() or first == "_") and not ideographic
