"""Charts of lines and of dots: where points stand, bands, gaps, logarithms."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from sightline.errors import ShapeMismatch
from sightline.views.charts.chart import Line, render_chart, thinned_line
from sightline.views.charts.dots import render_dots

NAN = math.nan


def paths(svg: str, name: str) -> list[np.ndarray]:
    found = re.findall(rf'<path class="{name}" d="M([^"]*?)z?"/>', svg)
    return [
        np.array([[float(part) for part in point.split()] for point in path.split("L")])
        for path in found
        if "h" not in path  # the legend's
    ]


def test_points_stand_where_their_numbers_are() -> None:
    x, y = [24, 48, 96, 192], [0.4, 0.1, 0.3, 0.2]
    svg = render_chart([Line.of("a", x, y)])
    (line,) = paths(svg, "line c0")
    assert np.corrcoef(line[:, 0], x)[0, 1] == pytest.approx(1, abs=1e-6)
    assert np.corrcoef(line[:, 1], y)[0, 1] == pytest.approx(-1, abs=1e-4)
    assert svg.count("<circle") == 4
    assert [text for text in ("24", "48", "96", "192") if f">{text}</text>" in svg] == [
        "24",
        "48",
        "96",
        "192",
    ]


def test_logarithms_on_both_axes() -> None:
    x = np.array([64, 256, 1024, 4096])
    svg = render_chart([Line.of("a", x, x**2)], log_x=True, log_y=True, y_name="pairs")
    (line,) = paths(svg, "line c0")
    np.testing.assert_allclose(np.diff(line, axis=0), np.diff(line, axis=0)[[0, 0, 0]], atol=0.11)
    assert "pairs (logarithmic scale)" in svg


def test_what_has_no_logarithm_is_a_gap() -> None:
    line = Line.of("a", [1, 2, 3, 4, 5], [1, 2, 0, 4, 5])
    assert len(paths(render_chart([line], log_y=True), "line c0")) == 2
    assert len(paths(render_chart([line]), "line c0")) == 1
    zero = Line.of("a", [0, 1, 2], [1, 2, 3])
    (drawn,) = paths(render_chart([zero], log_x=True), "line c0")
    assert len(drawn) == 2


def test_a_band_goes_around_its_line() -> None:
    x, y = np.arange(5.0), np.array([1.0, 2, 3, 2, 1])
    svg = render_chart([Line.of("plain", x, y), Line.of("spread", x, y, y - 1, y + 2)])
    assert not paths(svg, "band f0")
    (band,), (line,) = paths(svg, "band f1"), paths(svg, "line c1")
    upper, lower = band[:5], band[5:][::-1]
    np.testing.assert_allclose(upper[:, 0], line[:, 0])
    np.testing.assert_allclose(lower[:, 0], line[:, 0])
    ratio = (line[:, 1] - upper[:, 1]) / (lower[:, 1] - line[:, 1])
    np.testing.assert_allclose(ratio, 2, rtol=0.02)


def test_gaps() -> None:
    svg = render_chart([Line.of("a", range(6), [1, 2, NAN, 3, NAN, 5])])
    assert [len(path) for path in paths(svg, "line c0")] == [2]
    assert svg.count("<circle") == 4


def test_a_long_line_is_thinned() -> None:
    values = np.sin(np.arange(8000.0))
    values[5] = NAN
    few = thinned_line(Line.of("a", range(8000), values))
    assert len(few.x) == 500
    assert few.low is not None
    assert few.high is not None
    assert few.high[0] == values[:5].max() or few.high[0] == np.nanmax(values[:16])
    assert np.isfinite(few.values).all()
    assert len(render_chart([Line.of("a", range(8000), values)])) < 40_000
    banded = thinned_line(Line.of("a", range(4), [1, 1, 1, 1], [0, -1, 0, 0], [2, 2, 9, 2]), most=2)
    assert banded.low is not None
    assert banded.high is not None
    assert (banded.low.tolist(), banded.high.tolist()) == ([-1, 0], [2, 9])


@pytest.mark.parametrize(
    "given",
    [
        ([1, 2], [1]),
        ([[1]], [[1]]),
        ([1, 2], [1, 2], [0, 0]),
        ([1, 2], [1, 2], [0, 0], [1]),
        ([1, 2], [1, 2], None, [1, 1]),
    ],
)
def test_lengths_that_differ(given: tuple[object, ...]) -> None:
    with pytest.raises(ShapeMismatch, match="for the curve 'a'"):
        Line.of("a", *given)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "lines",
    [
        [],
        [Line.of("empty", [], [])],
        [Line.of("none", [1, 2], [NAN, NAN])],
        [Line.of("one", [3], [4])],
        [Line.of("flat", [1, 2], [0, 0])],
        [Line.of(f"{n} & <b>", [1, 2], [n, 1]) for n in range(9)],
    ],
)
@pytest.mark.parametrize("log", [False, True])
def test_whatever_is_drawn_can_be_read(lines: list[Line], log: bool) -> None:
    svg = render_chart(lines, title="<t>", log_x=log, log_y=log, target=0.5, x_name="&")
    ET.fromstring(svg)
    assert "nan" not in svg


def test_a_dot_for_each_number_and_a_bar_at_their_mean() -> None:
    rows = [("shifted", [1.0, 3.0, NAN]), ("global", [2.0]), ("none", [NAN])]
    svg = render_dots(rows, title="accuracy", target=4.0)
    dots = [float(x) for x in re.findall(r'<circle [^>]*cx="([\d.]+)"', svg)]
    bars = [float(x) for x in re.findall(r'<path class="line c0" d="M([\d.]+) ', svg)]
    assert len(dots) == 3
    assert bars == [pytest.approx((dots[0] + dots[1]) / 2, abs=0.1), dots[2]]
    target = float(re.findall(r'class="target" d="M([\d.]+)', svg)[0])
    assert target - dots[1] == pytest.approx((dots[1] - dots[0]) / 2, abs=0.1)
    heights = re.findall(r'<circle [^>]*cy="([\d.]+)"', svg)
    assert heights[0] == heights[1] != heights[2]
    ET.fromstring(svg)
    ET.fromstring(render_dots([]))
