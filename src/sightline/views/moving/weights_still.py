"""Attention weights as still pictures: SVG and text of a few maps.

The drawings of SVG and text are the house's own (svg.py, terminal.py).
"""

from __future__ import annotations

from collections.abc import Sequence

from sightline.errors import InvalidArgument
from sightline.views.drawing import Drawing, Kind
from sightline.views.moving.attention import Attention, Where
from sightline.views.moving.stack import stacked
from sightline.views.moving.weights_page import faults_text
from sightline.views.picture import MaskPicture
from sightline.views.svg import render_svg_row
from sightline.views.terminal import render_text

__all__ = ["render_still"]

_MOST_MAPS = 24
_ABREAST = 4


def render_still(
    seen: Attention, queries: Sequence[str], keys: Sequence[str], title: str, to: Kind
) -> Drawing:
    """Return the maps one beside the other, or one under the other as text.

    Raises:
        InvalidArgument: more maps than a picture has room for.
    """
    maps = seen.maps()
    if len(maps) > _MOST_MAPS:
        raise InvalidArgument(
            f'got {len(maps)} maps for to="{to}", which shows at most {_MOST_MAPS}; choose with '
            'layer=, batch= and head=, or draw to="html".'
        )
    whole = faults_text(seen)
    summary = f"attention weights over {title}: {whole}"
    pictures = [
        MaskPicture(
            allowed=seen.allowed[place],
            row_labels=tuple(queries),
            column_labels=tuple(keys),
            title=_name(where, seen),
            weights=seen.weights[place],
        )
        for where, place in maps
    ]
    if to == "txt":
        return Drawing("txt", _text(pictures, title, whole), summary)
    rows = [pictures[start : start + _ABREAST] for start in range(0, len(pictures), _ABREAST)]
    titles = [f"{title}: {whole}", *[""] * (len(rows) - 1)]
    drawn = [render_svg_row(row, title=t) for row, t in zip(rows, titles, strict=True)]
    return Drawing("svg", stacked(drawn, summary), summary)


def _name(where: Where, seen: Attention) -> str:
    """Return which map it is; axes of one are left out, but for the head."""
    layers, batches, _ = seen.sizes
    parts = [f"layer {where.layer}"] if layers > 1 else []
    parts += [f"batch row {where.batch}"] if batches > 1 else []
    return ", ".join([*parts, f"head {where.head}"])


def _text(pictures: Sequence[MaskPicture], title: str, whole: str) -> str:
    drawn = []
    for picture in pictures:
        name = f"{title}: {picture.title}"
        drawn.append(f"{name}\n{render_text(_untitled(picture))}")
    return "\n\n".join(drawn) + f"\n{whole}"


def _untitled(picture: MaskPicture) -> MaskPicture:
    return MaskPicture(
        allowed=picture.allowed,
        row_labels=picture.row_labels,
        column_labels=picture.column_labels,
        weights=picture.weights,
    )
