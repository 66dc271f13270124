"""A comparison's figure as a chart: a dot for each seed, or curves over a setting that is a number.

How charts look is decided in views/; the page around them is comparison_page.py's.
"""

from __future__ import annotations

from sightline.recipes.training.comparison import Comparison, is_numeric
from sightline.recipes.training.outcome import Figure
from sightline.recipes.training.spreads import Changes, name_of
from sightline.views.charts.chart import Line, render_chart
from sightline.views.charts.dots import render_dots

__all__ = ["figure_chart"]

# Fewer values of a setting are no curve.
_LEAST_VALUES = 3
# Numbers that span more than this factor are set by their logarithms to the right.
_LOG_FROM = 20.0


def figure_chart(
    comparison: Comparison, figure: Figure, *, standalone: bool = True
) -> tuple[str, str]:
    """Return a figure of all variants as SVG, and its caption."""
    axis = _axis(comparison)
    if axis is None:
        return _dots(comparison, figure, standalone=standalone)
    numbers = sorted(comparison.fields[axis])
    lines = [
        _line(comparison, figure, axis, numbers, others) for others in _others(comparison, axis)
    ]
    drawing = render_chart(
        lines,
        title=figure.name,
        x_name=axis,
        log_x=numbers[0] > 0 and numbers[-1] / numbers[0] > _LOG_FROM,
        target=figure.target,
        standalone=standalone,
    )
    target = "; dotted: the target" if figure.target is not None else ""
    return (
        drawing,
        f"The mean over seeds; the pale band goes from the least to the greatest{target}.",
    )


def _axis(comparison: Comparison) -> str | None:
    """Return the setting to the right: of those that are numbers, the one of most values."""
    fields = comparison.fields
    numeric = [name for name, values in fields.items() if is_numeric(values)]
    long = [name for name in numeric if len(fields[name]) >= _LEAST_VALUES]
    return max(long, key=lambda name: len(fields[name]), default=None)


def _others(comparison: Comparison, axis: str) -> list[Changes]:
    """Return what varies beside the axis, each combination once."""
    return list(dict.fromkeys(_without(each, axis) for each in comparison.variants))


def _line(
    comparison: Comparison, figure: Figure, axis: str, numbers: list[float], others: Changes
) -> Line:
    by_number = {
        dict(variant)[axis]: comparison.spread(variant, figure.name)
        for variant in comparison.variants
        if _without(variant, axis) == others
    }
    spreads = [by_number[number] for number in numbers]
    return Line.of(
        name_of(others) if others else figure.name,
        numbers,
        [spread.mean for spread in spreads],
        [spread.least for spread in spreads],
        [spread.greatest for spread in spreads],
    )


def _dots(comparison: Comparison, figure: Figure, *, standalone: bool) -> tuple[str, str]:
    rows = [
        (name_of(variant), list(comparison.spread(variant, figure.name).values.values()))
        for variant in comparison.variants
    ]
    drawing = render_dots(rows, title=figure.name, target=figure.target, standalone=standalone)
    target = "; dotted: the target" if figure.target is not None else ""
    return drawing, f"A dot for each seed, a bar for their mean{target}."


def _without(variant: Changes, field: str) -> Changes:
    return tuple(pair for pair in variant if pair[0] != field)
