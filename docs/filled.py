"""Tables that a program writes into a page whose prose is by hand.

A table stands between ``<!-- made: NAME -->`` and ``<!-- end: NAME -->``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

__all__ = ["fill", "table"]


def table(head: str, rows: Iterable[str]) -> str:
    """Return a table under its head ``| a | b |``."""
    return "\n".join([head, "|" + " --- |" * (head.count("|") - 1), *rows])


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
