"""Curves: where points and ticks stand, what is thinned, and numbers that are none."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sightline.errors import ShapeMismatch
from sightline.views.charts.axes import axis_for, tick_text
from sightline.views.charts.curves import Series, render_curves, thinned

NAN = math.nan
NUMBERS = st.floats(-1e9, 1e9, allow_nan=False, width=32)


def paths(svg: str, name: str) -> list[list[tuple[float, float]]]:
    """Return the points of every shape of a class."""
    found = re.findall(rf'<path class="{name}" d="M([^"]*?)z?"/>', svg)
    return [
        [(float(x), float(y)) for x, y in (point.split() for point in path.split("L"))]
        for path in found
    ]


@given(st.lists(NUMBERS, min_size=1, max_size=20))
def test_an_axis_holds_every_value(values: list[float]) -> None:
    axis = axis_for(values, 200.0, 20.0, around=5, log=None)
    for value in values:
        assert 20.0 - 1e-6 <= axis.at(value) <= 200.0 + 1e-6
    for tick in axis.ticks:
        assert axis.low <= tick <= axis.high
    assert len(axis.ticks) <= 12
    assert len({tick_text(tick) for tick in axis.ticks}) == len(axis.ticks) or not axis.log


@pytest.mark.parametrize(
    ("values", "ticks"),
    [
        ([], (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)),
        ([3.0], (2.6, 2.8, 3.0, 3.2, 3.4)),
        ([0.0], (-1.0, -0.5, 0.0, 0.5, 1.0)),
        ([0, 100], (0, 20, 40, 60, 80, 100)),
        ([-1, 1], (-1.0, -0.5, 0.0, 0.5, 1.0)),
    ],
)
def test_ticks_are_round(values: list[float], ticks: tuple[float, ...]) -> None:
    assert axis_for(values, 0, 1, around=5).ticks == ticks


def test_a_wide_range_is_drawn_by_logarithms() -> None:
    axis = axis_for([0.001, 10.0], 0, 100, around=5, log=None)
    assert axis.log
    assert axis.at(0.1) - axis.at(0.01) == pytest.approx(axis.at(1.0) - axis.at(0.1))
    assert not axis_for([0.0, 10.0], 0, 100, around=5, log=None).log
    assert not axis_for([1.0, 10.0], 0, 100, around=5, log=None).log
    svg = render_curves([Series.of("loss", [1, 2, 3], [100.0, 1.0, 0.01])], title="Loss")
    assert "Loss (logarithmic scale)" in svg


@given(st.lists(NUMBERS | st.just(NAN), max_size=300), st.integers(1, 40))
def test_thinning_keeps_the_least_and_the_greatest(values: list[float], places: int) -> None:
    few = thinned(Series.of("x", range(len(values)), values), places)
    assert len(few.steps) <= places
    finite = [value for value in values if math.isfinite(value)]
    assert few.lost == len(values) - len(finite)
    if finite:
        assert np.nanmin(few.least) == min(finite)
        assert np.nanmax(few.greatest) == max(finite)
    own = np.array(few.mean)
    inside = (np.array(few.least) <= own + 1e-3) & (own <= np.array(few.greatest) + 1e-3)
    assert (inside | np.isnan(own)).all()


def test_points_stand_where_they_should() -> None:
    svg = render_curves([Series.of("x", [0, 5, 10], [0.0, 1.0, 0.5])], width=400, height=200)
    ((first, middle, last),) = paths(svg, "line c0")
    assert middle[0] - first[0] == pytest.approx(last[0] - middle[0], abs=0.02)
    assert first[1] > last[1] > middle[1], "up is less"
    assert (first[1] + middle[1]) / 2 == pytest.approx(last[1], abs=0.02)
    assert last[0] == 400 - 14, "the last step stands at the edge"


def test_a_hundred_thousand_steps_are_small() -> None:
    steps = np.arange(100_000)
    noisy = np.random.default_rng(0).normal(size=100_000)
    svg = render_curves([Series.of("loss", steps, noisy)])
    assert len(svg) < 20_000
    ((*line,),) = paths(svg, "line c0")
    ((*band,),) = paths(svg, "band f0")
    assert len(band) == 2 * len(line) <= 480


def test_gaps_and_lonely_points() -> None:
    svg = render_curves([Series.of("x", range(1, 7), [1, 2, NAN, 3, math.inf, 4.0])])
    assert len(paths(svg, "line c0")) == 1
    assert svg.count("<circle") == 2
    assert "x: 2 of 6 not a number (from step 3 on)" in svg
    one = render_curves([Series.of("x", [7], [0.5])])
    assert one.count("<circle") == 1
    none = render_curves([Series.of("x", [1, 2], [NAN, NAN])])
    assert "2 of 2 not a number" in none
    assert "nan" not in none.replace("not a number", "").partition("<text")[2]


@pytest.mark.parametrize("standalone", [True, False])
def test_it_is_xml_that_shows_no_markup(standalone: bool) -> None:
    series = [Series.of('<b> & "x"', [1, 2], [1.0, 2.0]), Series.of("日本\x1b", [1], [1.0])]
    svg = render_curves(series, title="<i>", x_name="<s>", target=3.0, standalone=standalone)
    root = ET.fromstring(svg)
    assert ("<style>" in svg) is standalone
    texts = [element.text for element in root.iter() if element.tag.endswith("text")]
    assert '<b> & "x"' in texts
    assert "<i>" in texts
    assert "日本\\x1b" in texts
    assert svg.count('class="target"') == 1


def test_a_legend_names_more_than_one() -> None:
    one = render_curves([Series.of("alone", [1, 2], [1.0, 2.0])])
    assert "alone</text>" not in one
    two = [Series.of(f"curve {n}", [1, 2], [1.0, n]) for n in range(6)]
    svg = render_curves(two)
    for n in range(6):
        assert f"curve {n}</text>" in svg
    assert svg.count('class="line c0"') == 2 * 2, "a fifth look begins anew: line and legend"


def test_nothing_at_all() -> None:
    ET.fromstring(render_curves([]))
    svg = render_curves([Series.of("x", [], [])])
    assert "x: nothing was recorded" in svg


def test_sizes_that_differ() -> None:
    with pytest.raises(ShapeMismatch, match=r"got \(2,\) steps and \(3,\) values"):
        Series.of("x", [1, 2], [1, 2, 3])
