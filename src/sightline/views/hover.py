"""A drawing that answers: point at a cell, or walk there with the arrow keys, and it is told.

A fragment of a page with its own style and script, that asks nothing of anybody: for notebooks,
and for files (Drawing.save makes a whole page of it).
"""

from __future__ import annotations

import json
from html import escape
from itertools import groupby
from typing import TYPE_CHECKING, Any

from sightline.views.labels import is_scale, visible
from sightline.views.style import (
    EXTRAS_CSS,
    HOVER_CSS,
    SVG_CSS,
    Theme,
    root_class,
    themed,
)
from sightline.views.svg.render import cell_words, render_legend, render_panel

if TYPE_CHECKING:
    from sightline.views.picture import MaskPicture
    from sightline.views.scene import Scene
    from sightline.views.svg.labels import Layout
    from sightline.views.svg.words import Words

__all__ = ["render_hover"]

_LEGEND_WIDTH = 340.0
# Pixels for the cells of a picture, by where it should fit; what is small is shown larger where
# there is room.
_FACET, _PHONE, _DESK = 240.0, 320.0, 640.0
_LARGEST = 1.75
# What the script says itself.
_SAID = ("point", "query", "queries", "key", "keys")


def render_hover(scene: Scene, *, theme: Theme = "auto", cell: float = 18) -> str:
    """Return a scene as a fragment of HTML whose cells say what they are.

    >>> import sightline as sl
    >>> html = sl.draw(sl.causal(), 2, to="html").content
    >>> '["may attend", "may not attend"]' in html
    True
    """
    root = root_class(theme)
    drawn = [
        render_panel(
            one,
            theme=theme,
            cell=min(cell, _cell_side(one, len(scene.panels))),
            words=scene.words,
        )
        for one in scene.panels
    ]
    panels = [
        _data(one, layout, scene.words)
        for one, (_, layout) in zip(scene.panels, drawn, strict=True)
    ]
    data = {"say": {name: scene.words[name] for name in _SAID}, "panels": panels}
    figures = "\n".join(
        _figure(one, svg, layout, cell)
        for one, (svg, layout) in zip(scene.panels, drawn, strict=True)
    )
    remarks = "".join(f'<p class="note">{_text(remark)}</p>' for remark in scene.remarks)
    styles = themed(SVG_CSS + EXTRAS_CSS + HOVER_CSS, theme)
    return (
        f'<div class="{root} sl-hover"><style>\n{styles}</style>\n<div class="sheet">\n'
        f'<p class="name">{_text(scene.title)}</p>\n<div class="panels">\n{figures}\n</div>\n'
        f"{remarks}{render_legend(scene.panels, _LEGEND_WIDTH, theme, scene.words)}\n"
        '<p class="said" aria-live="polite"></p>\n</div>\n'
        f'<script type="application/json">{_json(data)}</script>\n<script>{_SCRIPT}</script>\n'
        "</div>\n"
    )


def _cell_side(picture: MaskPicture, panels: int) -> float:
    """Return the side of a cell by which a picture fits a phone; a wider window shows it larger."""
    numbered = is_scale(picture.row_labels) and is_scale(picture.column_labels)
    room = _FACET if panels > 1 else _PHONE if numbered else _DESK
    return max(2.0, room / max(*picture.allowed.shape, 1))


def _figure(picture: MaskPicture, svg: str, layout: Layout, cell: float) -> str:
    caption = f"<figcaption>{_text(picture.title)}</figcaption>" if picture.title else ""
    grown = layout.width * min(_LARGEST, max(1.0, cell / layout.side))
    return f'<figure style="width:{round(grown)}px">{caption}{svg}</figure>'


def _data(picture: MaskPicture, layout: Layout, language: Words) -> dict[str, Any]:
    """Return what the script must know to tell a cell: where it is, and what is to be said."""
    rows, columns = picture.allowed.shape
    words: dict[str, int] = {}
    told = [
        words.setdefault(cell_words(picture, row, column, language), len(words))
        for row in range(rows)
        for column in range(columns)
    ]
    runs = [[number, len(list(run))] for number, run in groupby(told)]
    return {
        "name": picture.title,
        "left": round(layout.left, 2),
        "top": round(layout.top, 2),
        "side": round(layout.side, 4),
        "rows": rows,
        "columns": columns,
        "first": picture.first,
        "cell": picture.cell,
        "shape": picture.shape,
        "queries": _named(picture.row_labels, picture.first[0], picture.cell[0]),
        "keys": _named(picture.column_labels, picture.first[1], picture.cell[1]),
        "words": list(words),
        "runs": [number for run in runs for number in run],
    }


def _named(labels: tuple[str, ...], first: int, side: int) -> list[str] | None:
    """Return labels that are more than positions, or None."""
    positions = tuple(str(first + side * number) for number in range(len(labels)))
    return None if labels == positions else [visible(label) for label in labels]


def _text(text: str) -> str:
    return escape(visible(text), quote=False)


def _json(data: object) -> str:
    # What would end the script, or begin a comment in it, is spelled out.
    return json.dumps(data, ensure_ascii=True).replace("<", "\\u003c").replace("&", "\\u0026")


# Every drawing of a page that has not been begun yet is begun: so that it does not matter how a
# notebook runs scripts. Pointing works in the drawing's own units, whatever size it is shown at.
_SCRIPT = """
for (const box of document.querySelectorAll(".sl-hover:not([data-ready])")) {
  box.dataset.ready = "";
  const said = box.querySelector(".said");
  const data = box.querySelector("script[type='application/json']").textContent;
  const { say, panels } = JSON.parse(data);
  said.textContent = say.point;
  box.querySelectorAll(".panels svg").forEach((svg, number) => {
    const data = panels[number];
    if (!data.rows || !data.columns) return;
    const cells = [];
    for (let i = 0; i < data.runs.length; i += 2)
      for (let n = 0; n < data.runs[i + 1]; n++) cells.push(data.runs[i]);
    const at = document.createElementNS("http://www.w3.org/2000/svg", "rect");
    at.setAttribute("class", "at");
    for (const name of ["width", "height"]) at.setAttribute(name, data.side);
    let row = 0, column = 0;
    const range = (one, many, axis, index, labels) => {
      const start = data.first[axis] + index * data.cell[axis];
      const stop = Math.min(start + data.cell[axis], data.first[axis] + data.shape[axis]) - 1;
      if (stop > start) return `${many} ${start}-${stop}`;
      return labels ? `${one} ${start} \\u201c${labels[index]}\\u201d` : `${one} ${start}`;
    };
    const show = () => {
      at.setAttribute("x", data.left + column * data.side);
      at.setAttribute("y", data.top + row * data.side);
      if (!at.isConnected) svg.append(at);
      said.textContent = (data.name ? data.name + ": " : "") +
        range(say.query, say.queries, 0, row, data.queries) + ", " +
        range(say.key, say.keys, 1, column, data.keys) + ": " +
        data.words[cells[row * data.columns + column]];
    };
    const point = event => {
      const frame = svg.getScreenCTM().inverse();
      const place = new DOMPoint(event.clientX, event.clientY).matrixTransform(frame);
      const y = Math.floor((place.y - data.top) / data.side);
      const x = Math.floor((place.x - data.left) / data.side);
      if (y < 0 || x < 0 || y >= data.rows || x >= data.columns) return;
      [row, column] = [y, x];
      show();
    };
    svg.setAttribute("tabindex", "0");
    svg.addEventListener("pointermove", point);
    svg.addEventListener("pointerdown", point);
    svg.addEventListener("focus", show);
    svg.addEventListener("keydown", event => {
      const step = {ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1],
                    ArrowRight: [0, 1]}[event.key];
      if (!step) return;
      event.preventDefault();
      row = Math.min(data.rows - 1, Math.max(0, row + step[0]));
      column = Math.min(data.columns - 1, Math.max(0, column + step[1]));
      show();
    });
  });
}
"""
