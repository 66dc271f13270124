"""The three parts of a treebank; what a sentence in them looks like is readers/conllu.py's."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sightline.readers.conllu import Sentence, read_conllu
from sightline.readers.lines import find_file

__all__ = ["Treebank", "read_treebank"]


@dataclass(frozen=True)
class Treebank:
    """The three parts of a treebank."""

    train: tuple[Sentence, ...]
    dev: tuple[Sentence, ...]
    test: tuple[Sentence, ...]


def read_treebank(folder: Path) -> Treebank:
    """Read the parts ``en_ewt-ud-{train,dev,test}.conllu`` of a folder, each plain or gzipped.

    Raises:
        DataError: a file that is missing or malformed.
    """
    parts = {
        part: find_file(
            folder, f"en_ewt-ud-{part}.conllu", f"the treebank's {part} part in CoNLL-U"
        )
        for part in ("train", "dev", "test")
    }
    return Treebank(**{part: tuple(read_conllu(path)) for part, path in parts.items()})
