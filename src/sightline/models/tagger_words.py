"""Words as rows of numbers for the tagger: the word itself, how it begins and ends, its shape.

So a word that was never seen still says something: its endings were seen. No tensors here; what is
made of the numbers is tagger.py's matter.
"""

from __future__ import annotations

import json
import re
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from sightline.errors import DataError, InvalidArgument

__all__ = ["COLUMNS", "PAD", "UNKNOWN", "Words", "shape_of", "split_words"]

AFFIXES = (1, 2, 3, 4)  # letters of a prefix or suffix, as in the paper
COLUMNS = 2 + 2 * len(AFFIXES)  # word, prefixes, suffixes, shape
PAD, UNKNOWN = 0, 1  # numbers in the first column that are no word


@dataclass(frozen=True)
class Words:
    """Which words have a number of their own, and how all words become rows of numbers.

    Column 0 holds the word's number, without regard to case (``UNKNOWN`` for a word without one);
    the others hold its prefixes and suffixes of 1 to 4 letters and its shape, each hashed to a
    number from 1 to ``buckets``. Different spellings may share a number there.

    Attributes:
        known: the words with a number of their own, in lower case; the first has number 2.
        buckets: how many numbers there are for affixes and shapes.

    Source: the features are those of Ratnaparkhi 1996, "A maximum entropy model for part-of-speech
    tagging", table 1, for rare words.

    >>> words = Words.from_text(["A", "gnu", "saw", "a", "saw", "a"], least=2)
    >>> words.known
    ('a', 'saw')
    >>> saw, gnus = words.rows(["Saw", "gnus"])
    >>> int(saw[0]), int(gnus[0]), saw.shape
    (3, 1, (10,))
    """

    known: tuple[str, ...]
    buckets: int = 16384
    _numbers: dict[str, int] = field(init=False, repr=False, compare=False)
    _kept: dict[str, np.ndarray] = field(
        init=False, repr=False, compare=False, default_factory=dict
    )

    def __post_init__(self) -> None:
        if self.buckets < 1:
            raise InvalidArgument(f"got buckets={self.buckets}; wanted at least 1.")
        numbers = {word: number for number, word in enumerate(self.known, UNKNOWN + 1)}
        if len(numbers) < len(self.known):
            word = next(word for word, count in Counter(self.known).items() if count > 1)
            raise InvalidArgument(f"got the word {word!r} twice; wanted each known word once.")
        object.__setattr__(self, "_numbers", numbers)

    @classmethod
    def from_text(cls, text: Iterable[str], *, least: int, buckets: int = 16384) -> Words:
        """Give a number to every word that occurs at least ``least`` times, frequent ones first."""
        counts = Counter(word.lower() for word in text)
        ranked = sorted(counts.items(), key=lambda each: (-each[1], each[0]))
        return cls(tuple(word for word, count in ranked if count >= least), buckets)

    @property
    def size(self) -> int:
        """How many numbers the first column may hold, ``PAD`` and ``UNKNOWN`` included."""
        return len(self.known) + UNKNOWN + 1

    def rows(self, sentence: Sequence[str]) -> np.ndarray:
        """Return a sentence's words as int64 [words, COLUMNS].

        Raises:
            InvalidArgument: an empty word.
        """
        if not len(sentence):
            return np.zeros((0, COLUMNS), np.int64)
        return np.stack([self._row(word) for word in sentence])

    def _row(self, word: str) -> np.ndarray:
        row = self._kept.get(word)
        if row is None:
            if not word:
                raise InvalidArgument("got an empty word; wanted words of at least one letter.")
            row = self._kept[word] = self._make_row(word)
        return row

    def _make_row(self, word: str) -> np.ndarray:
        lower = word.lower()
        features = [f"prefix {size} {lower[:size]}" for size in AFFIXES]
        features += [f"suffix {size} {lower[-size:]}" for size in AFFIXES]
        features.append(f"shape {shape_of(word)}")
        # Not Python's hash, which differs from process to process.
        hashed = [
            zlib.crc32(each.encode(errors="surrogatepass")) % self.buckets + 1 for each in features
        ]
        return np.array([self._numbers.get(lower, UNKNOWN), *hashed], np.int64)

    # -- as a file ------------------------------------------------------------------------------

    def to_json(self) -> str:
        """Return it as JSON, for a file beside a model's weights."""
        return json.dumps({"buckets": self.buckets, "known": list(self.known)}) + "\n"

    @classmethod
    def from_file(cls, path: Path) -> Words:
        """Read what ``to_json`` returned.

        Raises:
            DataError: no such file, or one that holds something else.
        """
        wanted = "wanted the words that a training run has saved beside its weights"
        try:
            read = json.loads(Path(path).read_text(encoding="utf-8"))
            known, buckets = read["known"], read["buckets"]
            if not all(isinstance(word, str) for word in known) or not isinstance(buckets, int):
                raise TypeError("its words are no text, or its buckets no number")
            return cls(tuple(known), buckets)
        except FileNotFoundError as error:
            raise DataError(f"got no such file; {wanted}.", path=str(path)) from error
        except (ValueError, TypeError, KeyError) as error:
            raise DataError(f"got something else ({error}); {wanted}.", path=str(path)) from error


def shape_of(word: str) -> str:
    """Return a word's shape: X, x and 0 for capitals, letters and digits, other signs as they are.

    A run of the same is written once.

    >>> shape_of("McDonald's"), shape_of("1998-99"), shape_of("USA")
    ("XxXx'x", '0-0', 'X')
    """
    kinds = (
        "X" if c.isupper() else "x" if c.isalpha() else "0" if c.isdigit() else c for c in word
    )
    return re.sub(r"(.)\1+", r"\1", "".join(kinds), flags=re.DOTALL)


# Endings that English treebanks write as words of their own: don't is do n't, I'm is I 'm.
_CLITIC = re.compile(r"(?i)(?<=\w)(n['’]t|['’](?:s|m|d|ll|re|ve))$")
_PIECE = re.compile(r"\w+(?:['’.]\w+|(?<=\d),\d+)*|([^\w\s])\1*")


def split_words(text: str) -> list[str]:
    """Return the words of a text: split at spaces, punctuation split off, ``don't`` as ``do n't``.

    A simple rule in the manner of English treebanks, without a list of abbreviations. A text whose
    words have spaces between them already is better split at those.

    >>> split_words("I don't think it's $5,000 (J.R. is well-known)...")[:8]
    ['I', 'do', "n't", 'think', 'it', "'s", '$', '5,000']
    >>> split_words("(J.R. is well-known)...")
    ['(', 'J.R', '.', 'is', 'well', '-', 'known', ')', '...']
    """
    words: list[str] = []
    for match in _PIECE.finditer(text):
        piece = match[0]
        ending = _CLITIC.search(piece)
        words += [piece[: ending.start()], ending[0]] if ending else [piece]
    return words
