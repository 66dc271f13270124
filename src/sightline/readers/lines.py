"""Lines of a text file, plain or gzipped, with their numbers; what is no text is refused by name.

What the lines say is each reader's matter.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path

from sightline.errors import DataError

__all__ = ["find_file", "read_lines", "read_text"]


def find_file(folder: Path, name: str, wanted: str) -> Path:
    """Return ``name`` or ``name.gz`` in a folder.

    Args:
        folder: where to look.
        name: the file's name without ``.gz``.
        wanted: what the file should hold, for the error.

    Raises:
        DataError: neither is there.
    """
    for path in (Path(folder) / name, Path(folder) / f"{name}.gz"):
        if path.is_file():
            return path
    raise DataError(
        f"got no such file (nor {name}.gz); wanted {wanted}; name its folder with --data.",
        path=str(Path(folder) / name),
    )


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    r"""Yield (number from 1, line without its end) of a UTF-8 file, gunzipped if it ends in .gz.

    Only ``\n`` and ``\r\n`` end a line: other characters that look like ends belong to the text.

    Raises:
        DataError: bytes that are not UTF-8 (with the line), or a damaged archive.
        OSError: a file that cannot be opened.
    """
    number = 0
    open_it = gzip.open if Path(path).suffix == ".gz" else open
    with open_it(path, "rb") as file:
        try:
            for number, line in enumerate(file, 1):
                yield number, line.decode("utf-8").rstrip("\n").removesuffix("\r")
        except UnicodeDecodeError as error:
            raise DataError(
                f"got bytes that are not UTF-8 (0x{error.object[error.start]:02x} at byte "
                f"{error.start + 1}); wanted text in UTF-8; convert the file with iconv.",
                path=str(path),
                line=number,
            ) from error
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise DataError(
                f"got a damaged archive after line {number} ({error}); wanted a whole .gz file; "
                "fetch it again.",
                path=str(path),
            ) from error


def read_text(path: Path) -> str:
    """Return all lines of a file, joined by newlines, with one at the end.

    Raises:
        DataError: as ``read_lines``.
    """
    return "".join(f"{line}\n" for _, line in read_lines(path))
