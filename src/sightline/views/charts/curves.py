"""Curves over steps as a small SVG: losses and evaluations, with axes, for light and dark pages.

However many steps there are, a curve takes at most some hundred places: at each its mean as a line,
and everything between its least and its greatest value as a pale band. The axes are in axes.py.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sightline.errors import ShapeMismatch
from sightline.views.charts.axes import Axis, axis_for, tick_text
from sightline.views.charts.parts import (
    ADVANCE,
    LEGEND_LINE,
    LOOKS,
    document,
    finite_runs,
    frame,
    legend_places,
    texts,
)
from sightline.views.labels import visible
from sightline.views.svg.numbers import number

__all__ = ["Series", "Thinned", "render_curves", "thinned"]

_PLACES = 240
_BAND_FROM = 2  # a place that holds fewer steps has no band


@dataclass(frozen=True, eq=False)
class Series:
    """One curve: its name, and a number at each of some steps (not a number leaves a gap)."""

    name: str
    steps: NDArray[np.float64]
    values: NDArray[np.float64]

    @classmethod
    def of(cls, name: str, steps: ArrayLike, values: ArrayLike) -> Series:
        """Return the series of two lists of equal length.

        Raises:
            ShapeMismatch: they differ in length.
        """
        x, y = np.asarray(steps, np.float64), np.asarray(values, np.float64)
        if x.shape != y.shape or x.ndim != 1:
            raise ShapeMismatch(
                f"got {x.shape} steps and {y.shape} values for the curve {name!r}; wanted as many "
                "of both, in one row."
            )
        return cls(name, x, y)


@dataclass(frozen=True, eq=False)
class Thinned:
    """A series at few places, as it is drawn.

    Attributes:
        name: of the curve.
        steps: where the places are.
        mean, least, greatest: of the values at each place.
        size: steps in a place.
        count: values in all.
        lost: how many of them are not a number.
        first_lost: the step of the first of those.
    """

    name: str
    steps: tuple[float, ...]
    mean: tuple[float, ...]
    least: tuple[float, ...]
    greatest: tuple[float, ...]
    size: int
    count: int
    lost: int = 0
    first_lost: float = 0.0


def thinned(series: Series, places: int = _PLACES) -> Thinned:
    """Return a series at no more than ``places`` places, each of as many neighbouring steps.

    What is not a number counts only where a place holds nothing else.

    >>> few = thinned(Series.of("loss", range(6), [3, 1, 2, float("nan"), 0, 5]), places=3)
    >>> few.mean, few.least, few.greatest, few.lost
    ((2.0, 2.0, 2.5), (1.0, 2.0, 0.0), (3.0, 2.0, 5.0), 1)
    """
    count = len(series.steps)
    size = max(1, math.ceil(count / places))
    groups = [slice(start, start + size) for start in range(0, count, size)]
    columns = [_summary(series.values[group]) for group in groups]
    mean, least, greatest = zip(*columns, strict=True) if columns else ((), (), ())
    lost = series.steps[~np.isfinite(series.values)]
    return Thinned(
        name=series.name,
        steps=tuple(float(series.steps[group].mean()) for group in groups),
        mean=mean,
        least=least,
        greatest=greatest,
        size=size,
        count=count,
        lost=len(lost),
        first_lost=float(lost[0]) if len(lost) else 0.0,
    )


def _summary(values: NDArray[np.float64]) -> tuple[float, float, float]:
    own = values[np.isfinite(values)]
    if not own.size:
        return math.nan, math.nan, math.nan
    return float(own.mean()), float(own.min()), float(own.max())


def render_curves(
    series: Sequence[Series | Thinned],
    *,
    title: str = "",
    x_name: str = "step",
    target: float | None = None,
    width: float = 460,
    height: float = 240,
    standalone: bool = True,
) -> str:
    """Return curves in one chart as SVG text.

    Positive values that span a wide range are drawn on a scale of logarithms, which the chart says.

    Args:
        series: the curves, thinned already or not; with more than one there is a legend.
        title: what is drawn.
        x_name: what is counted to the right.
        target: a number to be reached, drawn as a dotted line.
        width: of the drawing, in pixels.
        height: of the drawing, in pixels.
        standalone: with a style sheet of its own; without it is for a page.

    >>> svg = render_curves([Series.of("loss", [1, 2, 3], [3.0, 2.0, 1.5])], title="loss")
    >>> svg.count('class="line c0"')
    1
    """
    curves = [thinned(each) if isinstance(each, Series) else each for each in series]
    legend = list(legend_places([each.name for each in curves], width)) if len(curves) > 1 else []
    lines = 1 + max((line for line, _, _ in legend), default=-1)
    top = (36.0 if title else 10.0) + lines * LEGEND_LINE
    notes = [*_notes(curves)]
    bottom = height - 36 - 16 * len(notes)
    x, y = _axes(curves, target, top, bottom, width)
    body = frame(x, y, x_name, width)
    if target is not None:
        body.append(
            f'<path class="target" d="M{number(x.start)} {number(y.at(target))}H{x.stop}"/>'
        )
    for index, curve in enumerate(curves):
        body += _curve(curve, x, y, index % LOOKS)
    body += texts(title, legend, notes, height, log=y.log)
    ends = [f"{curve.name}: {_span(curve)}" for curve in curves]
    summary = "; ".join([title, *ends] if title else ends)
    return document(body, width, height, summary, standalone=standalone)


def _axes(
    curves: Sequence[Thinned],
    target: float | None,
    top: float,
    bottom: float,
    width: float,
) -> tuple[Axis, Axis]:
    seen = [value for curve in curves for value in (*curve.least, *curve.greatest)]
    values = [value for value in seen if math.isfinite(value)]
    values += [target] if target is not None else []
    y = axis_for(values, bottom, top, around=max(2, int((bottom - top) / 36)), log=None)
    left = 16 + ADVANCE * max((len(tick_text(tick)) for tick in y.ticks), default=1)
    steps = [step for curve in curves for step in curve.steps]
    around = max(2, int((width - left) / 90))
    ends = [0.0, max(steps, default=1.0)] if min(steps, default=0.0) >= 0 else steps
    scale = axis_for(ends, left, width - 14, around=around)
    high = max(ends[-1], max(ends)) or scale.high  # no empty room to the right of the last step
    ticks = tuple(tick for tick in scale.ticks if tick <= high)
    return Axis(scale.low, high, left, width - 14, False, ticks), y


def _curve(curve: Thinned, x: Axis, y: Axis, look: int) -> list[str]:
    """Return a band, a line, and a dot for every point that has no neighbour."""
    parts = []
    for run in finite_runs(np.array(curve.mean)):
        xs = [number(x.at(step)) for step in curve.steps[run]]
        means = [number(y.at(value)) for value in curve.mean[run]]
        if len(xs) == 1:
            parts.append(f'<circle class="f{look}" cx="{xs[0]}" cy="{means[0]}" r="3.5"/>')
            continue
        if curve.size >= _BAND_FROM:
            upper = [f"{a} {number(y.at(v))}" for a, v in zip(xs, curve.greatest[run], strict=True)]
            lower = [f"{a} {number(y.at(v))}" for a, v in zip(xs, curve.least[run], strict=True)]
            around = "L".join([*upper, *lower[::-1]])
            parts.append(f'<path class="band f{look}" d="M{around}z"/>')
        line = "L".join(f"{a} {b}" for a, b in zip(xs, means, strict=True))
        parts.append(f'<path class="line c{look}" d="M{line}"/>')
    return parts


def _notes(curves: Sequence[Thinned]) -> Iterator[str]:
    for curve in curves:
        if curve.lost:
            place = f"step {curve.first_lost:,.0f}" + (" on" if curve.lost > 1 else "")
            count = f"{curve.lost:,} of {curve.count:,}"
            start = "from " if curve.lost > 1 else ""
            yield f"{visible(curve.name)}: {count} not a number ({start}{place})"
        if not curve.count:
            yield f"{visible(curve.name)}: nothing was recorded"


def _span(curve: Thinned) -> str:
    if not curve.mean:
        return "nothing"
    return f"from {curve.mean[0]:.4g} to {curve.mean[-1]:.4g}"
