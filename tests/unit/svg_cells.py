"""What an SVG drawing paints, read back from its shapes."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import numpy as np

SVG = "{http://www.w3.org/2000/svg}"
PIECE = re.compile(r"M(\d+) (\d+)h(\d+)v(\d+)h-(\d+)z")


def paint(opacity: np.ndarray, path: ET.Element) -> None:
    """Write how opaque a shape is into the cells that it covers; overlaps fail."""
    outline = path.get("d", "")
    assert PIECE.sub("", outline) == "", outline
    for piece in PIECE.finditer(outline):
        column, row, wide, tall, back = map(int, piece.groups())
        assert wide == back
        part = opacity[row : row + tall, column : column + wide]
        assert part.shape == (tall, wide), "painted outside"
        assert not part.any(), "painted twice"
        part[...] = float(path.get("fill-opacity", "1"))
