"""The site of the documentation: complete, whole, and with nothing from the network."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import unquote

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PACKAGES = (
    "sightline",
    "sightline.nn",
    "sightline.hf",
    "sightline.audit",
    "sightline.distributed",
)
SCRIPTS = ("make_architecture", "make_reference")
# Attributes by which a page fetches something; an `a` only leads somewhere.
FETCHING = {"src", "srcset", "poster", "data", "background"}
FROM_ELSEWHERE = re.compile(r"^\s*(?:https?:)?//", re.IGNORECASE)
IN_STYLE = re.compile(r"(?:url\(|@import)\s*['\"]?\s*((?:https?:)?//[^'\")\s]+)", re.IGNORECASE)


# ---------------------------------------------------------------------------- what is made


@pytest.fixture
def load(docs_script: Callable[[str], ModuleType]) -> Callable[[str], ModuleType]:
    pytest.importorskip("grimp")
    return docs_script


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_pages_are_up_to_date(
    load: Callable[[str], ModuleType], name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert load(name).main(["--check"]) == 0, capsys.readouterr().out


@pytest.mark.parametrize("name", SCRIPTS)
def test_whatever_is_stale_is_noticed(
    load: Callable[[str], ModuleType], name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = load(name)
    monkeypatch.setattr(script, "DOCS", tmp_path)
    assert script.main(["--check"]) == 1, "nothing is there yet"
    assert script.main([]) == 0
    assert script.main(["--check"]) == 0
    for path in sorted(tmp_path.rglob("*.*")):
        whole = path.read_text(encoding="utf-8")
        path.write_text(whole + " ", encoding="utf-8")
        assert script.main(["--check"]) == 1, path
        path.write_text(whole, encoding="utf-8")
    assert script.main(["--chekc"]) == 2


def test_a_page_of_names_that_are_gone_is_removed(
    load: Callable[[str], ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = load("make_reference")
    monkeypatch.setattr(script, "DOCS", tmp_path)
    script.main([])
    old = tmp_path / "reference" / "old.md"
    old.write_text("of nothing")
    assert script.main(["--check"]) == 1
    script.main([])
    assert not old.exists()


def test_every_public_name_is_in_the_reference_once() -> None:
    pages = [page.read_text(encoding="utf-8") for page in (DOCS / "reference").glob("*.md")]
    paths = Counter(path for page in pages for path in re.findall(r"^::: (\S+)$", page, re.M))
    assert set(paths.values()) == {1}
    written = set(re.findall(r"^ +heading: (\S+)$", "\n".join(pages), re.MULTILINE))
    for package in PACKAGES:
        for name in import_module(package).__all__:
            if f"sightline.{name}" in ("sightline.nn", "sightline.hf", "sightline.distributed"):
                continue  # packages, whose names follow
            shorter = f"sl.{name}"
            own = package.replace("sightline", "sl", 1) + f".{name}"
            assert own in written or (shorter in written and name == "Batch"), own


def test_a_name_without_a_place_is_refused(load: Callable[[str], ModuleType]) -> None:
    script = load("make_reference")
    with pytest.raises(SystemExit, match="no page"):
        script.place(script.Name("sl.lost", "sightline.nowhere.lost", "Is lost."))


def test_rooms_stand_apart_and_arrows_go_down(load: Callable[[str], ModuleType]) -> None:
    script = load("make_architecture")
    rows = script.layers()
    rooms = [room for row in rows for room in row]
    found = script.imports(rooms)
    assert {"masks", "plan", "engines", "views"} <= set(rooms)
    assert "plan" in found["engines"]
    for row in rows:
        places = [script.COLUMNS[room] for room in row]
        assert len(places) == len(set(places)), row
    level = {room: number for number, row in enumerate(rows) for room in row}
    picture = script.matrix(rows, found)
    for room, others in found.items():
        for other in others:
            assert level[room] < level[other]
            assert picture.allowed[rooms.index(room), rooms.index(other)], (room, other)


def test_only_arrows_that_others_imply_are_left_out(load: Callable[[str], ModuleType]) -> None:
    script = load("make_architecture")
    found = {"a": {"b", "c", "d"}, "b": {"c"}, "c": set(), "d": set()}
    assert script.without_detours(found) == [("a", "b"), ("a", "d"), ("b", "c")]


# --------------------------------------------------------------------------------- the hooks


@pytest.fixture
def hook(docs_script: Callable[[str], ModuleType]) -> Callable[[str], ModuleType]:
    pytest.importorskip("mkdocs")
    pytest.importorskip("griffe")
    return lambda name: docs_script(f"hooks/{name}")


def test_a_notebook_is_shown_with_what_it_gave(hook: Callable[[str], ModuleType]) -> None:
    said = {"output_type": "stream", "text": ["\x1b[31mred\x1b[0m\n"]}
    drawn = {
        "output_type": "display_data",
        "data": {"text/plain": "<Drawing>", "text/html": ["<svg>\n\n", "</svg>"]},
    }
    cells = [
        {"cell_type": "markdown", "source": ["# Title\n", "words"]},
        {"cell_type": "code", "source": ["x = '```'"], "outputs": [said, drawn]},
        {"cell_type": "code", "source": [], "outputs": []},
    ]
    assert hook("notebooks").page_of({"cells": cells}) == (
        "# Title\nwords\n\n````python\nx = '```'\n````\n\n```text\nred\n```\n\n"
        '<div class="output">\n<svg>\n</svg>\n</div>\n'
    )


def test_links_that_leave_the_docs_are_found(hook: Callable[[str], ModuleType]) -> None:
    pages = hook("pages")
    outside = pages.outside
    place = Path("results/swin.md")
    assert outside(place, "../../tests/test_it.py") == "tests/test_it.py"
    assert outside(place, "../systems.md") is None
    assert outside(place, "../../../elsewhere.py") is None
    here = Path(__file__)
    anchor = pages.line_anchor(here, "`test_links_that_leave_the_docs_are_found`")
    number = int(anchor.rpartition("-")[2])
    assert "def test_links_that_leave" in here.read_text(encoding="utf-8").splitlines()[number - 1]
    assert pages.line_anchor(here, "the tests") == ""
    assert pages.ESCAPED_BAR.search("| `a \\| b` |")
    assert not pages.ESCAPED_BAR.search("| a \\| b |")


def test_examples_and_shared_arguments_of_docstrings(hook: Callable[[str], ModuleType]) -> None:
    docstrings = hook("docstrings")
    text = "Words.\n\n>>> f(\n...     1)\n[[1]]\n\nMore.\n"
    assert docstrings.fenced(text) == (
        "Words.\n\n```pycon\n>>> f(\n...     1)\n[[1]]\n```\n\nMore.\n"
    )
    assert docstrings.apart("Args:\n    a, b: sizes\n    c: one") == (
        "Args:\n    a: sizes\n    b: sizes\n    c: one"
    )


# ------------------------------------------------------------------------------ the settings


def settings() -> dict[str, Any]:
    return pytest.importorskip("yaml").safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))


def pages_of(nav: Any) -> Iterator[str]:
    if isinstance(nav, str):
        yield nav
    else:
        for part in nav.values() if isinstance(nav, dict) else nav:
            yield from pages_of(part)


def test_every_page_is_in_the_navigation_once() -> None:
    listed = Counter(pages_of(settings()["nav"]))
    there = {
        str(page.relative_to(DOCS)).replace(os.sep, "/")
        for kind in ("md", "ipynb")
        for page in DOCS.rglob(f"*.{kind}")
        if ".zh." not in page.name and ".ipynb_checkpoints" not in page.parts
    }
    assert {page.replace(".ipynb", ".md") for page in there} == set(listed)
    assert set(listed.values()) == {1}


def test_nothing_is_asked_of_the_network() -> None:
    theme = settings()["theme"]
    assert theme["font"] is False
    assert not {"repo_url", "extra_javascript"} & settings().keys()


# ------------------------------------------------------------------------------ what is built


class Resources(HTMLParser):
    """Collects what a page fetches from elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            fetches = name in FETCHING or (tag in ("link", "image", "use") and "href" in name)
            if fetches and FROM_ELSEWHERE.match(value or ""):
                self.found.append(f"<{tag} {name}={value}>")
            if name == "style":
                self.found += IN_STYLE.findall(value or "")
            # The theme fetches what draws these.
            if name == "class" and "mermaid" in (value or "").split():
                self.found.append("a mermaid drawing")


def fetched_from_elsewhere(text: str, kind: str) -> list[str]:
    """Return what a page (html), a style sheet (css) or a picture (svg) asks of other machines."""
    if kind == "css":
        return IN_STYLE.findall(text)
    reader = Resources()
    reader.feed(text)
    styles = re.findall(r"<style[^>]*>(.*?)</style>", text, re.DOTALL)
    return reader.found + [found for style in styles for found in IN_STYLE.findall(style)]


@pytest.mark.parametrize(
    ("text", "kind", "count"),
    [
        ('<script src="https://a.example/x.js"></script>', "html", 1),
        ('<link rel="stylesheet" href="//a.example/x.css">', "html", 1),
        ('<img src="http://a.example/x.png">', "html", 1),
        ("<style>@import 'https://a.example/x.css';</style>", "html", 1),
        ('<p style="background:url(https://a.example/x.png)">', "html", 1),
        ('<pre class="mermaid">', "html", 1),
        ("@font-face{src:url(https://a.example/x.woff2)}", "css", 1),
        ('<svg><image xlink:href="https://a.example/x.png"/></svg>', "svg", 1),
        ('<a href="https://a.example">there</a><img src="x.png">', "html", 0),
        ("a{background:url(../x.png)}", "css", 0),
        ('<svg xmlns="http://www.w3.org/2000/svg"></svg>', "svg", 0),
    ],
)
def test_what_is_fetched_is_seen(text: str, kind: str, count: int) -> None:
    assert len(fetched_from_elsewhere(text, kind)) == count


def test_the_site_is_built_strictly_and_whole(tmp_path: Path) -> None:
    for name in ("mkdocs", "material", "mkdocs_static_i18n", "mkdocstrings_handlers.python"):
        pytest.importorskip(name)
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "-d", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=400,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    built = [path for path in tmp_path.rglob("*") if path.suffix in (".html", ".css", ".svg")]
    assert len(built) > 100
    for path in built:
        asked = fetched_from_elsewhere(path.read_text(encoding="utf-8"), path.suffix[1:])
        assert not asked, f"{path.relative_to(tmp_path)} asks for {asked}"
    _links_lead_somewhere(tmp_path)
    _two_languages(tmp_path)
    _reference_is_rendered(tmp_path)
    _tests_are_shown(tmp_path)


def _links_lead_somewhere(site: Path) -> None:
    """mkdocs checks links as they are written; this, where they lead in what was built."""
    for page in site.rglob("*.html"):
        if page.name == "404.html":  # which does not know where it is shown
            continue
        text = page.read_text(encoding="utf-8")
        for place in set(re.findall(r'(?:href|src)="([^"#?:]+)', text)):
            assert (page.parent / unquote(place)).exists(), f"{page.relative_to(site)}: {place}"


def _two_languages(site: Path) -> None:
    entries = json.loads((site / "search" / "search_index.json").read_text(encoding="utf-8"))[
        "docs"
    ]
    places = {entry["location"].partition("#")[0] for entry in entries}
    assert {"claims.html", "zh/claims.html", "masks.html"} <= places
    assert "zh/masks.html" not in places, "an English page is found once"
    assert not [place for place in places if place.startswith("source/")]
    chinese = (site / "zh" / "claims.html").read_text(encoding="utf-8")
    assert 'lang="zh"' in chinese
    assert "不成立" in chinese


def _reference_is_rendered(site: Path) -> None:
    text = (site / "reference" / "masks.html").read_text(encoding="utf-8")
    assert "sl.causal" in text
    assert "<blockquote>" not in text, "an example of a docstring is no quotation"
    assert 'id="sightline.masks.positional.causal"' in text


def _tests_are_shown(site: Path) -> None:
    links = re.findall(
        r'href="(source/tests/[^"#]+)#(__codelineno-0-\d+)"><code>(test_\w+)</code>',
        (site / "claims.html").read_text(encoding="utf-8"),
    )
    assert len(links) > 100
    for place, anchor, name in links[::20]:
        shown = (site / place).read_text(encoding="utf-8")
        line = shown[shown.index(f'id="{anchor}"') :].partition("\n")[0]
        assert name in line
