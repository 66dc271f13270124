"""Why a query may see a key, or may not: which part of an expression says so.

The words for atoms are sentences.py's; here they are joined to what each part says of one pair.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Reason"]


@dataclass(frozen=True)
class Reason:
    """What one part of an expression says of one pair, and the parts it is made of.

    Attributes:
        expression: the part, as text.
        allowed: whether that part allows the pair.
        words: one sentence on why, with the numbers of this pair in it.
        decides: whether the answer would be another one if this part said the opposite; of the
            parts of a whole that does not decide, none does.
        span: where the part stands in the text it was read from, (start, stop); None without text.
        parts: what it is made of; none for an atom.
    """

    expression: str
    allowed: bool
    words: str
    decides: bool
    span: tuple[int, int] | None = None
    parts: tuple[Reason, ...] = ()
