"""How the demo's records are shown: in any width, without colors, as JSON, as a page."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from rich.cells import cell_len

from sightline.cli.demo_json import as_json
from sightline.cli.demo_page import render_page
from sightline.cli.demo_tables import (
    checks_table,
    difference,
    figure,
    mistakes_table,
    summary_of_checks,
)
from sightline.cli.demo_text import Screen, render_report
from sightline.cli.demo_views import difference_view, weights_view
from sightline.cli.demo_words import about_filling, about_left, about_rounding
from sightline.recipes.demo.records import Check, DemoReport
from sightline.recipes.demo.run import run_demo
from sightline.recipes.demo.text import read_corpus


@pytest.fixture(scope="module")
def report() -> DemoReport:
    return run_demo(read_corpus())


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> DemoReport:
    path: Path = tmp_path_factory.mktemp("demo") / "large.txt"
    lines = ["the 长 " * (24 - row % 5) for row in range(12)]
    path.write_text("\n".join(lines), encoding="utf-8")
    return run_demo(read_corpus(path))


def broken(report: DemoReport) -> DemoReport:
    """Return the report of a machine on which things go wrong."""
    moved = dataclasses.replace(report.filled_agreements[0], max_difference=0.5, identical=False)
    return dataclasses.replace(
        report,
        filled_agreements=(moved, *report.filled_agreements[1:]),
        self_agreements=tuple(
            dataclasses.replace(found, max_difference=0.25, identical=False)
            for found in report.self_agreements
        ),
        empty_rows=dataclasses.replace(report.empty_rows, nan_outputs=3),
        mistakes=(dataclasses.replace(report.mistakes[0], right_harm=0.5), *report.mistakes[1:]),
        checks=(dataclasses.replace(report.checks[0], measured=0.5), *report.checks[1:]),
    )


# ----------------------------------------------------------------------------------- the terminal


@pytest.mark.parametrize("width", [60, 80, 100, 110])
@pytest.mark.parametrize("which", ["report", "large"])
def test_no_line_is_wider_than_the_terminal(
    width: int, which: str, request: pytest.FixtureRequest
) -> None:
    text = render_report(request.getfixturevalue(which), Screen(width))
    assert "\x1b" not in text
    assert [line for line in text.split("\n") if cell_len(line) > width] == []


def test_it_fits_on_four_screens(report: DemoReport, large: DemoReport) -> None:
    assert render_report(report, Screen(100)).count("\n") < 3.4 * 55
    text = render_report(large, Screen(100))
    assert text.count("\n") < 4.4 * 55
    # Long sentences are cut, and of many the first are shown.
    first, second = text.index("One batch"), text.index("Four masks")
    assert text[first:second].count("\n") == 3 + 2 + 8 + 2
    assert "... and 4 more" in text[first:second]


def test_colors_change_nothing_but_colors(report: DemoReport) -> None:
    colored = render_report(report, Screen(100, color=True))
    assert "\x1b[" in colored
    plain = re.sub(r"\x1b\[[0-9;]*m", "", colored)

    def lines(text: str) -> list[str]:
        return [line.rstrip() for line in text.split("\n")]

    assert lines(plain) == lines(render_report(report, Screen(100)))


def test_an_output_without_unicode_gets_ascii(report: DemoReport) -> None:
    text = render_report(report, Screen(100, encoding="ascii"))
    assert text.isascii()
    assert "# # # # # . . ." in text


def test_every_mistake_is_told_and_the_table_comes_last(report: DemoReport) -> None:
    text = render_report(report, Screen(100))
    for mistake in report.mistakes:
        assert text.count(f"\n{mistake.name}:") == 1
        assert text.count(f"\n {mistake.name} ") == 1
    assert text.endswith(f"All {len(report.checks)} checks hold.")
    assert text.rindex(f" {report.mistakes[-1].name} ") > text.rindex(f"{mistake.name}:")


def test_chinese_lines_up_with_the_columns(large: DemoReport) -> None:
    text = render_report(large, Screen(100))
    start = text.index("Causal mask")
    rows = [line for line in text[start:].split("\n")[2:12] if "长" in line or "the" in line]
    starts = {cell_len(line[: re.search("[■·]", line).start()]) for line in rows}
    assert len(rows) == 6
    words = large.batch.rows[large.decoding.sentence]
    for place, row in enumerate(rows, start=large.drawn_places[0]):
        assert row.split()[:2] == [str(place + 1), words[place]]
    assert len(starts) == 1


def test_what_goes_wrong_is_said(report: DemoReport) -> None:
    bad = broken(report)
    text = render_report(bad, Screen(100))
    assert f"1 of {len(report.checks)} checks fail." in text
    assert "fails" in text
    assert "a leak" in about_filling(bad)
    assert "3 outputs" in about_left(bad)
    assert "last bit" not in about_rounding(bad)
    assert "not one bit" in about_filling(report)
    assert "no output and no gradient is NaN" in about_left(report)


def test_a_check_that_is_not_a_number_fails() -> None:
    checks = (Check("is a number", math.nan, 1.0), Check("is small", 0.0, 0.0))
    assert [row[3].text for row in checks_table(checks).rows] == ["fails", "holds"]
    assert summary_of_checks(checks) == "1 of 2 checks fail."


@pytest.mark.parametrize(
    ("value", "kind", "text"),
    [
        (0.0, "share", "0"),
        (1e-9, "share", "1.0e-09"),
        (0.004, "change", "4.0e-03"),
        (0.534, "share", "53%"),
        (1.0000001, "share", "100%"),
        (1.3566, "change", "1.36"),
    ],
)
def test_only_an_exact_zero_is_written_0(value: float, kind: str, text: str) -> None:
    assert figure(value, kind) == text
    assert difference(5e-324) != "0"


def test_rounding_is_called_rounding(report: DemoReport) -> None:
    cells = {row[0]: row[3] for row in mistakes_table(report.mistakes).rows}
    assert re.fullmatch(r"0|\d\.\de-\d\d \(rounding\)", cells.pop("Mask after softmax").text)
    assert {(cell.text, cell.state) for cell in cells.values()} == {("0", "good")}
    assert mistakes_table(broken(report).mistakes).rows[0][3].state == "bad"


# --------------------------------------------------------------------------------------- as JSON


def test_json_has_every_record(report: DemoReport) -> None:
    facts = json.loads(as_json(report), parse_constant=lambda name: pytest.fail(name))
    assert set(facts) == {field.name for field in dataclasses.fields(DemoReport)}
    assert [m["harm"] for m in facts["mistakes"]] == [m.harm for m in report.mistakes]
    assert all(check["holds"] for check in facts["checks"])
    assert facts["mask_drawings"][2]["allowed"][:3] == ["10000000", "11000000", "11100000"]
    nans = [m for m in facts["mistakes"] if m["name"] == "Padding vectors of -inf"]
    assert nans[0]["wrong_picture"]["weights"][0][0] is None


# --------------------------------------------------------------------------------------- the page


class Outline(HTMLParser):
    """Notes elements and texts, and that every element is closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.labels: set[str] = set()
        self.links: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in {"src", "href"}]
        if tag not in {"meta", "input"}:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "text":
            self.labels.add(data)


def test_the_page_is_whole_and_needs_nothing_else(report: DemoReport) -> None:
    html = render_page(report)
    outline = Outline(html)
    assert outline.open == []
    assert outline.links == []
    assert "url(http" not in html
    # Each drawing that answers brings its own data and script, and nothing else has any.
    assert outline.tags.count("script") == 2 * html.count('<div class="fragment">')
    assert html == render_page(report), "the same report, the same page"


def test_the_page_has_all_pictures_with_their_words(report: DemoReport) -> None:
    html = render_page(report)
    outline = Outline(html)
    drawn = len(report.mask_drawings) + len(report.combined_drawings)
    assert html.count("<figcaption>") == drawn + 2 + 2 * len(report.mistakes)
    told = [m for m in report.mistakes if m.wrong_picture and difference_view(m.wrong_picture)]
    assert html.count('<div class="fragment">') == len(report.pair_drawings) + 1 + len(told)
    words = {token for row in report.batch.rows for token in row}
    assert words <= outline.labels
    assert {"<bos>", "I have a"} <= outline.labels
    assert html.count("<noscript><svg") == len(report.pair_drawings)


def test_weights_of_every_head_can_be_pointed_at(report: DemoReport) -> None:
    for drawing in report.pair_drawings:
        assert drawing.by_head is not None
        assert len(drawing.by_head) == report.heads
        np.testing.assert_array_equal(drawing.by_head[0], drawing.weights)
        view = weights_view(drawing)
        assert "no weight where none may be; every row adds up to 1" in view
        assert view in render_page(report)


def test_a_difference_is_between_what_is_seen_and_what_may_be(report: DemoReport) -> None:
    told = {m.name: m.wrong_picture and difference_view(m.wrong_picture) for m in report.mistakes}
    wrong = next(m.wrong_picture for m in report.mistakes if m.name == "No causal mask")
    assert wrong is not None
    future = np.triu(np.ones_like(wrong.allowed), 1) & (wrong.weights != 0)
    assert f"{future.sum()} added, 0 removed" in (told["No causal mask"] or "")
    assert "0 added, " in (told["A decode step with is_causal"] or "")
    # Masked after the softmax nobody looks where none may; weights that are no numbers say nothing.
    assert told["Mask after softmax"] is None
    assert told["Padding vectors of -inf"] is None


def test_the_page_has_all_tables_and_figures(report: DemoReport) -> None:
    html = render_page(report)
    assert html.count("<table>") == 8
    for mistake in report.mistakes:
        assert mistake.name in html
        assert figure(mistake.harm, mistake.kind) in html
    assert f"All {len(report.checks)} checks hold." in html
    assert f"1 of {len(report.checks)} checks fail." in render_page(broken(report))


def test_long_prefixes_keep_their_ends(large: DemoReport) -> None:
    outline = Outline(render_page(large))
    last = large.triangle.rows[-1]
    assert any(
        label.startswith("… ") and last.endswith(label[2:]) and len(label) > 8
        for label in outline.labels
    )


def test_long_prefixes_without_spaces_keep_their_ends(tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    path.write_text("春眠不觉晓处处闻啼鸟夜来风雨声", encoding="utf-8")
    labels = Outline(render_page(run_demo(read_corpus(path)))).labels
    assert any(re.fullmatch("….{3}来风雨声", label) for label in labels)


def test_markup_in_the_text_stays_text(tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    path.write_text('<img src="x"> [bold]no[/bold]\n</table> & so\n', encoding="utf-8")
    found = run_demo(read_corpus(path))
    assert "img" not in Outline(render_page(found)).tags
    assert "[ bold ] no [ / bold ]" in render_report(found, Screen(100))
