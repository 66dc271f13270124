"""The playground as a page of the atlas's server: its HTML, and who answers its requests.

A request is JSON in a column of one cell, an answer too; bokeh carries both. What is answered is
reply.py's part; what the browser does with it stands in page.js.
"""

from __future__ import annotations

import asyncio
import json
from functools import cache
from importlib.resources import files
from typing import Any

from sightline.views.atlas.server import ServedPage
from sightline.views.playground.drawings import NUMBERS_CSS
from sightline.views.playground.reply import MOST_SHUFFLE, MOST_WINDOW, reply, start
from sightline.views.playground.steps import STEPS, WIDTH
from sightline.views.playground.systems import SYSTEMS
from sightline.views.playground.tokens import MOST_SENTENCES, MOST_TOKENS
from sightline.views.playground.words import WORDS, Language, language_of, said
from sightline.views.style import PAGE_CSS, SVG_CSS

__all__ = ["PLAYGROUND", "build"]

# An honest request is a tenth of this.
_LONGEST_REQUEST = 40_000
_FIRST = {"swin": "picture text", "seq2seq": "source text", "unilm": "source text"}
_SECOND = {"bert": "pair text", "seq2seq": "target text", "unilm": "target text"}
# What page.js itself says.
_SAID_THERE = {"none": "no mistake", "written": "written", "query": "query", "lost": "lost"}


def build(document: Any) -> None:
    """Fill a visitor's document; what else the address says is read by page.js."""
    from bokeh.models import ColumnDataSource

    context = document.session_context
    given = context.request.arguments.get("lang", []) if context is not None else []
    language = language_of(given[-1].decode("ascii", "replace")) if given else "en"
    heard = ColumnDataSource(data={"json": []}, name="ask")
    told = ColumnDataSource(data={"json": []}, name="said")
    answering = _Answering(document, told)
    heard.on_change("data", lambda _attr, _old, new: answering.hear(new))
    for source in (heard, told):
        document.add_root(source)
    document.title = f"Sightline · {said(language, 'title')}"
    document.template = _template()
    document.template_variables.update(_variables(language))


class _Answering:
    """Answers one visitor, one request at a time; of those that wait only the newest."""

    def __init__(self, document: Any, told: Any) -> None:
        self._document, self._told = document, told
        self._newest: str | None = None
        self._task: asyncio.Task[None] | None = None

    def hear(self, data: Any) -> None:
        """Take a request from the page."""
        cells = data.get("json", ()) if isinstance(data, dict) else ()
        text = cells[0] if len(cells) == 1 else None
        if not isinstance(text, str) or len(text) > _LONGEST_REQUEST:
            return
        self._newest = text
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._answer())

    async def _answer(self) -> None:
        while self._newest is not None:
            text, self._newest = self._newest, None
            # In a thread: the atlas goes on meanwhile.
            answer = await asyncio.to_thread(_answer_to, text)
            self._document.add_next_tick_callback(lambda answer=answer: self._tell(answer))

    def _tell(self, answer: str) -> None:
        self._told.data = {"json": [answer]}


def _answer_to(text: str) -> str:
    """Return the answer to a request, both JSON; the serial number comes back with it."""
    try:
        asked = json.loads(text)
    except (ValueError, RecursionError):
        asked = None
    asked = asked if isinstance(asked, dict) else {}
    serial = asked.get("serial")
    answer = {**reply(asked), "serial": serial if type(serial) is int else 0}
    return json.dumps(answer, ensure_ascii=False)


@cache
def _template() -> Any:
    from jinja2 import Environment

    return Environment(autoescape=True).from_string(_file("page.html"))


def _variables(language: Language) -> dict[str, Any]:
    systems = {
        name: {
            "first": _FIRST.get(name, "first text"),
            "second": _SECOND.get(name, ""),
            "chooses": sorted(system.chooses),
            "about": said(language, f"about {name}"),
        }
        for name, system in SYSTEMS.items()
    }
    words = {name: said(language, key) for name, key in _SAID_THERE.items()}
    words |= {name: said(language, name) for name in WORDS if name.endswith(" text")}
    given = {
        "starts": {name: start(name, language) for name in SYSTEMS},
        "systems": systems,
        "words": words,
    }
    return {
        "language": language,
        "other": "en" if language == "zh" else "zh",
        "say": lambda name, **values: said(language, name, **values),
        "styles": PAGE_CSS + SVG_CSS + NUMBERS_CSS + _file("page.css"),
        "script": _file("page.js"),
        # As it stands in a script, no text in it may end that script.
        "given": json.dumps(given).replace("<", "\\u003c"),
        "systems": list(SYSTEMS),
        "steps": STEPS,
        "windows": range(2, MOST_WINDOW + 1),
        "shuffles": range(MOST_SHUFFLE + 1),
        "width": WIDTH,
        "lines": MOST_SENTENCES,
        "tokens": MOST_TOKENS,
    }


@cache
def _file(name: str) -> str:
    return files("sightline.views.playground").joinpath(name).read_text(encoding="utf-8")


PLAYGROUND = ServedPage("/playground", "Playground", build, title_zh="练习场")
