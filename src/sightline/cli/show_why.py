"""`sightline show EXPR --why 5,7`: which part of an expression lets a query see a key, or not.

Reads the pair and prints; the reasons come from sightline.views.reasons.why.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated

import typer

from sightline.cli.asking import looks_like_file
from sightline.cli.output import write_line
from sightline.masks.mask import Mask
from sightline.views.reasons.why import why, why_text

__all__ = ["Why", "print_why", "refuse_with_why"]

Why = Annotated[
    str | None,
    typer.Option("--why", metavar="Q,K", help="Say instead why query Q may see key K, or not."),
]


def refuse_with_why(others: Mapping[str, object]) -> None:
    """Refuse the options of drawings, which reasons would leave out in silence."""
    for option, given in others.items():
        if given is not None:
            raise typer.BadParameter(
                "this is a drawing's; --why prints reasons and draws nothing.",
                param_hint=repr(option),
            )


def print_why(
    mask: Mask, expression: str, pair: str, batch: int | None, head: int | None, *, as_json: bool
) -> None:
    """Print the reasons: of an expression in its writer's words, of a file in the mask's own."""
    numbers = re.fullmatch(r"\s*(\d{1,15})\s*,\s*(\d{1,15})\s*", pair)
    if numbers is None:
        raise typer.BadParameter(
            f"got {pair!r}, wanted two positions, the query's and the key's, such as 5,7.",
            param_hint="'--why'",
        )
    place = {"batch": batch or 0, "head": head or 0}
    at = int(numbers[1]), int(numbers[2])
    is_text = not looks_like_file(expression)
    reason = why_text(expression, *at, **place) if is_text else why(mask, *at, **place)
    if as_json:
        write_line(json.dumps(asdict(reason), indent=2))
        return
    write_line(str(reason))
    write_line("\n* = if this part said the opposite, so would the whole")
