"""Aligned text: what is read, and every way in which two files do not belong together."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

import sightline as sl
from sightline.readers.parallel_text import ParallelText, read_parallel


def wrote(folder: Path, german: bytes, english: bytes) -> Path:
    (folder / "train.de").write_bytes(german)
    (folder / "train.en").write_bytes(english)
    return folder


def refused(folder: Path) -> sl.DataError:
    with pytest.raises(sl.DataError) as caught:
        read_parallel(folder, "train", "de", "en")
    return caught.value


def test_pairs_in_order_without_outer_white_space(tmp_path: Path) -> None:
    wrote(tmp_path, "Ein Hund .\r\n Zwei Männer\u2028.\n".encode(), b"A dog .\nTwo men .\t\n")
    text = read_parallel(tmp_path, "train", "de", "en")
    assert text == ParallelText(("Ein Hund .", "Zwei Männer\u2028."), ("A dog .", "Two men ."))
    assert len(text) == 2


def test_one_file_may_be_gzipped(tmp_path: Path) -> None:
    (tmp_path / "val.de.gz").write_bytes(gzip.compress("Bäume\n".encode()))
    (tmp_path / "val.en").write_text("Trees")  # the last line may lack its end
    assert read_parallel(tmp_path, "val", "de", "en") == ParallelText(("Bäume",), ("Trees",))


@pytest.mark.parametrize(
    ("german", "english", "longer"), [(b"a\nb\nc\n", b"x\n", "de"), (b"a\n", b"x\ny\nz\n", "en")]
)
def test_a_line_without_a_partner(
    tmp_path: Path, german: bytes, english: bytes, longer: str
) -> None:
    error = refused(wrote(tmp_path, german, english))
    assert error.path == str(tmp_path / f"train.{longer}")
    assert error.line == 2
    assert "this file has 3 lines" in str(error)
    assert "has 1;" in str(error)


def test_an_empty_line(tmp_path: Path) -> None:
    error = refused(wrote(tmp_path, b"a\n \nc\n", b"x\ny\nz\n"))
    assert (error.path, error.line) == (str(tmp_path / "train.de"), 2)
    assert "take the line out of both files" in str(error)


def test_an_empty_file(tmp_path: Path) -> None:
    error = refused(wrote(tmp_path, b"a\n", b""))
    assert (error.path, error.line) == (str(tmp_path / "train.en"), None)


def test_a_missing_file(tmp_path: Path) -> None:
    (tmp_path / "train.de").write_text("a\n")
    error = refused(tmp_path)
    assert error.path == str(tmp_path / "train.en")
    assert "one sentence of the language en a line" in str(error)


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    error = refused(wrote(tmp_path, b"a\nb\xff\n", b"x\ny\n"))
    assert (error.path, error.line) == (str(tmp_path / "train.de"), 2)


@pytest.mark.data
def test_multi30k_is_read_whole(sightline_data: Path) -> None:
    sizes = {"train": 29_000, "val": 1_014, "test_2016_flickr": 1_000}
    for name, size in sizes.items():
        assert len(read_parallel(sightline_data / "multi30k", name, "de", "en")) == size
