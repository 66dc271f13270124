"""What a visitor of the atlas asks to see, as the address bar holds it, and its limits.

Read strictly: an unknown name or a wrong value is refused in words. The expressions themselves are
read by the worker.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from urllib.parse import parse_qsl, urlencode

from sightline.errors import InvalidArgument
from sightline.views.sizes import parse_size, short_size

__all__ = [
    "LANGUAGES",
    "LONGEST_EXPRESSION",
    "MOST_TOKENS",
    "Asked",
    "Box",
    "position",
    "read_query",
]

LONGEST_EXPRESSION = 20_000
MOST_TOKENS = 1 << 26
LANGUAGES = ("en", "zh")
_WHOLE = re.compile(r"\d{1,9}", re.ASCII)
_VIEW = re.compile(r"(\d{1,9})-(\d{1,9}),(\d{1,9})-(\d{1,9})", re.ASCII)


@dataclass(frozen=True)
class Box:
    """A rectangle of pairs: queries and keys as half-open ranges of absolute positions."""

    q_start: int
    q_stop: int
    k_start: int
    k_stop: int

    def text(self) -> str:
        """Return it as the address bar holds it: queries, keys; both ends included.

        >>> Box(0, 8, 4, 6).text()
        '0-7,4-5'
        """
        return f"{self.q_start}-{self.q_stop - 1},{self.k_start}-{self.k_stop - 1}"


@dataclass(frozen=True)
class Asked:
    """One state of the page.

    Attributes:
        expr: the mask, as typed.
        compare: a second one; "" for none.
        q_len: the number of queries.
        kv_len: the number of keys.
        offset: the absolute position of the first query.
        batch: which batch row is drawn.
        head: which head.
        lang: one of LANGUAGES.
        view: the part that is looked at; None is the whole.
    """

    expr: str = "causal()"
    compare: str = ""
    q_len: int = 1 << 20
    kv_len: int = 1 << 20
    offset: int = 0
    batch: int = 0
    head: int = 0
    lang: str = "en"
    view: Box | None = None

    @property
    def whole(self) -> Box:
        """All pairs."""
        return Box(self.offset, self.offset + self.q_len, 0, self.kv_len)

    def query(self) -> str:
        """Return the state as it stands behind the ``?`` of an address.

        >>> Asked("causal() & window(left=3)", q_len=4096, kv_len=4096, lang="zh").query()
        'expr=causal%28%29+%26+window%28left%3D3%29&size=4k&lang=zh'
        """
        parts = {"expr": self.expr, "size": short_size(self.q_len, self.kv_len)}
        if self.compare:
            parts["compare"] = self.compare
        parts |= {
            name: str(value)
            for name in ("offset", "batch", "head")
            if (value := getattr(self, name))
        }
        if self.lang != "en":
            parts["lang"] = self.lang
        if self.view is not None:
            parts["view"] = self.view.text()
        return urlencode(parts)

    def with_fields(self, fields: Mapping[str, str]) -> Asked:
        """Return this state with the named parts replaced, as the address bar or a form has them.

        >>> Asked().with_fields({"size": "4x8", "offset": "3", "view": "3-4,0-3"}).view
        Box(q_start=3, q_stop=5, k_start=0, k_stop=4)

        Raises:
            InvalidArgument: an unknown name, a value that is none, or a limit that is passed.
        """
        asked = self
        for name, text in fields.items():
            asked = asked._with(name, text)
        asked.check()
        return asked

    def _with(self, name: str, text: str) -> Asked:
        if name in ("expr", "compare"):
            return replace(self, **{name: text.strip()})
        if name == "size":
            q_len, kv_len = parse_size(text)
            return replace(self, q_len=q_len, kv_len=kv_len)
        if name in ("offset", "batch", "head"):
            return replace(self, **{name: _number(name, text)})
        if name == "lang":
            if text not in LANGUAGES:
                raise InvalidArgument(f"lang is one of {', '.join(LANGUAGES)}; got {text[:40]!r}.")
            return replace(self, lang=text)
        if name == "view":
            return replace(self, view=_box(text) if text else None)
        known = "expr, compare, size, offset, batch, head, lang, view"
        raise InvalidArgument(f"the address has {name[:40]!r}, which is none of {known}.")

    def check(self) -> None:
        """Refuse what is too large, whoever asks for it.

        Raises:
            InvalidArgument: naming the limit.
        """
        for text in (self.expr, self.compare):
            if len(text) > LONGEST_EXPRESSION:
                raise InvalidArgument(
                    f"the expression has {len(text)} characters; the atlas reads at most "
                    f"{LONGEST_EXPRESSION}. Leave some of its data out."
                )
        if max(self.q_len, self.kv_len) > MOST_TOKENS or self.offset > MOST_TOKENS:
            raise InvalidArgument(
                f"{max(self.q_len, self.kv_len, self.offset)} is too large; the atlas shows at "
                "most 64m queries and keys, from an offset of at most 64m."
            )


def read_query(text: str, start: Asked) -> Asked:
    """Return the state that an address holds, ``start`` where it says nothing.

    >>> read_query("?expr=window(left%3D2)&size=16", Asked()).expr
    'window(left=2)'

    Raises:
        InvalidArgument: as ``Asked.with_fields``; also a name that stands there twice.
    """
    pairs = parse_qsl(text.removeprefix("?"), keep_blank_values=True)
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise InvalidArgument("the address says something twice; say it once.")
    return start.with_fields(fields)


def position(text: str) -> int:
    """Return a position as a person writes it, ``1,048,575``; negative ones are read, too.

    >>> position("1,048,575"), position(" -3 ")
    (1048575, -3)

    Raises:
        ValueError: it is none.
    """
    digits = text.strip().replace(",", "")
    if not _WHOLE.fullmatch(digits.removeprefix("-")):
        raise ValueError(f"no position: {text[:40]!r}")
    return int(digits)


def _number(name: str, text: str) -> int:
    if not _WHOLE.fullmatch(text.strip()):
        raise InvalidArgument(f"{name} is a whole number from 0 on; got {text[:40]!r}.")
    return int(text)


def _box(text: str) -> Box:
    match = _VIEW.fullmatch(text)
    if match is None:
        raise InvalidArgument(f"view is queries,keys as 0-63,128-191; got {text[:40]!r}.")
    q_first, q_last, k_first, k_last = map(int, match.groups())
    if q_last < q_first or k_last < k_first:
        raise InvalidArgument(f"view {text} ends before it begins.")
    return Box(q_first, q_last + 1, k_first, k_last + 1)
