"""readers/plain_text.py: characters and their numbers; what is malformed is refused by name."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sightline.errors import DataError, InvalidArgument
from sightline.readers.plain_text import Characters, read_characters, read_plain_text


@given(st.text(min_size=1, max_size=40))
def test_numbers_and_back(text: str) -> None:
    characters = Characters.of(text)
    numbers = characters.numbers(text)
    assert numbers.dtype == np.int64
    assert set(numbers.tolist()) == set(range(len(characters)))
    assert characters.text(numbers) == text


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("to be 2", ["'2' at position 7", "after 'to be '", "5 characters", "' beot'"]),
        ("Tobe", ["'T' at position 1;", "'t' is known"]),
        ("é", ["'é' at position 1;"]),
    ],
)
def test_an_unknown_character_is_named_with_its_place(text: str, parts: list[str]) -> None:
    with pytest.raises(InvalidArgument) as caught:
        Characters.of("to be").numbers(text)
    for part in parts:
        assert part in str(caught.value)


def test_no_hint_where_the_other_case_is_unknown_too() -> None:
    with pytest.raises(InvalidArgument) as caught:
        Characters.of("to be").numbers("x")
    assert "is known" not in str(caught.value)


def test_a_text_plain_and_gzipped(tmp_path: Path) -> None:
    (tmp_path / "plain.txt").write_bytes("one\r\ntwo\né".encode())
    (tmp_path / "packed.txt.gz").write_bytes(gzip.compress(b"one\ntwo\n"))
    assert read_plain_text(tmp_path, "plain.txt") == "one\ntwo\né\n"
    assert read_plain_text(tmp_path, "packed.txt") == "one\ntwo\n"


@pytest.mark.parametrize(
    ("content", "part", "line"),
    [
        (None, "no such file", None),
        (b"", "empty file", None),
        (b" \n\n", "empty file", None),
        (b"fine\nbad \xff\n", "not UTF-8 (0xff at byte 5)", 2),
    ],
    ids=["missing", "empty", "blank", "not UTF-8"],
)
def test_malformed_texts(
    tmp_path: Path, content: bytes | None, part: str, line: int | None
) -> None:
    path = tmp_path / "input.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_plain_text(tmp_path, "input.txt")
    assert part in str(caught.value)
    assert caught.value.path == str(path)
    assert caught.value.line == line


def test_the_vocabulary_file(tmp_path: Path) -> None:
    characters = Characters.of("né\n\u2028👍 '\"\\")
    (tmp_path / "vocabulary.json").write_text(characters.as_json(), encoding="utf-8")
    assert read_characters(tmp_path / "vocabulary.json") == characters


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (None, "no such file"),
        (b"{", "no JSON"),
        (b"\xff\xfe", "no JSON"),
        (b"[1]", "without a list"),
        (b'{"tokens": ["a"]}', "without a list"),
        (b'{"characters": "ab"}', "without a list"),
        (b'{"characters": []}', "without a list"),
        (b'{"characters": ["a", "bc"]}', "'bc' as character 2"),
        (b'{"characters": ["a", ""]}', "'' as character 2"),
        (b'{"characters": [7]}', "7 as character 1"),
        (b'{"characters": ["a", "b", "a"]}', "'a' as character 3"),
    ],
)
def test_malformed_vocabularies(tmp_path: Path, content: bytes | None, part: str) -> None:
    path = tmp_path / "vocabulary.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_characters(path)
    assert part in str(caught.value)
    assert caught.value.path == str(path)


def test_a_vocabulary_is_plain_json() -> None:
    assert json.loads(Characters.of("ba").as_json()) == {"characters": ["a", "b"]}
