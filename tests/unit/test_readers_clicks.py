"""Click lists: read as they are, or refused with file, line and what was wanted."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from sightline.errors import DataError
from sightline.readers.clicks import read_clicks


def written(folder: Path, text: str | bytes, name: str = "clicks.txt") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_users_in_order_items_without_gaps(tmp_path: Path) -> None:
    clicks = read_clicks(written(tmp_path, "9 70\n4 50\n9 50\n9 70\n4 61\r\n9\t99"))
    assert clicks.users.tolist() == [4, 9]
    assert clicks.items.tolist() == [50, 61, 70, 99]
    assert [each.tolist() for each in clicks.sequences] == [[1, 2], [3, 1, 3, 4]]
    assert clicks.vocab == 5


def test_gzipped(tmp_path: Path) -> None:
    path = written(tmp_path, gzip.compress(b"1 2\n1 3\n"), "clicks.txt.gz")
    assert read_clicks(path).items.tolist() == [2, 3]


@pytest.mark.parametrize(
    ("text", "line", "got"),
    [
        ("", None, "an empty file"),
        ("1 2\n\n1 3\n", 2, "an empty line"),
        ("1 2\n1 3\n1\n", 3, "1 columns"),
        ("1 2 5\n", 1, "3 columns"),
        ("user item\n", 1, "'user'"),
        ("1 2\n1 0\n", 2, "'0'"),
        ("1 -2\n", 1, "'-2'"),
        ("1 2.0\n", 1, "'2.0'"),
        ("1 ٣\n", 1, "'٣'"),
        ("1 99999999999999999999\n", 1, "'99999999999999999999'"),
        (b"1 2\n1 \xff\n", 2, "bytes that are not UTF-8"),
    ],
)
def test_refused(tmp_path: Path, text: str | bytes, line: int | None, got: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(DataError) as caught:
        read_clicks(path)
    assert got in str(caught.value)
    assert "wanted" in str(caught.value)
    assert (caught.value.path, caught.value.line) == (str(path), line)


def test_damaged_archive(tmp_path: Path) -> None:
    path = written(tmp_path, gzip.compress(b"1 2\n" * 999)[:-9], "clicks.txt.gz")
    with pytest.raises(DataError, match="damaged archive"):
        read_clicks(path)
