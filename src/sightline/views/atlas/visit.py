"""One visitor of the atlas: what was asked, what is shown, and the work in between.

The browser's script sends wishes as JSON and gets news as JSON; the map goes through bokeh. Who
does the work, and in which order, is in desk.py.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from typing import Any

from sightline.errors import InvalidArgument
from sightline.views.atlas.asked import Asked, Box, position, read_query
from sightline.views.atlas.desk import Desk, Newest
from sightline.views.atlas.news import (
    comparison_rows,
    error_text,
    facts_rows,
    legend,
    reason_tree,
)
from sightline.views.atlas.palette import theme
from sightline.views.atlas.plot import NO_MARKS, Plot
from sightline.views.atlas.words import words
from sightline.views.sizes import short_size

__all__ = ["Visit"]

# Seconds: what a look may take to be exact; what any answer may take before its worker is ended.
LOOK_SECONDS, LOOK_LIMIT = 0.1, 5.0
FACTS_SECONDS, FACTS_LIMIT = 3.0, 10.0
# Pixels of the side of a cell, at the least, and cells along a side, at the most.
_FINEST, _MOST_CELLS = 1.6, 384
_ZOOM = 2.0


class Visit:
    """The state of one open page."""

    def __init__(self, document: Any, desk: Desk, start: Asked) -> None:
        from bokeh.models import ColumnDataSource

        self._document, self._desk = document, desk
        self.asked, self._masks = start, (1, 1)
        self._words = words(start.lang)
        # Of what is drawn; None before anything is.
        self._cell: tuple[int, int] | None = None
        self._dark = False
        self._serial = 0
        self._marks = NO_MARKS
        # What was last shown other than by moving the map, and how it came out.
        self._fit, self._set = start.whole, (0.0, 0.0, 0.0, 0.0)
        self.plot = Plot(theme(False), self._words["query"], self._words["key"])
        self._heard = ColumnDataSource(data={"json": []}, name="ask")
        self._said = ColumnDataSource(data={"json": []}, name="said")
        self._opening = Newest(self._open)
        self._looking = Newest(self._look)
        self._finding = Newest(self._find)
        self._explaining = Newest(self._explain)
        self._heard.on_change("data", self._hear)
        figure = self.plot.figure
        for part in (figure.x_range, figure.y_range):
            for end in ("start", "end"):
                part.on_change(end, self._moved)
        for side in ("inner_width", "inner_height"):
            figure.on_change(side, self._resized)
        # Two clicks in a row are one double click to bokeh, wherever they are.
        for clicked in ("tap", "doubletap"):
            figure.on_event(clicked, self._tapped)
        # Last: of events a document passes on only those that were asked for by then.
        for root in (figure, self._heard, self._said):
            document.add_root(root)

    # -- what comes from the browser

    def _hear(self, _attr: str, _old: Any, new: Any) -> None:
        try:
            wish = json.loads(new["json"][0])
            do = self._WISHES[wish["do"]]
            do(self, wish)
        except (KeyError, IndexError, TypeError, ValueError, RecursionError):
            return  # not from our script

    def _hear_open(self, wish: dict[str, Any]) -> None:
        self._dark = bool(wish.get("dark"))
        self.plot.paint(theme(self._dark))
        try:
            asked = read_query(str(wish.get("search", "")), self.asked)
        except InvalidArgument as error:
            self._complain({"message": str(error), "which": "address"})
            return
        self._opening.ask(asked)

    def _hear_show(self, wish: dict[str, Any]) -> None:
        fields = {str(name): str(text) for name, text in dict(wish.get("fields", {})).items()}
        try:
            asked = self.asked.with_fields(fields)
        except InvalidArgument as error:
            self._complain({"message": str(error)})
            return
        moved = asked.whole != self.asked.whole
        self._opening.ask(replace(asked, view=None if moved else self._box()))

    def _hear_theme(self, wish: dict[str, Any]) -> None:
        self._dark = bool(wish.get("dark"))
        self.plot.paint(theme(self._dark))
        self._say("legend", rows=legend(self._words, theme(self._dark), bool(self.asked.compare)))

    def _hear_go(self, wish: dict[str, Any]) -> None:
        top, bottom, left, right = self.plot.shown()
        height, width = bottom - top, right - left
        steps = {"up": (-1, 0), "down": (1, 0), "left": (0, -1), "right": (0, 1)}
        to = wish.get("to")
        if to == "whole":
            self._show_box(self.asked.whole)
            return
        if to in ("in", "out"):
            factor = 1 / _ZOOM if to == "in" else _ZOOM
            height, width = (max(side * factor, 4.0) for side in (height, width))
            middle = (top + bottom) / 2, (left + right) / 2
        elif to == "diagonal":
            middle = ((top + bottom + left + right) / 4,) * 2
        elif to in steps:
            down, across = steps[to]
            middle = (top + bottom) / 2 + down * height / 4, (left + right) / 2 + across * width / 4
        else:
            return
        whole = self.asked.whole
        row = min(max(middle[0], whole.q_start), whole.q_stop)
        column = min(max(middle[1], whole.k_start), whole.k_stop)
        sides = row - height / 2, row + height / 2, column - width / 2, column + width / 2
        self.plot.show(*sides, square=False)

    def _hear_why(self, wish: dict[str, Any]) -> None:
        try:
            query, key = (position(str(wish[name])) for name in ("query", "key"))
        except ValueError:
            self._say("why", error=self._words["numbers"])
            return
        self._ask_why(query, key, (1, 1))

    _WISHES: Mapping[str, Callable[[Any, dict[str, Any]], None]] = {
        "open": _hear_open,
        "show": _hear_show,
        "theme": _hear_theme,
        "go": _hear_go,
        "why": _hear_why,
    }

    def _tapped(self, event: Any) -> None:
        if event.x is None or event.y is None or self._cell is None:
            return
        query, key = (
            int(at + 0.5) // side * side + side // 2 if at >= -0.5 else -1
            for at, side in zip((event.y, event.x), self._cell, strict=True)
        )
        whole = self.asked.whole
        # The center of a cell that hangs over the end is beyond it; its first pair is not.
        query, key = min(query, whole.q_stop - 1), min(key, whole.k_stop - 1)
        if event.y < whole.q_stop - 0.5 and event.x < whole.k_stop - 0.5:
            self._ask_why(max(query, whole.q_start) if query >= 0 else query, key, self._cell)

    def _ask_why(self, query: int, key: int, cell: tuple[int, int]) -> None:
        whole = self.asked.whole
        if not (whole.q_start <= query < whole.q_stop and whole.k_start <= key < whole.k_stop):
            text = self._words["outside"].format(
                q=query, k=key, q_first=whole.q_start, q_last=whole.q_stop - 1,
                k_last=whole.k_stop - 1,
            )  # fmt: skip
            self._say("why", error=text)
            return
        self._explaining.ask(query, key, cell)

    def _moved(self, _attr: str, _old: Any, _new: Any) -> None:
        if self._serial:
            self._looking.ask()

    def _resized(self, _attr: str, _old: Any, _new: Any) -> None:
        if not self._serial:
            return
        if self.plot.shown() == self._set:  # nobody has moved the map since
            self._show_box(self._fit)
        elif self._square:
            self.plot.square_up()

    # -- work

    async def _open(self, asked: Asked) -> None:
        """Have an expression read; if it can be drawn, draw it."""
        self._later(self._say, "busy", what="map")
        request = {**_texts(asked), "do": "open", "q_stop": asked.whole.q_stop}
        reply, _ = await self._desk.ask(
            self._desk.quick, {**request, "kv_len": asked.kv_len}, LOOK_LIMIT
        )
        self._later(self._opened, asked, reply)

    def _opened(self, asked: Asked, reply: dict[str, Any]) -> None:
        if "error" in reply:
            self._complain(reply["error"])
            return
        for name, most in (("batch", reply["batch"]), ("head", reply["heads"])):
            got = getattr(asked, name)
            if got >= most:
                text = self._words["pick"].format(most=most, last=most - 1, got=got)
                message = f"{self._words[name]}: {text}"
                self._complain({"message": message, "which": name})
                return
        self.asked, self._masks = asked, (reply["batch"], reply["heads"])
        self._serial += 1
        self.plot.frame(asked.whole)
        self.plot.pick(None)
        self._marks = NO_MARKS
        self.plot.mark(*self._marks, asked.whole, asked.whole)
        colors = theme(self._dark)
        self._say("legend", rows=legend(self._words, colors, bool(asked.compare)))
        self._say("facts", rows=[["", self._words["busy"], ""]], busy=True)
        self._say("why", clear=True)
        self._show_box(asked.view or asked.whole)
        self._tell_state()
        self._looking.ask()
        self._finding.ask(asked, self._serial)

    async def _look(self) -> None:
        """Have the present view worked out; then draw it."""
        asked, serial, box = self.asked, self._serial, self._box()
        height, width = self.plot.size()
        rows, columns = (
            max(8, min(_MOST_CELLS, int(pixels / _FINEST))) for pixels in (height, width)
        )
        view = {**asdict(box), "rows": rows, "columns": columns}
        view |= {"batch": asked.batch, "head": asked.head}
        started = time.perf_counter()
        request = {**_texts(asked), "do": "look", "view": view, "seconds": LOOK_SECONDS}
        reply, arrays = await self._desk.ask(self._desk.quick, request, LOOK_LIMIT)
        seconds = time.perf_counter() - started
        self._later(self._draw, serial, box, reply, arrays, seconds)

    def _draw(
        self, serial: int, box: Box, reply: dict[str, Any], arrays: Any, spent: float
    ) -> None:
        if serial != self._serial:
            return
        if "error" in reply:
            self._complain(reply["error"])
            return
        whole = self.asked.whole
        cell, first = tuple(reply["cell"]), (reply["q_first"], reply["k_first"])
        self._cell = cell
        self.plot.fill(arrays["cells"], cell, first, arrays["unsure"], whole)
        self.plot.mark(*self._marks, box, whole)
        at_whole = box == whole
        self.asked = replace(self.asked, view=None if at_whole else box)
        one = "one_pair" if cell == (1, 1) else "one_cell"
        self._say(
            "drawn",
            cell=f"{cell[0]}x{cell[1]}",
            view=box.text(),
            unsure=len(arrays["unsure"]),
            ms=round(spent * 1000, 1),
            text=self._words[one].format(q=f"{cell[0]:,}", k=f"{cell[1]:,}"),
        )
        self._tell_state()

    async def _find(self, asked: Asked, serial: int) -> None:
        """Have what stands beside the map worked out."""
        lengths = {"q_len": asked.q_len, "kv_len": asked.kv_len, "q_offset": asked.offset}
        request = {**_texts(asked), **lengths, "do": "facts", "seconds": FACTS_SECONDS}
        request |= {"batch": asked.batch, "head": asked.head}
        reply, arrays = await self._desk.ask(self._desk.slow, request, FACTS_LIMIT)
        self._later(self._mark, serial, arrays)
        self._later(self._tell_facts, serial, reply, None)
        if asked.compare and serial == self._serial:
            compared, _ = await self._desk.ask(
                self._desk.slow, {**request, "do": "compare"}, FACTS_LIMIT
            )
            self._later(self._tell_facts, serial, reply, compared)

    def _mark(self, serial: int, arrays: Mapping[str, Any]) -> None:
        """Draw empty rows and edges of documents, as they were found for the whole."""
        if serial == self._serial and arrays:
            self._marks = arrays["runs"], arrays["edges"]
            self.plot.mark(*self._marks, self._box(), self.asked.whole)

    def _tell_facts(
        self, serial: int, found: dict[str, Any], compared: dict[str, Any] | None
    ) -> None:
        if serial != self._serial:
            return
        w, rows = self._words, []
        if self.asked.compare:
            busy = [[w["comparison"], w["busy"], ""]]
            rows += busy if compared is None else comparison_rows(w, compared)
            rows.append(["", w["of_first"], "words"])
        if "error" in found:
            rows.append([w["unknown"], error_text(w, found["error"]), "warn"])
        else:
            rows += facts_rows(w, found)
        self._say("facts", rows=rows, busy=bool(self.asked.compare) and compared is None)

    async def _explain(self, query: int, key: int, cell: tuple[int, int]) -> None:
        asked = self.asked
        request = {**_texts(asked), "do": "why", "query": query, "key": key}
        request |= {"batch": asked.batch, "head": asked.head}
        reply, _ = await self._desk.ask(self._desk.quick, request, LOOK_LIMIT)
        self._later(self._tell_why, query, key, cell, reply)

    def _tell_why(self, query: int, key: int, cell: tuple[int, int], reply: dict[str, Any]) -> None:
        if "error" in reply:
            self._say("why", error=error_text(self._words, reply["error"]))
            return
        start = query // cell[0] * cell[0], key // cell[1] * cell[1]
        self.plot.pick(Box(start[0], start[0] + cell[0], start[1], start[1] + cell[1]))
        note = ""
        if cell != (1, 1):
            note = self._words["center"].format(q=f"{cell[0]:,}", k=f"{cell[1]:,}")
        trees = [
            reason_tree(self._words, text, reason, query, key)
            for text, reason in zip(reply["texts"], reply["reasons"], strict=True)
        ]
        self._say("why", query=query, key=key, note=note, trees=trees)

    # -- what goes to the browser

    def _box(self) -> Box:
        """Return the queries and keys in view, within the mask."""
        top, bottom, left, right = self.plot.shown()
        whole = self.asked.whole
        if not all(map(math.isfinite, (top, bottom, left, right))):
            return whole  # a browser that is laying out a page of no size
        q_start, q_stop = _within(top, bottom, whole.q_start, whole.q_stop)
        k_start, k_stop = _within(left, right, whole.k_start, whole.k_stop)
        return Box(q_start, q_stop, k_start, k_stop)

    @property
    def _square(self) -> bool:
        """Whether a query is drawn as high as a key is wide."""
        return self.asked.q_len == self.asked.kv_len

    def _show_box(self, box: Box) -> None:
        sides = box.q_start - 0.5, box.q_stop - 0.5, box.k_start - 0.5, box.k_stop - 0.5
        self.plot.show(*sides, square=self._square)
        self._fit, self._set = box, self.plot.shown()

    def _tell_state(self) -> None:
        batch, heads = self._masks
        asked = asdict(self.asked)
        self._say("state", query=self.asked.query(), batches=batch, heads=heads, **{
            name: asked[name] for name in ("expr", "compare", "offset", "batch", "head")
        }, size=short_size(self.asked.q_len, self.asked.kv_len))  # fmt: skip

    def _complain(self, error: Mapping[str, Any]) -> None:
        text = error_text(self._words, error)
        stale = self._words["stale"] if self._serial else ""
        self._say("error", text=text, which=error.get("which", ""), stale=stale)

    def _say(self, kind: str, **news: Any) -> None:
        self._said.data = {"json": [json.dumps({"kind": kind, **news})]}

    def _later(self, do: Callable[..., None], *given: Any, **named: Any) -> None:
        """Have something done while the document is locked, if the page is still open."""
        if self._document.session_context is not None:
            self._document.add_next_tick_callback(lambda: do(*given, **named))


def _texts(asked: Asked) -> dict[str, str]:
    return {"expr": asked.expr, "compare": asked.compare}


def _within(start: float, stop: float, first: int, beyond: int) -> tuple[int, int]:
    """Return the positions that lie between two coordinates, at least one."""
    low = min(max(math.floor(start + 0.5), first), beyond - 1)
    high = min(max(math.ceil(stop + 0.5 - 1e-9), low + 1), beyond)
    return low, high
