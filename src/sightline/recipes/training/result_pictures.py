"""Charts, images and sounds of a run as values of JSON, and back.

Arrays of a picture are 16-bit numbers between its least and its greatest, as text: of thousands of
numbers each digit counts. What a result holds beside them is result.py's. Needs no torch.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import Any

import numpy as np

from sightline.recipes.training.outcome import (
    ChartShown,
    Curve,
    ImageShown,
    ImagesShown,
    Outcome,
    SoundShown,
)
from sightline.views.charts.chart import Line, thinned_line

__all__ = ["bits16", "line_of", "pictures_as_dict", "pictures_from", "rounded"]

# The steps from the least to the greatest number of a picture; the last code is for what is none.
_STEPS, _NO_NUMBER = 65534, 65535
_LOUDEST = 32767
# Of a longer sound the beginning is enough to hear what it is.
_MOST_SECONDS = 10


def pictures_as_dict(outcome: Outcome) -> dict[str, Any]:
    """Return the charts, images and sounds of a run as values of JSON."""
    return {
        "charts_shown": [_chart(each) for each in outcome.charts],
        "images": [_images(each) for each in outcome.images],
        "sounds": [_sound(each) for each in outcome.sounds],
    }


def pictures_from(read: Mapping[str, Any]) -> dict[str, tuple[Any, ...]]:
    """Return what ``pictures_as_dict`` wrote, by the names of Outcome; what is not there is none.

    >>> pictures_from({})
    {'charts': (), 'images': (), 'sounds': ()}
    """
    return {
        "charts": tuple(map(_chart_from, read.get("charts_shown", ()))),
        "images": tuple(map(_images_from, read.get("images", ()))),
        "sounds": tuple(map(_sound_from, read.get("sounds", ()))),
    }


def line_of(curve: Curve) -> Line:
    """Return a curve as it is drawn."""
    return Line.of(curve.name, curve.x, curve.values, curve.low, curve.high)


def rounded(values: Any) -> list[float | None]:
    """Return numbers with four digits that count; what is none is None.

    >>> rounded([0.123456, float("nan"), 12345.6])
    [0.1235, None, 12350.0]
    """
    numbers = np.asarray(values, np.float64).tolist()
    return [float(f"{value:.4g}") if np.isfinite(value) else None for value in numbers]


def _chart(chart: ChartShown) -> dict[str, Any]:
    names = ("title", "x_name", "y_name", "log_x", "log_y")
    lines = [thinned_line(line_of(curve)) for curve in chart.curves]
    curves = [
        {
            "name": line.name,
            "x": [float(f"{place:.7g}") for place in line.x.tolist()],
            "values": rounded(line.values),
            "low": None if line.low is None else rounded(line.low),
            "high": None if line.high is None else rounded(line.high),
        }
        for line in lines
    ]
    return {**{name: getattr(chart, name) for name in names}, "curves": curves}


def _chart_from(read: Mapping[str, Any]) -> ChartShown:
    curves = tuple(
        Curve(
            each["name"],
            _numbers(each["x"]),
            _numbers(each["values"]),
            None if each["low"] is None else _numbers(each["low"]),
            None if each["high"] is None else _numbers(each["high"]),
        )
        for each in read["curves"]
    )
    return ChartShown(**{**read, "curves": curves})


def _numbers(values: Any) -> np.ndarray:
    return np.array([np.nan if value is None else value for value in values], np.float64)


def _images(shown: ImagesShown) -> dict[str, Any]:
    names = ("title", "colors", "low", "high", "unit", "upward")
    images = [
        {
            "label": image.label,
            "pixels": _packed(image.pixels),
            "over": None if image.over is None else _packed(image.over),
        }
        for image in shown.images
    ]
    return {**{name: getattr(shown, name) for name in names}, "images": images}


def _images_from(read: Mapping[str, Any]) -> ImagesShown:
    images = tuple(
        ImageShown(
            each["label"],
            _unpacked(each["pixels"]),
            None if each["over"] is None else _unpacked(each["over"]),
        )
        for each in read["images"]
    )
    return ImagesShown(**{**read, "images": images})


def _packed(array: Any) -> dict[str, Any]:
    """Return an array as text: its shape, its ends, and 16 bits for each number."""
    own = np.asarray(array, np.float64)
    finite = np.isfinite(own)
    low, high = (float(own[finite].min()), float(own[finite].max())) if finite.any() else (0.0, 0.0)
    share = (np.where(finite, own, low) - low) / ((high - low) or 1.0)
    codes = np.where(finite, np.rint(share * _STEPS), _NO_NUMBER).astype("<u2")
    text = b64encode(codes.tobytes()).decode("ascii")
    return {"shape": list(own.shape), "low": low, "high": high, "bits16": text}


def _unpacked(read: Mapping[str, Any]) -> np.ndarray:
    codes = np.frombuffer(b64decode(read["bits16"], validate=True), "<u2").reshape(read["shape"])
    values = read["low"] + codes / _STEPS * (read["high"] - read["low"])
    # The greatest exactly, so that what was read back is written as it was.
    values = np.where(codes == _STEPS, read["high"], values)
    return np.where(codes == _NO_NUMBER, np.nan, values)


def _sound(shown: SoundShown) -> dict[str, Any]:
    text = b64encode(bits16(shown).tobytes()).decode("ascii")
    return {"title": shown.title, "rate": shown.rate, "samples": text}


def bits16(shown: SoundShown) -> np.ndarray:
    """Return the first seconds of a sound as 16-bit numbers; what is too loud is cut off."""
    samples = np.asarray(shown.samples, np.float64)[: _MOST_SECONDS * shown.rate]
    return np.rint(np.clip(np.nan_to_num(samples), -1, 1) * _LOUDEST).astype("<i2")


def _sound_from(read: Mapping[str, Any]) -> SoundShown:
    codes = np.frombuffer(b64decode(read["samples"], validate=True), "<i2")
    return SoundShown(read["title"], codes / _LOUDEST, read["rate"])
