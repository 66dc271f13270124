"""Reading sentences: what becomes of a file, and what is said of a bad one."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from sightline.errors import DataError, MissingExtra
from sightline.recipes.demo.text import (
    BOS,
    EOS,
    MAX_BYTES,
    MAX_SENTENCES,
    MAX_TOKENS,
    PAD,
    phrase,
    read_corpus,
)


def written(folder: Path, data: bytes | str) -> Path:
    path = folder / "text.txt"
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def tokens(folder: Path, data: bytes | str) -> list[tuple[str, ...]]:
    return [sentence.tokens for sentence in read_corpus(written(folder, data)).sentences]


def test_the_shipped_sentences_are_english_and_chinese_of_different_lengths() -> None:
    corpus = read_corpus()
    texts = [sentence.text for sentence in corpus.sentences]
    assert 5 <= len(texts) <= 8
    assert sum(text.isascii() for text in texts) >= 2
    assert sum(any("\u4e00" <= c <= "\u9fff" for c in text) for text in texts) >= 2
    assert len({len(sentence.tokens) for sentence in corpus.sentences}) >= 3
    assert corpus.sentences[0].tokens == ("I", "saw", "a", "saw", ".")
    assert corpus.sentences[1].tokens == ("我", "看", "见", "一", "把", "锯", "子", "。")


def test_the_vocabulary_opens_with_the_special_tokens_and_follows_the_text(tmp_path: Path) -> None:
    corpus = read_corpus(written(tmp_path, "b a\na c b\n"))
    assert corpus.vocabulary == (PAD, BOS, EOS, "b", "a", "c")
    assert corpus.ids((BOS, "a", "c", EOS, PAD)) == [1, 4, 5, 2, 0]


def test_case_and_accents_are_kept_and_punctuation_is_apart(tmp_path: Path) -> None:
    assert tokens(tmp_path, "Ça va, Éva?") == [("Ça", "va", ",", "Éva", "?")]


def test_words_of_the_text_cannot_be_taken_for_special_tokens(tmp_path: Path) -> None:
    assert tokens(tmp_path, "a <pad> b") == [("a", "<", "pad", ">", "b")]


@pytest.mark.parametrize(
    "data",
    [
        b"one two\n\n  \nthree\n",
        b"one two\r\n\r\nthree\r\n",
        b"one two\rthree",
        b"\xef\xbb\xbfone two\nthree",
    ],
    ids=["blank lines", "windows", "old mac", "byte order mark"],
)
def test_any_line_ends_do(tmp_path: Path, data: bytes) -> None:
    assert tokens(tmp_path, data) == [("one", "two"), ("three",)]


def test_escape_codes_do_not_reach_the_terminal(tmp_path: Path) -> None:
    (sentence,) = read_corpus(written(tmp_path, "a \x1b[31mred\x1b[0m \u202eword")).sentences
    assert sentence.text.isprintable()
    assert all(token.isprintable() for token in sentence.tokens)


@pytest.mark.parametrize(
    ("data", "line", "part"),
    [
        (b"", None, "no sentence"),
        (b" \n\t\n", None, "no sentence"),
        (b"fine\nbad \xff here\n", 2, "not UTF-8 (byte 0xff)"),
        (b"\xef\xbb\xbffine\nfine\nbad \xe9", 3, "not UTF-8 (byte 0xe9)"),
        (b"fine\nfine\x00\n", 2, "zero bytes"),
        ("text".encode("utf-16"), 1, "zero bytes"),
        ("fine\n\n" + "w " * (MAX_TOKENS + 1), 3, f"{MAX_TOKENS + 1} tokens"),
        ("a b\n" * (MAX_SENTENCES + 1), MAX_SENTENCES + 1, f"{MAX_SENTENCES + 1} sentences"),
        ("fine\n\u200b\n", 2, "can be seen"),
        (b"a" * (MAX_BYTES + 1), None, "larger than"),
    ],
)
def test_a_bad_file_is_refused_with_its_line(
    tmp_path: Path, data: bytes | str, line: int | None, part: str
) -> None:
    path = written(tmp_path, data)
    with pytest.raises(DataError) as caught:
        read_corpus(path)
    assert caught.value.line == line
    assert part in str(caught.value)
    assert str(path) in str(caught.value)


def test_the_limits_themselves_are_allowed(tmp_path: Path) -> None:
    most = tokens(tmp_path, ("w " * MAX_TOKENS + "\n") * MAX_SENTENCES)
    assert [len(sentence) for sentence in most] == [MAX_TOKENS] * MAX_SENTENCES


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        read_corpus(tmp_path / "nothing.txt")
    with pytest.raises(DataError, match="a folder"):
        read_corpus(tmp_path)


def test_without_tokenizers_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(MissingExtra, match=r"pip install 'sightline\[train\]'"):
        read_corpus()


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ("I have a dream <eos>", "I have a dream <eos>"),
        ("It rains , so", "It rains, so"),
        ("下 雨 了 ， 我 们 。 <eos>", "下雨了，我们。 <eos>"),
        ("GPU 很 快", "GPU 很快"),
    ],
)
def test_tokens_are_written_as_a_reader_would(words: str, text: str) -> None:
    assert phrase(words.split()) == text
