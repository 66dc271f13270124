"""The golden drawings: the same as ever, and right; their other kinds say the same."""

from __future__ import annotations

import io
import json
import re
import xml.etree.ElementTree as ET
from html import unescape

import numpy as np
import pytest
from golden_drawings import GOLDEN, Case, cases, main
from svg_cells import SVG, paint

import sightline as sl
from sightline.views.facets import facets_of

PLACE = re.compile(r"translate\(([\d.]+) ([\d.]+)\)(?: scale\(([\d.]+)\))?")
CASES = cases()
EACH = pytest.mark.parametrize("name", CASES)


def lengths(case: Case) -> tuple[int, int]:
    words = case.wishes
    keys = words.get("key_tokens") or words.get("tokens")
    queries = words.get("query_tokens") or words.get("tokens")
    q_len = case.q_len if case.q_len is not None else len(queries)
    return q_len, case.kv_len or (len(keys) if keys else q_len)


def wanted(case: Case, mask: sl.Mask) -> list[np.ndarray]:
    """Return what is allowed in each picture, asked of the mask itself."""
    sizes = (
        max(case.mask.batch, case.against.batch if case.against is not None else 1),
        case.mask.heads,
    )
    allowed = mask.dense(*lengths(case), q_offset=case.wishes.get("q_offset", 0))
    chosen = facets_of(sizes, case.wishes.get("batch"), case.wishes.get("head"))
    full = np.broadcast_to(allowed, (*sizes, *allowed.shape[2:]))
    return [full[panel] for panel in chosen.panels]


def painted(picture: ET.Element, shape: tuple[int, int]) -> dict[str, np.ndarray]:
    """Return how opaque the cells of a picture are, for each class of shapes."""
    found: dict[str, np.ndarray] = {}
    for path in picture.iter(f"{SVG}path"):
        if path.get("class") in {None, "paper leak"}:
            continue
        paint(found.setdefault(path.get("class", ""), np.zeros(shape)), path)
    return found


def pictures(svg: str) -> list[ET.Element]:
    """Return the groups of cells of a drawing, one for each picture."""
    groups = ET.fromstring(svg).iter(f"{SVG}g")
    return [group for group in groups if group.get("shape-rendering") == "crispEdges"]


def in_cells(allowed: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Return the share of each of ``shape`` cells."""
    down, across = (-(-n // cells) for n, cells in zip(allowed.shape, shape, strict=True))
    assert allowed.shape == (down * shape[0], across * shape[1])
    return allowed.reshape(shape[0], down, shape[1], across).mean(axis=(1, 3))


def cells_of_picture(group: ET.Element) -> tuple[int, int]:
    ground = next(each for each in group.iter(f"{SVG}rect") if each.get("class") == "out")
    return int(ground.get("height", "")), int(ground.get("width", ""))


def test_golden_drawings_are_what_is_drawn(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--check"]) == 0, capsys.readouterr().out


def test_a_changed_or_left_over_file_is_noticed(
    tmp_path: object, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("golden_drawings.GOLDEN", tmp_path)
    few = {name: CASES[name] for name in ("mask_causal", "dark")}
    monkeypatch.setattr("golden_drawings.cases", lambda: few)
    assert main(["--check"]) == 1, "nothing is there"
    assert main([]) == 0
    assert main(["--check"]) == 0
    (tmp_path / "dark.svg").write_text("other")
    (tmp_path / "old.svg").write_text("a drawing that nobody makes")
    assert main(["--check"]) == 1
    assert "dark.svg is stale\nold.svg is stale" in capsys.readouterr().out
    assert main([]) == 0
    assert main(["--check"]) == 0
    assert main(["--chekc"]) == 2


@EACH
def test_a_golden_drawing_shows_the_mask(name: str) -> None:
    case = CASES[name]
    groups = pictures((GOLDEN / f"{name}.svg").read_text(encoding="utf-8"))
    new = wanted(case, case.mask)
    old = wanted(case, case.against) if case.against is not None else None
    assert len(groups) == len(new)
    for number, (group, allowed) in enumerate(zip(groups, new, strict=True)):
        shape = cells_of_picture(group)
        if not allowed.size:
            continue
        shapes = painted(group, shape)
        share = in_cells(allowed, shape)
        blue = shapes.get("in", np.zeros(shape))
        if old is None:
            if "weights" not in case.wishes:
                assert ((blue > 0) == (share > 0)).all()
                assert ((blue == 1) == (share == 1)).all()
            continue
        added = in_cells(allowed & ~old[number], shape)
        removed = in_cells(old[number] & ~allowed, shape)
        kinds = {
            "added": (added > 0) & (removed == 0),
            "removed": (removed > 0) & (added == 0),
            "mixed": (added > 0) & (removed > 0),
            "in": (share > 0) & (added == 0) & (removed == 0),
        }
        for kind, cells in kinds.items():
            drawn = shapes.get(kind, np.zeros(shape))
            assert ((drawn > 0) == cells).all(), kind


@EACH
def test_the_page_that_answers_says_the_same(name: str) -> None:
    case = CASES[name]
    html = case.draw("html")
    found = re.search(r'<script type="application/json">(.*?)</script>', html)
    assert found is not None
    told = json.loads(found[1])["panels"]
    assert len(told) == len(wanted(case, case.mask))
    for data, allowed in zip(told, wanted(case, case.mask), strict=True):
        runs = data["runs"]
        cells = np.repeat(runs[::2], runs[1::2]).reshape(data["rows"], data["columns"])
        if not allowed.size:
            continue
        share = in_cells(allowed, cells.shape)
        words = np.array(data["words"], dtype=object)[cells]
        if case.against is None:
            yes = np.vectorize(lambda text: text.startswith(("may attend", "all allowed")))(words)
            no = np.vectorize(lambda text: text.startswith(("may not", "none allowed")))(words)
            assert (yes == (share == 1)).all()
            assert (no == (share == 0)).all()
    assert "<script" not in unescape(found[1])


@pytest.mark.parametrize("name", [n for n in CASES if "large" not in n and n != "no_pairs"])
def test_the_text_says_the_same(name: str) -> None:
    case = CASES[name]
    if case.q_len is not None and case.q_len > 64:
        return
    _, keys = lengths(case)
    signs = [
        re.sub(r"[^■·+−░▒▓█!]", "", line)
        for line in case.draw("txt").splitlines()
        if len(re.findall(r"[■·+−░▒▓█!]", line)) >= keys
        and not re.search("may (not )?attend|in both|weight|share", line)
    ]
    drawn = np.array([[sign in "■+░▒▓█" for sign in line[-keys:]] for line in signs])
    expected = np.concatenate(wanted(case, case.mask))
    np.testing.assert_array_equal(drawn, expected)


@pytest.mark.parametrize("name", ["mask_tree", "dark", "facets_batch", "difference"])
def test_the_png_says_the_same(name: str) -> None:
    pytest.importorskip("matplotlib")
    image = pytest.importorskip("PIL.Image")
    case = CASES[name]
    pixels = np.asarray(image.open(io.BytesIO(case.drawing("png").content)).convert("RGB"))
    root = ET.fromstring(case.draw())
    groups = [each for each in root.iter(f"{SVG}g") if each.get("shape-rendering")]
    parents = {child: parent for parent in root.iter() for child in parent}
    for group, allowed in zip(groups, wanted(case, case.mask), strict=True):
        place = PLACE.match(group.get("transform", ""))
        panel = PLACE.match(parents[group].get("transform", ""))
        assert place is not None
        assert panel is not None
        left, top, side = map(float, place.groups())
        for row, column in np.ndindex(allowed.shape):
            # A corner of the cell, where neither signs nor borders are.
            x = 2 * (float(panel[1]) + left + (column + 0.2) * side)
            y = 2 * (float(panel[2]) + top + (row + 0.8) * side)
            red, green, blue = map(int, pixels[int(y), int(x)])
            strong = max(red, green, blue) - min(red, green, blue) > 60
            drawn = strong and not (red > green and blue > green)  # what is removed is purple
            assert drawn == allowed[row, column], (row, column, (red, green, blue))


def test_the_png_tells_what_differs_by_signs() -> None:
    """In the middle of each cell that differs stands a white sign, of whichever kind it is."""
    pytest.importorskip("matplotlib")
    image = pytest.importorskip("PIL.Image")
    case = CASES["difference"]
    drawing = case.drawing("png", theme="light")
    pixels = np.asarray(image.open(io.BytesIO(drawing.content)).convert("RGB"))
    group = next(
        each for each in ET.fromstring(case.draw()).iter(f"{SVG}g") if each.get("shape-rendering")
    )
    place = PLACE.match(group.get("transform", ""))
    assert place is not None
    left, top, side = map(float, place.groups())
    assert case.against is not None
    for kind, one in (("added", case.mask - case.against), ("removed", case.against - case.mask)):
        for row, column in np.argwhere(one.dense(10)[0, 0]):
            x, y = (2 * (begin + (at + 0.5) * side) for begin, at in ((left, column), (top, row)))
            assert pixels[int(y), int(x)].min() > 200, (kind, row, column)
