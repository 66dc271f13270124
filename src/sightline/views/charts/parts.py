"""What charts share: axes with their rules and numbers, legends, titles, the SVG around it all.

The axes themselves are in axes.py; what is drawn between them in curves.py, chart.py and dots.py.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray

from sightline.views.charts.axes import Axis, tick_text
from sightline.views.labels import cells_of, clip, visible
from sightline.views.style import CURVES_CSS, SVG_CSS
from sightline.views.svg.numbers import number

__all__ = [
    "ADVANCE",
    "LEGEND_LINE",
    "LOOKS",
    "crisp",
    "document",
    "finite_runs",
    "frame",
    "legend_places",
    "texts",
    "xml",
]

LOOKS = 4  # colors and dashes in style.py; further curves begin anew
ADVANCE = 7.2  # pixels of a terminal cell at the font of labels
LEGEND_LINE = 18.0


def frame(x: Axis, y: Axis, x_name: str, width: float) -> list[str]:
    """Return rules and axes, and the numbers beside them."""
    rules = "".join(f"M{number(x.start)} {crisp(y.at(t))}H{number(x.stop)}" for t in y.ticks)
    marks = "".join(f"M{crisp(x.at(t))} {crisp(y.start)}v4" for t in x.ticks)
    parts = [f'<path class="rule" d="{rules}"/>'] if rules else []
    parts.append(
        f'<path class="axis" d="M{number(x.start)} {crisp(y.start)}H{number(x.stop)}{marks}"/>'
    )
    for tick in y.ticks:
        parts.append(
            f'<text class="note" x="{number(x.start - 6)}" y="{number(y.at(tick) + 4)}" '
            f'text-anchor="end">{tick_text(tick)}</text>'
        )
    for tick in x.ticks:
        # The last number may stand at the very edge.
        anchor = "end" if x.at(tick) > width - 20 else "middle"
        place = min(x.at(tick), width - 2) if anchor == "middle" else x.stop + 8
        parts.append(
            f'<text class="note" x="{number(place)}" y="{number(y.start + 17)}" '
            f'text-anchor="{anchor}">{tick_text(tick)}</text>'
        )
    parts.append(
        f'<text class="note" x="{number((x.start + x.stop) / 2)}" y="{number(y.start + 31)}" '
        f'text-anchor="middle">{xml(x_name)}</text>'
    )
    return parts


def finite_runs(values: NDArray[np.float64]) -> Iterator[slice]:
    """Yield the stretches without gaps."""
    edges = np.flatnonzero(np.diff(np.isfinite(values).astype(np.int8), prepend=0, append=0))
    for start, stop in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        yield slice(start, stop)


def legend_places(names: Sequence[str], width: float) -> Iterator[tuple[int, float, str]]:
    """Yield (line, x, name) for each entry, broken into lines."""
    line, x = 0, 12.0
    for name in names:
        shown = clip(visible(name), max(4, int((width - 60) / ADVANCE)))
        room = 34 + cells_of(shown) * ADVANCE + 14
        if x > 12.0 and x + room > width:
            line, x = line + 1, 12.0
        yield line, x, shown
        x += room


def texts(
    title: str,
    legend: Sequence[tuple[int, float, str]],
    notes: Sequence[str],
    height: float,
    *,
    log: bool,
    looks: int = LOOKS,
) -> list[str]:
    """Return the title, the legend's entries, and notes at the foot."""
    said = title + (" (logarithmic scale)" if log else "")
    parts = [f'<text class="title" x="12" y="22">{xml(visible(said))}</text>'] if said else []
    above = 30.0 if title else 10.0
    for index, (line, x, name) in enumerate(legend):
        y = above + line * LEGEND_LINE + 9
        look = index % looks
        parts.append(f'<path class="line c{look}" d="M{number(x)} {number(y)}h26"/>')
        parts.append(f'<text x="{number(x + 33)}" y="{number(y + 4)}">{xml(name)}</text>')
    for index, note in enumerate(notes):
        y = height - 6 - 16 * (len(notes) - 1 - index)
        parts.append(f'<text class="note warn" x="12" y="{number(y)}">{xml(note)}</text>')
    return parts


def document(
    body: Sequence[str],
    width: float,
    height: float,
    summary: str,
    *,
    standalone: bool,
    style: str = CURVES_CSS,
) -> str:
    """Return the whole drawing; ``summary`` is what a screen reader says."""
    size = f'width="{number(width)}" height="{number(height)}"'
    head = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="sl" role="img" {size} '
        f'viewBox="0 0 {number(width)} {number(height)}" '
        f'aria-label="{escape(visible(summary))}">'
    ]
    if standalone:
        head.append(f"<style>\n{SVG_CSS}{style}</style>")
        head.append('<rect class="paper" width="100%" height="100%" rx="4"/>')
    return "\n".join([*head, *body, "</svg>"]) + "\n"


def crisp(pixel: float) -> str:
    """Return the middle of a pixel: a line of one pixel there is not blurred."""
    return number(math.floor(pixel) + 0.5)


def xml(text: str) -> str:
    """Return text as it stands between two tags."""
    return escape(text, quote=False)
