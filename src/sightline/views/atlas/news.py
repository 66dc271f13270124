"""What the page is told, as plain lists that its script turns into elements: facts, reasons.

Every text goes into the page as text, never as markup; so nothing here is escaped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sightline.views.atlas.office import MOST_BYTES
from sightline.views.atlas.palette import Colors

__all__ = ["comparison_rows", "error_text", "facts_rows", "legend", "reason_tree"]

_MOST_RUNS, _MOST_PARTS = 4, 12
_UNITS = ("", "k", "M", "G", "T", "P", "E")


def error_text(words: Mapping[str, str], error: Mapping[str, Any]) -> str:
    """Return what is wrong; a mistake in an expression comes with its caret, line by line."""
    kind = error.get("kind", "")
    if kind in ("Time", "Memory"):
        return words[kind].format(limit=round(error.get("limit", 0)), most=MOST_BYTES >> 20)
    return str(error.get("message", ""))


def legend(words: Mapping[str, str], colors: Colors, compare: bool) -> list[list[str]]:
    """Return (sign, color, words, perhaps the color of the sign) of all that can be seen."""
    rows = [
        ["solid", colors.inside, words["both" if compare else "allowed"]],
        ["shade", colors.inside, words["some"]],
        ["solid", colors.out, words["neither" if compare else "forbidden"]],
    ]
    if compare:
        rows += [
            ["plus", colors.first_only, words["first_only"], colors.ink],
            ["minus", colors.second_only, words["second_only"], colors.paper],
            ["star", colors.both_ways, words["both_ways"], colors.paper],
        ]
    rows += [
        ["hatch", colors.empty, words["empty_first" if compare else "empty"]],
        ["dash", colors.ink, words["edge"]],
        ["dots", colors.ink, words["unsure"]],
    ]
    return rows


def facts_rows(words: Mapping[str, str], found: Mapping[str, Any]) -> list[list[str]]:
    """Return (name, value, note) of each fact; what is not known says so.

    A third entry of "warn" sets a fact off.
    """
    rows: list[list[str]] = []

    def row(name: str, value: str, note: str = "") -> None:
        rows.append([words.get(name, ""), value, note])

    count, pairs = found["count"], found["pairs"]
    row("pairs", words["unknown"] if count is None else f"{count:,}", f"/ {pairs:,}")
    row("density", words["unknown"] if count is None else _share(count / pairs))
    blocks = found["blocks"]
    if blocks is None:
        row("blocks", words["unknown"])
    else:
        total = max(sum(blocks.values()), 1)
        row("blocks", f"{total:,}")
        for state in ("full", "partial", "empty"):
            row(f"blocks_{state}", f"{blocks[state]:,}", _share(blocks[state] / total))
    if found["flops"] is not None:
        mine, dense = found["flops"]
        of = words["of_dense"].format(share=_share(mine / max(dense, 1)), dense=_short(dense))
        row("flops", _short(mine), of)
    empty = found["empty_count"]
    if empty is None:
        row("empty_rows", words["unknown"])
    elif empty == 0:
        row("empty_rows", words["none"])
    else:
        row("empty_rows", f"{empty:,}: {_runs(found['empty_runs'])}", "warn")
    if found["cut"]:
        row("", words["cut"])
    if found["edges"]:
        row("documents", _runs([(edge, edge) for edge in found["edges"]]))
    for text in found["words"][:_MOST_PARTS]:
        row("", text, "words")
    return rows


def comparison_rows(words: Mapping[str, str], found: Mapping[str, Any]) -> list[list[str]]:
    """Return in what two masks differ, as ``facts_rows`` does."""
    if "error" in found:
        return [[words["comparison"], error_text(words, found["error"]), "warn"]]
    if found["holds"]:
        scope = words["every_shape" if found["proved"] == "every shape" else "this_shape"]
        return [[words["comparison"], words["same"].format(scope=scope), ""]]
    witness = found["witness"]
    rows = [[words["comparison"], words["differ"].format(q=witness[2], k=witness[3]), "warn"]]
    for name in ("only_first", "only_second"):
        count = found[name]
        value = words["unknown"] if count is None else f"{count:,}"
        rows.append([words[f"{name}_count"], value, ""])
    return rows


def reason_tree(
    words: Mapping[str, str], text: str, reason: Mapping[str, Any], query: int, key: int
) -> dict[str, Any]:
    """Return the reasons for one mask: a headline, the text cut where parts decide, the tree."""
    allowed = bool(reason["allowed"])
    headline = words["may" if allowed else "may_not"].format(q=f"{query:,}", k=f"{key:,}")
    return {
        "allowed": allowed,
        "headline": headline,
        "pieces": _pieces(text, _deciding(reason)),
        "tree": _branch(words, reason),
    }


def _branch(words: Mapping[str, str], reason: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "expression": reason["expression"],
        "allowed": bool(reason["allowed"]),
        "says": words["says_yes" if reason["allowed"] else "says_no"],
        "words": reason["words"],
        "decides": words["decides"] if reason["decides"] else "",
        "parts": [_branch(words, part) for part in reason["parts"]],
    }


def _deciding(reason: Mapping[str, Any]) -> list[tuple[int, int]]:
    """Return where the smallest deciding parts stand in the text."""
    inner = [span for part in reason["parts"] for span in _deciding(part)]
    if inner:
        return inner
    span = reason["span"]
    return [(int(span[0]), int(span[1]))] if reason["decides"] and span else []


def _pieces(text: str, spans: Sequence[tuple[int, int]]) -> list[tuple[str, bool]]:
    """Return the text in pieces, each with whether it decides.

    >>> _pieces("a & b", [(4, 5)])
    [('a & ', False), ('b', True)]
    """
    pieces: list[tuple[str, bool]] = []
    at = 0
    for start, stop in sorted(spans):
        pieces += [(text[at:start], False), (text[start:stop], True)]
        at = stop
    pieces.append((text[at:], False))
    return [piece for piece in pieces if piece[0]]


def _runs(runs: Sequence[Sequence[int]]) -> str:
    """Return runs as a person writes them: 3, 5–9, …"""
    shown = [f"{a:,}" if a == b else f"{a:,}–{b:,}" for a, b in runs[:_MOST_RUNS]]
    return ", ".join(shown) + (", …" if len(runs) > _MOST_RUNS else "")


def _share(share: float) -> str:
    """Return a share in percent; never 0 or 100 where it is not.

    >>> _share(0.5), _share(1e-9), _share(1 - 1e-9), _share(0.0), _share(1.0)
    ('50%', '1e-07%', '>99.99%', '0%', '100%')
    """
    if 0.9999 < share < 1:
        return ">99.99%"
    return f"{share * 100:.4g}%"


def _short(number: float) -> str:
    """Return a number with three digits and a unit.

    >>> _short(12), _short(1234567), _short(2.5e15)
    ('12', '1.23 M', '2.5 P')
    """
    unit = 0
    while number >= 1000 and unit < len(_UNITS) - 1:
        number, unit = number / 1000, unit + 1
    return f"{number:.3g} {_UNITS[unit]}".strip()
