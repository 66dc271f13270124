"""SVG drawings: valid, self-contained, and as blue as the mask allows."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from svg_cells import SVG, paint

import sightline as sl
from sightline.views.moving.sheet_svg import SHEET_CSS
from sightline.views.picture import MaskPicture, picture_of
from sightline.views.style import CURVES_CSS, EXTRAS_CSS
from sightline.views.svg.render import rectangles, render_svg, render_svg_row

EVIL = "<script>alert('&\"')</script>\x00\x1b[0m]]>\ufffe"


def painted(svg: str, name: str, shape: tuple[int, int]) -> np.ndarray:
    """Return how opaque each cell is painted by the shapes of a class; overlaps fail."""
    opacity = np.zeros(shape)
    for path in ET.fromstring(svg).iter(f"{SVG}path"):
        if path.get("class") == name:
            paint(opacity, path)
    return opacity


CELLS = hnp.arrays(bool, st.tuples(st.integers(0, 9), st.integers(0, 9)))


@given(CELLS)
def test_rectangles_cover_exactly_the_true_cells(cells: np.ndarray) -> None:
    covered = np.zeros(cells.shape, dtype=int)
    for row, column, rows, columns in rectangles(cells):
        covered[row : row + rows, column : column + columns] += 1
    np.testing.assert_array_equal(covered, cells.astype(int))


@given(CELLS)
def test_the_blue_area_is_the_mask(cells: np.ndarray) -> None:
    svg = render_svg(MaskPicture(cells))
    np.testing.assert_array_equal(painted(svg, "in", cells.shape), cells.astype(float))


def test_shades_grow_with_the_share_and_only_all_is_opaque() -> None:
    mask = sl.causal() & sl.dilated(3)
    picture = picture_of(mask | sl.chunks(300), 4096, fit=16)
    opacity = painted(render_svg(picture), "in", picture.allowed.shape)
    assert 0 < picture.share[1, 0] < 1
    assert ((opacity > 0) == picture.allowed).all()
    assert ((opacity == 1) == (picture.share == 1)).all()
    order = np.argsort(picture.share.ravel())
    assert (np.diff(opacity.ravel()[order]) >= 0).all()


def test_almost_all_is_not_all() -> None:
    share = np.array([[0.0, 1e-9, 0.5, 1 - 1e-9, 1.0]])
    svg = render_svg(MaskPicture(share > 0, share=share, cell=(99999, 99999)))
    opacity = painted(svg, "in", share.shape)[0]
    assert opacity[0] == 0 < opacity[1] < opacity[2] < opacity[3] < opacity[4] == 1


def test_weights_shade_what_is_allowed_and_leaks_are_orange() -> None:
    weights = np.array([[0.5, 0.0, 0.2], [np.nan, 1.0, 0.0]])
    allowed = np.array([[1, 1, 0], [0, 1, 0]], dtype=bool)
    svg = render_svg(MaskPicture(allowed, weights=weights))
    blue = painted(svg, "in", (2, 3))
    assert (blue > 0).tolist() == allowed.tolist(), "a weight of 0 still shows as allowed"
    assert blue[1, 1] == 1 > blue[0, 0] > blue[0, 1]
    assert painted(svg, "bad", (2, 3)).astype(bool).tolist() == [[0, 0, 1], [0, 0, 0]]
    assert painted(svg, "broken", (2, 3)).astype(bool).tolist() == [[0, 0, 0], [1, 0, 0]]
    assert "url(#sl-hatch-" in svg
    assert "weight where none may be" in svg
    assert "not a number" in svg


def test_empty_rows_are_framed() -> None:
    cell = 18
    root = ET.fromstring(render_svg(picture_of(sl.queries([0, 3]), 5), cell=cell))
    frames = [rect for rect in root.iter(f"{SVG}rect") if rect.get("class") == "empty"]
    assert [float(frame.get("height", 0)) / cell for frame in frames] == [2, 1]
    assert "a query sees nothing" in "".join(root.itertext())


def test_labels_are_escaped_and_harmless() -> None:
    picture = MaskPicture([[1, 0]], (EVIL,), (EVIL, "b"), title=EVIL)
    for svg in (render_svg(picture), render_svg_row([picture, picture], title=EVIL)):
        root = ET.fromstring(svg)
        assert not list(root.iter(f"{SVG}script"))
        assert "<script>alert('&\"')</script>\\x00\\x1b[0m]]>\\ufffe" in "".join(root.itertext())
        assert "<script" not in svg


def test_nothing_is_fetched_from_anywhere() -> None:
    svg = render_svg(picture_of(sl.causal(), 12))
    assert re.findall(r"https?://[^\"]*", svg) == ["http://www.w3.org/2000/svg"]
    assert "href" not in svg
    assert "@import" not in svg
    assert "prefers-color-scheme:dark" in svg


def test_equal_cells_share_a_shape_so_that_files_stay_small() -> None:
    svg = render_svg(picture_of(sl.causal(), 64))
    assert svg.count('<path class="in"') == 1
    assert len(svg) < 10_000
    assert len(render_svg(picture_of(sl.padding(lengths=[40]), 64))) < len(svg)


def test_small_pictures_explain_their_cells() -> None:
    picture = MaskPicture([[1, 0]], ("I",), ("I", "am"), weights=[[0.25, 0.0]])
    titles = [title.text for title in ET.fromstring(render_svg(picture)).iter(f"{SVG}title")]
    assert titles == ["I -> I: may attend, weight 0.25", "I -> am: may not attend, weight 0"]
    assert "<title>" not in render_svg(picture, tooltips=False)
    assert "<title>" not in render_svg(picture_of(sl.causal(), 30))


@pytest.mark.parametrize("size", [(1, 1), (1, 64), (64, 1), (3, 100), (128, 128)])
def test_everything_is_inside_the_drawing(size: tuple[int, int]) -> None:
    picture = picture_of(sl.everything(), *size, fit=128)
    root = ET.fromstring(render_svg(picture))
    width, height = float(root.get("width", 0)), float(root.get("height", 0))
    assert root.get("viewBox") == f"0 0 {width:g} {height:g}"
    assert max(width, height) < 800
    for text in root.iter(f"{SVG}text"):
        assert 0 <= float(text.get("x", 0)) <= width
        assert 0 <= float(text.get("y", 0)) <= height
    frame = next(rect for rect in root.iter(f"{SVG}rect") if rect.get("class") == "frame")
    assert float(frame.get("x", 0)) + float(frame.get("width", 0)) <= width
    assert float(frame.get("y", 0)) + float(frame.get("height", 0)) <= height


def test_pictures_side_by_side() -> None:
    mask = sl.padding(lengths=[3, 1])
    pictures = [picture_of(mask, 3, batch=row, title=f"batch row {row}") for row in range(2)]
    svg = render_svg_row(pictures, title="padding(lengths=[3, 1])")
    texts = [text.text for text in ET.fromstring(svg).iter(f"{SVG}text")]
    assert [text for text in texts if text and not text.isdigit()] == [
        "padding(lengths=[3, 1])",
        "batch row 0",
        "batch row 1",
    ]
    assert "M0 0h3v3h-3z" in svg
    assert "M0 0h1v3h-1z" in svg


def test_the_same_picture_gives_the_same_bytes() -> None:
    picture = picture_of(sl.random_blocks(2, 2, seed=3), 24)
    assert render_svg(picture) == render_svg(picture)


def test_what_is_used_beside_what_is_allowed() -> None:
    svg = render_svg(MaskPicture([[1, 0, 0], [1, 1, 0]], used=[[1, 0, 1], [0, 1, 0]]))
    assert '<path class="in" d="M0 1h1v1h-1z" fill-opacity="0.3"/>' in svg
    assert '<path class="in" d="M0 0h1v1h-1zM1 1h1v1h-1z"/>' in svg
    assert '<path class="bad" d="M2 0h1v1h-1z"/>' in svg
    assert "0 -&gt; 2: may not attend, depends on it" in svg
    assert "orange cells: forbidden, yet used" in svg
    assert "pale: allowed, not used" in svg
    right = render_svg(MaskPicture([[1, 0], [1, 1]], used=[[1, 0], [1, 1]]))
    assert 'class="bad"' not in right
    assert "orange" not in right
    assert "pale" not in right


@pytest.mark.parametrize(
    "drawing",
    [
        sl.draw(sl.causal(), 4, weights=np.full((4, 4), 0.25)),
        sl.draw(sl.causal(), 8, blocks=4, against=sl.window(left=2, right=1)),
        sl.draw(sl.documents(lengths=[3, 1]), 6),
        sl.draw_decoding(sl.window(left=2, right=0), 6, to="svg"),
        sl.draw_reach(sl.window(left=2, right=0), 2, 6, to="svg"),
    ],
    ids=["weights", "blocks", "empty", "decoding", "reach"],
)
def test_a_drawing_has_the_style_of_each_of_its_classes(drawing: object) -> None:
    """A class without a rule of its own would take on that of another drawing in the page."""
    svg = str(drawing)
    style, body = re.split("</style>", svg, maxsplit=1)
    used = {name for names in re.findall(r'class="([^"]*)"', body) for name in names.split()}
    known = set(re.findall(r"\.([a-z]+)", style))
    other = set(re.findall(r"\.sl \.([a-z]+)", EXTRAS_CSS + SHEET_CSS + CURVES_CSS))
    assert not (used & other) - known
