"""The built documentation in a browser: search, languages, light and dark, desk and phone."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Page

    Open = Callable[..., Page]

ROOT = Path(__file__).parents[2]
DESKTOP, PHONE = (1280, 800), (390, 844)
pytestmark = pytest.mark.slow  # the site is built once more, and read as people do


class Quiet(SimpleHTTPRequestHandler):
    """Serves files, and says nothing of it."""

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the built site."""
    for name in ("playwright", "material", "mkdocs_static_i18n", "mkdocstrings_handlers.python"):
        pytest.importorskip(name)
    folder = tmp_path_factory.mktemp("site")
    subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--quiet", "-d", str(folder)],
        cwd=ROOT,
        check=True,
        timeout=400,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
    )
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(
    ("start", "words", "place"),
    [
        ("index.html", "static_cache", "/reference/hf.html"),
        ("zh/index.html", "第一步", "/zh/first-steps.html"),
    ],
)
def test_search_finds_a_page(window: Open, site: str, start: str, words: str, place: str) -> None:
    page = window(DESKTOP)
    page.goto(f"{site}/{start}")
    page.click("input.md-search__input")
    page.keyboard.type(words)
    link = f'.md-search-result__link[href*="{place}"]'
    page.wait_for_selector(link, timeout=30_000)
    page.click(link)
    page.wait_for_url(f"**{place}*")


def test_a_page_has_its_twin_in_the_other_language(window: Open, site: str) -> None:
    page = window(DESKTOP)
    page.goto(f"{site}/algebra.html")
    page.hover(".md-header .md-select")
    page.click('.md-select__link[hreflang="zh"]')
    page.wait_for_url("**/zh/algebra.html")
    assert page.locator("html").get_attribute("lang") == "zh"
    assert "掩码" in page.inner_text("h1")


def background(page: Page) -> list[int]:
    color = page.evaluate("getComputedStyle(document.body).backgroundColor")
    return [int(part) for part in color[color.index("(") + 1 : -1].split(",")[:3]]


def test_light_and_dark_follow_the_system_until_told_otherwise(window: Open, site: str) -> None:
    for dark in (False, True):
        page = window(DESKTOP, dark=dark)
        page.goto(f"{site}/index.html")
        assert (max(background(page)) < 100) is dark
        page.click("label.md-header__button[title='Switch to light']")
        page.wait_for_function("document.body.dataset.mdColorScheme === 'default'")
        assert min(background(page)) > 200


@pytest.mark.parametrize(
    "place",
    ["index.html", "architecture.html", "masks.html", "reference/nn.html", "zh/claims.html"],
)
def test_a_page_fits_a_phone(window: Open, site: str, place: str) -> None:
    page = window(PHONE)
    page.goto(f"{site}/{place}")
    wide = page.evaluate("document.scrollingElement.scrollWidth")
    assert wide <= PHONE[0], f"{place} is {wide} pixels wide"
    broken = page.evaluate(
        "[...document.images].filter(i => i.loading !== 'lazy' && !i.naturalWidth).map(i => i.src)"
    )
    assert not broken


def test_a_claim_leads_to_the_line_of_its_test(window: Open, site: str) -> None:
    page = window(DESKTOP)
    page.goto(f"{site}/zh/claims.html")
    link = page.locator("article a:has(code)", has_text="test_scores_of_zero_are_not_hidden").first
    link.click()
    page.wait_for_url("**/zh/source/tests/claims/test_padding.py.html#__codelineno-*")
    anchor = page.evaluate("location.hash.slice(1)")
    line = page.evaluate(f"document.getElementById('{anchor}').parentElement.innerText")
    assert "def test_scores_of_zero_are_not_hidden" in line
