"""Writing atomically: all or nothing, and nothing left behind."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from sightline.views.files import write_atomically


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_written_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.svg"
    write_atomically(path, "日\n")
    assert path.read_bytes() == "日\n".encode()
    assert names(tmp_path) == ["a.svg"]


@pytest.mark.parametrize("step", ["replace", "chmod"])
def test_a_failure_keeps_the_old_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    path = tmp_path / "a.svg"
    path.write_text("old")

    def fail(*arguments: object, **options: object) -> None:
        raise OSError(28, "No space left on device", "hidden temporary name")

    monkeypatch.setattr(Path, step, fail)
    with pytest.raises(OSError, match="No space left") as caught:
        write_atomically(path, "new")
    assert caught.value.filename == str(path)
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.svg"]


def test_an_interruption_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(tmp_path / "a.svg", "new")
    assert names(tmp_path) == []


def test_text_that_cannot_be_encoded_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(UnicodeEncodeError):
        write_atomically(tmp_path / "a.svg", "\udc80")
    assert names(tmp_path) == []


def test_the_error_names_the_file_that_was_asked_for(tmp_path: Path) -> None:
    missing = tmp_path / "no" / "a.svg"
    with pytest.raises(FileNotFoundError) as caught:
        write_atomically(missing, "new")
    assert caught.value.filename == str(missing)
    with pytest.raises(IsADirectoryError) as is_folder:
        write_atomically(tmp_path, "new")
    assert is_folder.value.filename == str(tmp_path)


@pytest.mark.skipif(os.name != "posix", reason="permissions and links of POSIX")
def test_permissions_and_links_are_kept(tmp_path: Path) -> None:
    path, link = tmp_path / "a.svg", tmp_path / "link.svg"
    path.write_text("old")
    path.chmod(0o640)
    link.symlink_to(path)
    write_atomically(link, "new")
    assert link.is_symlink()
    assert path.read_text() == "new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    fresh = tmp_path / "b.svg"
    write_atomically(fresh, "new")
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(fresh.stat().st_mode) == 0o666 & ~umask


def test_bytes_are_written_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    write_atomically(path, b"\x93NUMPY\r\n\xff")
    assert path.read_bytes() == b"\x93NUMPY\r\n\xff"
