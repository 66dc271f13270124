"""A sheet of panels as PNG: its SVG, painted by the house's own rasterizer (png/paint.py)."""

from __future__ import annotations

from dataclasses import replace

from sightline.views.moving.sheet import Sheet
from sightline.views.moving.sheet_svg import render_svg_sheet
from sightline.views.png.paint import rasterize, require_matplotlib
from sightline.views.png.text import writable
from sightline.views.style import Theme

__all__ = ["render_png_sheet"]


def render_png_sheet(sheet: Sheet, *, theme: Theme = "auto") -> bytes:
    """Return the sheet as PNG; a picture cannot follow a screen, so that "auto" is light.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    require_matplotlib()
    panels = tuple(
        replace(
            panel,
            row_labels=tuple(map(writable, panel.row_labels)),
            column_labels=tuple(map(writable, panel.column_labels)),
        )
        for panel in sheet.panels
    )
    sheet = replace(sheet, title=writable(sheet.title), panels=panels)
    return rasterize(render_svg_sheet(sheet, theme="light" if theme == "auto" else theme))
