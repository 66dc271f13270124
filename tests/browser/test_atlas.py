"""The atlas in a real browser: moving about, editing, explanations, mistakes, and how it looks."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlencode

import numpy as np
import pytest

pytest.importorskip("bokeh")

from sightline.views.atlas.asked import Asked
from sightline.views.atlas.pages import atlas_page
from sightline.views.atlas.server import Server

DOCUMENTS = "causal() & documents(lengths=[300000, 700000])"
Open = Callable[..., Any]
PHONE = (390, 844)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    made = Server([atlas_page(Asked())], port=0)
    thread = threading.Thread(target=made.run)
    thread.start()
    assert made.wait_until_running()
    yield made
    made.stop()
    thread.join(10)


@pytest.fixture
def atlas(server: Server, window: Any) -> Open:
    """Opens the atlas and waits until a map is drawn."""

    def open_atlas(drawn: bool = True, screen: Any = None, dark: bool = False, **query: str) -> Any:
        page = window(dark=dark) if screen is None else window(screen, dark=dark)
        page.goto(server.address("/", urlencode(query)))
        if drawn:
            settled(page)
        return page

    return open_atlas


def settled(page: Any) -> None:
    """Wait until the map shows what is wanted, and nothing more comes."""
    page.wait_for_selector("#map[data-drawn][data-busy='0']")
    last = None
    while last != (last := page.locator("#map").get_attribute("data-drawn")):
        page.wait_for_timeout(150)


def shown(page: Any) -> dict[str, str]:
    return dict(page.locator("#map").evaluate("map => ({...map.dataset})"))


def box(page: Any) -> list[int]:
    """Return the first and last query, and key, in view."""
    return [int(end) for end in shown(page)["view"].replace(",", "-").split("-")]


def write(page: Any, field: str, text: str, *, enter: bool = True) -> None:
    before = page.locator("#map").get_attribute("data-drawn")
    page.locator(f"#asked [name={field}]").fill(text)
    if enter:
        page.locator(f"#asked [name={field}]").press("Enter")
        page.wait_for_function(
            "before => document.querySelector('#map').dataset.drawn !== before "
            "|| !document.querySelector('#problem').hidden",
            arg=before,
        )
        settled(page)


def test_the_whole_of_a_million_tokens(atlas: Open) -> None:
    page = atlas(expr=DOCUMENTS, size="1m")
    assert box(page) == [0, (1 << 20) - 1, 0, (1 << 20) - 1]
    assert int(shown(page)["cell"].split("x")[0]) >= 2048
    assert shown(page)["unsure"] == "0"
    page.wait_for_selector("#facts[data-busy='0'] dt")
    facts = page.locator("#facts").inner_text()
    # 300000 * 300001 / 2 + 700000 * 700001 / 2
    assert "290,000,500,000" in facts
    assert "48,576" in facts, "queries behind the documents see nothing"
    assert page.locator("#problem").is_hidden()


def test_zoom_to_single_cells(atlas: Open) -> None:
    page = atlas(expr=DOCUMENTS, size="1m")
    before, view = box(page), shown(page)["view"]
    middle = page.locator("#map").bounding_box()
    page.mouse.move(middle["x"] + middle["width"] * 0.5, middle["y"] + middle["height"] * 0.5)
    for _ in range(3):
        page.mouse.wheel(0, -100)
    page.wait_for_function(
        "view => document.querySelector('#map').dataset.view !== view",
        arg=view,
    )
    settled(page)
    after = box(page)
    assert after[0] > before[0]
    assert after[1] < before[1]
    for _ in range(20):
        page.locator("[data-go=in]").click()
        page.wait_for_timeout(30)
        if shown(page)["cell"] == "1x1" and box(page)[1] - box(page)[0] < 40:
            break
    settled(page)
    assert shown(page)["cell"] == "1x1"
    page.locator("[data-go=diagonal]").click()
    settled(page)
    q_first, q_last, k_first, k_last = box(page)
    assert abs((q_first + q_last) - (k_first + k_last)) <= 2
    page.locator("#map").press("ArrowDown")
    settled(page)
    assert box(page)[0] > q_first
    page.locator("[data-go=whole]").click()
    settled(page)
    assert box(page) == before


def test_a_drag_moves_the_map(atlas: Open) -> None:
    page = atlas(expr="causal()", size="64k", view="1000-2000,1000-2000")
    before = box(page)
    middle = page.locator("#map").bounding_box()
    x, y = middle["x"] + middle["width"] * 0.6, middle["y"] + middle["height"] * 0.5
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x - 120, y - 60, steps=5)
    page.mouse.up()
    settled(page)
    after = box(page)
    assert after[2] > before[2], "what lies to the right came in"
    assert after[0] > before[0]
    assert abs((after[3] - after[2]) - (before[3] - before[2])) <= 2


def test_editing_redraws_and_the_address_follows(atlas: Open) -> None:
    page = atlas(expr="causal()", size="16")
    drawn = shown(page)["drawn"]
    write(page, "expr", "window(left=2)")
    assert shown(page)["drawn"] != drawn
    assert "expr=window%28left%3D2%29" in page.url
    page.wait_for_selector("#facts[data-busy='0'] dt")
    assert "2 keys before it" in page.locator("#facts").inner_text()
    write(page, "size", "4k")
    assert box(page) == [0, 4095, 0, 4095]
    write(page, "offset", "100")
    assert box(page) == [100, 4195, 0, 4095]
    assert "offset=100" in page.url
    page.reload()
    settled(page)
    assert box(page) == [100, 4195, 0, 4095]


def test_a_link_opens_the_same_view(atlas: Open, server: Server, window: Any) -> None:
    page = atlas(expr=DOCUMENTS, size="1m")
    for _ in range(6):
        page.locator("[data-go=in]").click()
        settled(page)
    seen, url = shown(page), page.url
    assert "view=" in url
    other = window()
    other.goto(url)
    settled(other)
    # A pixel more or less at the border is another cell, not another place.
    side = int(seen["cell"].split("x")[0])
    assert shown(other)["cell"] == seen["cell"]
    assert np.allclose(box(other), box(page), atol=2 * side)


def test_a_click_is_explained(atlas: Open) -> None:
    page = atlas(expr="causal() & documents(lengths=[5, 3])", size="8")
    click(page, query=6, key=2)
    page.wait_for_selector("#why[data-pair='6,2']")
    why = page.locator("#why")
    assert "query 6 may not attend to key 2" in why.inner_text()
    assert page.locator("#why mark").all_inner_texts() == ["documents(lengths=[5, 3])"]
    decides = page.locator("#why .tree li:has(> p > .decides) > p > code").all_inner_texts()
    assert "documents(lengths=[5, 3])" in decides
    assert "causal()" not in decides
    click(page, query=6, key=5)
    page.wait_for_selector("#why[data-pair='6,5']")
    assert "query 6 may attend to key 5" in why.inner_text()


def test_a_pair_is_explained_by_keyboard_and_a_cell_by_its_center(atlas: Open) -> None:
    page = atlas(expr=DOCUMENTS, size="1m")
    page.locator("#pair [name=query]").fill("300001")
    page.locator("#pair [name=key]").fill("299999")
    page.locator("#pair [name=key]").press("Enter")
    page.wait_for_selector("#why[data-pair='300001,299999']")
    assert "may not attend" in page.locator("#why").inner_text()
    page.locator("#pair [name=query]").fill("5000000")
    page.locator("#pair [name=key]").press("Enter")
    page.wait_for_selector("#why .problem")
    assert "outside the map" in page.locator("#why").inner_text()
    click(page, query=200_000, key=100_000)
    page.wait_for_selector("#why[data-pair] .note")
    assert "the one at its center" in page.locator("#why .note").inner_text()
    side = int(shown(page)["cell"].split("x")[0])
    query, key = map(int, page.locator("#why").get_attribute("data-pair").split(","))
    assert (query % side, key % side) == (side // 2, side // 2)
    assert abs(query - 200_000) <= 2 * side
    assert abs(key - 100_000) <= 2 * side


def test_a_mistake_is_shown_and_the_map_stays(atlas: Open) -> None:
    page = atlas(expr="causal()", size="16")
    before = shown(page)
    write(page, "expr", "causal() & widow(left=3)")
    problem = page.locator("#problem pre").inner_text()
    assert "did you mean 'window'?" in problem
    expression, caret = problem.rstrip("\n").split("\n")[-2:]
    assert expression[caret.index("^") :].startswith("widow")
    assert "still shows" in page.locator("#problem p").inner_text()
    assert page.locator("[name=expr]").get_attribute("aria-invalid") == "true"
    assert (shown(page)["view"], shown(page)["drawn"]) == (before["view"], before["drawn"])
    write(page, "expr", "causal() & window(left=3)")
    assert page.locator("#problem").is_hidden()


def test_markup_in_an_expression_stays_text(atlas: Open) -> None:
    page = atlas(drawn=False, expr="<img src=x onerror=\"document.title='taken'\">", size="16")
    page.wait_for_selector("#problem pre")
    assert "<img src=x" in page.locator("#problem pre").inner_text()
    assert page.locator("#problem img").count() == 0
    assert page.title() == "Sightline atlas"


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ({"exp": "causal()"}, "'exp', which is none of expr"),
        ({"size": "65m"}, "at most 64m"),
        ({"expr": "padding(lengths=[3, 2])", "size": "4", "batch": "2"}, "0 to 1; got 2"),
        ({"expr": "dense([[1]], means='attend')", "size": "4"}, "1"),
    ],
)
def test_an_address_that_is_wrong_is_told(atlas: Open, query: dict[str, str], words: str) -> None:
    page = atlas(drawn=False, **query)
    page.wait_for_selector("#problem:not([hidden])")
    assert words in page.locator("#problem pre").inner_text()


def test_what_an_address_asks_for_can_be_corrected(atlas: Open) -> None:
    page = atlas(drawn=False, expr="causal( & window", size="64")
    page.wait_for_selector("#problem:not([hidden])")
    said = page.locator("#problem pre").inner_text().split("\n")
    assert len(said) == 3
    assert said[2].strip() == "^"
    assert page.locator("[name=size]").input_value() == "64"
    assert page.locator("[name=expr]").input_value() == "causal( & window"
    write(page, "expr", "causal()")
    assert page.locator("#problem").is_hidden()


def test_two_masks_are_compared(atlas: Open) -> None:
    page = atlas(expr="causal() & window(left=3)", size="16", compare="causal() & window(left=4)")
    page.wait_for_selector("#facts[data-busy='0'] dt")
    facts = page.locator("#facts").inner_text()
    assert "they differ, first at query 4, key 0" in facts
    legend = page.locator("#legend").inner_text()
    for words in ("only the first allows", "only the second allows", "neither allows"):
        assert words in legend
    # As in a drawing of the first against the second, the second has what is taken away.
    signs = page.locator("#legend li path").evaluate_all("all => all.map(one => one.outerHTML)")
    assert [sign.count("M") for sign in signs[:3]] == [2, 1, 4]
    click(page, query=4, key=0)
    page.wait_for_selector("#why[data-pair='4,0']")
    verdicts = page.locator("#why .verdict").all_inner_texts()
    assert verdicts == ["query 4 may not attend to key 0", "query 4 may attend to key 0"]
    write(page, "compare", "window(left=3, right=0)")
    page.wait_for_selector("#facts[data-busy='0'] dt")
    assert "the same at every size" in page.locator("#facts").inner_text()


def test_batch_rows_and_heads_are_picked_where_they_differ(atlas: Open) -> None:
    page = atlas(expr="causal()", size="8")
    assert page.locator("[name=batch]").is_hidden()
    write(page, "expr", "causal() & padding(lengths=[8, 3])")
    assert page.locator("[name=batch]").is_visible()
    assert page.locator("[name=head]").is_hidden()
    write(page, "batch", "1")
    click(page, query=6, key=5)
    page.wait_for_selector("#why[data-pair='6,5']")
    assert "may not attend" in page.locator("#why").inner_text()


@pytest.mark.parametrize("dark", [False, True])
def test_colors_of_what_is_drawn(atlas: Open, dark: bool) -> None:
    page = atlas(expr="causal()", size="1m", dark=dark)
    page.wait_for_timeout(300)
    inside, out = (pixel(page, *at) for at in ((0.8, 0.4), (0.3, 0.8)))
    assert tuple(inside) == ((0x4A, 0xA8, 0xFF) if dark else (0x00, 0x67, 0xB1))
    assert tuple(out) == ((0x1C, 0x23, 0x2C) if dark else (0xEC, 0xEF, 0xF3))
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert paper == ("rgb(15, 20, 26)" if dark else "rgb(255, 255, 255)")
    page.emulate_media(color_scheme="light" if dark else "dark")
    page.wait_for_timeout(600)
    assert tuple(pixel(page, 0.8, 0.4)) != tuple(inside), "the theme changes while one looks"


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_a_phone_needs_no_sideways_scrolling(atlas: Open, lang: str) -> None:
    long = "causal() & documents(lengths=[" + ",".join(["123456"] * 40) + "])"
    page = atlas(screen=PHONE, expr=long, lang=lang)
    page.wait_for_selector("#facts[data-busy='0'] dt")
    page.locator("#pair [name=query]").fill("7")
    page.locator("#pair [name=key]").fill("3")
    page.locator("#pair button").click()
    page.wait_for_selector("#why[data-pair='7,3']")
    write(page, "size", "none")
    wide = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert wide[0] <= wide[1] == PHONE[0]
    map_box = page.locator("#map").bounding_box()
    assert map_box["width"] >= PHONE[0] - 40
    for button in page.locator("button:visible").all():
        assert button.bounding_box()["height"] >= 38, "a finger needs room"


def test_chinese(atlas: Open) -> None:
    page = atlas(expr="causal()", size="16", lang="zh")
    assert page.locator("html").get_attribute("lang") == "zh-Hans"
    assert page.locator("button.main").inner_text() == "绘制"
    assert "允许" in page.locator("#legend").inner_text()
    page.locator("#language").click()
    settled(page)
    assert page.locator("button.main").inner_text() == "Draw"
    assert "size=16" in page.url


# -- helpers that look at the drawing


def frame(page: Any) -> dict[str, float]:
    """Return where the plot's frame stands in the window, in pixels."""
    return page.evaluate(
        """() => {
            const plot = Bokeh.documents[0].get_model_by_name("map");
            const view = Bokeh.index.find_one(plot);
            const at = view.el.getBoundingClientRect(), inner = view.frame.bbox;
            return {x: at.x + inner.left, y: at.y + inner.top,
                    width: inner.width, height: inner.height,
                    left: plot.x_range.start, right: plot.x_range.end,
                    bottom: plot.y_range.start, top: plot.y_range.end};
        }"""
    )


def click(page: Any, *, query: int, key: int) -> None:
    page.locator("#map").scroll_into_view_if_needed()
    at = frame(page)
    x = at["x"] + (key - at["left"]) / (at["right"] - at["left"]) * at["width"]
    y = at["y"] + (query - at["top"]) / (at["bottom"] - at["top"]) * at["height"]
    page.mouse.click(x, y)


def pixel(page: Any, down: float, across: float) -> Any:
    """Return the color (red, green, blue) at a place of the frame, in shares of its sides."""
    image = pytest.importorskip("PIL.Image")
    at = frame(page)
    seen = np.asarray(image.open(io.BytesIO(page.screenshot())).convert("RGB"))
    row, column = at["y"] + down * at["height"], at["x"] + across * at["width"]
    return seen[int(row), int(column)].tolist()
