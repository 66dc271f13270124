"""Pictures of numbers side by side as one SVG: digits, spectrograms, maps of a brain.

All are on one scale of colors, which is drawn where the numbers have a unit. The pixels are a PNG
within the SVG (png/pixels.py), enlarged without smoothing. What is shown is the caller's choice.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sightline.errors import InvalidArgument, ShapeMismatch
from sightline.views.charts.axes import tick_text
from sightline.views.charts.parts import ADVANCE, document, xml
from sightline.views.labels import cells_of, clip, visible
from sightline.views.png.pixels import Color, data_uri, png_of
from sightline.views.svg.numbers import number

__all__ = ["COLORS", "Colors", "NumberImage", "reduced", "render_images"]

Numbers = NDArray[np.float64]
Colors = Literal["grey", "heat", "signed"]

# Colors at equal distances from the lowest number to the highest; between them they are mixed.
COLORS: dict[str, tuple[Color, ...]] = {
    "grey": ((0, 0, 0), (255, 255, 255)),
    "heat": ((255, 250, 235), (253, 200, 110), (226, 98, 42), (140, 20, 44), (50, 4, 30)),
    "signed": ((8, 64, 129), (90, 160, 210), (247, 247, 247), (240, 150, 80), (150, 50, 0)),
}
_OVER: Color = (255, 106, 0)
_OVER_MOST = 0.65  # so much of the picture is hidden where ``over`` is 1
_CLEAR = 255  # the place of the palette for what is not a number
_SIDE, _HIGHEST = 112, 420  # small pictures are enlarged to the one, none is higher than the other
_TWO_ABREAST = 480  # pictures of more columns have a row of the drawing each
_GAP, _LABEL, _BAR = 14.0, 20.0, 12.0


@dataclass(frozen=True, eq=False)
class NumberImage:
    """A picture: floats [height, width], what stands below it, and what is drawn over it.

    ``over`` has floats from 0 to 1, [height, width] or coarser by whole factors.
    """

    label: str
    pixels: Numbers
    over: Numbers | None = None

    @classmethod
    def of(cls, label: str, pixels: ArrayLike, over: ArrayLike | None = None) -> NumberImage:
        """Return the picture of arrays.

        Raises:
            ShapeMismatch: not two axes, nothing in it, or an ``over`` that does not divide it.
        """
        own = np.asarray(pixels, np.float64)
        if own.ndim != 2 or not own.size:
            raise ShapeMismatch(
                f"got pixels of shape {own.shape} for the image {label!r}; wanted numbers "
                "[height, width]."
            )
        if over is None:
            return cls(label, own)
        mask = np.asarray(over, np.float64)
        if mask.ndim != 2 or not mask.size or any(a % b for a, b in zip(own.shape, mask.shape)):  # noqa: B905
            raise ShapeMismatch(
                f"got over of shape {mask.shape} for the image {label!r} of {own.shape}; wanted "
                "[height, width] that divide the picture's."
            )
        return cls(label, own, mask)


def render_images(
    images: Sequence[NumberImage],
    *,
    title: str = "",
    colors: Colors = "grey",
    low: float | None = None,
    high: float | None = None,
    unit: str = "",
    upward: bool = False,
    width: float = 760,
    standalone: bool = True,
) -> str:
    """Return pictures in rows as SVG text; what is not a number is transparent.

    Args:
        images: the pictures.
        title: what they show.
        colors: "grey" from dark to light, "heat" from pale to strong, "signed" around 0.
        low: the number at the lower end of the colors; the least of all pictures if None.
        high: that at the upper end; the greatest if None. "signed" takes the larger for both.
        unit: what the numbers are; "" draws no scale.
        upward: whether row 0 is at the bottom.
        width: the most the drawing takes, in pixels.
        standalone: with a style sheet of its own; without it is for a page.

    Raises:
        InvalidArgument: no such colors.

    >>> svg = render_images([NumberImage.of("a", [[0, 1], [2, 3]])], unit="dB")
    >>> svg.count("<image "), "dB" in svg
    (2, True)
    """
    if colors not in COLORS:
        raise InvalidArgument(f"got colors={colors!r}; wanted one of {', '.join(COLORS)}.")
    ends = _ends(images, low, high, signed=colors == "signed")
    zoom = _zoom(images, width)
    body = [f'<text class="title" x="12" y="22">{xml(visible(title))}</text>'] if title else []
    x, y, row, right = 12.0, 36.0 if title else 12.0, 0.0, 12.0
    for image in images:
        wide, tall = (zoom * side for side in image.pixels.shape[::-1])
        if x > 12.0 and x + wide > width - 12:
            x, y, row = 12.0, y + row + _GAP, 0.0
        body += _picture(image, (x, y, wide, tall), ends, colors, upward=upward)
        x, row, right = x + wide + _GAP, max(row, tall + _LABEL), max(right, x + wide)
    bottom = y + row
    if unit:
        body += _scale(bottom + 10, ends, colors, unit)
        bottom, right = bottom + 10 + _BAR + 22, max(right, 252.0 + ADVANCE * cells_of(unit))
    right = max(right, min(width, 24 + 8.1 * cells_of(title)))
    summary = "; ".join(filter(None, (title, ", ".join(filter(None, (i.label for i in images))))))
    return document(body, right + 12, bottom + 10, summary, standalone=standalone, style="")


def _ends(
    images: Sequence[NumberImage], low: float | None, high: float | None, *, signed: bool
) -> tuple[float, float]:
    """Return the numbers at the two ends of the colors."""
    seen = [image.pixels[np.isfinite(image.pixels)] for image in images]
    least = min((float(own.min()) for own in seen if own.size), default=0.0)
    most = max((float(own.max()) for own in seen if own.size), default=1.0)
    if signed:
        given = [abs(end) for end in (low, high) if end is not None]
        end = max(given or [abs(least), abs(most)]) or 1.0
        return -end, end
    least, most = (least if low is None else low), (most if high is None else high)
    return (least, most) if most > least else (least, least + 1.0)


def _zoom(images: Sequence[NumberImage], width: float) -> float:
    """Return how many pixels of the drawing a number takes, the same for all pictures."""
    tall = max((image.pixels.shape[0] for image in images), default=1)
    wide = max((image.pixels.shape[1] for image in images), default=1)
    half = int((width - 24 - _GAP) / 2)
    if 3 * tall <= wide <= half:  # a strip, such as a brain slice by slice: two side by side
        return float(max(1, min(_SIDE // tall, half // wide)))
    side = max(tall, wide)
    if side <= _SIDE:
        return float(max(1, min(_SIDE // side, 24)))
    columns = 2 if len(images) > 1 and wide <= _TWO_ABREAST else 1
    room = (width - 24 - _GAP * (columns - 1)) / columns
    return min(2.0 if 2 * side <= _HIGHEST else 1.0, _HIGHEST / tall, room / wide)


def _picture(
    image: NumberImage,
    place: tuple[float, float, float, float],
    ends: tuple[float, float],
    colors: str,
    *,
    upward: bool,
) -> list[str]:
    x, y, wide, tall = place
    pixels = image.pixels[::-1] if upward else image.pixels
    indices = _indices(pixels, ends)
    palette = _palette(colors)
    if image.over is None:
        png = png_of(indices, [*palette, (0, 0, 0)], clear=_CLEAR)
    else:
        over = image.over[::-1] if upward else image.over
        factors = [a // b for a, b in zip(pixels.shape, over.shape, strict=True)]
        whole = np.clip(np.nan_to_num(over), 0, 1).repeat(factors[0], 0).repeat(factors[1], 1)
        png = png_of(_blended(indices, palette, whole))
    box = f'x="{number(x)}" y="{number(y)}" width="{number(wide)}" height="{number(tall)}"'
    label = clip(visible(image.label), max(4, int((wide + _GAP) / ADVANCE)))
    return [
        f'<image {box} preserveAspectRatio="none" style="image-rendering:pixelated" '
        f'href="{data_uri(png, "image/png")}"/>',
        f'<rect class="frame" {box}/>',
        f'<text class="note" x="{number(x)}" y="{number(y + tall + 15)}">{xml(label)}</text>',
    ]


def _indices(pixels: Numbers, ends: tuple[float, float]) -> NDArray[np.uint8]:
    """Return the place of each number among the 255 colors; of what is none, the clear one's."""
    low, high = ends
    finite = np.isfinite(pixels)
    share = np.clip((np.where(finite, pixels, low) - low) / (high - low), 0, 1)
    places = np.rint(share * (_CLEAR - 1)).astype(np.uint8)
    return np.where(finite, places, np.uint8(_CLEAR)).astype(np.uint8)


def _palette(colors: str) -> list[Color]:
    """Return 255 colors, mixed between those of COLORS."""
    anchors = np.array(COLORS[colors], np.float64)
    at = np.linspace(0, len(anchors) - 1, _CLEAR)
    parts = [np.interp(at, np.arange(len(anchors)), anchors[:, part]) for part in range(3)]
    return [(int(r), int(g), int(b)) for r, g, b in zip(*map(np.rint, parts), strict=True)]


def _blended(
    indices: NDArray[np.uint8], palette: Sequence[Color], over: Numbers
) -> NDArray[np.uint8]:
    """Return red, green and blue: the picture, hidden by a color as much as ``over`` says."""
    own = np.array([*palette, (128, 128, 128)], np.float64)[indices]
    share = _OVER_MOST * over[..., None]
    return np.rint((1 - share) * own + share * np.array(_OVER, np.float64)).astype(np.uint8)


def _scale(y: float, ends: tuple[float, float], colors: str, unit: str) -> list[str]:
    """Return a bar of the colors, with the numbers at its ends."""
    png = png_of(np.arange(_CLEAR, dtype=np.uint8)[None], _palette(colors))
    low, high = (tick_text(float(f"{end:.3g}")) for end in ends)
    box = f'x="12" y="{number(y)}" width="240" height="{number(_BAR)}"'
    under = number(y + _BAR + 15)
    zero = f'<text class="note" x="132" y="{under}" text-anchor="middle">0</text>'
    return [
        f'<image {box} preserveAspectRatio="none" href="{data_uri(png, "image/png")}"/>',
        f'<rect class="frame" {box}/>',
        f'<text class="note" x="12" y="{under}">{low}</text>',
        *([zero] if colors == "signed" else []),
        f'<text class="note" x="252" y="{under}" text-anchor="end">{high}</text>',
        f'<text class="note" x="260" y="{number(y + _BAR - 2)}">{xml(visible(unit))}</text>',
    ]


def reduced(pixels: Numbers, most: int) -> Numbers:
    """Return a picture of at most ``most`` rows and columns: means over neighbouring numbers.

    >>> reduced(np.arange(16.0).reshape(2, 8), 4).tolist()
    [[0.5, 2.5, 4.5, 6.5], [8.5, 10.5, 12.5, 14.5]]
    """
    for axis in (0, 1):
        size = math.ceil(pixels.shape[axis] / most)
        if size > 1:
            starts = np.arange(0, pixels.shape[axis], size)
            counts = np.add.reduceat(np.ones(pixels.shape[axis]), starts)
            shape = (-1, 1) if axis == 0 else (1, -1)
            pixels = np.add.reduceat(pixels, starts, axis=axis) / counts.reshape(shape)
    return pixels
