"""Our own SVG drawings as PNG, painted by matplotlib's rasterizer (extra "views").

It reads what svg/ writes, element for element, so that both kinds of a picture are the same; an
element that it does not know is refused, never left out. Letters are in text.py.
"""

from __future__ import annotations

import io
import re
import xml.etree.ElementTree as ET
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from sightline.errors import InvalidArgument, MissingExtra
from sightline.views.png.shapes import Outline, outline_of, repeated
from sightline.views.png.style import Styles, color_of
from sightline.views.png.text import Pen, writable
from sightline.views.style import Theme
from sightline.views.svg.render import render_svg_grid

if TYPE_CHECKING:
    from sightline.views.scene import Scene

__all__ = ["rasterize", "render_png", "require_matplotlib"]

# Pixels of the file for one of the drawing's, so that it is sharp on fine screens and in print.
_SCALE = 2
_SVG = "{http://www.w3.org/2000/svg}"
_TRANSFORM = re.compile(r"(translate|scale|rotate)\(([^)]*)\)")
_INVISIBLE = {"defs", "style", "title", "pattern"}

Matrix = Any  # float [3, 3]


def render_png(scene: Scene, *, theme: Theme = "auto") -> bytes:
    """Return a scene as PNG; a picture cannot follow a screen, so that "auto" is light.

    What no font of the machine can write is written as escapes.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    require_matplotlib()
    panels = tuple(
        replace(
            one,
            title=writable(one.title),
            row_labels=tuple(map(writable, one.row_labels)),
            column_labels=tuple(map(writable, one.column_labels)),
        )
        for one in scene.panels
    )
    scene = replace(scene, title=writable(scene.title), panels=panels)
    svg = render_svg_grid(scene, theme="light" if theme == "auto" else theme, tooltips=False)
    return rasterize(svg)


def require_matplotlib() -> None:
    """Raise MissingExtra where there is nothing to paint with."""
    try:
        import_module("matplotlib")
    except ImportError as error:
        raise MissingExtra(what="a PNG", package="matplotlib", extra="views") from error


def rasterize(svg: str, *, scale: float = _SCALE) -> bytes:
    """Return an SVG drawing of ours as PNG.

    Raises:
        MissingExtra: matplotlib is not installed.
        InvalidArgument: the drawing has an element or a path that is not known here.
    """
    require_matplotlib()
    from matplotlib.backends.backend_agg import RendererAgg
    from PIL import Image

    root = ET.fromstring(svg)
    width, height = (round(float(root.get(side, "1")) * scale) for side in ("width", "height"))
    sheet = "".join(each.text or "" for each in root.iter(f"{_SVG}style"))
    patterns = {each.get("id", ""): each for each in root.iter(f"{_SVG}pattern")}
    renderer: Any = RendererAgg(width, height, 72 * scale)
    painter = _Painter(renderer, Pen(renderer, height), Styles.of(sheet), patterns, height, scale)
    painter.paint_all(root, _State(np.diag([scale, scale, 1.0]), True))
    picture = io.BytesIO()
    # Few colors in large areas: more effort would save little.
    image = Image.fromarray(np.asarray(renderer.buffer_rgba())).convert("RGB")
    image.save(picture, "png", compress_level=3)
    return picture.getvalue()


@dataclass(frozen=True)
class _State:
    """Where an element's group stands, in pixels from the top, and whether its edges are soft."""

    matrix: Matrix
    soft: bool


@dataclass(frozen=True)
class _Painter:
    renderer: Any
    pen: Pen
    styles: Styles
    patterns: dict[str, ET.Element]
    height: int
    scale: float
    # The rasterizer knows a clip path by its address, so that none may be freed while it draws:
    # another at the same place would be taken for it.
    clips: list[Any] = field(default_factory=list)

    def paint_all(self, parent: ET.Element, state: _State) -> None:
        for element in parent:
            self.paint(element, state)

    def paint(self, element: ET.Element, state: _State) -> None:
        name = element.tag.removeprefix(_SVG)
        if name in _INVISIBLE:
            return
        inner = replace(
            state,
            matrix=state.matrix @ _matrix(element.get("transform", "")),
            soft=state.soft and element.get("shape-rendering") != "crispEdges",
        )
        if name == "g":
            self.paint_all(element, inner)
        elif name == "text":
            style = self.styles.of_element(element)
            self.pen.write(element, inner.matrix, style, self.scale)
        else:
            self._fill(element, name, inner)

    def _fill(self, element: ET.Element, name: str, state: _State) -> None:
        outline = outline_of(element, name, self._page())
        style = self.styles.of_element(element)
        fill = style.get("fill", "#000")
        if fill.startswith("url("):
            self._fill_with_pattern(outline, fill[5:-1], state)
            fill = "none"
        self._draw(outline, state, style, fill)

    def _page(self) -> tuple[float, float]:
        """Return the size of the drawing, of which a rectangle may take a percentage."""
        return self.renderer.width / self.scale, self.renderer.height / self.scale

    def _draw(self, outline: Outline, state: _State, style: dict[str, str], fill: str) -> None:
        stroke = style.get("stroke", "none")
        face = color_of(fill, float(style.get("fill-opacity", "1")))
        edge = color_of(stroke, float(style.get("stroke-opacity", "1")))
        shape = outline.path()
        transform = self._upwards(state.matrix)
        if face is not None and face[3] > 0:
            self.renderer.draw_path(self._context(state, face, 0.0), shape, transform, face)
        if edge is not None:
            context = self._context(state, edge, self._stroke_width(style, state))
            context.set_capstyle(style.get("stroke-linecap", "butt"))
            if dashes := style.get("stroke-dasharray"):
                context.set_dashes(0, [float(each) * self.scale for each in dashes.split()])
            self.renderer.draw_path(context, shape, transform, None)

    def _stroke_width(self, style: dict[str, str], state: _State) -> float:
        return float(style.get("stroke-width", "1")) * _growth(state.matrix)

    def _context(self, state: _State, color: Any, width: float) -> Any:
        context = self.renderer.new_gc()
        context.set_linewidth(width / self.renderer.points_to_pixels(1.0))
        context.set_foreground(color)
        context.set_alpha(color[3])
        context.set_antialiased(state.soft)
        context.set_snap(False)
        return context

    def _fill_with_pattern(self, outline: Outline, name: str, state: _State) -> None:
        """Fill an outline with a sign again and again, each in its place."""
        pattern = self.patterns[name]
        side = float(pattern.get("width", "1"))
        turn = _matrix(pattern.get("patternTransform", ""))
        soft = replace(state, matrix=state.matrix @ turn, soft=True)
        clip = outline.path()
        self.clips.append(clip)
        clipped = self._upwards(state.matrix)
        for element in pattern:
            own = _matrix(element.get("transform", ""))
            sign = outline_of(element, element.tag.removeprefix(_SVG), (0.0, 0.0)).moved(own)
            style = self.styles.of_element(element)
            style["stroke-width"] = str(float(style.get("stroke-width", "1")) * _growth(own))
            signs = repeated(sign, outline, side, turn)
            for role, face in (("fill", True), ("stroke", False)):
                color = color_of(style.get(role, "none" if role == "stroke" else "#000"), 1.0)
                if color is None:
                    continue
                width = 0.0 if face else self._stroke_width(style, soft)
                context = self._context(soft, color, width)
                context.set_clip_path(_clip(clip, clipped))
                self.renderer.draw_path(
                    context, signs.path(), self._upwards(soft.matrix), color if face else None
                )

    def _upwards(self, matrix: Matrix) -> Any:
        """Return the transform for the rasterizer, which counts pixels from the bottom."""
        from matplotlib.transforms import Affine2D

        flip = np.array([[1.0, 0.0, 0.0], [0.0, -1.0, self.height], [0.0, 0.0, 1.0]])
        return Affine2D(flip @ matrix)


def _clip(path: Any, transform: Any) -> Any:
    from matplotlib.transforms import TransformedPath

    return TransformedPath(path, transform)


def _growth(matrix: Matrix) -> float:
    """Return how much longer lines get."""
    return abs(float(np.linalg.det(matrix[:2, :2]))) ** 0.5


def _matrix(text: str) -> Matrix:
    """Return a transform attribute as a matrix."""
    found = np.eye(3)
    for kind, values in _TRANSFORM.findall(text):
        numbers = [float(each) for each in re.split(r"[ ,]+", values.strip())]
        step = np.eye(3)
        if kind == "translate":
            step[:2, 2] = numbers if len(numbers) == 2 else (numbers[0], 0.0)
        elif kind == "scale":
            step[0, 0], step[1, 1] = numbers[0], numbers[-1]
        else:
            turn = np.radians(numbers[0])
            step[:2, :2] = [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
        found = found @ step
    if _TRANSFORM.sub("", text).strip():
        raise InvalidArgument(f"a drawing has the transform {text!r}, which is not known here.")
    return found
