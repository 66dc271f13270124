"""Numbers by name as a small SVG: a dot for each, a bar for their mean; the spread over seeds.

The axes are in axes.py, what charts share in parts.py.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from sightline.views.charts.axes import axis_for, tick_text
from sightline.views.charts.parts import ADVANCE, crisp, document, xml
from sightline.views.labels import cells_of, clip, visible
from sightline.views.svg.numbers import number

__all__ = ["render_dots"]

_ROW = 26.0
_LONGEST_NAME = 44


def render_dots(
    rows: Sequence[tuple[str, Sequence[float]]],
    *,
    title: str = "",
    x_name: str = "",
    target: float | None = None,
    width: float = 620,
    standalone: bool = True,
) -> str:
    """Return a row for each name, with a dot for each number and a bar at their mean, as SVG text.

    Args:
        rows: (name, numbers); what is not a number is left out.
        title: what is shown.
        x_name: what the numbers are.
        target: a number to be reached, drawn as a dotted line.
        width: of the drawing, in pixels.
        standalone: with a style sheet of its own; without it is for a page.

    >>> svg = render_dots([("shifted", [0.97, 0.98]), ("global", [0.96, 0.97])])
    >>> svg.count("<circle"), svg.count('class="line c0"')
    (4, 2)
    """
    names = [clip(visible(name), _LONGEST_NAME) for name, _ in rows]
    kept = [[value for value in values if math.isfinite(value)] for _, values in rows]
    left = 24 + ADVANCE * max((cells_of(name) for name in names), default=1)
    top = 36.0 if title else 12.0
    bottom = top + _ROW * len(rows)
    seen = [value for values in kept for value in values]
    seen += [target] if target is not None else []
    x = axis_for(seen, left, width - 24, around=max(2, int((width - left) / 80)))
    rules = "".join(f"M{crisp(x.at(tick))} {number(top)}V{number(bottom)}" for tick in x.ticks)
    body = [f'<path class="rule" d="{rules}"/>']
    if title:
        body.append(f'<text class="title" x="12" y="22">{xml(visible(title))}</text>')
    for tick in x.ticks:
        body.append(
            f'<text class="note" x="{number(x.at(tick))}" y="{number(bottom + 17)}" '
            f'text-anchor="middle">{tick_text(tick)}</text>'
        )
    if target is not None:
        place = number(x.at(target))
        body.append(f'<path class="target" d="M{place} {number(top)}V{number(bottom)}"/>')
    for place, (name, values) in enumerate(zip(names, kept, strict=True)):
        y = top + _ROW * (place + 0.5)
        body.append(
            f'<text x="{number(left - 12)}" y="{number(y + 4)}" text-anchor="end">{xml(name)}'
            "</text>"
        )
        if values:
            mean = number(x.at(math.fsum(values) / len(values)))
            body.append(f'<path class="line c0" d="M{mean} {number(y - 9)}V{number(y + 9)}"/>')
        body += [
            f'<circle class="f0" fill-opacity=".55" cx="{number(x.at(value))}" cy="{number(y)}" '
            'r="4"/>'
            for value in values
        ]
    if x_name:
        body.append(
            f'<text class="note" x="{number((left + width) / 2)}" y="{number(bottom + 32)}" '
            f'text-anchor="middle">{xml(visible(x_name))}</text>'
        )
    summary = "; ".join(
        [title, *(f"{name}: {_about(values)}" for name, values in zip(names, kept, strict=True))]
    )
    height = bottom + (40 if x_name else 26)
    return document(body, width, height, summary, standalone=standalone)


def _about(values: Sequence[float]) -> str:
    if not values:
        return "no number"
    return f"{len(values)} numbers from {min(values):.4g} to {max(values):.4g}"
