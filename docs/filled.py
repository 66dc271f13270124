"""Tables that a program writes into a page whose prose is by hand; lines of Chinese made whole.

A table stands between ``<!-- made: NAME -->`` and ``<!-- end: NAME -->``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

__all__ = ["fill", "table", "unbroken"]

# A line that ends and goes on like this shows a blank where Chinese has none.
_WIDE = "[\u3001-\u303f\u3400-\u9fff\uff01-\uff65\u201c\u201d\u2014\u2026]"
_BROKEN = re.compile(f"(?<={_WIDE})\n(?={_WIDE})")


def table(head: str, rows: Iterable[str]) -> str:
    """Return a table under its head ``| a | b |``."""
    return "\n".join([head, "|" + " --- |" * (head.count("|") - 1), *rows])


def unbroken(text: str) -> str:
    """Return text whose lines go on where both sides of a break are Chinese."""
    return _BROKEN.sub("", text)


def fill(text: str, page: str, tables: dict[str, str]) -> str:
    """Return a page's text with its tables made anew.

    Raises:
        SystemExit: a table is not there, or there twice, or another one is.
    """
    wanted = re.findall(r"<!-- made: (\w+) -->", text)
    if sorted(wanted) != sorted(tables):
        raise SystemExit(f"{page}: has the tables {sorted(wanted)}, made were {sorted(tables)}")
    for name, made in tables.items():
        pattern = rf"(<!-- made: {name} -->\n).*?(<!-- end: {name} -->)"
        escaped = made.replace("\\", r"\\")  # as re.sub takes it
        text, found = re.subn(pattern, rf"\g<1>{escaped}\n\g<2>", text, flags=re.DOTALL)
        if not found:
            raise SystemExit(f"{page}: nothing ends the table {name!r}")
    return text
