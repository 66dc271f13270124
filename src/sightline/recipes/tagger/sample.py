"""A small treebank of our own, in CoNLL-U: enough to learn that a word's place tells its tag.

The sentences are made from a handful of patterns; many of their words have two tags ("saw", "can",
"plant"), so that a word alone does not say which.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sightline.recipes.training.seeds import generator
from sightline.views.files import write_atomically

__all__ = ["write_sample"]

_SIZES = {"train": 160, "dev": 24, "test": 24}

# A slot of a pattern -> its tag and its words.
_SLOTS = {
    "who": ("PRON", "I we they you"),
    "name": ("PROPN", "Kim Lee Ada Noor Paris"),
    "the": ("DET", "the a this every"),
    "old": ("ADJ", "old new red small quiet"),
    "thing": ("NOUN", "saw can plant duck watch walk dog house boat"),
    "does": ("VERB", "saw plant duck watch walk paint hear"),
    "can": ("AUX", "can will must"),
    "not": ("PART", "n't"),
    "do": ("AUX", "do"),
    "near": ("ADP", "near with behind"),
    "now": ("ADV", "now slowly often"),
    "and": ("CCONJ", "and or"),
    "number": ("NUM", "2 17 four"),
    ".": ("PUNCT", ". !"),
}
_PATTERNS = (
    "who does the thing",
    "who does the thing .",
    "who can does the old thing .",
    "name does the thing near the thing .",
    "the old thing does number thing .",
    "name and name can does now .",
    "who do not does the thing .",
    "the thing can does the thing now .",
)


def write_sample(folder: Path) -> None:
    """Write train, dev and test parts under the names that the English Web Treebank's have.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     write_sample(Path(folder))
    ...     names = sorted(path.name for path in Path(folder).iterdir())
    >>> names
    ['en_ewt-ud-dev.conllu', 'en_ewt-ud-test.conllu', 'en_ewt-ud-train.conllu']
    """
    Path(folder).mkdir(parents=True, exist_ok=True)
    for part, size in _SIZES.items():
        draw = generator(0, "sample", part)
        blocks = [_block(number, draw) for number in range(size)]
        text = f"# newdoc id = {part}\n" + "".join(blocks)
        write_atomically(Path(folder) / f"en_ewt-ud-{part}.conllu", text)


def _block(number: int, draw: np.random.Generator) -> str:
    """Return one sentence as lines of CoNLL-U, a blank line after it."""
    slots = _PATTERNS[int(draw.integers(len(_PATTERNS)))].split()
    words: list[str] = []
    lines: list[str] = []
    for place, slot in enumerate(slots, 1):
        tag, choices = _SLOTS[slot]
        word = str(draw.choice(choices.split()))
        if slot == "do":  # written together with what follows, as don't is
            lines.append(_line(f"{place}-{place + 1}", "don't", "_"))
        words.append(word)
        lines.append(_line(str(place), word, tag))
    return "\n".join([f"# sent_id = {number}", f"# text = {_text(words)}", *lines, "", ""])


def _line(place: str, word: str, tag: str) -> str:
    return "\t".join([place, word, "_", tag, *["_"] * 6])


def _text(words: Sequence[str]) -> str:
    return " ".join(words).replace("do n't", "don't")
