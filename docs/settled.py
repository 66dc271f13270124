"""How a program of this folder ends: it writes what it makes, or says which files are stale."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from sightline.views.files import write_atomically

__all__ = ["settle"]


def settle(
    words: list[str],
    usage: str | None,
    program: str,
    docs: Path,
    files: Callable[[], Mapping[Path, str]],
    *,
    owned: Iterable[str] = (),
) -> int:
    """Write files, or check them, and return the exit code.

    Args:
        words: the command's arguments: none to write, ``--check`` to check.
        usage: what is said of any others.
        program: the program's own name, which a stale file is said to need.
        docs: this folder.
        files: makes them all: path -> content.
        owned: patterns below ``docs`` of files that nobody else makes; the rest goes.
    """
    if words not in ([], ["--check"]):
        print(usage, file=sys.stderr)
        return 2
    made = files()
    there = {path for pattern in owned for path in docs.glob(pattern)}
    old = [
        path
        for path, text in made.items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    ]
    old += sorted(there - made.keys())
    for path in old:
        name = f"docs/{path.relative_to(docs).as_posix()}"
        if words:
            print(f"{name} is stale: run python docs/{program}.py")
        elif path in made:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, made[path])
            print(f"wrote {name}")
        else:
            path.unlink()
            print(f"removed {name}")
    return 1 if words and old else 0
