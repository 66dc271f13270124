"""Why a query may see a key, or may not: which part of an expression says so.

The words for atoms are pair_words.py's; here they are joined to what each part says of one pair.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, cast

from sightline.errors import InvalidArgument
from sightline.masks.arguments import as_int, mask_wanted
from sightline.masks.mask import Mask
from sightline.masks.parser import parse
from sightline.masks.syntax import Syntax, syntax_of_mask, syntax_of_text
from sightline.views.reasons.owners import one_of, owner_of
from sightline.views.reasons.pair_words import words_for
from sightline.views.reasons.pairs import Pair, allows

__all__ = ["Reason", "why", "why_text"]

# Longer expressions are cut where they are named in a sentence.
_LONGEST_NAME = 48
# Without bullets: a bullet and the star of what decides would be hard to tell apart.
_LIST = '<ul style="list-style:none;padding-left:1.2em;margin:.2em 0">'


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

    def __str__(self) -> str:
        """Return the tree as text; ``*`` stands before what decides."""
        return "\n".join(self._lines(0))

    def _lines(self, depth: int) -> list[str]:
        sign = "*" if self.decides else " "
        own = f"{'  ' * depth}{sign} {self.expression}: {self.words}"
        return [own, *(line for part in self.parts for line in part._lines(depth + 1))]

    def _repr_html_(self) -> str:
        """Return the tree as nested lists; what decides is marked by ``*`` and bold."""
        return f"{_LIST}{self._item()}</ul>"

    def _item(self) -> str:
        expression = f"<code>{escape(self.expression)}</code>"
        own = f"<b>* {expression}</b>" if self.decides else expression
        inner = "".join(part._item() for part in self.parts)
        below = f"{_LIST}{inner}</ul>" if inner else ""
        return f"<li>{own}: {escape(self.words)}{below}</li>"


def why(mask: Mask, query: int, key: int, *, batch: int = 0, head: int = 0) -> Reason:
    """Say why a query may see a key or may not, part by part of the mask's canonical form.

    Positions are absolute. Every part tells what it says of the pair; the parts that the answer
    hangs on are marked.

    >>> import sightline as sl
    >>> mask = sl.causal() & sl.padding(lengths=[3, 9])
    >>> print(sl.why(mask, query=5, key=7, batch=1))
    * causal() & padding(lengths=[3, 9]): causal() does not allow it: not allowed
      * causal(): key 7 is 2 after query 5: not allowed
        padding(lengths=[3, 9]): key 7 is real, of 9 real tokens of batch row 1: allowed
    >>> sl.why(mask, query=5, key=4, batch=1).allowed
    True

    Raises:
        InvalidArgument: a negative position, or a batch row or head that the mask does not have.
        ShapeMismatch: the pair lies beyond the array of a ``dense`` mask.
    """
    if not isinstance(cast(Any, mask), Mask):
        raise InvalidArgument(f"why wants a mask, {mask_wanted(mask)}")
    pair = _pair_of(mask, query, key, batch, head)
    return _told(_weighed(syntax_of_mask(mask), pair), decides=True)


def why_text(text: str, query: int, key: int, *, batch: int = 0, head: int = 0) -> Reason:
    """Say the same of an expression as it was written; parts know their places in the text.

    >>> reason = why_text("causal() & window(left=3)", query=9, key=4)
    >>> [(part.expression, part.span, part.decides) for part in reason.parts]
    [('causal()', (0, 8), False), ('window(left=3)', (11, 25), True)]

    Raises:
        ParseError: with a caret under the mistake.
        InvalidArgument: as ``why``.
        ShapeMismatch: as ``why``.
    """
    pair = _pair_of(parse(text), query, key, batch, head)
    return _told(_weighed(syntax_of_text(text), pair), decides=True)


def _pair_of(mask: Mask, query: int, key: int, batch: int, head: int) -> Pair:
    query = as_int(query, "why(query=)", least=0, error=InvalidArgument)
    key = as_int(key, "why(key=)", least=0, error=InvalidArgument)
    mask.check_reach(query + 1, key + 1)
    owner_of(mask, batch, head)
    return Pair(query, key, batch, head)


@dataclass(frozen=True)
class _Weighed:
    """A part with what it says of a pair; ``pivots``: which parts alone could change it."""

    part: Syntax
    allowed: bool
    words: str
    parts: tuple[_Weighed, ...] = ()
    pivots: tuple[bool, ...] = ()


def _told(weighed: _Weighed, *, decides: bool) -> Reason:
    verdict = "allowed" if weighed.allowed else "not allowed"
    parts = tuple(
        _told(part, decides=decides and pivot)
        for part, pivot in zip(weighed.parts, weighed.pivots, strict=True)
    )
    words = f"{weighed.words}: {verdict}"
    part = weighed.part
    return Reason(part.text, weighed.allowed, words, decides, part.span, parts)


def _weighed(part: Syntax, pair: Pair) -> _Weighed:
    """Ask a part and all it is made of about a pair."""
    if part.mask is not None:
        words = words_for(part.kind, part.mask, part.arguments, pair)
        return _Weighed(part, allows(part.mask, pair), words)
    if part.kind in ("and", "or", "minus", "xor"):
        return _connective(part, [_weighed(inner, pair) for inner in part.parts])
    if part.kind == "shift":
        return _shifted(part, pair)
    inner, words = part.parts[0], ""
    if part.kind == "transpose":
        inner_pair = Pair(pair.key, pair.query, pair.batch, pair.head)
        words = f"with the roles swapped, query {pair.key} asks for key {pair.query}"
        return _single(part, _weighed(inner, inner_pair), words)
    if part.kind == "not":
        said = _weighed(inner, pair)
        words = f"{_name(inner)} {'allows' if said.allowed else 'does not allow'} it"
        return _single(part, said, words, opposite=True)
    axis, at = ("batch row", pair.batch) if part.kind == "per_batch" else ("head", pair.head)
    at = one_of(at, part.kind.removeprefix("per_"), len(part.parts), f"{axis}s")
    inner = part.parts[at]
    return _single(part, _weighed(inner, pair), f"{axis} {at} has {_name(inner)}")


def _single(part: Syntax, said: _Weighed, words: str, *, opposite: bool = False) -> _Weighed:
    return _Weighed(part, said.allowed != opposite, words, (said,), (True,))


def _shifted(part: Syntax, pair: Pair) -> _Weighed:
    query, key = pair.query - part.arguments["query"], pair.key - part.arguments["key"]
    if query < 0 or key < 0:
        axis, at = ("query", pair.query) if query < 0 else ("key", pair.key)
        before = f"{axis} {at} lies before what was moved, which begins at {axis}"
        return _Weighed(part, False, f"{before} {part.arguments[axis]}")
    said = _weighed(part.parts[0], Pair(query, key, pair.batch, pair.head))
    return _single(part, said, f"before the move these were query {query} and key {key}")


def _connective(part: Syntax, said: Sequence[_Weighed]) -> _Weighed:
    """Join what the parts say; a part is a pivot where the others leave the answer to it."""
    votes = [each.allowed for each in said]
    if part.kind == "minus":  # a - b - c == a & ~b & ~c
        votes[1:] = [not vote for vote in votes[1:]]
    if part.kind == "xor":
        pivots = [True] * len(votes)
        allowed = sum(votes) % 2 == 1
    else:
        decided = part.kind == "or"  # what one part is enough for
        others = [votes.count(decided) - (vote == decided) for vote in votes]
        pivots = [count == 0 for count in others]
        allowed = (decided in votes) == decided
    return _Weighed(part, allowed, _joined(part.kind, said), tuple(said), tuple(pivots))


def _joined(kind: str, said: Sequence[_Weighed]) -> str:
    """Return one sentence on what the parts of a connective say together."""
    yes, no = ([each for each in said if each.allowed == vote] for vote in (True, False))
    if kind == "xor":
        return f"{len(yes)} of {len(said)} parts allow it, and an odd number must"
    if kind == "minus":
        taking = [each for each in said[1:] if each.allowed]
        if not said[0].allowed:
            return f"{_name(said[0].part)} does not allow it"
        if taking:
            return f"{_name(said[0].part)} allows it, but {_name(taking[0].part)} is taken away"
        return f"{_name(said[0].part)} allows it, and nothing takes it away"
    if kind == "and" and not no:
        return f"all {len(said)} parts allow it"
    if kind == "or" and not yes:
        return f"none of {len(said)} parts allows it"
    some, verb = (no, "do not allow it") if kind == "and" else (yes, "allow it")
    if len(some) == 1:
        return f"{_name(some[0].part)} {'does not allow it' if kind == 'and' else 'allows it'}"
    return f"{len(some)} of {len(said)} parts {verb}"


def _name(part: Syntax) -> str:
    text = part.text
    return text if len(text) <= _LONGEST_NAME else f"{text[: _LONGEST_NAME - 3]}..."
