"""Plain text with one sentence a line and a blank line between documents: BERT's raw text.

What a sentence is made of is left to a tokenizer; plain text without such lines is another file's.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from sightline.errors import DataError
from sightline.readers.lines import read_lines

__all__ = ["read_documents"]


def read_documents(path: str | Path) -> Iterator[list[str]]:
    r"""Yield the documents of a file, each a list of its sentences in order.

    Blanks around a sentence are dropped; several blank lines count as one.

    Args:
        path: UTF-8 text, gunzipped if it ends in .gz.

    Raises:
        DataError: bytes that are not UTF-8, a NUL, a damaged archive, or a file without text.
        OSError: a file that cannot be opened.

    Source: Devlin et al. 2019, the input format of their published code.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder) / "text.txt"
    ...     _ = path.write_text("One.\nTwo.\n\nAnother document.\n")
    ...     list(read_documents(path))
    [['One.', 'Two.'], ['Another document.']]
    """
    document: list[str] = []
    empty = True
    for number, text in read_lines(Path(path)):
        line = (text.removeprefix("\ufeff") if number == 1 else text).strip()
        if "\0" in line:
            raise DataError(
                "got a NUL character; wanted text, one sentence a line; is it a binary file, or "
                "UTF-16? Convert it with iconv.",
                path=str(path),
                line=number,
            )
        if line:
            empty = False
            document.append(line)
        elif document:
            yield document
            document = []
    if document:
        yield document
    if empty:
        raise DataError(
            "got a file without text; wanted one sentence a line, and a blank line between "
            "documents.",
            path=str(path),
        )
