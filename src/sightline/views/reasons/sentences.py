"""A mask in words: a sentence for each atom, and how operators join them.

The definitions stand with the constructors; these are for a reader who wants to know what a query
may see. An atom without a sentence here is told by the first line of its constructor.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sightline.masks.mask import Mask, Spec
from sightline.masks.names import NAMES
from sightline.masks.text import write

__all__ = ["SENTENCES", "Line", "in_words"]

Arguments = dict[str, Any]
# Longer lists of data are cut to their ends.
_MOST_VALUES = 12
_JOINED = {
    "and": "all of these must allow it",
    "or": "one of these that allows it is enough",
    "not": "the opposite of",
    "transpose": "with the roles of query and key swapped",
}


@dataclass(frozen=True)
class Line:
    """One line of the description.

    Attributes:
        depth: how deep it stands in the expression; 0 is the whole.
        expression: the part of the expression.
        words: what it says.
    """

    depth: int
    expression: str
    words: str


def in_words(mask: Mask) -> list[Line]:
    """Return the description of a mask, line by line.

    >>> import sightline as sl
    >>> for line in in_words(sl.causal() & sl.padding(lengths=[3, 2])):
    ...     print("  " * line.depth + f"{line.expression}: {line.words}")
    causal() & padding(lengths=[3, 2]): all of these must allow it
      causal(): a query sees itself and all before it
      padding(lengths=[3, 2]): only real keys are seen, the first 3, 2 of the batch rows
    """
    return list(_lines(mask.spec(), 0))


def _lines(spec: Spec, depth: int) -> list[Line]:
    kind, *rest = spec
    text = write(spec, _MOST_VALUES)
    if kind in ("and", "or"):
        parts = [line for part in rest for line in _lines(part, depth + 1)]
        return [Line(depth, text, _JOINED[kind]), *parts]
    if kind in ("not", "transpose"):
        return [Line(depth, text, _JOINED[kind]), *_lines(rest[0], depth + 1)]
    if kind == "shift":
        moved = f"moved by {rest[1].get('query', 0)} queries and {rest[1].get('key', 0)} keys"
        return [Line(depth, text, moved), *_lines(rest[0], depth + 1)]
    parts = rest[0].get("masks", []) if kind in ("per_batch", "per_head") else []
    inner = [line for part in parts for line in _lines(part, depth + 1)]
    return [Line(depth, text, _sentence(kind, rest[0])), *inner]


def _sentence(kind: str, arguments: Arguments) -> str:
    if kind in SENTENCES:
        return SENTENCES[kind](arguments)
    first = (inspect.getdoc(NAMES[kind]) or kind).splitlines()[0]
    return first.replace("``", "").rstrip(".")


def _some(number: int, one: str) -> str:
    return f"{number} {one if number == 1 else one + 's'}"


def _window(given: Arguments) -> str:
    left, right = given.get("left"), given.get("right")
    before = "all before it" if left is None else f"the {_some(left, 'key')} before it"
    after = "all after it" if right is None else f"the {_some(right, 'key')} after it"
    sides = [side for side, size in ((before, left), (after, right)) if size != 0]
    total = ""
    if left is not None and right is not None:
        total = f": at most {_some(left + right + 1, 'key')}"
    return f"a query sees itself{''.join(f' and {side}' for side in sides)}{total}"


def _short(values: Any) -> str:
    items = list(values)
    shown = ", ".join(str(each) for each in items[:_MOST_VALUES])
    return shown + (", ..." if len(items) > _MOST_VALUES else "")


def _padding(given: Arguments) -> str:
    if "valid" in given:
        return "only the keys marked 1 are seen; the rest is padding"
    end = "last" if given.get("side") == "left" else "first"
    lengths = given["lengths"]
    if isinstance(lengths, int):
        return f"only real keys are seen, the {end} {lengths}"
    return f"only real keys are seen, the {end} {_short(lengths)} of the batch rows"


def _documents(given: Arguments) -> str:
    lengths = given.get("lengths")
    lengths = lengths if isinstance(lengths, list) and lengths else None
    if lengths is None or isinstance(lengths[0], list):
        return "a query sees only its own document of those packed into a row"
    return f"a query sees only its own document; their lengths are {_short(lengths)}"


def _place(positions: Any) -> str:
    if isinstance(positions, (range, slice)):
        last = positions.stop
        return f"from {positions.start} on" if last is None else f"{positions.start} to {last - 1}"
    return _short(positions) or "none at all"


def _tokens(sizes: Any) -> str:
    return " x ".join(map(str, sizes))


SENTENCES: dict[str, Callable[[Arguments], str]] = {
    "everything": lambda _: "every query sees every key",
    "nothing": lambda _: "no query sees any key",
    "causal": lambda given: (
        "a query sees all before it, not itself"
        if given.get("strict")
        else "a query sees itself and all before it"
    ),
    "window": _window,
    "prefix": lambda given: (
        f"only the first {_some(given['n'], 'key')} {'is' if given['n'] == 1 else 'are'} seen, "
        "by all queries"
    ),
    "keys": lambda given: f"only the keys at {_place(given['positions'])} are seen, by all queries",
    "queries": lambda given: f"only the queries at {_place(given['positions'])} see something",
    "chunks": lambda given: f"a query sees its own chunk of {_some(given['size'], 'position')}",
    "block_causal": lambda given: (
        f"a query sees its own block of {_some(given['size'], 'position')} and all blocks before it"
    ),
    "dilated": lambda given: (
        f"a query sees every {given['stride']}th key, counted from "
        + (f"{given['phase']} before it" if given.get("phase") else "itself")
    ),
    "strided": lambda given: (
        f"a query sees the {given['stride']} keys up to itself, and every {given['stride']}th "
        "before it"
    ),
    "fixed": lambda given: (
        f"a query sees its own chunk of {given['stride']} up to itself, and the last "
        f"{given['summary']} of every chunk before"
    ),
    "log_sparse": lambda _: "a query sees itself and keys at doubling distances before it",
    "random_blocks": lambda given: (
        f"a query's block of {given['block']} sees {_some(given['per_row'], 'block')} drawn at "
        f"random (seed {given.get('seed', 0)})"
    ),
    "block_diffusion": lambda given: (
        f"{given['length']} noised tokens, then the same clean: a noised block of "
        f"{given['block']} sees itself and the clean blocks before it"
    ),
    "shifted_window": lambda given: (
        f"on a grid of {_tokens(given['grid'])} tokens a query sees its own window of "
        f"{_tokens(given['window'])}, shifted by {_tokens(given['shift'])}"
    ),
    "neighborhood": lambda given: (
        f"on a grid of {_tokens(given['grid'])} tokens a query sees the {_tokens(given['kernel'])} "
        "around it"
    ),
    "axial": lambda given: (
        f"on a grid of {_tokens(given['grid'])} tokens a query sees its own line along axis "
        f"{given['axis']}"
    ),
    "padding": _padding,
    "documents": _documents,
    "spans": lambda _: "query and key are in the same span of tokens",
    "prefix_lm": lambda given: (
        "a query sees itself, all before it, and the prefix of its row, of length "
        f"{_short(given['lengths'])}"
    ),
    "permutation": lambda given: (
        "a query sees the keys whose turn comes earlier in a given order"
        + ("" if given.get("stream") == "query" else ", and itself")
    ),
    "tree": lambda _: "a query sees itself and its ancestors in a tree of tokens",
    "per_batch": lambda _: "a mask of its own for each batch row",
    "per_head": lambda _: "a mask of its own for each head",
    "dense": lambda _: "the pairs that a table marks",
    "intervals": lambda _: "the keys are listed for each query: from a start up to an end",
    "predicate": lambda _: "the pairs that a Python function allows",
}
