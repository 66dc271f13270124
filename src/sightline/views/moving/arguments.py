"""What the doors of this room ask of their arguments alike."""

from __future__ import annotations

from collections.abc import Sequence

from sightline.errors import InvalidArgument, ShapeMismatch
from sightline.masks.mask import Mask
from sightline.views.drawing import KINDS
from sightline.views.style import THEMES

__all__ = ["check_choices", "check_row", "row_of", "texts_of"]


def check_choices(to: object, theme: object) -> None:
    """Refuse a kind of drawing or a theme that there is not."""
    for name, given, wanted in (("to", to, KINDS), ("theme", theme, THEMES)):
        if given not in wanted:
            raise InvalidArgument(f"got {name}={given!r}; wanted one of {', '.join(wanted)}.")


def check_row(mask: Mask, batch: int, head: int, there: str) -> None:
    """Refuse a batch row or head that ``mask`` has not; what has one serves all."""
    for name, index, size in (("batch", batch, mask.batch), ("head", head, mask.heads)):
        if index < 0 or index >= size > 1:
            raise ShapeMismatch(f"got {name} {index}, but {there} {size} of them, counted from 0.")


def row_of(mask: Mask, batch: int, head: int) -> tuple[int, int]:
    """Return where ``mask`` keeps a batch row and head that it has; what has one serves all."""
    return min(batch, mask.batch - 1), min(head, mask.heads - 1)


def texts_of(mask: Mask | Sequence[Mask]) -> list[str]:
    """Return the text of the mask, or those of the masks of all layers, each once."""
    masks = [mask] if isinstance(mask, Mask) else mask
    return list(dict.fromkeys(repr(each) for each in masks))
