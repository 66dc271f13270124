"""Attention weights as still pictures: a scene of the maps that are asked for.

The drawing is the house's own (draw.py), as that of a mask is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sightline.errors import InvalidArgument
from sightline.views.draw import paint_scene
from sightline.views.drawing import Drawing, Kind
from sightline.views.moving.attention import Attention, Where
from sightline.views.moving.weights_page import faults_text
from sightline.views.picture import MaskPicture
from sightline.views.scene import Scene
from sightline.views.style import Theme

__all__ = ["render_still"]

_MOST_MAPS = 24
_ABREAST = 4


def render_still(
    seen: Attention,
    queries: Sequence[str],
    keys: Sequence[str],
    title: str,
    to: Kind,
    theme: Theme = "auto",
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
    pictures = tuple(
        MaskPicture(
            allowed=seen.allowed[place],
            row_labels=tuple(queries),
            column_labels=tuple(keys),
            title=_name(where, seen),
            weights=seen.weights[place],
        )
        for where, place in maps
    )
    if len(pictures) == 1:
        title = f"{title}: {pictures[0].title}"
        pictures = (replace(pictures[0], title=""),)
    whole = faults_text(seen)
    summary = f"attention weights over {title}: {whole}"
    scene = Scene(title, pictures, min(_ABREAST, len(pictures)), (whole,), summary)
    return paint_scene(scene, to, theme)


def _name(where: Where, seen: Attention) -> str:
    """Return which map it is; axes of one are left out, but for the head."""
    layers, batches, _ = seen.sizes
    parts = [f"layer {where.layer}"] if layers > 1 else []
    parts += [f"batch row {where.batch}"] if batches > 1 else []
    return ", ".join([*parts, f"head {where.head}"])
