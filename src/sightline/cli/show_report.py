"""The words and the JSON of `sightline show`: facts of a survey, for people and for programs.

No mask is evaluated here; arguments are read and output is written in show.py.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import typer

from sightline.masks.mask import Mask
from sightline.views.labels import runs_text
from sightline.views.picture import MaskPicture, picture_from
from sightline.views.survey import Survey

__all__ = ["Shown", "as_json", "headline", "panels", "percent", "remarks"]

_MOST_PANELS = 4
_MOST_REMARKS = 8
_MOST_RANGES = 12
# Up to here a program gets every pair; beyond, it should ask the library.
_MOST_PAIRS_IN_JSON = 1 << 16


@dataclass(frozen=True)
class Shown:
    """Which batch rows and heads are looked at: all of them, or those that were chosen."""

    batches: range
    heads: range
    several_batches: bool
    several_heads: bool

    @classmethod
    def of(cls, mask: Mask, batch: int | None, head: int | None) -> Shown:
        """Check the choice against the mask."""
        return cls(
            _chosen(batch, mask.batch, "--batch", "batch row"),
            _chosen(head, mask.heads, "--head", "head"),
            mask.batch > 1,
            mask.heads > 1,
        )

    def __len__(self) -> int:
        return len(self.batches) * len(self.heads)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return ((batch, head) for batch in self.batches for head in self.heads)

    def name(self, batch: int, head: int) -> str:
        """Return what tells this batch row and head apart; nothing where there is only one."""
        parts = [f"batch row {batch}"] if self.several_batches else []
        return ", ".join(parts + ([f"head {head}"] if self.several_heads else []))


def _chosen(index: int | None, size: int, option: str, what: str) -> range:
    if index is None:
        return range(size)
    if index >= size:
        has = (
            f"this mask is the same for every {what}; leave it out"
            if size == 1
            else f"the mask has {size} {what}s, 0 to {size - 1}"
        )
        raise typer.BadParameter(f"got {index}, but {has}.", param_hint=repr(option))
    return range(index, index + 1)


def headline(mask: Mask, seen: Survey, shown: Shown) -> tuple[str, str]:
    """Return what is drawn: the expression; its sizes and how much of it is allowed."""
    where = f" from position {seen.q_offset}" if seen.q_offset else ""
    sizes = f"{_some(seen.q_len, 'query', 'queries')}{where} x {_some(seen.kv_len, 'key')}"
    if shown.several_batches:
        sizes += f", {mask.batch} batch rows"
    if shown.several_heads:
        sizes += f", {mask.heads} heads"
    chosen = len(shown) < mask.batch * mask.heads
    in_this = f" in {shown.name(shown.batches[0], shown.heads[0])}" if chosen else ""
    count, pairs = _counted(seen, shown)
    allowed = f"{count} of {_some(pairs, 'pair')} allowed ({percent(count, pairs)})"
    return repr(mask), f"{sizes}: {allowed}{in_this}"


def panels(
    seen: Survey,
    shown: Shown,
    row_labels: Sequence[str] | None,
    column_labels: Sequence[str] | None,
) -> list[MaskPicture]:
    """Return the pictures to draw, each with its batch row and head as title."""
    return [
        picture_from(
            seen,
            batch=batch,
            head=head,
            row_labels=row_labels,
            column_labels=column_labels,
            title=shown.name(batch, head),
        )
        for batch, head in list(shown)[:_MOST_PANELS]
    ]


def remarks(seen: Survey, shown: Shown, drawn: int) -> list[str]:
    """Return what to say below: what was not drawn, and which queries see nothing."""
    lines = []
    if drawn < len(shown):
        options = [
            option
            for option, indices in (("--batch", shown.batches), ("--head", shown.heads))
            if len(indices) > 1
        ]
        lines.append(f"... and {len(shown) - drawn} more; choose with {' and '.join(options)}.")
    empty = [(pair, seen.empty_runs(*pair)) for pair in shown]
    empty = [(pair, found) for pair, found in empty if found]
    for (batch, head), found in empty[:_MOST_REMARKS]:
        name = shown.name(batch, head)
        lines.append(f"{name}: " * bool(name) + _see_nothing(found))
    if len(empty) > _MOST_REMARKS:
        lines.append(f"... and so in {len(empty) - _MOST_REMARKS} more.")
    if len(empty) > 1:
        total = sum(_length(found) for _, found in empty)
        lines.append(f"in all, {total} of {seen.q_len * len(shown)} queries see nothing.")
    return ["", *lines] if lines else []


def as_json(mask: Mask, seen: Survey, shown: Shown, tokens: Sequence[str] | None) -> str:
    """Return the facts as JSON, the same for the same mask and size.

    ``empty_rows`` lists runs [first, last] of absolute query positions for each batch row and
    head that has any; ``allowed`` is [batch][head][query] strings of 0 and 1, null where large.
    """
    count, pairs = _counted(seen, shown)
    facts: dict[str, Any] = {
        "expression": repr(mask),
        "q_len": seen.q_len,
        "kv_len": seen.kv_len,
        "q_offset": seen.q_offset,
        "batch": mask.batch,
        "heads": mask.heads,
        "shown": {"batch": list(shown.batches), "heads": list(shown.heads)},
        "count": count,
        "density": count / pairs,
        "empty_rows": [
            {"batch": batch, "head": head, "queries": found}
            for batch, head in shown
            if (found := seen.empty_runs(batch, head))
        ],
        "tokens": None if tokens is None else list(tokens),
        "allowed": None,
    }
    if pairs <= _MOST_PAIRS_IN_JSON:
        allowed = mask.dense(seen.q_len, seen.kv_len, q_offset=seen.q_offset)
        facts["allowed"] = [
            [_bits(allowed[batch, head]) for head in shown.heads] for batch in shown.batches
        ]
    return json.dumps(facts, indent=2)


def _bits(rows: np.ndarray) -> list[str]:
    return ["".join("1" if cell else "0" for cell in row) for row in rows]


def _counted(seen: Survey, shown: Shown) -> tuple[int, int]:
    """Return the allowed pairs and all pairs of the batch rows and heads that are shown."""
    count = sum(int(seen.counts[batch, head].sum()) for batch, head in shown)
    return count, len(shown) * seen.q_len * seen.kv_len


def _length(found: list[tuple[int, int]]) -> int:
    return sum(last - first + 1 for first, last in found)


def _see_nothing(found: list[tuple[int, int]]) -> str:
    number, text = _length(found), runs_text(found[:_MOST_RANGES])
    if len(found) > _MOST_RANGES:
        text += f" and {_length(found[_MOST_RANGES:])} more"
    return f"query {text} sees nothing" if number == 1 else f"queries {text} see nothing"


def _some(number: int, one: str, several: str | None = None) -> str:
    return f"{number} {one if number == 1 else several or one + 's'}"


def percent(count: int, pairs: int) -> str:
    """Return a percentage that says 0 % and 100 % only of none and all."""
    text = f"{count / pairs:.1%}"
    if text == "0.0%" and count:
        return "under 0.1%"
    return "over 99.9%" if text == "100.0%" and count < pairs else text
