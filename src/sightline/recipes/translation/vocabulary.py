"""One vocabulary of subwords for both languages: text to token numbers and back, kept as a file.

Learning the subwords is recipes/subwords.py's part.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from sightline.errors import DataError, MissingExtra
from sightline.recipes.subwords import train_subwords
from sightline.views.files import write_atomically

__all__ = ["BEGIN", "END", "PAD", "Vocabulary"]

_SPECIAL = ("<pad>", "<unknown>", "<begin>", "<end>")
PAD, _, BEGIN, END = range(4)


class Vocabulary:
    """Subwords of both languages.

    Args:
        tokenizer: one of the package tokenizers, whose first tokens are pad, unknown, begin, end.

    >>> words = Vocabulary.train(["ein Hund läuft.", "a dog runs."] * 3, most=60)
    >>> words.text(words.tokens(["ein  Hund."])[0])
    'ein Hund.'
    """

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer

    @classmethod
    def train(cls, texts: Iterable[str], most: int) -> Vocabulary:
        """Learn at most so many subwords from texts; the same texts give the same subwords."""
        return cls(train_subwords(texts, most, _SPECIAL))

    @classmethod
    def load(cls, path: Path) -> Vocabulary:
        """Read what ``save`` wrote.

        Raises:
            DataError: no such file, or another one.
        """
        try:
            from tokenizers import Tokenizer
        except ImportError as error:
            raise MissingExtra(
                what="reading a tokenizer", package="tokenizers", extra="train"
            ) from error
        if not path.is_file():
            raise DataError("got no such file; wanted a tokenizer; train first.", path=str(path))
        try:
            made = cls(Tokenizer.from_str(path.read_text(encoding="utf-8")))
        except Exception as error:  # the package raises no narrower kind
            raise DataError(
                f"got a file that is no tokenizer ({error}); wanted the one that training wrote.",
                path=str(path),
            ) from error
        first = tuple(made.tokenizer.id_to_token(number) for number in range(len(_SPECIAL)))
        if first != _SPECIAL:
            raise DataError(
                f"got a tokenizer whose first tokens are {first}; wanted {_SPECIAL}, as training "
                "writes them.",
                path=str(path),
            )
        return made

    def save(self, path: Path) -> None:
        """Write the tokenizer as JSON, atomically."""
        write_atomically(path, self.tokenizer.to_str(pretty=True) + "\n")

    @property
    def size(self) -> int:
        """How many tokens there are."""
        return self.tokenizer.get_vocab_size()

    def tokens(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the tokens of each text, without a begin or an end."""
        return [each.ids for each in self.tokenizer.encode_batch(list(texts))]

    def text(self, tokens: Sequence[int]) -> str:
        """Return the text of tokens; pad, begin and end are left out."""
        return self.tokenizer.decode(list(tokens), skip_special_tokens=True)

    def pieces(self, tokens: Sequence[int]) -> tuple[str, ...]:
        """Return each token as it is shown to people; a space before a word is ``▁``."""
        return tuple(self.tokenizer.id_to_token(token) for token in tokens)
