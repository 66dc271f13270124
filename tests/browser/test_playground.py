"""The playground in a real browser: typing, every system, steps, mistakes, languages, sizes."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlencode

import pytest

pytest.importorskip("bokeh")

from sightline.views.atlas.server import ServedPage, Server
from sightline.views.playground.mistakes import MISTAKES
from sightline.views.playground.page import PLAYGROUND
from sightline.views.playground.steps import STEPS
from sightline.views.playground.systems import SYSTEMS

Open = Callable[..., Any]
DESKTOP, PHONE = (1280, 800), (390, 844)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    other = ServedPage("/", "Atlas", lambda document: None, title_zh="图集")
    made = Server([other, PLAYGROUND], port=0)
    thread = threading.Thread(target=made.run, daemon=True)
    thread.start()
    assert made.wait_until_running(60)
    yield made
    made.stop()
    thread.join(10)


@pytest.fixture
def playground(server: Server, window: Any) -> Open:
    """Opens the playground and waits until something is shown."""

    def open_playground(size: tuple[int, int] = DESKTOP, dark: bool = False, **query: str) -> Any:
        page = window(size, dark=dark)
        page.goto(server.address("/playground", urlencode(query)))
        return settled(page)

    return open_playground


def settled(page: Any) -> Any:
    """Wait until the newest request is answered."""
    page.wait_for_selector("#page[data-busy='0']")
    return page


def choose(page: Any, name: str, value: str) -> None:
    """Click one of a group of buttons."""
    page.locator(f"label:has(> input[name={name}][value='{value}'])").click()
    settled(page)


def pick(page: Any, name: str, value: str) -> None:
    page.locator(f"#{name}").select_option(value)
    settled(page)


def write(page: Any, name: str, text: str) -> None:
    page.locator(f"#{name}").fill(text)
    settled(page)


def figure(page: Any, name: str, column: int = 2) -> str:
    return str(page.locator(f"[data-figure={name}] > td:nth-child({column})").inner_text())


def color(page: Any, selector: str, name: str) -> list[int]:
    told = page.locator(selector).first.evaluate(
        "(element, name) => getComputedStyle(element)[name]", name
    )
    return [int(part) for part in re.findall(r"\d+", told)[:3]]


def sideways(page: Any) -> int:
    """Return by how many pixels the page is wider than the window."""
    return int(page.evaluate("document.documentElement.scrollWidth - innerWidth"))


def test_typing_draws_anew(playground: Open) -> None:
    page = playground()
    write(page, "first", "你好 world 👍🏽")
    drawn = page.locator("#picture").inner_html()
    for token in ("你", "好", "world", "👍🏽", "&lt;eos&gt;"):
        assert token in drawn
    assert page.locator("#mask").inner_text() == "causal() & padding(lengths=[5])"
    write(page, "first", "you\nare not alone")
    assert page.locator("#mask").inner_text() == "causal() & padding(lengths=[2, 4])"
    assert page.locator("#row option").all_inner_texts() == [
        "1: you <eos>",
        "2: are not alone <eos>",
    ]
    pick(page, "row", "1")
    assert "alone" in page.locator("#picture").inner_html()


def test_every_system_can_be_chosen(playground: Open) -> None:
    page = playground()
    seen = set()
    for system in SYSTEMS:
        choose(page, "system", system)
        assert page.locator("#error").is_hidden()
        names = page.locator("#attention label").all_inner_texts()
        for attention in range(len(names)):
            choose(page, "attention", str(attention))
            seen.add((system, page.locator("#picture").inner_html()))
        assert page.locator("#second").is_visible() == (system in ("seq2seq", "bert", "unilm"))
    assert len(seen) == 1 + 2 + 3 + 1 + 2 + 4 + 2
    assert page.locator("#looked svg .asks").count() == 1


def test_step_by_step(playground: Open) -> None:
    page = playground()
    pictures = set()
    for step in STEPS:
        choose(page, "step", step)
        pictures.add(page.locator("#picture").inner_html())
        assert page.locator("#told").inner_text()
    assert len(pictures) == len(STEPS)


def test_token_by_token(playground: Open) -> None:
    page = playground(first="I have a dream")
    assert page.locator("#query-token").inner_text() == "I have a dream <eos>"
    written = (("I have a dream", 4), ("I have a", 3), ("I have", 2), ("I", 1))
    for text, keys in written:
        page.locator("#before").click()
        settled(page)
        assert page.locator("#query-token").inner_text() == text
        assert page.locator("#looked tbody tr").count() == keys
    page.locator("#before").click()
    assert page.locator("#query-token").inner_text() == "I"
    weights = page.locator("#looked tbody td:last-child").all_inner_texts()
    assert weights == ["1.00"]
    # The keyboard moves the same slider.
    page.locator("#query").focus()
    page.keyboard.press("ArrowRight")
    settled(page)
    assert page.locator("#query-token").inner_text() == "I have"


def test_a_mistake_shows_its_leaks_and_says_numbers(playground: Open) -> None:
    page = playground()
    assert page.locator("#wrong svg").count() == 0
    pick(page, "mistake", "no causal mask")
    wrong, right = page.locator("#wrong figure").all()
    assert wrong.locator("path.bad").count() > 0
    assert right.locator("path.bad").count() == 0
    red, green, blue = color(page, "#wrong path.bad", "fill")
    assert red > green > blue
    assert "orange cells" in wrong.inner_text()
    assert float(re.search(r"[\d.]+", figure(page, "change"))[0]) > 0.1  # type: ignore[index]
    assert float(figure(page, "leaked").rstrip("%")) > 10
    assert figure(page, "moved") != "0"
    assert figure(page, "moved", 3) == "0"


def test_a_mistake_that_ends_in_nan(playground: Open) -> None:
    page = playground(side="left", mistake="minus infinity")
    assert page.locator("#side").input_value() == "left"
    assert page.locator("#wrong path.broken").count() == 1
    assert figure(page, "broken") == "2 of 7: <pad>, <pad>"
    assert figure(page, "spread") == "5"
    pick(page, "side", "right")
    assert "changes nothing" in page.locator("#wrong p.note").inner_text()


def test_all_mistakes_can_be_made(playground: Open) -> None:
    page = playground()
    offered = set()
    for system in ("decoder", "seq2seq", "xlnet", "unilm", "swin"):
        choose(page, "system", system)
        for attention in range(page.locator("#attention label").count()):
            choose(page, "attention", str(attention))
            values = page.locator("#mistake option").evaluate_all("all => all.map(o => o.value)")
            offered |= set(values)
    assert offered - {""} == MISTAKES.keys()


def test_chinese(playground: Open) -> None:
    page = playground()
    choose(page, "step", "mask")
    page.locator("#other-language").click()
    settled(page)
    assert page.locator("html").get_attribute("lang") == "zh"
    assert page.locator("h1").inner_text() == "练习场"
    assert page.locator("input[name=step]:checked").input_value() == "mask"
    assert "我爱读书" in page.locator("#first").input_value()
    pick(page, "mistake", "no causal mask")
    assert "橙色格" in page.locator("#wrong figure").first.inner_text()
    page.locator("#other-language").click()
    settled(page)
    assert page.locator("h1").inner_text() == "Playground"
    assert page.locator("#mistake").input_value() == "no causal mask"


def test_too_long_a_text_is_refused_and_what_was_drawn_stays(playground: Open) -> None:
    page = playground(first="I dream")
    before = page.locator("#picture").inner_html()
    write(page, "first", "a " * 25)
    assert page.locator("#error").inner_text() == (
        "Line 1 has 25 tokens; 24 are taken. Make it shorter."
    )
    assert page.locator("#picture").inner_html() == before
    assert page.locator("#shown.stale").count() == 1
    write(page, "first", "I dream")
    assert page.locator("#error").is_hidden()
    assert page.locator("#shown.stale").count() == 0


def test_markup_stays_text(playground: Open) -> None:
    page = playground(first="<img src=x onerror=alert(1)> </script> $$x$$")
    assert page.locator("#page img").count() == 0
    assert "<" in page.locator("#picture text").all_text_contents()


def test_a_link_shows_the_same_again(playground: Open, server: Server) -> None:
    page = playground(system="xlnet")
    write(page, "first", "北京 is big")
    choose(page, "attention", "1")
    choose(page, "step", "scores")
    pick(page, "shuffle", "4")
    address, drawn = page.url, page.locator("#picture").inner_html()
    page.goto("about:blank")
    page.goto(address)
    settled(page)
    assert page.locator("#picture").inner_html() == drawn
    assert page.locator("#first").input_value() == "北京 is big"
    page.goto(server.address("/playground", "system=%3Cb%3E&row=-1&step=x&what=1&window=99"))
    settled(page)
    assert page.locator("#error").is_hidden()


def test_what_was_typed_is_still_there_after_a_look_at_another_system(playground: Open) -> None:
    page = playground()
    write(page, "first", "my own words")
    choose(page, "system", "encoder")
    assert page.locator("#first").input_value() == "my own words"
    choose(page, "system", "swin")
    assert "🌞" in page.locator("#first").input_value()
    choose(page, "system", "encoder")
    assert page.locator("#first").input_value() == "my own words"


@pytest.mark.parametrize("system", ["decoder", "unilm", "swin"])
@pytest.mark.parametrize("lang", ["en", "zh"])
def test_a_phone_does_not_scroll_sideways(playground: Open, system: str, lang: str) -> None:
    page = playground(PHONE, system=system, lang=lang, mistake="swapped", step="scores")
    assert page.locator("#wrong svg").count() == 2
    assert sideways(page) <= 0
    write(page, "first", "w" * 300 if system != "swin" else "abcdefgh\n" * 8)
    assert sideways(page) <= 0


def test_dark_and_light(playground: Open) -> None:
    for dark in (False, True):
        page = playground(dark=dark)
        back, text = color(page, "body", "backgroundColor"), color(page, "body", "color")
        field = color(page, "#first", "backgroundColor")
        chip = color(page, "input:checked + span", "backgroundColor")
        for shade in (back, field):
            assert (max(shade) < 80) == dark
        assert (min(text) > 180) == dark
        assert chip[2] > chip[0]


def test_a_link_to_the_other_pages(playground: Open) -> None:
    page = playground(lang="zh")
    link = page.locator("nav a").first
    assert (link.inner_text(), link.get_attribute("href")) == ("图集", "/?lang=zh")


def test_a_server_that_is_gone_is_told(window: Any) -> None:
    made = Server([PLAYGROUND], port=0)
    thread = threading.Thread(target=made.run, daemon=True)
    thread.start()
    assert made.wait_until_running(60)
    page = window()
    page.goto(made.address("/playground"))
    settled(page)
    made.stop()
    thread.join(10)
    page.wait_for_selector("#error:visible")
    assert "no longer answers" in page.locator("#error").inner_text()
    assert page.locator("#picture svg").count() == 1
