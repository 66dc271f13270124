"""Several finished SVG drawings one under the other, as one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape

from sightline.views.labels import visible
from sightline.views.svg_labels import number

__all__ = ["stacked"]

_SIZE = re.compile(r'<svg\b[^>]*? width="([\d.]+)" height="([\d.]+)"')


def stacked(drawings: Sequence[str], label: str) -> str:
    """Return the drawings as one; a single one stays as it is.

    >>> one = '<svg width="10" height="20"></svg>'
    >>> stacked([one, one], "two")[:67]
    '<svg xmlns="http://www.w3.org/2000/svg" class="sl" role="img" width'
    """
    if len(drawings) == 1:
        return drawings[0]
    body: list[str] = []
    wide = tall = 0.0
    for drawing in drawings:
        size = _SIZE.match(drawing)
        assert size is not None, drawing[:80]
        body.append(drawing.replace("<svg ", f'<svg x="0" y="{number(tall)}" ', 1))
        wide, tall = max(wide, float(size[1])), tall + float(size[2])
    width, height = number(wide), number(tall)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="sl" role="img" width="{width}" '
        f'height="{height}" viewBox="0 0 {width} {height}" aria-label="{escape(visible(label))}">\n'
        '<rect class="paper" width="100%" height="100%" rx="4"/>\n' + "".join(body) + "</svg>\n"
    )
