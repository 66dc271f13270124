"""Pictures of masks: in the terminal, as SVG, on a page.

Views draw records that others computed; they decide nothing about attention. What a mask means
is asked of sightline.masks; what a command prints around a picture is sightline.cli's matter.

draw.py is the front door; scene.py decides what is drawn, picture.py is one picture before it has a
kind, svg/, png/, text/ and hover.py give it one. reasons/ puts masks and pairs into words, charts/
draws numbers, moving/ what has steps; atlas/ and playground/ are pages that a server shows.
"""

from sightline.views.page import Cell, Page
from sightline.views.picture import MaskPicture, picture_of
from sightline.views.svg.render import render_svg
from sightline.views.text.table import render_table
from sightline.views.text.terminal import render_text

__all__ = [
    "Cell",
    "MaskPicture",
    "Page",
    "picture_of",
    "render_svg",
    "render_table",
    "render_text",
]
