"""Which files a lint reads, and the Python in them: modules, and the code cells of notebooks.

Nothing is imported or run. What cannot be read is told as ``Skipped``; parsing is source.py's part.
"""

from __future__ import annotations

import io
import json
import os
import re
import tokenize
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from sightline.audit.linting.records import Skipped
from sightline.errors import DataError, InvalidArgument

SUFFIXES = (".py", ".ipynb")
# Folders of others' code and of products; hidden ones (.venv, .git) are left out by their dot.
LEFT_OUT = frozenset({"node_modules", "build", "dist", "venv", "__pycache__", "site-packages"})
_MAGIC = re.compile(r"^(\s*)(?:[%!?].*|[\w.]+\?\??)\s*$")


@dataclass(frozen=True)
class Piece:
    """Python to be parsed as one.

    Attributes:
        path: the file it stands in.
        text: the source.
        cell: which code cell of a notebook, from 1; 0 for a module.
    """

    path: str
    text: str
    cell: int = 0


def files_of(paths: Iterable[str | os.PathLike[str]]) -> list[str]:
    """Return the files to read, sorted, each once: those named, and all below named folders.

    Below a folder, hidden folders and those of ``LEFT_OUT`` are passed over; a folder that is named
    itself is looked through whatever it is called.

    Raises:
        InvalidArgument: a path that does not exist; a named file that is no Python.
    """
    found: set[str] = set()
    for path in paths:
        name = os.fspath(path)
        # A pipe or a socket has no end to wait for; a broken link is no file either.
        if Path(name).is_dir():
            found.update(_below(name))
        elif not Path(name).is_file():
            raise InvalidArgument(f"got path {name!r}, where there is no file or folder; check it.")
        elif not name.endswith(SUFFIXES):
            raise InvalidArgument(
                f"got file {name!r}, wanted one that ends in {' or '.join(SUFFIXES)}, or a folder."
            )
        else:
            found.add(name)
    return sorted(found)


def _below(folder: str) -> Iterator[str]:
    for here, folders, names in os.walk(folder):
        folders[:] = [n for n in folders if n not in LEFT_OUT and not n.startswith(".")]
        for name in names:
            path = Path(here, name)
            if name.endswith(SUFFIXES) and path.is_file():
                yield str(path)


def read_pieces(path: str) -> list[Piece]:
    """Return the Python of a file: one piece, or one for each code cell of a notebook.

    Raises:
        DataError: the file cannot be read, or is no text, or no notebook.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise DataError(error.strerror or str(error), path=path) from error
    try:
        if path.endswith(".ipynb"):
            return list(_cells(path, content.decode("utf-8-sig")))
        encoding, _ = tokenize.detect_encoding(io.BytesIO(content).readline)
        # One kind of line end, so that lines are counted as Python counts them.
        with io.TextIOWrapper(io.BytesIO(content), encoding=encoding) as text:
            return [Piece(path, text.read())]
    except UnicodeDecodeError as error:
        raise DataError(f"not {error.encoding} text ({error.reason})", path=path) from error
    except (SyntaxError, LookupError) as error:  # an encoding that its first line names wrongly
        raise DataError(str(error), path=path, line=1) from error


def _cells(path: str, text: str) -> Iterator[Piece]:
    try:
        notebook = json.loads(text)
        cells = notebook["cells"]
        sources = [cell["source"] for cell in cells if cell["cell_type"] == "code"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError("not a notebook of format 4 (JSON with cells)", path=path) from error
    for number, source in enumerate(sources, 1):
        code = source if isinstance(source, str) else "".join(map(str, source))
        yield Piece(path, _without_magic(code), number)


def _without_magic(code: str) -> str:
    """Return a cell with its magic lines (``%time``, ``!pip``) made into ``pass``; lines keep."""
    if code.lstrip().startswith("%%"):
        return "\n" * code.count("\n")
    lines = code.splitlines()
    return "\n".join(_MAGIC.sub(r"\1pass", line) for line in lines)


def skipped(error: DataError) -> Skipped:
    """Return an error about a file as what is told of it."""
    where = error.path if error.line is None else f"{error.path}, line {error.line}"
    return Skipped(error.path, error.line or 0, str(error).removeprefix(f"{where}: "))
