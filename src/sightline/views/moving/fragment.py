"""A piece of a page that brings its own style, data and script, and asks for nothing else.

Several may stand on one page, or in one notebook: each script looks for pieces not yet started.
"""

from __future__ import annotations

import json
from functools import cache
from html import escape
from importlib.resources import files
from typing import Any

from sightline.views.labels import visible
from sightline.views.style import Theme

__all__ = ["fragment", "text"]


def fragment(kind: str, body: str, data: Any, *, label: str, theme: Theme = "auto") -> str:
    """Return the HTML of one drawing: style, ``body``, ``data`` and the script ``kind``.js.

    Args:
        kind: the name of the script and of the class by which it finds its pieces.
        body: what stands there before the script runs, and stays where scripts do not.
        data: anything JSON can hold; the script reads it.
        label: what the drawing shows, for who cannot see it.
        theme: "auto" is light or dark as the reader's screen is.
    """
    # "<" cannot end the element or open a comment when it is written as an escape.
    held = json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    return (
        f'<div class="slv slv-{kind} slv-{theme}" role="group" aria-label="{text(label)}">\n'
        f"<style>\n{_beside('moving.css')}</style>\n{body}\n"
        f'<script type="application/json">{held}</script>\n'
        f"<script>\n{_beside(f'{kind}.js')}</script>\n</div>\n"
    )


def text(words: str) -> str:
    """Return text fit for HTML: harmful characters spelled out, markup escaped."""
    return escape("\n".join(visible(line) for line in words.split("\n")))


@cache
def _beside(name: str) -> str:
    return files("sightline.views.moving").joinpath(name).read_text(encoding="utf-8")
