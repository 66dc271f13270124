"""The drawings of `sightline demo` that answer: weights of every head, decoding, differences.

Each is a fragment with its own style and script; where it stands is the matter of demo_page.py.
"""

from __future__ import annotations

import numpy as np

from sightline.cli.demo_tables import picture_from_drawing
from sightline.masks.explicit import dense
from sightline.masks.mask import Mask
from sightline.masks.positional import causal
from sightline.recipes.demo.records import Drawing
from sightline.views.draw import draw
from sightline.views.moving.frames import draw_decoding
from sightline.views.moving.weights import draw_weights
from sightline.views.svg.render import render_svg

__all__ = ["decoding_view", "difference_view", "weights_view"]


def weights_view(drawing: Drawing) -> str:
    """Return the attention weights of every head over the mask that they obey.

    Where no scripts run, those of the first head stand instead.
    """
    weights = drawing.weights if drawing.by_head is None else drawing.by_head
    view = draw_weights(
        np.zeros((1, *drawing.allowed.shape)) if weights is None else weights,
        _mask(drawing.allowed),
        query_tokens=drawing.rows,
        key_tokens=drawing.columns,
        title=drawing.expression,
    )
    still = render_svg(picture_from_drawing(drawing), cell=20, standalone=False)
    return f"{view}<noscript>{still}</noscript>\n"


def decoding_view(drawing: Drawing) -> str:
    """Return how the words of a sentence are written one by one, and what the cache holds."""
    return str(draw_decoding(causal(), tokens=drawing.columns))


def difference_view(wrong: Drawing) -> str | None:
    """Return the pairs that carry weight against those that may; None where they are the same.

    What is not a number is no weight that could be told from none.
    """
    if wrong.weights is None or not np.isfinite(wrong.weights).all():
        return None
    seen = wrong.weights != 0
    if (seen == wrong.allowed).all():
        return None
    view = draw(
        _mask(seen),
        *seen.shape,
        to="html",
        against=_mask(wrong.allowed),
        query_tokens=wrong.rows,
        key_tokens=wrong.columns,
        marks=False,
        title=wrong.name,
    )
    return str(view)


def _mask(allowed: np.ndarray) -> Mask:
    return dense(allowed, means="attend")
