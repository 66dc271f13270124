"""What is asked for by its name, with options: found in a table, or refused with what there is.

Engines, destinations and sources of masks are such tables.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import TypeVar

from sightline.errors import InvalidArgument, UnknownBackend

Row = TypeVar("Row")


def find_row(table: Mapping[str, Row], name: object, kind: str) -> Row:
    """Return the row of that name, or refuse with the nearest names.

    Raises:
        UnknownBackend: no such row.
    """
    if isinstance(name, str) and name in table:
        return table[name]
    near = get_close_matches(str(name), table, n=1, cutoff=0.5)
    hint = f"Did you mean {near[0]!r}? " if near else ""
    raise UnknownBackend(f"got {kind} {name!r}; wanted one of {', '.join(table)}. {hint}".rstrip())


def check_options(owner: str, given: Iterable[str], known: tuple[str, ...]) -> None:
    """Refuse options that ``owner`` does not have.

    Raises:
        InvalidArgument: an unknown option.
    """
    unknown = sorted(set(given) - set(known))
    if unknown:
        has = "options " + ", ".join(known) if known else "no options"
        raise InvalidArgument(
            f"got option {', '.join(unknown)} for {owner}; it has {has}; leave it out or correct "
            "its name."
        )


def rooms(names: Iterable[str], package: str) -> dict[str, str]:
    """Return the module of each name: that of ``"torch.sdpa"`` is ``torch_sdpa`` of the package."""
    return {name: f"{package}.{name.replace('.', '_')}" for name in names}
