"""CoNLL-U files as words and tags; what is no CoNLL-U is refused with its file and line."""

from __future__ import annotations

import gzip
import sys
from collections import Counter
from pathlib import Path

import pytest

from sightline.errors import DataError, MissingExtra
from sightline.readers.conllu import TAGS, Sentence, read_conllu
from sightline.readers.lines import find_file

pytest.importorskip("conllu")


def row(place: str, word: str, tag: str) -> str:
    return "\t".join([place, word, "_", tag, "_", "_", "_", "_", "_", "_"])


FILE = "\n".join(
    [
        "# newdoc id = first",
        "# sent_id = 1",
        "# text = Don't  panic!",
        row("1-2", "Don't", "_"),
        row("1", "Do", "AUX"),
        row("2", "n't", "PART"),
        row("2.1", "you", "PRON"),
        row("3", "panic", "VERB"),
        row("4", "!", "PUNCT"),
        "",
        row("1", "I  saw", "VERB"),  # two spaces inside a word are the word's own
        row("2", "10", "NUM"),
        "",
        "# newdoc",
        row("1", "Grüße", "NOUN"),
        "",
        "",
    ]
)
READ = [
    Sentence(
        ("Do", "n't", "panic", "!"),
        ("AUX", "PART", "VERB", "PUNCT"),
        "Don't  panic!",
        "first",
        5,
    ),
    Sentence(("I  saw", "10"), ("VERB", "NUM"), "I  saw 10", "first", 11),
    Sentence(("Grüße",), ("NOUN",), "Grüße", "newdoc at line 14", 15),
]


def read(folder: Path, text: str | bytes) -> list[Sentence]:
    path = folder / "given.conllu"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return list(read_conllu(path))


def refused(folder: Path, text: str | bytes) -> tuple[int | None, str]:
    with pytest.raises(DataError) as caught:
        read(folder, text)
    assert caught.value.path == str(folder / "given.conllu")
    return caught.value.line, str(caught.value)


def test_words_tags_text_documents_and_lines(tmp_path: Path) -> None:
    assert read(tmp_path, FILE) == READ


def test_windows_line_ends_a_byte_order_mark_and_gzip_change_nothing(tmp_path: Path) -> None:
    assert read(tmp_path, FILE.replace("\n", "\r\n")) == READ
    assert read(tmp_path, "\ufeff" + FILE) == READ
    packed = tmp_path / "given.conllu.gz"
    packed.write_bytes(gzip.compress(FILE.encode()))
    assert list(read_conllu(packed)) == READ


def test_before_the_first_document_line_there_is_none(tmp_path: Path) -> None:
    text = row("1", "a", "DET") + "\n\n# newdoc id =\n" + row("1", "b", "X") + "\n\n"
    assert [each.document for each in read(tmp_path, text)] == [None, "newdoc at line 3"]


def test_sentences_come_one_by_one(tmp_path: Path) -> None:
    path = tmp_path / "late.conllu"
    path.write_text(row("1", "a", "DET") + "\n\nnonsense\n\n")
    reading = read_conllu(path)
    assert next(reading).words == ("a",)
    with pytest.raises(DataError, match="line 3"):
        next(reading)


GOOD = row("1", "a", "DET") + "\n\n"

REFUSED = {
    "no columns": ("Alice\n\n", 1, "got 1 columns; wanted 10"),
    "nine columns": (GOOD + row("1", "a", "DET")[:-2] + "\n\n", 3, "got 9 columns; wanted 10"),
    "eleven columns": (GOOD + row("1", "a", "DET") + "\t_\n\n", 3, "got 11 columns"),
    "spaces for tabs": (row("1", "a", "DET").replace("\t", "  ") + "\n\n", 1, "with a tab"),
    "unknown tag": (GOOD + row("1", "a", "Noun") + "\n\n", 3, "got the tag 'Noun' in column 4"),
    "no tag": (row("1", "a", "_") + "\n\n", 1, "wanted one of ADJ, ADP"),
    "empty word": (row("1", "", "DET") + "\n\n", 1, "got an empty word"),
    "no number": (row("one", "a", "DET") + "\n\n", 1, "got 'one' in column 1"),
    "range backwards": (row("3-2", "a", "DET") + "\n\n", 1, "got '3-2' in column 1"),
    "number left out": (
        row("1", "a", "DET") + "\n" + row("3", "b", "X") + "\n\n",
        2,
        "got '3' in column 1; wanted the word number 2",
    ),
    "no blank line between": (
        row("1", "a", "DET") + "\n" + row("1", "b", "X") + "\n\n",
        2,
        "or a blank line where the sentence ends",
    ),
    "no blank line before a comment": (
        row("1", "a", "DET") + "\n# sent_id = 2\n" + row("1", "b", "X") + "\n\n",
        2,
        "got a comment between words; wanted a blank line",
    ),
    "no blank line at the end": (GOOD + row("1", "b", "X") + "\n", 3, "that the file ends in"),
    "cut in a line": (GOOD + row("1", "b", "X")[:9], 3, "columns"),
    "comments alone": (GOOD + "# sent_id = 2\n\n", 3, "got a block without words"),
    "empty": ("", None, "got no sentences"),
    "blank lines alone": ("\n\n\n", None, "got no sentences"),
    "not UTF-8": (GOOD.encode() + "1\tGrüße".encode("latin-1"), 3, "not UTF-8"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_conllu_is_refused_with_its_line(case: str, tmp_path: Path) -> None:
    text, line, words = REFUSED[case]
    found, message = refused(tmp_path, text)
    assert found == line
    assert words in message
    assert f"given.conllu, line {line}: " in message or line is None


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"none\.conllu"):
        next(read_conllu(tmp_path / "none.conllu"))


def test_without_the_package_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "conllu", None)
    with pytest.raises(MissingExtra, match=r"pip install 'sightline\[train\]'"):
        next(read_conllu(tmp_path / "none.conllu"))


@pytest.mark.data
def test_the_english_web_treebank(sightline_data: Path) -> None:
    counts = {}
    for part in ("train", "dev", "test"):
        path = find_file(sightline_data / "ewt", f"en_ewt-ud-{part}.conllu", "the treebank")
        sentences = list(read_conllu(path))
        words = sum(len(each.words) for each in sentences)
        counts[part] = (len(sentences), words, len({each.document for each in sentences}))
        if part == "train":
            saw = Counter(
                tag
                for each in sentences
                for word, tag in zip(each.words, each.tags, strict=True)
                if word == "saw"
            )
            assert saw == {"VERB": 25, "NOUN": 1}
            assert {tag for each in sentences for tag in each.tags} == set(TAGS)
    assert counts == {
        "train": (12544, 204577, 540),
        "dev": (2001, 25147, 318),
        "test": (2077, 25094, 316),
    }
