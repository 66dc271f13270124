"""A small text of our own to try BERT's pre-training on: as plain documents, and as a treebank.

Each document tells of one person with an animal of their own and its food, so that its sentences go
together and one name tells the others; they are a handful of patterns in an order of their own.
"""

from __future__ import annotations

from pathlib import Path

from sightline.recipes.training.seeds import generator
from sightline.views.files import write_atomically

__all__ = ["write_plain", "write_treebank"]

Word = tuple[str, str]  # a word and its part of speech

_PEOPLE = ("anna", "boris", "clara", "david", "elena", "farid", "greta", "hugo")
_ANIMALS = ("dog", "cat", "horse", "goat", "parrot", "rabbit", "hen", "donkey")
_FOODS = ("bread", "apples", "soup", "rice", "cheese", "carrots", "corn", "fish")
_PATTERNS = (
    "PERSON/PROPN has/VERB a/DET ANIMAL/NOUN ./PUNCT",
    "the/DET ANIMAL/NOUN of/ADP PERSON/PROPN likes/VERB FOOD/NOUN ./PUNCT",
    "every/DET morning/NOUN PERSON/PROPN gives/VERB FOOD/NOUN to/ADP the/DET ANIMAL/NOUN ./PUNCT",
    "in/ADP the/DET evening/NOUN the/DET ANIMAL/NOUN sleeps/VERB near/ADP the/DET door/NOUN "
    "./PUNCT",
    "PERSON/PROPN says/VERB that/SCONJ no/DET ANIMAL/NOUN eats/VERB so/ADV much/ADJ FOOD/NOUN "
    "./PUNCT",
    "when/SCONJ it/PRON rains/VERB ,/PUNCT the/DET ANIMAL/NOUN stays/VERB with/ADP PERSON/PROPN "
    "./PUNCT",
)


def write_plain(folder: Path) -> None:
    """Write sample_text.txt: one sentence a line, a blank line between documents."""
    documents = [_document(0, number) for number in range(6)]
    text = "\n".join("".join(f"{_text(sentence)}\n" for sentence in each) for each in documents)
    write_atomically(folder / "sample_text.txt", text)


def write_treebank(folder: Path) -> None:
    """Write en_ewt-ud-train.conllu, -dev and -test, all of different documents."""
    numbers = {"train": range(60), "dev": range(60, 72), "test": range(72, 84)}
    for part, those in numbers.items():
        text = "".join(_conllu(number) for number in those)
        write_atomically(folder / f"en_ewt-ud-{part}.conllu", text)


def _document(seed: int, number: int) -> list[list[Word]]:
    """Return the sentences of one document."""
    rng = generator(seed, "document", number)
    house = int(rng.integers(len(_PEOPLE)))
    filled = {"PERSON": _PEOPLE[house], "ANIMAL": _ANIMALS[house], "FOOD": _FOODS[house]}
    order = rng.permutation(len(_PATTERNS))
    return [_sentence(_PATTERNS[index], filled) for index in order]


def _sentence(pattern: str, filled: dict[str, str]) -> list[Word]:
    pairs = [word.rsplit("/", 1) for word in pattern.split(" ")]
    return [(filled.get(word, word), tag) for word, tag in pairs]


def _text(sentence: list[Word]) -> str:
    return " ".join(word for word, _ in sentence)


def _conllu(number: int) -> str:
    """Return one document in CoNLL-U: a line of ten columns for each word."""
    blocks = [f"# newdoc id = sample-{number}\n"]
    for place, sentence in enumerate(_document(1, number)):
        rows = [f"# sent_id = sample-{number}-{place}\n# text = {_text(sentence)}\n"]
        for index, (word, tag) in enumerate(sentence, 1):
            head, relation = (0, "root") if index == 1 else (1, "dep")
            columns = (index, word, word, tag, "_", "_", head, relation, "_", "_")
            rows.append("\t".join(map(str, columns)) + "\n")
        blocks += [*rows, "\n"]
    return "".join(blocks)
