"""The front door of pictures: a mask in, a picture of the kind that was asked for out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sightline.errors import InvalidArgument
from sightline.views.drawing import KINDS, Drawing, Kind
from sightline.views.picture import picture_of
from sightline.views.svg import render_svg
from sightline.views.terminal import render_text

if TYPE_CHECKING:
    from sightline.masks.mask import Mask

__all__ = ["draw"]


def draw(
    mask: Mask, q_len: int | None = None, kv_len: int | None = None, *, to: Kind = "svg", **_: Any
) -> Drawing:
    """Draw ``mask``."""
    if to not in KINDS:
        raise InvalidArgument(f"got to={to!r}, wanted one of {', '.join(KINDS)}.")
    picture = picture_of(mask, 8 if q_len is None else q_len, kv_len)
    text = render_text(picture) if to == "txt" else render_svg(picture)
    return Drawing(to, text, repr(mask))
