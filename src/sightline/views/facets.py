"""Which batch rows and heads of a mask are drawn, and how they stand side by side."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sightline.errors import ShapeMismatch
from sightline.masks.arguments import as_int
from sightline.views.svg.words import ENGLISH, Words

__all__ = ["Choice", "Facets", "facets_of"]

Choice = int | Iterable[int] | None

# More pictures than these are not looked at one by one.
_MOST_ROWS, _MOST_ACROSS, _MOST = 4, 4, 12


@dataclass(frozen=True)
class Facets:
    """The batch rows and heads that are drawn.

    Attributes:
        panels: (batch row, head) of each picture, in reading order.
        names: what tells each apart; empty where there is only one to see.
        across: pictures side by side.
        left_out: how many there are besides.
        several: whether the mask tells (batch rows, heads) apart.
    """

    panels: tuple[tuple[int, int], ...]
    names: tuple[str, ...]
    across: int
    left_out: int
    several: tuple[bool, bool]


def facets_of(
    sizes: tuple[int, int], batch: Choice = None, head: Choice = None, words: Words = ENGLISH
) -> Facets:
    """Choose the pictures: those asked for, else all, else as many as there is room for.

    ``sizes`` are the batch rows and heads that the mask tells apart, 1 where it does not.

    >>> chosen = facets_of((3, 1), head=7)
    >>> chosen.panels, chosen.names[1]
    (((0, 0), (1, 0), (2, 0)), 'batch row 1')

    Raises:
        ShapeMismatch: the mask has no such batch row or head.
    """
    batches = _chosen(batch, sizes[0], "batch", "batch row")
    heads = _chosen(head, sizes[1], "head", "head")
    several = sizes[0] > 1, sizes[1] > 1
    total = len(batches) * len(heads)
    if len(batches) > 1 and len(heads) > 1:
        batches, heads = batches[:_MOST_ROWS], heads[:_MOST_ACROSS]
        across = len(heads)
    else:
        across = min(_MOST_ACROSS, max(len(batches), len(heads)))
    panels = [(row, column) for row in batches for column in heads][:_MOST]
    names = tuple(_name(panel, several, words) for panel in panels)
    return Facets(tuple(panels), names, across, total - len(panels), several)


def _name(panel: tuple[int, int], several: tuple[bool, bool], words: Words) -> str:
    names = ("batch row", "head")
    parts = [
        words[name].format(number=n)
        for name, n, more in zip(names, panel, several, strict=True)
        if more
    ]
    return ", ".join(parts)


def _chosen(choice: Choice, size: int, argument: str, what: str) -> list[int]:
    """Return the indices asked for; a mask that is the same for all has the one that it has."""
    if choice is None:
        return list(range(size))
    wanted = list(choice) if isinstance(choice, Iterable) else [choice]
    if not wanted:
        raise ShapeMismatch(f"draw({argument}=) got no {what} at all; leave it out to see all.")
    found = []
    for each in wanted:
        index = as_int(each, f"draw({argument}=)", least=0, error=ShapeMismatch)
        if size > 1 and index >= size:
            raise ShapeMismatch(
                f"draw({argument}=) got {index}, but the mask has {size} {what}s, 0 to {size - 1}."
            )
        found.append(index if size > 1 else 0)
    return list(dict.fromkeys(found))
