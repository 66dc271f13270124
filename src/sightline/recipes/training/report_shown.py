"""What a report shows beside curves, masks and attention: charts, images and sounds of a recipe.

How a chart or an image looks is decided in views/; what is shown by the recipe's outcome.
"""

from __future__ import annotations

import io
import wave
from html import escape

from sightline.recipes.training.outcome import ChartShown, ImagesShown, Outcome, SoundShown
from sightline.recipes.training.result_pictures import bits16, line_of
from sightline.views.charts.chart import render_chart
from sightline.views.images import NumberImage, render_images
from sightline.views.png.pixels import data_uri

__all__ = ["chart_drawing", "images_drawing", "shown_charts", "shown_images", "sound_players"]


def shown_charts(outcome: Outcome) -> list[tuple[str, str]]:
    """Return the charts of an outcome as SVG for a page, each with its caption."""
    return [(chart_drawing(each, standalone=False), _about_bands(each)) for each in outcome.charts]


def shown_images(outcome: Outcome) -> list[tuple[str, str]]:
    """Return the images of an outcome as SVG for a page, each with its caption."""
    return [
        (images_drawing(each, standalone=False), _about_colors(each)) for each in outcome.images
    ]


def sound_players(outcome: Outcome) -> list[tuple[str, str]]:
    """Return the sounds of an outcome as players for a page, each with its caption."""
    return [(_player(each), each.title + _part(each)) for each in outcome.sounds]


def chart_drawing(chart: ChartShown, *, standalone: bool = True) -> str:
    """Return a chart as SVG."""
    return render_chart(
        [line_of(curve) for curve in chart.curves],
        title=chart.title,
        x_name=chart.x_name,
        y_name=chart.y_name,
        log_x=chart.log_x,
        log_y=chart.log_y,
        standalone=standalone,
    )


def images_drawing(shown: ImagesShown, *, standalone: bool = True) -> str:
    """Return images side by side as SVG."""
    return render_images(
        [NumberImage.of(image.label, image.pixels, image.over) for image in shown.images],
        title=shown.title,
        colors=shown.colors,
        low=shown.low,
        high=shown.high,
        unit=shown.unit,
        upward=shown.upward,
        standalone=standalone,
    )


def _about_bands(chart: ChartShown) -> str:
    bands = any(curve.low is not None for curve in chart.curves)
    return f"{chart.title}; the pale bands go from low to high." if bands else f"{chart.title}."


def _about_colors(shown: ImagesShown) -> str:
    over = any(image.over is not None for image in shown.images)
    colors = {
        "grey": "the lighter, the more",
        "heat": "the stronger, the more",
        "signed": "blue is below 0, orange above",
    }[shown.colors]
    mask = "; orange lies over it where the mask is strong" if over else ""
    return f"{shown.title}: {colors}{mask}."


def _player(shown: SoundShown) -> str:
    """Return what plays a sound: a WAV file of 16 bits, within the page."""
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(shown.rate)
        out.writeframes(bits16(shown).tobytes())
    source = data_uri(file.getvalue(), "audio/wav")
    return f'<audio controls preload="none" title="{escape(shown.title)}" src="{source}"></audio>\n'


def _part(shown: SoundShown) -> str:
    kept = len(bits16(shown))
    if kept == len(shown.samples):
        return ""
    return f" (the first {kept / shown.rate:.0f} of {len(shown.samples) / shown.rate:.0f} seconds)"
