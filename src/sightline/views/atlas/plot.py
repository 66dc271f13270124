"""The map itself: a bokeh figure of cells, and how it looks, light and dark.

Positions are the middles of their cells: the pair of query 5 and key 7 is the square around
(7, 5). What is in the cells is worked out elsewhere and put in here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline.views.atlas.asked import Box
from sightline.views.atlas.cells import BOTH_WAYS, FIRST_ONLY, SECOND_ONLY
from sightline.views.atlas.palette import Colors

__all__ = ["NO_MARKS", "Plot"]

# Lines between cells where a pair is so many pixels wide at least; they would hide it otherwise.
_LINES_FROM = 9
# At most so many marks of one kind; closer ones are joined.
_MOST_MARKS = 600
# More edges of documents than these would hide the mask.
_MOST_EDGES = 64
# Neither empty rows nor edges.
NO_MARKS = np.empty((0, 2), np.int64), np.empty(0, np.int64)
# Queries and keys that stay in view at the least.
_CLOSEST = 3
# Where two masks differ, beside the color: source, bokeh's marker, the number of such cells.
_SIGNS = (
    ("first_only", "cross", FIRST_ONLY),
    ("second_only", "dash", SECOND_ONLY),
    ("both_ways", "asterisk", BOTH_WAYS),
)
# Pixels from one such sign, or one dot, to the next.
_APART = {"signs": 22, "dots": 7}


class Plot:
    """A bokeh figure and its data; must be used while its document is locked."""

    def __init__(self, colors: Colors, query: str, key: str) -> None:
        from bokeh.models import BoxZoomTool, ColumnDataSource, PanTool, Range1d, WheelZoomTool
        from bokeh.plotting import figure

        # Typed loosely: bokeh's properties take what pyright does not see.
        self.figure: Any = figure(
            name="map",
            x_range=Range1d(start=-0.5, end=7.5, min_interval=_CLOSEST),
            y_range=Range1d(start=7.5, end=-0.5, min_interval=_CLOSEST),
            x_axis_location="above",
            x_axis_label=f"{key} →",
            y_axis_label=f"← {query}",
            sizing_mode="stretch_both",
            tools=[],
            toolbar_location="below",
        )
        wheel = WheelZoomTool()
        box = BoxZoomTool(match_aspect=True)
        self.figure.add_tools(PanTool(), wheel, box)
        self.figure.toolbar.active_scroll = wheel
        self.figure.toolbar.logo = None
        self.sources: dict[str, Any] = {
            name: ColumnDataSource(data={column: [] for column in columns})
            for name, columns in {
                "cells": ("image", "x", "y", "dw", "dh"),
                "lines": ("x0", "y0", "x1", "y1"),
                "unsure": ("x", "y"),
                **{name: ("x", "y") for name, _, _ in _SIGNS},
                "empty": ("left", "right", "top", "bottom"),
                "edges": ("x0", "y0", "x1", "y1"),
                "frame": ("left", "right", "top", "bottom"),
                "pick": ("left", "right", "top", "bottom"),
            }.items()
        }
        self._add_glyphs()
        self._settle_axes()
        self.paint(colors)

    def _add_glyphs(self) -> None:
        from bokeh.models import LinearColorMapper

        plot, sources = self.figure, self.sources
        self._mapper = LinearColorMapper(palette=["#000000", "#ffffff"])
        plot.image(
            "image", "x", "y", "dw", "dh", source=sources["cells"], color_mapper=self._mapper
        )
        self._lines = plot.segment("x0", "y0", "x1", "y1", source=sources["lines"]).glyph
        self._edges = plot.segment(
            "x0", "y0", "x1", "y1", source=sources["edges"], line_dash="6 3", line_width=1.25
        ).glyph
        quads = {"left": "left", "right": "right", "top": "top", "bottom": "bottom"}
        self._empty = plot.quad(
            **quads, source=sources["empty"], fill_alpha=0.12, hatch_pattern="right_diagonal_line",
            hatch_scale=8, line_width=1.25,
        ).glyph  # fmt: skip
        self._unsure = plot.scatter("x", "y", source=sources["unsure"], size=3).glyph
        self._signs = {
            name: plot.scatter(
                "x", "y", marker=marker, size=7, line_width=2, source=sources[name]
            ).glyph
            for name, marker, _ in _SIGNS
        }
        self._frame = plot.quad(**quads, source=sources["frame"], fill_alpha=0).glyph
        self._pick_outer = plot.quad(
            **quads, source=sources["pick"], fill_alpha=0, line_width=5
        ).glyph
        self._pick = plot.quad(**quads, source=sources["pick"], fill_alpha=0, line_width=2).glyph

    def _settle_axes(self) -> None:
        from bokeh.models import AdaptiveTicker, NumeralTickFormatter

        for axis in (self.figure.xaxis[0], self.figure.yaxis[0]):
            # Powers of two, as the cells are; never between two positions.
            axis.ticker = AdaptiveTicker(
                base=2, mantissas=[1], min_interval=1, desired_num_ticks=5, num_minor_ticks=0
            )
            axis.formatter = NumeralTickFormatter(format="0,0")
            axis.axis_label_text_font_style = "normal"
        self.figure.grid.visible = False

    def paint(self, colors: Colors) -> None:
        """Give everything the colors of a theme."""
        palette = colors.palette()
        self._mapper.update(palette=palette, low=-0.5, high=len(palette) - 0.5)
        plot = self.figure
        plot.background_fill_color = plot.border_fill_color = colors.paper
        plot.outline_line_color = None
        for axis in (plot.xaxis[0], plot.yaxis[0]):
            axis.axis_label_text_color = axis.major_label_text_color = colors.ink
            axis.axis_line_color = axis.major_tick_line_color = colors.faint
        self._lines.line_color = colors.paper
        self._edges.line_color = colors.ink
        self._empty.update(
            fill_color=colors.empty, line_color=colors.empty, hatch_color=colors.empty
        )
        self._unsure.update(fill_color=colors.ink, line_color=None)
        self._frame.line_color = colors.faint
        self._pick.line_color, self._pick_outer.line_color = colors.ink, colors.paper
        # Dark on the light one of the three, light on the dark ones; in the dark the reverse.
        for name, glyph in self._signs.items():
            glyph.line_color = colors.ink if name == "first_only" else colors.paper

    def size(self) -> tuple[float, float]:
        """Return (height, width) of the map in pixels; a guess until the browser has said."""
        plot = self.figure
        try:
            return max(plot.inner_height, 50), max(plot.inner_width, 50)
        except (AttributeError, TypeError, ValueError):  # bokeh's unset property
            return 560, 560

    def shown(self) -> tuple[float, float, float, float]:
        """Return (top, bottom, left, right) in positions."""
        x, y = self.figure.x_range, self.figure.y_range
        return y.end, y.start, x.start, x.end

    def show(self, top: float, bottom: float, left: float, right: float, *, square: bool) -> None:
        """Show a rectangle; more of it, where pairs are to be drawn square."""
        if square:
            height, width = self.size()
            scale = max((bottom - top) / height, (right - left) / width)
            more = scale * height - (bottom - top)
            top, bottom = top - more / 2, bottom + more / 2
            more = scale * width - (right - left)
            left, right = left - more / 2, right + more / 2
        self.figure.x_range.update(start=left, end=right)
        self.figure.y_range.update(start=bottom, end=top)

    def square_up(self) -> None:
        """Draw pairs square again, around the same middle and with the same keys in view."""
        top, bottom, left, right = self.shown()
        height, width = self.size()
        middle, half = (top + bottom) / 2, (right - left) / width * height / 2
        self.figure.y_range.update(start=middle + half, end=middle - half)

    def frame(self, whole: Box) -> None:
        """Draw where the mask ends."""
        self._put("frame", _quads([whole]))
        longest = 3 * max(whole.q_stop - whole.q_start, whole.k_stop - whole.k_start, 8)
        self.figure.x_range.max_interval = self.figure.y_range.max_interval = longest

    def fill(
        self, cells: NDArray[np.uint8], cell: tuple[int, int], first: tuple[int, int],
        unsure: NDArray[np.int64], whole: Box,
    ) -> None:  # fmt: skip
        """Put in the cells of a look; those beyond the mask's end are cut off there."""
        rows, columns = cells.shape
        self._put(
            "cells",
            {
                "image": [cells],
                "x": [first[1] - 0.5],
                "y": [first[0] - 0.5],
                "dw": [columns * cell[1]],
                "dh": [rows * cell[0]],
            },
        )
        self._dot("unsure", unsure, cell, first, _APART["dots"])
        for name, _, number in _SIGNS:
            self._dot(name, np.argwhere(cells == number), cell, first, _APART["signs"])
        self._draw_lines(cells.shape, cell, first, whole)

    def _put(self, name: str, data: Mapping[str, Any]) -> None:
        """Give a source new data; nothing in place of nothing need not be sent."""
        source = self.sources[name]
        if any(map(len, data.values())) or any(map(len, source.data.values())):
            source.data = dict(data)

    def _dot(
        self, name: str, cells: NDArray[np.int64], cell: tuple[int, int],
        first: tuple[int, int], apart: float,
    ) -> None:  # fmt: skip
        """Put a sign into some of the cells, so that they stand about ``apart`` pixels apart."""
        height, _ = self.size()
        top, bottom, _, _ = self.shown()
        step = math.ceil(apart * max(bottom - top, 1e-9) / height / cell[0])
        chosen = _thinned(cells, max(step, 1))
        down, across = chosen.T
        middles = {
            "y": first[0] - 0.5 + (down + 0.5) * cell[0],
            "x": first[1] - 0.5 + (across + 0.5) * cell[1],
        }
        self._put(name, middles)

    def _draw_lines(
        self, shape: tuple[int, int], cell: tuple[int, int], first: tuple[int, int], whole: Box
    ) -> None:
        height, _ = self.size()
        top, bottom, _, _ = self.shown()
        if cell != (1, 1) or height / max(bottom - top, 1e-9) < _LINES_FROM:
            self._put("lines", {"x0": [], "y0": [], "x1": [], "y1": []})
            return
        q_stop = min(first[0] + shape[0], whole.q_stop)
        k_stop = min(first[1] + shape[1], whole.k_stop)
        across, down = np.arange(first[0], q_stop + 1) - 0.5, np.arange(first[1], k_stop + 1) - 0.5
        self._put("lines", _segments(across, down, Box(first[0], q_stop, first[1], k_stop)))

    def mark(self, runs: NDArray[np.int64], edges: NDArray[np.int64], box: Box, whole: Box) -> None:
        """Hatch queries that see nothing, and draw edges of documents dashed, about what is seen.

        Runs are (first, last); where some lie too close to be told apart they are one. Edges are
        left out where there are too many to see anything else.
        """
        margin = box.q_stop - box.q_start
        near = (runs[:, 1] >= box.q_start - margin) & (runs[:, 0] < box.q_stop + margin)
        joined = _joined(runs[near], 3 * margin // _MOST_MARKS)
        boxes = [
            Box(int(first), int(last) + 1, whole.k_start, whole.k_stop) for first, last in joined
        ]
        self._put("empty", _quads(boxes))
        across, down = (
            inside - 0.5
            if len(inside := edges[(edges > max(start, 0)) & (edges < stop)]) <= _MOST_EDGES
            else np.empty(0)
            for start, stop in ((whole.q_start, whole.q_stop), (whole.k_start, whole.k_stop))
        )
        self._put("edges", _segments(across, down, whole))

    def pick(self, box: Box | None) -> None:
        """Put a frame around what is explained."""
        self._put("pick", _quads([] if box is None else [box]))


def _quads(boxes: list[Box]) -> dict[str, list[float]]:
    return {
        "left": [box.k_start - 0.5 for box in boxes],
        "right": [box.k_stop - 0.5 for box in boxes],
        "top": [box.q_start - 0.5 for box in boxes],
        "bottom": [box.q_stop - 0.5 for box in boxes],
    }


def _segments(
    across: NDArray[np.floating], down: NDArray[np.floating], box: Box
) -> dict[str, NDArray[np.floating]]:
    """Return lines from side to side of a box, at these heights and at these places across."""
    return {
        "x0": np.r_[np.full_like(across, box.k_start - 0.5), down],
        "x1": np.r_[np.full_like(across, box.k_stop - 0.5), down],
        "y0": np.r_[across, np.full_like(down, box.q_start - 0.5)],
        "y1": np.r_[across, np.full_like(down, box.q_stop - 0.5)],
    }


def _joined(runs: NDArray[np.int64], gap: int) -> NDArray[np.int64]:
    """Join runs (first, last) with no more than ``gap`` positions between them, if there are many.

    >>> _joined(np.array([[n, n] for n in range(0, 4000, 4)]), 6).tolist()
    [[0, 3996]]
    """
    if len(runs) <= _MOST_MARKS:
        return runs
    apart = runs[1:, 0] - runs[:-1, 1] - 1 > gap
    return np.stack([runs[np.r_[True, apart], 0], runs[np.r_[apart, True], 1]], axis=1)


def _thinned(cells: NDArray[np.int64], step: int) -> NDArray[np.int64]:
    """Return one of the cells of each square of ``step`` cells: the one nearest to its middle.

    >>> _thinned(np.array([[0, 0], [0, 1], [1, 1], [7, 7]]), 3).tolist()
    [[1, 1], [7, 7]]
    """
    if step == 1 or not len(cells):
        return cells
    square, within = np.divmod(cells, step)
    order = np.argsort(np.abs(within - step // 2).sum(axis=1), kind="stable")
    _, nearest = np.unique(square[order], axis=0, return_index=True)
    return cells[order[nearest]]
