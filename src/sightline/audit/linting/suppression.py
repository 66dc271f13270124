"""The comments that silence findings: ``# sightline: ignore[rule]`` and ``# sightline: ignore``.

On the finding's line, or on the first line of its statement. A rule's name that does not exist is
a finding of its own: it silences nothing.
"""

from __future__ import annotations

import io
import re
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass

UNKNOWN = "unknown-suppression"
_COMMENT = re.compile(r"#\s*sightline:\s*ignore(?![\w-])\s*(?:\[([^\]]*)\])?")


@dataclass(frozen=True)
class Suppression:
    """One comment.

    Attributes:
        line: where it stands, from 1.
        column: where it begins, from 0.
        rules: the rules that it names; empty silences all.
        text: the comment.
    """

    line: int
    column: int
    rules: frozenset[str]
    text: str

    def silences(self, rule: str) -> bool:
        """Whether it silences a rule."""
        return not self.rules or rule in self.rules


def suppressions(text: str) -> list[Suppression]:
    """Return the comments of a source that silence findings.

    >>> suppressions("x = 1  # sightline: ignore[mask-constant]")[0].rules
    frozenset({'mask-constant'})
    """
    return list(_found(text)) if "sightline:" in text else []


def _found(text: str) -> Iterator[Suppression]:
    try:
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            match = _COMMENT.search(token.string) if token.type == tokenize.COMMENT else None
            if match is not None:
                named = match[1] or ""
                rules = frozenset(each.strip() for each in named.split(",") if each.strip())
                line, column = token.start
                yield Suppression(line, column + match.start(), rules, match[0])
    except (tokenize.TokenError, SyntaxError):
        return  # what does not parse is told elsewhere
