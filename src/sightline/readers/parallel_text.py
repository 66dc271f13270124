"""Aligned text: two files, of which line n of one is the translation of line n of the other.

What a line is made into is the recipe's matter.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sightline.errors import DataError
from sightline.readers.lines import find_file, read_lines

__all__ = ["ParallelText", "read_parallel"]


@dataclass(frozen=True)
class ParallelText:
    """Sentences and their translations, in the order of the files.

    Attributes:
        sources: what is translated.
        targets: its translations; as many.
    """

    sources: tuple[str, ...]
    targets: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.sources)


def read_parallel(folder: Path, name: str, source: str, target: str) -> ParallelText:
    """Read ``NAME.SOURCE`` and ``NAME.TARGET``, each plain or gzipped, one sentence a line.

    White space around a sentence is cut off.

    Args:
        folder: where both lie.
        name: what both are called, "train".
        source: the ending of the one, "de".
        target: the ending of the other, "en".

    Raises:
        DataError: a file that is missing, empty, of another number of lines than the other, or
            no UTF-8; an empty line. With the file and the line.
    """
    files = [
        find_file(folder, f"{name}.{ending}", f"one sentence of the language {ending} a line")
        for ending in (source, target)
    ]
    sides = [_sentences(path) for path in files]
    counts = [len(side) for side in sides]
    if counts[0] != counts[1]:
        longer = 0 if counts[0] > counts[1] else 1
        raise DataError(
            f"got a line without a partner: this file has {counts[longer]} lines, "
            f"{files[1 - longer].name} has {counts[1 - longer]}; wanted equal numbers, line n of "
            "one being the translation of line n of the other.",
            path=str(files[longer]),
            line=min(counts) + 1,
        )
    return ParallelText(*sides)


def _sentences(path: Path) -> tuple[str, ...]:
    found: list[str] = []
    for number, line in read_lines(path):
        sentence = line.strip()
        if not sentence:
            raise DataError(
                "got an empty line; wanted a sentence; take the line out of both files.",
                path=str(path),
                line=number,
            )
        found.append(sentence)
    if not found:
        raise DataError("got an empty file; wanted one sentence a line.", path=str(path))
    return tuple(found)
