"""Plain text with a sentence a line, and what is refused, by file and line."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from sightline.errors import DataError
from sightline.readers.documents import read_documents


def read(folder: Path, content: bytes, name: str = "given.txt") -> list[list[str]]:
    path = folder / name
    path.write_bytes(content)
    return list(read_documents(path))


@pytest.mark.parametrize(
    ("text", "documents"),
    [
        ("one\ntwo\n\nthree\n", [["one", "two"], ["three"]]),
        ("one", [["one"]]),
        ("\n\n one \r\n\r\n\n\t\ntwo\n\n", [["one"], ["two"]]),
        ("\ufeffone\n  \ntwo", [["one"], ["two"]]),
        ("力加勝\u2028ᴵ\n\nb", [["力加勝\u2028ᴵ"], ["b"]]),  # only line feeds end a line
    ],
)
def test_documents(tmp_path: Path, text: str, documents: list[list[str]]) -> None:
    assert read(tmp_path, text.encode()) == documents
    assert read(tmp_path, gzip.compress(text.encode()), "given.txt.gz") == documents


@pytest.mark.parametrize(
    ("content", "line", "words"),
    [
        (b"", None, "without text"),
        (b"\n \n\t\n", None, "without text"),
        (b"one\n\xff\xfe", 2, "not UTF-8"),
        (b"one\n\ntw\0o\n", 3, "NUL"),
    ],
)
def test_what_is_no_text_is_refused(
    tmp_path: Path, content: bytes, line: int | None, words: str
) -> None:
    with pytest.raises(DataError, match=words) as caught:
        read(tmp_path, content)
    assert caught.value.line == line
    assert caught.value.path.endswith("given.txt")


def test_a_damaged_archive_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="damaged archive"):
        read(tmp_path, gzip.compress(b"one\ntwo\n" * 500)[:-20], "given.txt.gz")


def test_a_missing_file_is_the_callers_matter(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="nowhere"):
        list(read_documents(tmp_path / "nowhere.txt"))
