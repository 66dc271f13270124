"""The atlas as a page of the server: template, styles and script put together for each visitor."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from importlib.resources import files
from typing import Any

from sightline.views.atlas.asked import LANGUAGES, Asked
from sightline.views.atlas.desk import Desk
from sightline.views.atlas.server import ServedPage
from sightline.views.atlas.visit import Visit
from sightline.views.atlas.words import words

__all__ = ["atlas_page"]

_PATH = "/"


def atlas_page(start: Asked, desk: Desk | None = None) -> ServedPage:
    """Return the atlas; it opens with ``start`` where an address says nothing else."""
    shared = Desk() if desk is None else desk

    def build(document: Any) -> None:
        shared.start()
        lang = _language(document, start.lang)
        w = words(lang)
        document.title = w["title"]
        document.template = _template()
        document.template_variables.update(
            lang=lang, w=w, here=_PATH, css=_text("page.css"), js=_text("page.js")
        )
        Visit(document, shared, replace(start, lang=lang))

    return ServedPage(_PATH, "Atlas", build, title_zh="图集", close=shared.close)


def _language(document: Any, otherwise: str) -> str:
    context = document.session_context
    given = context.request.arguments.get("lang", []) if context is not None else []
    lang = given[0].decode("ascii", "replace") if given else otherwise
    return lang if lang in LANGUAGES else otherwise


@cache
def _text(name: str) -> str:
    return files("sightline.views.atlas").joinpath(name).read_text(encoding="utf-8")


@cache
def _template() -> Any:
    from jinja2 import Environment

    return Environment(autoescape=True).from_string(_text("page.html"))
