"""Plain text as characters: one file, and the numbers that its characters get.

Lines and archives are lines.py's matter; which part of a text is learned from is the recipe's.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sightline.errors import DataError, InvalidArgument
from sightline.readers.lines import find_file, read_text

__all__ = ["Characters", "read_characters", "read_plain_text"]

_SHOWN_AROUND = 12  # characters of the text before an unknown one, for the error


@dataclass(frozen=True)
class Characters:
    """The characters that a model knows; each one's place is its number.

    Attributes:
        known: all of them, each once.

    >>> characters = Characters.of("to be")
    >>> characters.known, characters.numbers("bet").tolist(), characters.text([3, 0, 2])
    (' beot', [1, 2, 4], 'o e')
    """

    known: str

    @classmethod
    def of(cls, text: str) -> Characters:
        """Return the characters of a text, in the order of their code points."""
        return cls("".join(sorted(set(text))))

    def __len__(self) -> int:
        return len(self.known)

    def numbers(self, text: str) -> NDArray[np.int64]:
        """Return the numbers of a text's characters.

        Raises:
            InvalidArgument: a character that is not known, with its place in the text.
        """
        table = {character: number for number, character in enumerate(self.known)}
        try:
            return np.fromiter((table[each] for each in text), np.int64, len(text))
        except KeyError as error:
            raise InvalidArgument(self._unknown(text, error.args[0])) from None

    def text(self, numbers: NDArray[np.int64] | list[int]) -> str:
        """Return the text that these numbers stand for."""
        return "".join(self.known[number] for number in numbers)

    def as_json(self) -> str:
        """Return what ``read_characters`` reads."""
        return json.dumps({"characters": list(self.known)}) + "\n"

    def _unknown(self, text: str, character: str) -> str:
        place = text.index(character)
        before = text[max(0, place - _SHOWN_AROUND) : place]
        after = f" after {before!r}" if before else ""
        swapped = character.swapcase()
        hint = f"; {swapped!r} is known" if swapped != character and swapped in self.known else ""
        return (
            f"got the character {character!r} at position {place + 1}{after}; wanted one of the "
            f"{len(self)} characters of the text that the model learned from{hint}; leave it out "
            f"or replace it. They are {self.known!r}."
        )


def read_plain_text(folder: Path, name: str) -> str:
    """Return the text of a file (plain or ``.gz``) in a folder; line ends become newlines.

    Raises:
        DataError: no such file, bytes that are not UTF-8, or nothing in it.
    """
    path = find_file(folder, name, "a plain text in UTF-8 to learn from")
    text = read_text(path)
    if not text.strip():
        raise DataError("got an empty file; wanted a text to learn from.", path=str(path))
    return text


def read_characters(path: Path) -> Characters:
    """Return the characters that a run's folder keeps beside its weights.

    Raises:
        DataError: no such file, or one that holds something else.
    """
    wanted = 'wanted {"characters": ["a", "b", ...]}, each once; train again with --fresh.'
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(
            "got no such file; wanted the characters of a trained model; give the folder of a run.",
            path=str(path),
        ) from None
    except ValueError as error:
        raise DataError(f"got no JSON ({error}); {wanted}", path=str(path)) from error
    characters = read.get("characters") if isinstance(read, dict) else None
    if not isinstance(characters, list) or not characters:
        raise DataError(f"got JSON without a list of characters; {wanted}", path=str(path))
    for place, each in enumerate(characters, 1):
        if not isinstance(each, str) or len(each) != 1 or each in characters[: place - 1]:
            raise DataError(f"got {each!r} as character {place}; {wanted}", path=str(path))
    return Characters("".join(characters))
