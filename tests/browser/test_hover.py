"""Drawings that answer: pointed at, touched, walked through with the keys."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import sightline as sl

DESKTOP, PHONE = (1280, 800), (390, 844)


def opened(
    window: Any, path: Path, drawing: Any, size: tuple[int, int] = DESKTOP, **look: Any
) -> Any:
    page = window(size, **look)
    page.goto(drawing.save(path / "drawn.html").as_uri())
    return page


def point(page: Any, row: int, column: int, picture: int = 0) -> str:
    """Point at a cell and return what is said."""
    place = page.evaluate(
        """([picture, row, column]) => {
            const svg = document.querySelectorAll(".panels svg")[picture];
            const data = JSON.parse(document.querySelector("script[type='application/json']")
                .textContent).panels[picture];
            const point = new DOMPoint(data.left + (column + .5) * data.side,
                                       data.top + (row + .5) * data.side);
            svg.scrollIntoView();
            const seen = point.matrixTransform(svg.getScreenCTM());
            return [seen.x, seen.y];
        }""",
        [picture, row, column],
    )
    page.mouse.move(*place)
    return page.locator(".said").inner_text()


@pytest.mark.parametrize("size", [DESKTOP, PHONE])
def test_every_cell_says_what_it_is(window: Any, tmp_path: Path, size: tuple[int, int]) -> None:
    mask = sl.causal() & sl.padding(lengths=[4, 2])
    page = opened(window, tmp_path, sl.draw(mask, tokens=list("wxyz"), to="html"), size)
    allowed = mask.dense(4)
    for batch in range(2):
        for row in range(4):
            for column in range(4):
                said = point(page, row, column, batch)
                verdict = "may attend" if allowed[batch, 0, row, column] else "may not attend"
                names = f"query {row} “{'wxyz'[row]}”, key {column} “{'wxyz'[column]}”"
                assert said == f"batch row {batch}: {names}: {verdict}"
    assert page.evaluate("document.documentElement.scrollWidth") <= size[0]


def test_the_keys_walk_and_stay_inside(window: Any, tmp_path: Path) -> None:
    page = opened(window, tmp_path, sl.draw(sl.causal(), 3, q_offset=4, kv_len=7, to="html"))
    page.keyboard.press("Tab")
    said = page.locator(".said")
    assert said.inner_text() == "query 4, key 0: may attend"
    for key in ["ArrowUp", "ArrowLeft", *["ArrowRight"] * 9, "ArrowDown"]:
        page.keyboard.press(key)
    assert said.inner_text() == "query 5, key 6: may not attend"


def test_cells_of_many_pairs_and_differences(window: Any, tmp_path: Path) -> None:
    page = opened(window, tmp_path, sl.draw(sl.causal(), 1024, fit=4, to="html"), dark=True)
    assert point(page, 0, 0) == "queries 0-255, keys 0-255: 50.2% allowed"
    assert point(page, 0, 3) == "queries 0-255, keys 768-1023: none allowed"
    changed = sl.draw(sl.causal(), 4, against=sl.everything(), to="html")
    page = opened(window, tmp_path, changed)
    assert point(page, 0, 3) == "query 0, key 3: removed"
    assert point(page, 3, 0) == "query 3, key 0: may attend, in both"


def test_several_drawings_on_one_page(window: Any, tmp_path: Path) -> None:
    parts = [str(sl.draw(mask, 2, to="html")) for mask in (sl.causal(), sl.everything())]
    path = tmp_path / "two.html"
    path.write_text(f"<!doctype html><meta charset=utf-8>{''.join(parts)}", encoding="utf-8")
    page = window()
    page.goto(path.as_uri())
    for number, said in ((0, "may not attend"), (1, "may attend")):
        svg = page.locator(".panels svg").nth(number)
        svg.focus()
        page.keyboard.press("ArrowRight")
        assert page.locator(".said").nth(number).inner_text() == f"query 0, key 1: {said}"


def test_a_chinese_drawing_answers_in_chinese(window: Any, tmp_path: Path) -> None:
    drawing = sl.draw(sl.causal(), 3, against=sl.window(left=0), language="zh", to="html")
    page = opened(window, tmp_path, drawing, PHONE)
    assert "方向键" in page.locator(".said").inner_text()
    assert point(page, 2, 0) == "查询 2, 键 0: 新增"
