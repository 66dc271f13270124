"""Drawings of kind html in a real browser: they play, step, answer to pointer and keys.

Everything is opened from a file, as who was sent one would; a request to anywhere fails the test.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import sightline as sl
from sightline.views.drawing import Drawing

if TYPE_CHECKING:
    from playwright.sync_api import Page

PHONE = (390, 844)
TOKENS = ["The", "cat", "坐在", "垫子", "👍🏽", "today"]
MASK = sl.causal() & (sl.sinks(1) | sl.window(left=1))
Window = Callable[..., "Page"]


@pytest.fixture
def opened(window: Window, tmp_path: Path) -> Callable[..., Page]:
    """Open drawings, one below the other, in a page of a file."""

    def open_drawings(*drawings: Drawing, **options: Any) -> Page:
        body = "".join(str(drawing) for drawing in drawings)
        style = "html{color-scheme:light dark}body{margin:0}"
        file = tmp_path / "drawing.html"
        file.write_text(
            '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>t</title>'
            '<meta name="viewport" content="width=device-width,initial-scale=1">'
            f"<style>{style}</style></head><body>{body}</body></html>",
            encoding="utf-8",
        )
        page = window(**options)
        page.goto(file.as_uri())
        return page

    return open_drawings


def weights() -> np.ndarray:
    """Return weights [layers, heads, Q, K] with one leak, one NaN, and one row that is short."""
    even = MASK.dense(6)[0, 0] / MASK.dense(6)[0, 0].sum(axis=1, keepdims=True)
    each = np.tile(even, (2, 1, 3, 1, 1))
    each[1, 0, 2, 1, 4] = 0.25
    each[0, 0, 1, 5, 0] = np.nan
    each[0, 0, 0, 3] *= 0.5
    return each


def point(page: Page, query: int, key: int) -> None:
    """Move the pointer over a pair of the map of weights, found by what the map says of itself."""
    box = page.locator(".slv-weights .base").bounding_box()
    assert box is not None
    cell = page.evaluate("() => document.querySelector('.slv-weights .base').dataset.cells")
    left, top, side = map(float, cell.split())
    page.mouse.move(box["x"] + left + (key + 0.5) * side, box["y"] + top + (query + 0.5) * side)


# -- frames ------------------------------------------------------------------------------------


def frame(page: Page) -> int:
    return int(page.locator(".slv-frames").get_attribute("data-frame") or -1)


def cache(page: Page) -> list[str]:
    states = page.locator(".cache li").evaluate_all("all => all.map(e => e.dataset.state)")
    return [str(state) for state in states]


def test_decoding_steps_by_buttons_keys_and_slider(opened: Callable[..., Page]) -> None:
    page = opened(sl.draw_decoding(MASK, tokens=TOKENS))
    assert frame(page) == 0
    assert page.locator(".go-back").is_disabled()
    assert cache(page) == ["1"]
    page.locator(".go-next").click()
    page.locator(".go-next").click()
    assert frame(page) == 2
    # The newest token sees the first, the one before it for the last time, and itself.
    assert cache(page) == ["1", "2", "1"]
    assert page.locator(".caption").inner_text() == (
        "Query 2 “坐在” sees 3 of 3 keys. 1 may be dropped, 2 must be kept."
    )
    page.keyboard.press("ArrowRight")
    assert cache(page) == ["1", "4", "2", "1"]
    page.keyboard.press("End")
    assert frame(page) == 5
    assert page.locator(".go-next").is_disabled()
    page.locator(".slider").focus()
    page.keyboard.press("Home")
    assert frame(page) == 0
    page.keyboard.press("ArrowRight")
    assert frame(page) == 1
    assert page.locator(".number").inner_text() == "2 of 6"


def test_decoding_plays_and_stops(opened: Callable[..., Page]) -> None:
    page = opened(sl.draw_decoding(MASK, 4))
    play = page.get_by_role("button", name="play")
    play.click()
    page.wait_for_function("document.querySelector('.slv-frames').dataset.frame === '2'")
    page.get_by_role("button", name="pause").click()
    page.wait_for_timeout(1200)
    assert frame(page) == 2
    play.click()
    page.wait_for_function("document.querySelector('.slv-frames').dataset.frame === '3'")
    # At the end it stops by itself, and plays from the first frame again.
    play.wait_for()
    play.click()
    assert frame(page) == 0


def test_steps_to_come_are_hidden_and_a_row_is_a_step(opened: Callable[..., Page]) -> None:
    page = opened(sl.draw_decoding(MASK, tokens=TOKENS))
    panel = page.evaluate(
        "JSON.parse(document.querySelector('.slv-frames script').textContent).panels[0]"
    )
    box = page.locator(".timeline svg").bounding_box()
    assert box is not None
    x, y = box["x"] + panel["left"], box["y"] + panel["top"]
    page.mouse.click(x + 0.5 * panel["side"], y + 3.5 * panel["side"])
    assert frame(page) == 3
    cover = page.locator(".cover")
    assert float(cover.get_attribute("y") or 0) == panel["top"] + 4 * panel["side"]
    assert float(cover.get_attribute("height") or 0) == 2 * panel["side"]
    page.mouse.move(x + 1.5 * panel["side"], y + 3.5 * panel["side"])
    said = page.locator(".read").inner_text()
    assert said == "step 4 (垫子), key 1 “cat”: never seen again: may be dropped"


def test_reach_shows_a_layer_at_a_time(opened: Callable[..., Page]) -> None:
    page = opened(sl.draw_reach(sl.window(left=1, right=0), 3, tokens=TOKENS))
    assert page.locator("figure.frame:visible").count() == 1
    assert "After 1 layer: 11 pairs, 5 of them new" in page.locator(".caption").inner_text()
    page.locator(".go-next").click()
    assert frame(page) == 2
    picture = page.locator("figure.frame:visible svg")
    panel = page.evaluate(
        "JSON.parse(document.querySelector('.slv-frames script').textContent).panels[2]"
    )
    box = picture.bounding_box()
    assert box is not None
    page.mouse.move(
        box["x"] + panel["left"] + 0.5 * panel["side"],
        box["y"] + panel["top"] + 2.5 * panel["side"],
    )
    said = page.locator(".read").inner_text()
    assert said == "key 0 “The” → query 2 “坐在”: new with this layer"


def test_frames_are_all_there_without_scripts(browser: Any, tmp_path: Path) -> None:
    file = sl.draw_reach(sl.window(left=1, right=0), 2, 6).save(tmp_path / "reach.html")
    page = browser.new_page(java_script_enabled=False)
    page.goto(file.as_uri())
    assert page.locator("figure.frame:visible").count() == 3
    assert page.locator(".player").is_hidden()
    page.close()


# -- weights -----------------------------------------------------------------------------------


def test_pointing_at_a_pair_says_what_it_is(opened: Callable[..., Page]) -> None:
    page = opened(sl.draw_weights(weights(), MASK, tokens=TOKENS))
    read = page.locator(".read")
    point(page, 5, 4)
    assert read.inner_text() == "query 5 “today” → key 4 “👍🏽”: weight 0.33333; allowed."
    assert page.locator(".bars li").count() == 3
    point(page, 1, 4)
    assert "weight 0; may not attend, not in play." in read.inner_text()
    assert read.get_attribute("data-allowed") == "no"
    point(page, 3, 0)
    assert "This row adds up to 0.5, not to 1." in read.inner_text()


def test_pickers_and_small_maps_choose(opened: Callable[..., Page]) -> None:
    page = opened(sl.draw_weights(weights(), MASK, tokens=TOKENS))
    whole = page.locator(".slv-weights")
    assert "1 row does not add up to 1." in page.locator(".facts").inner_text()
    page.locator(".pick-head").select_option("1")
    assert whole.get_attribute("data-map") == "1"
    assert page.locator(".facts").inner_text() == "1 weight is not a number."
    point(page, 5, 0)
    assert "weight not a number" in page.locator(".read").inner_text()
    small = page.get_by_role("button", name=re.compile("layer 1, head 2"))
    assert small.get_attribute("aria-label") == "layer 1, head 2, 1 wrong weight"
    small.click()
    assert page.locator(".pick-layer").input_value() == "1"
    assert page.locator(".pick-head").input_value() == "2"
    assert small.get_attribute("aria-pressed") == "true"
    assert page.locator(".facts").inner_text() == (
        "1 forbidden pair carries weight; 1 row does not add up to 1."
    )
    point(page, 1, 4)
    said = page.locator(".read").inner_text()
    assert "weight 0.25; may not attend, and yet it carries weight." in said
    assert page.locator(".bars .leak").count() == 1
    assert page.locator(".thumbs .mark:visible").count() == 2


def test_keys_move_from_pair_to_pair(opened: Callable[..., Page]) -> None:
    page = opened(sl.draw_weights(weights(), MASK))
    base, read = page.locator(".base"), page.locator(".read")
    base.focus()
    for key in ("ArrowDown", "ArrowDown", "ArrowRight", "ArrowUp"):
        page.keyboard.press(key)
    assert (read.get_attribute("data-query"), read.get_attribute("data-key")) == ("1", "1")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    assert read.get_attribute("data-key") == "0"  # the edge holds


def pixel(page: Page, query: int, key: int) -> list[int]:
    """Return the color at a quarter of a pair's cell: beside any sign in its middle."""
    found = page.evaluate(
        """([query, key]) => {
          const base = document.querySelector('.slv-weights .base');
          const [left, top, side] = base.dataset.cells.split(' ').map(Number);
          const ratio = base.width / base.clientWidth;
          const x = (left + (key + 0.12) * side) * ratio, y = (top + (query + 0.5) * side) * ratio;
          return [...base.getContext('2d').getImageData(x, y, 1, 1).data];
        }""",
        [query, key],
    )
    return list(found[:3])


@pytest.mark.parametrize("dark", [False, True])
def test_colors_are_those_of_the_house(opened: Callable[..., Page], dark: bool) -> None:
    page = opened(sl.draw_weights(weights(), MASK, layer=1, head=2), dark=dark)
    heavy, leak, broken_free = pixel(page, 0, 0), pixel(page, 1, 4), pixel(page, 5, 1)
    assert heavy == ([74, 168, 255] if dark else [0, 103, 177])  # blue: the heaviest weight
    red, green, blue = leak
    assert red > green > blue  # orange, as strong as its weight
    red, green, blue = broken_free
    assert max(red, green, blue) - min(red, green, blue) < 40  # gray: not in play


def test_several_drawings_share_a_page(opened: Callable[..., Page]) -> None:
    page = opened(
        sl.draw_weights(weights(), MASK),
        sl.draw_weights(weights()[:, :, :1], MASK),
        sl.draw_decoding(MASK, 5),
        sl.draw_reach(MASK, 2, 5),
    )
    assert page.locator("[data-ready=yes]").count() == 4
    assert page.locator(".slv-frames").nth(0).get_attribute("data-frame") == "0"


@pytest.mark.parametrize("dark", [False, True])
def test_a_phone_scrolls_down_only(opened: Callable[..., Page], dark: bool) -> None:
    wide = np.tile(np.eye(64) * 0 + np.tri(64) / np.arange(1, 65)[:, None], (12, 1, 12, 1, 1))
    page = opened(
        sl.draw_weights(wide, sl.causal()),
        sl.draw_weights(weights(), MASK, tokens=[token * 9 for token in TOKENS]),
        sl.draw_decoding(sl.causal(), 64, prompt=9),
        sl.draw_reach(MASK, 3, 64),
        size=PHONE,
        dark=dark,
    )
    width = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert width[0] <= width[1], width
    for name in (".slv-weights", ".slv-frames"):
        color = page.locator(name).first.evaluate("e => getComputedStyle(e).backgroundColor")
        assert color == ("rgb(15, 20, 26)" if dark else "rgb(255, 255, 255)")


def test_a_fixed_theme_stays_on_a_page_of_the_other(opened: Callable[..., Page]) -> None:
    page = opened(
        sl.draw_weights(weights(), MASK, theme="light"),
        sl.draw_decoding(MASK, 4, theme="dark"),
        dark=True,
    )
    colors = page.locator(".slv").evaluate_all(
        "all => all.map(each => getComputedStyle(each).backgroundColor)"
    )
    assert colors == ["rgb(255, 255, 255)", "rgb(15, 20, 26)"]
