"""Pages and tables: escaped, self-contained, the same every time."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest
from rich.cells import cell_len

import sightline as sl
from sightline.views.page import Cell, Page
from sightline.views.picture import picture_of
from sightline.views.text.table import render_table

EVIL = '<img src=x onerror="alert(1)">&amp;\x00'
VOID = {"meta", "img", "br", "hr", "link", "input"}


class Outline(HTMLParser):
    """Notes the elements and the text of a page, and that every element is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def full_page(text: str) -> Page:
    picture = picture_of(sl.causal(), 3, title=text, row_labels=[text] * 3)
    page = Page(text, lead=text).heading(text).heading(text, level=3).paragraph(text)
    page.note(text).note(text, warning=True).items([text]).code(text)
    page.table([text, "n"], [[text, "1"], [Cell(text, "bad"), Cell("2", "good")]], numeric=[1])
    return page.pictures([picture, (picture, text)])


def outline(page: Page) -> Outline:
    parser = Outline()
    parser.feed(page.html())
    parser.close()
    assert parser.open == []
    return parser


def test_every_text_is_taken_literally() -> None:
    found = outline(full_page(EVIL))
    assert not [tag for tag, _ in found.seen if tag == "img"]
    assert found.text.count('<img src=x onerror="alert(1)">&amp;\\x00') >= 13


def test_a_page_needs_nothing_from_outside() -> None:
    html = full_page("masks").html()
    outside = [
        link for link in re.findall(r"https?://[^\"']*", html) if "w3.org/2000/svg" not in link
    ]
    assert outside == []
    for _, attributes in outline(full_page("masks")).seen:
        assert not {"src", "href", "onclick"} & attributes.keys()
    assert "@import" not in html
    assert "<script" not in html


def test_a_page_suits_phones_and_dark_rooms() -> None:
    html = full_page("masks").html()
    assert '<meta name="viewport" content="width=device-width, initial-scale=1">' in html
    assert html.count("prefers-color-scheme:dark") == 2  # the page's and the drawings' colors
    assert html.startswith("<!doctype html>")


def test_a_page_is_deterministic() -> None:
    assert full_page("a").html() == full_page("a").html()


def test_backquotes_are_code() -> None:
    html = Page("t").paragraph("see `a < b` and `c`; a lone ` stays").html()
    assert "<p>see <code>a &lt; b</code> and <code>c</code>; a lone ` stays</p>" in html


def test_table_cells_carry_their_verdict() -> None:
    html = Page("t").table(["x", "n"], [["a", Cell("7", "bad")]], numeric=[1]).html()
    assert '<td>a</td><td class="bad number">7</td>' in html
    assert '<th scope="col" class="number">n</th>' in html
    with pytest.raises(ValueError, match="a table row has 1 cells, its table has 2 columns"):
        Page("t").table(["x", "n"], [["a"]])


def test_pictures_share_the_style_sheet_of_the_page() -> None:
    html = full_page("masks").html()
    assert html.count("<style>") == 1
    assert html.count("<svg") == 2


def test_a_table_in_the_terminal() -> None:
    rows = [["我有一个梦想", Cell("0", "good")], ["I have a dream", Cell("12.5", "bad")]]
    plain = render_table(["sentence", "difference"], rows, numeric=[1])
    lines = plain.split("\n")
    assert "\x1b" not in plain
    assert len({cell_len(line) for line in lines[2:]}) == 1
    assert lines[0].split() == ["sentence", "difference"]
    assert lines[3].split() == ["I", "have", "a", "dream", "12.5"]
    colored = render_table(["sentence", "difference"], rows, numeric=[1], color=True)
    uncolored = re.sub(r"\x1b\[[0-9;]*m", "", colored).split("\n")
    assert [line.rstrip() for line in uncolored] == lines
    assert "38;5;208" in colored


def test_a_table_for_an_ascii_terminal() -> None:
    table = render_table(["日"], [["é\x1b[0m"]], encoding="ascii")
    assert table.isascii()
    assert "\x1b" not in table
    assert "\\xe9\\x1b[0m" in table


def test_a_fragment_is_taken_as_it_is() -> None:
    html = sl.draw(sl.causal(), 3, to="html").content
    assert isinstance(html, str)
    page = Page("A page").fragment(html)
    assert f'<div class="fragment">\n{html}</div>' in page.html()
