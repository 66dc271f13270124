"""Curves over any numbers as a small SVG: series and forecasts, costs, with bands around them.

Losses over steps are curves.py's; the axes are in axes.py, what charts share in parts.py.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sightline.errors import ShapeMismatch
from sightline.views.charts.axes import Axis, axis_for, tick_text
from sightline.views.charts.parts import (
    ADVANCE,
    LEGEND_LINE,
    document,
    finite_runs,
    frame,
    legend_places,
    texts,
    xml,
)
from sightline.views.labels import visible
from sightline.views.style import CHARTS_CSS
from sightline.views.svg.numbers import number

__all__ = ["Line", "render_chart", "thinned_line"]

MOST_POINTS = 500
_LOOKS = 6  # colors and dashes of CHARTS_CSS in style.py; further lines begin anew
# Of so few points each has a mark of its own.
_MARKED = 16
# So few numbers to the right stand there themselves, whether round or not.
_OWN_TICKS = 10
Numbers = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Line:
    """One line of a chart: floats [n]; ``low`` and ``high`` are the edges of a pale band.

    What is not a number leaves a gap.
    """

    name: str
    x: Numbers
    values: Numbers
    low: Numbers | None = None
    high: Numbers | None = None

    @classmethod
    def of(
        cls,
        name: str,
        x: ArrayLike,
        values: ArrayLike,
        low: ArrayLike | None = None,
        high: ArrayLike | None = None,
    ) -> Line:
        """Return the line of lists of equal length.

        Raises:
            ShapeMismatch: they differ in length, or only one edge of the band is there.
        """
        given = [x, values, *(() if low is None else (low,)), *(() if high is None else (high,))]
        arrays = [np.asarray(each, np.float64) for each in given]
        shapes = [each.shape for each in arrays]
        if len(arrays) == 3 or any(shape != shapes[0] or len(shape) != 1 for shape in shapes):
            raise ShapeMismatch(
                f"got arrays of shapes {shapes} for the curve {name!r}; wanted x and values of one "
                "length in one row, and low and high of that length or neither."
            )
        return cls(name, *arrays)


def thinned_line(line: Line, most: int = MOST_POINTS) -> Line:
    """Return a line of no more than ``most`` points: means over neighbours.

    A band goes from the least to the greatest of all that a point stands for.

    >>> few = thinned_line(Line.of("a", range(6), [1, 3, 2, 2, 0, 5]), most=3)
    >>> few.values.tolist(), few.low.tolist(), few.high.tolist()
    ([2.0, 2.0, 2.5], [1.0, 2.0, 0.0], [3.0, 2.0, 5.0])
    """
    count = len(line.x)
    if count <= most:
        return line
    size = math.ceil(count / most)
    starts = range(0, count, size)

    def summary(numbers: Numbers, how: str) -> Numbers:
        groups = (numbers[start : start + size] for start in starts)
        finite = (group[np.isfinite(group)] for group in groups)
        return np.array([getattr(own, how)() if own.size else math.nan for own in finite])

    low = line.values if line.low is None else line.low
    high = line.values if line.high is None else line.high
    return Line(
        line.name,
        summary(line.x, "mean"),
        summary(line.values, "mean"),
        summary(low, "min"),
        summary(high, "max"),
    )


def render_chart(
    lines: Sequence[Line],
    *,
    title: str = "",
    x_name: str = "",
    y_name: str = "",
    log_x: bool = False,
    log_y: bool = False,
    target: float | None = None,
    width: float = 520,
    height: float = 280,
    standalone: bool = True,
) -> str:
    """Return lines in one chart as SVG text.

    On a scale of logarithms, what is not above 0 is left out.

    Args:
        lines: what is drawn; with more than one there is a legend.
        title: what is shown.
        x_name: what is counted to the right.
        y_name: what is counted upwards.
        log_x: whether equal factors, not differences, take equal room to the right.
        log_y: the same upwards.
        target: a number to be reached, drawn as a dotted line.
        width: of the drawing, in pixels.
        height: of the drawing, in pixels; a legend of several lines makes it higher.
        standalone: with a style sheet of its own; without it is for a page.

    >>> svg = render_chart([Line.of("cost", [1, 2, 4], [1, 4, 16])], log_x=True, log_y=True)
    >>> svg.count('class="line c0"')
    1
    """
    drawn = [_positive(thinned_line(line), x=log_x, y=log_y) for line in lines]
    legend = list(legend_places([each.name for each in drawn], width)) if len(drawn) > 1 else []
    rows = 1 + max((row for row, _, _ in legend), default=-1)
    height += max(0, rows - 1) * LEGEND_LINE
    top = (36.0 if title else 10.0) + rows * LEGEND_LINE + (16.0 if y_name else 0.0)
    x, y = _axes(drawn, target, (top, height - 36), width, log_x=log_x, log_y=log_y)
    body = frame(x, y, x_name + (" (logarithmic scale)" if x.log else ""), width)
    if target is not None:
        body.append(
            f'<path class="target" d="M{number(x.start)} {number(y.at(target))}H{x.stop}"/>'
        )
    for index, line in enumerate(drawn):
        body += _line(line, x, y, index % _LOOKS)
    body += texts(title, legend, (), height, log=False, looks=_LOOKS)
    if y_name:
        said = visible(y_name) + (" (logarithmic scale)" if y.log else "")
        body.append(f'<text class="note" x="12" y="{number(top - 8)}">{xml(said)}</text>')
    summary = "; ".join(filter(None, (title, *(map(_about, drawn)))))
    return document(body, width, height, summary, standalone=standalone, style=CHARTS_CSS)


def _positive(line: Line, *, x: bool, y: bool) -> Line:
    """Return a line with gaps where logarithms have no place."""
    bad = ~np.isfinite(line.x)
    if x:
        bad |= ~(line.x > 0)
    if y:
        edges = [each for each in (line.values, line.low, line.high) if each is not None]
        bad |= ~np.all([each > 0 for each in edges], axis=0)
    if not bad.any():
        return line
    values = np.where(bad, math.nan, line.values)
    places = np.where(np.isfinite(line.x) & ~bad, line.x, math.nan)
    return Line(line.name, places, values, line.low, line.high)


def _axes(
    lines: Sequence[Line],
    target: float | None,
    span: tuple[float, float],
    width: float,
    *,
    log_x: bool,
    log_y: bool,
) -> tuple[Axis, Axis]:
    top, bottom = span
    xs, ys = [], [target] if target is not None else []
    for line in lines:
        seen = np.isfinite(line.values)
        xs += line.x[seen].tolist()
        for each in (line.values, line.low, line.high):
            ys += [] if each is None else [v for v in each[seen].tolist() if math.isfinite(v)]
    y = axis_for(ys, bottom, top, around=max(2, int((bottom - top) / 36)), log=log_y)
    left = 16 + ADVANCE * max((len(tick_text(tick)) for tick in y.ticks), default=1)
    around = max(2, int((width - left) / 80))
    x = axis_for(xs, left, width - 14, around=around, log=log_x)
    return _with_own_ticks(x, xs), y


def _with_own_ticks(x: Axis, values: Sequence[float]) -> Axis:
    """Return an axis without empty room at its ends; few numbers are their own ticks."""
    own = sorted(set(values))
    if len(own) < 2:
        return x
    if not x.log:
        x = Axis(own[0], own[-1], x.start, x.stop, False, x.ticks)
    if len(own) > _OWN_TICKS:
        return replace(x, ticks=tuple(tick for tick in x.ticks if x.low <= tick <= x.high))
    ticks: list[float] = []
    for value in own:
        if not ticks or x.at(value) - x.at(ticks[-1]) > ADVANCE * (len(tick_text(value)) + 1):
            ticks.append(value)
    return replace(x, ticks=tuple(ticks))


def _line(line: Line, x: Axis, y: Axis, look: int) -> list[str]:
    """Return a band, a line, and marks where there are few points."""
    parts = []
    for run in finite_runs(line.values + 0 * line.x):
        xs = [number(x.at(each)) for each in line.x[run]]
        ys = [number(y.at(each)) for each in line.values[run]]
        if line.low is not None and line.high is not None and len(xs) > 1:
            upper, lower = _edge(line.high[run], xs, y), _edge(line.low[run], xs, y)
            around = "L".join([*upper, *lower[::-1]])
            if around:
                parts.append(f'<path class="band f{look}" d="M{around}z"/>')
        if len(xs) > 1:
            joined = "L".join(f"{a} {b}" for a, b in zip(xs, ys, strict=True))
            parts.append(f'<path class="line c{look}" d="M{joined}"/>')
        if len(line.x) <= _MARKED or len(xs) == 1:
            parts += [
                f'<circle class="f{look}" cx="{a}" cy="{b}" r="3"/>'
                for a, b in zip(xs, ys, strict=True)
            ]
    return parts


def _edge(values: Numbers, xs: Sequence[str], y: Axis) -> list[str]:
    return [
        f"{a} {number(y.at(value))}"
        for a, value in zip(xs, values, strict=True)
        if math.isfinite(value)
    ]


def _about(line: Line) -> str:
    own = line.values[np.isfinite(line.values)]
    return f"{line.name}: " + (f"from {own[0]:.4g} to {own[-1]:.4g}" if own.size else "nothing")
