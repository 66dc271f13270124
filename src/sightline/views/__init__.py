"""Pictures of masks: in the terminal, as SVG, on a page.

Views draw records that others computed; they decide nothing about attention. What a mask means
is asked of sightline.masks; what a command prints around a picture is sightline.cli's matter.
"""

from sightline.views.page import Cell, Page
from sightline.views.picture import MaskPicture, picture_of
from sightline.views.svg import render_svg
from sightline.views.table import render_table
from sightline.views.terminal import render_text

__all__ = [
    "Cell",
    "MaskPicture",
    "Page",
    "picture_of",
    "render_svg",
    "render_table",
    "render_text",
]
