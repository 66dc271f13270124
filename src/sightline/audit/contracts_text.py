"""Contracts as text, for command lines and files: ``contract_of("clicks -> scores: causal()")``.

Nothing is evaluated: masks are read by sightline.masks.parser, promises by the table below, and
their arguments are literals or masks.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from inspect import signature
from typing import Any

from sightline.audit import contracts
from sightline.audit.contracts import Contract
from sightline.errors import InvalidArgument, ParseError
from sightline.masks.mask import Mask
from sightline.masks.parser import parse

__all__ = ["PROMISES", "contract_of"]

# What can be promised besides a mask, by its name. A promise more is a row more.
PROMISES: dict[str, Callable[..., Mask | Contract]] = {
    name: getattr(contracts, name)
    for name in (
        "backend_parity",
        "batch_invariant",
        "cache_parity",
        "isolated",
        "mask_sensitive",
        "pad_invariant",
        "strict",
    )
}

_NAME = r"[^\W\d][\w.]*(?:\[[^\[\]]*\])?"
_INPUT = re.compile(rf"\s*{_NAME}\s*(?:->\s*{_NAME}\s*)?")
_PROMISE = re.compile(rf"\s*({'|'.join(PROMISES)})\b")


def contract_of(text: str) -> Mask | Contract | dict[str, Mask | Contract]:
    """Read a contract from the text that makes it.

    Args:
        text: a mask, such as ``"causal()"``; a promise, such as ``"pad_invariant(left=False)"`` or
            ``"isolated(documents(lengths=[3, 2]))"``; or one of these for one input,
            ``"clicks: causal(strict=True)"``, and perhaps one output, ``"clicks -> scores: ..."``.

    Returns:
        What ``sl.audit`` takes: a mask, a promise, or a dict from the input to one of these.

    Raises:
        ParseError: anything else, with a caret under the mistake.

    >>> contract_of("causal() & window(left=7)")
    window(left=7, right=0)
    >>> print(contract_of("cache_parity([4, 1])"))
    cache_parity([4, 1])
    >>> contract_of("clicks -> scores: causal(strict=True)")
    {'clicks -> scores': causal(strict=True)}
    >>> contract_of("causl()")
    Traceback (most recent call last):
    ...
    sightline.errors.ParseError: there is no mask 'causl'; did you mean 'causal'?
      causl()
      ^
    """
    colon = _colon(text)
    if colon is None:
        return _promise(text, 0)
    if not _INPUT.fullmatch(text[:colon]):
        raise ParseError(
            "the name of an input was expected before the colon, such as clicks: causal() or "
            "clicks -> scores: causal()",
            text=text,
            position=len(text[:colon]) - len(text[:colon].lstrip()),
        )
    return {text[:colon].strip(): _promise(text, colon + 1)}


def _colon(text: str) -> int | None:
    """Return where the first colon outside brackets stands; no mask and no promise has one."""
    depth = 0
    for at, character in enumerate(text):
        depth += (character in "([{") - (character in ")]}")
        if character == ":" and depth == 0:
            return at
    return None


def _promise(whole: str, start: int) -> Mask | Contract:
    """Read the promise that stands in ``whole`` from ``start`` on."""
    text = whole[start:]
    if not _PROMISE.match(text):
        _check_name(whole, start)
        return _mask(whole, start, len(whole))
    # Without leading spaces and on one line, columns of the syntax tree are places in the text.
    flat = re.sub(r"\s", " ", text)
    skipped = start + len(flat) - len(flat.lstrip())
    try:
        node = ast.parse(flat.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as mistake:
        at = getattr(mistake, "offset", None) or 1
        reason = getattr(mistake, "msg", None) or str(mistake)
        raise ParseError(
            f"cannot read the contract: {reason}", text=whole, position=skipped + at - 1
        ) from None
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
        raise ParseError(
            "a promise stands alone; give each in a contract of its own, with its arguments in "
            "parentheses",
            text=whole,
            position=skipped,
        )
    return _called(node, node.func.id, whole, skipped)


def _check_name(whole: str, start: int) -> None:
    """Refuse a single unknown call by the nearest name, of a mask or of a promise."""
    import difflib

    from sightline.masks.names import NAMES

    call = re.match(r"\s*([A-Za-z_]\w*)\s*\(", whole[start:])
    if call is None or call[1] in NAMES:
        return
    close = difflib.get_close_matches(call[1], [*NAMES, *PROMISES], n=1)
    if close and close[0] in PROMISES:
        raise ParseError(
            f"there is no contract {call[1]!r}; did you mean {close[0]!r}?",
            text=whole,
            position=start + call.start(1),
        )


def _called(node: ast.Call, name: str, whole: str, skipped: int) -> Mask | Contract:
    make = PROMISES[name]

    def place(part: ast.AST) -> int:
        head = whole[skipped:].encode()[: getattr(part, "col_offset", 0)]
        return skipped + len(head.decode(errors="ignore"))

    given = [_argument(name, each, whole, place) for each in node.args]
    named: dict[str, Any] = {}
    for each in node.keywords:
        if each.arg is None:
            raise ParseError("** is not read", text=whole, position=place(each.value))
        named[each.arg] = _argument(name, each.value, whole, place)
    try:
        signature(make).bind(*given, **named)
    except TypeError as mistake:
        raise ParseError(f"{name}: {mistake}", text=whole, position=skipped) from None
    try:
        return make(*given, **named)
    except (InvalidArgument, TypeError) as mistake:
        reason = str(mistake) if isinstance(mistake, InvalidArgument) else f"{name}: {mistake}"
        raise ParseError(reason, text=whole, position=skipped) from None


def _argument(name: str, node: ast.expr, whole: str, place: Callable[[ast.AST], int]) -> Any:
    """Return an argument: the mask of ``isolated``, or a literal."""
    start = place(node)
    if name == "isolated":
        width = (node.end_col_offset or 0) - node.col_offset
        return _mask(whole, start, start + len(whole[start:].encode()[:width].decode()))
    try:
        return ast.literal_eval(node)
    except ValueError:
        raise ParseError(
            "a number, a text, True, False, None or a list was expected here",
            text=whole,
            position=start,
        ) from None


def _mask(whole: str, start: int, stop: int) -> Mask:
    """Read a mask out of a longer text; a mistake in it is shown in the whole."""
    try:
        return parse(whole[start:stop])
    except ParseError as mistake:
        # Its last two lines are the excerpt with the caret.
        message = str(mistake).rsplit("\n", 2)[0]
        raise ParseError(message, text=whole, position=start + mistake.position) from None
