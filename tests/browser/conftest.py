"""A real browser for the tests of pages: the machine's chromium, without a window.

Without one, or without playwright, the tests are skipped, visibly; SIGHTLINE_BROWSER names another.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# Sizes of windows in pixels.
DESKTOP, PHONE = (1280, 800), (390, 844)


# For a module: playwright keeps an event loop running in this thread, and other tests start theirs.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The browser, started once for the tests of a file."""
    api = pytest.importorskip("playwright.sync_api")
    program = os.environ.get("SIGHTLINE_BROWSER") or next(
        filter(None, map(shutil.which, _NAMES)), None
    )
    if program is None:
        pytest.skip("there is no chromium on this machine; SIGHTLINE_BROWSER can name one")
    with api.sync_playwright() as playwright:
        # No sandbox: what runs in it is our own page, and containers do not allow one.
        started = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def window(browser: Browser) -> Iterator[Any]:
    """Opens pages: ``window(size=PHONE, dark=True)``; what goes wrong in one fails the test.

    A page that asks for anything from another machine fails, too.
    """
    opened: list[Page] = []
    wrong: list[str] = []

    def open_page(
        size: tuple[int, int] = DESKTOP, *, dark: bool = False, language: str = "en"
    ) -> Page:
        page = browser.new_page(
            viewport={"width": size[0], "height": size[1]},
            color_scheme="dark" if dark else "light",
            locale=language,
        )
        page.on("pageerror", lambda error: wrong.append(f"error in the page: {error}"))
        page.on("request", lambda request: _from_elsewhere(request.url, wrong))
        opened.append(page)
        return page

    yield open_page
    for page in opened:
        page.close()
    assert not wrong, "\n".join(wrong)


def _from_elsewhere(address: str, wrong: list[str]) -> None:
    near = (
        "http://127.0.0.1:",
        "http://localhost:",
        "ws://127.0.0.1:",
        "data:",
        "blob:",
        "file:",
        "about:",
    )
    if not address.startswith(near):
        wrong.append(f"the page asked for {address}")
