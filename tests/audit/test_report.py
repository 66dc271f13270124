"""A report in words, as data and as a page: all that helps is there, and nothing else."""

from __future__ import annotations

import json
import re
from dataclasses import fields, replace
from html import unescape
from pathlib import Path

import numpy as np
import pytest

import sightline as sl
from sightline.audit.findings import Finding, Matrix, Pair, Place, Report
from sightline.audit.reporting.data import as_json
from sightline.audit.reporting.page import as_html
from sightline.audit.reporting.picture import finding_picture
from sightline.audit.reporting.text import as_text, facts_of
from sightline.errors import AuditFailed

from .reports import CAUSE, broken, kept


def test_a_model_that_obeys_gets_one_line() -> None:
    assert str(kept()) == (
        "TinyGPT obeys causal(). Tried: input_ids [3, 17]; as called; float64; all forbidden "
        "pairs; 1 pass."
    )
    assert kept().check().ok


def test_a_model_that_does_not_gets_all_that_is_known() -> None:
    text = str(broken())
    assert text.startswith(
        "TinyGPT breaks causal() and cache_parity(): 2 findings.\n\n1. causal() is"
    )
    for words in (
        "1. causal() is broken: logits at 0 depends on input_ids at 1",
        "declared      causal()",
        "behaves like  causal() | prefix(3) (measured at 7 x 9 positions)",
        "where         blocks.1.attn (SelfAttention), in torch.softmax",
        "/there/model.py:41 a = s.softmax(-1)",
        "fails         as called / train",
        "holds         attention_mask=left-padded",
        "pairs         row 0: query 0 <- keys 1-2, 5; row 2: query 2 <- key 6\n",
        "0.23 of its own size",
        f"likely cause  {CAUSE}",
        "   0 ■ ! ! · · · · · ·\n",
        "   2 ■ ■ ■ · · · ! · ·\n",
        "   5 ■ □ ■ ■ ■ ■ · · ·\n",
        "! forbidden, yet used",
        "repro:\n       import torch\n       model = make()\n",
        "2. cache_parity() is broken\n",
        "infinite, or not a number",
        "note: the train condition could not be run with a cache",
    ):
        assert words in text, words
    assert "cache_parity() is broken: cache" not in text  # not said twice
    with pytest.raises(AuditFailed, match=r"blocks\.1\.attn") as caught:
        broken().check()
    assert isinstance(caught.value.report, Report)


def test_what_was_not_all_tested_never_reads_as_all() -> None:
    assert "; 99.9% of the forbidden pairs; 23 passes in 1.2 s." in str(broken()).replace("\n", " ")
    assert "all forbidden pairs" not in str(broken())


def test_pairs_that_are_not_listed_are_counted() -> None:
    (leak, _) = broken().findings
    few = replace(leak, pairs=leak.pairs[:2])
    assert dict(facts_of(few))["pairs"] == "query 0 <- keys 1-2; 4 pairs in all"
    assert dict(facts_of(replace(few, matrix=None)))["pairs"] == "query 0 <- keys 1-2"
    blank = replace(few, pairs=(Pair(0, 5, -1),), matrix=None)
    assert dict(facts_of(blank))["pairs"] == "query 5"


def test_many_conditions_are_counted() -> None:
    names = tuple(f"sdpa, mask={place}" for place in range(9))
    report = replace(kept(), conditions=names)
    assert "; 9 conditions; float64" in str(report)
    leak = replace(broken().findings[0], conditions=names)
    assert dict(facts_of(leak))["fails"] == " / ".join(names[:6]) + " and 3 more"
    assert as_html(report).count("sdpa, mask=") == 9


def test_what_is_unknown_is_left_out() -> None:
    bare = Finding("nan", "causal()", "logits are not numbers")
    assert facts_of(bare) == []
    assert finding_picture(bare) is None
    text = str(Report("f", ("causal()",), (bare,)))
    assert text.splitlines()[2:] == ["1. causal() is broken: logits are not numbers", "",
                                     "Tried: all forbidden pairs."]  # fmt: skip
    top = replace(bare, place=Place("", "GPT", text="  x.mean(1)"))
    assert facts_of(top) == [("where", "the model itself (GPT)"), ("", "x.mean(1)")]


def test_a_file_is_named_as_seen_from_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    place = Place("a", "A", "torch.cumsum", str(tmp_path / "nets" / "a.py"), 7, "y")
    facts = dict(facts_of(Finding("leak", "causal()", "", place=place)))
    assert facts[""] == f"{Path('nets', 'a.py')}:7 y"


def test_lines_keep_to_the_terminal_and_nothing_moves_its_cursor() -> None:
    (leak, _) = broken().findings
    long = replace(leak, message="so " * 90, cause="why " * 60, repro="print('\x1b[2J')")
    text = as_text(replace(broken(), findings=(long,), subject="x\x1b[31m\u202e"))
    assert max(map(len, text.splitlines())) <= 98
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "print('\\x1b[2J')" in text


def test_colors_add_nothing_but_colors() -> None:
    colored = as_text(broken(), color=True)
    assert "\x1b[" in colored
    assert re.sub(r"\x1b\[[\d;]*m", "", colored) == as_text(broken())


def test_ascii_output_gets_ascii_signs() -> None:
    text = as_text(broken(), encoding="ascii")
    assert text.isascii()
    assert "5 # o # # # # . . ." in text


def test_of_a_long_measurement_the_part_around_the_leak_is_drawn() -> None:
    allowed = np.tri(60, 70, dtype=bool)
    depends = allowed.copy()
    depends[40, 55] = True
    picture = finding_picture(
        Finding("leak", "causal()", "", matrix=Matrix(allowed, depends)), most=10
    )
    assert picture is not None
    assert picture.allowed.shape == (10, 10)
    assert picture.row_labels[0] == "35"
    assert picture.column_labels[0] == "50"
    assert np.argwhere(picture.leaks).tolist() == [[5, 5]]
    depends[:] = allowed
    depends[59, 69] = True
    at_the_end = finding_picture(
        Finding("leak", "causal()", "", matrix=Matrix(allowed, depends)), most=10
    )
    assert at_the_end is not None
    assert at_the_end.title.endswith("; a part of 60 x 70")
    assert (at_the_end.row_labels[-1], at_the_end.column_labels[-1]) == ("59", "69")
    assert np.argwhere(at_the_end.leaks).tolist() == [[9, 9]]


def test_as_data_nothing_is_lost() -> None:
    data = json.loads(json.dumps(as_json(broken()), allow_nan=False))
    assert set(data) == {each.name for each in fields(Report)} | {"ok"}
    leak, parity = data["findings"]
    assert set(leak) == {each.name for each in fields(Finding)}
    assert leak["pairs"][3] == {"batch": 2, "query": 2, "key": 6}
    assert leak["place"]["line"] == 41
    assert sl.parse(leak["measured"]) == sl.causal() | sl.prefix(3)
    assert np.array(leak["matrix"]["depends"]).shape == (7, 9)
    assert (parity["size"], parity["place"], parity["matrix"]) == (None, None, None)
    assert data["ok"] is False
    assert data["coverage"] == 0.99996


def test_the_page_says_the_same_and_needs_nothing_from_outside() -> None:
    page = as_html(broken())
    shown = unescape(re.sub(r"<[^>]+>", "", page)).replace("\xa0", " ")
    for label, words in facts_of(broken().findings[0]):
        assert label in shown
        assert words in shown
    assert "import torch\nmodel = make()" in shown
    assert page.count("<svg") == 1
    assert '<path class="bad"' in page
    assert not re.search(r"(src|href)=|url\((?!#)|@import|<script", page)
    assert page == as_html(broken())


def test_the_page_of_a_model_that_obeys() -> None:
    page = as_html(kept())
    assert "TinyGPT obeys causal()." in page
    assert "<svg" not in page
    assert "warn" not in page.split("</head>")[1]


def test_names_of_a_model_are_no_markup() -> None:
    report = replace(broken(), subject="<b>x</b>")
    assert "<b>x" not in as_html(report)
    assert "<b>x" not in report._repr_html_()
    assert "<b>x" not in replace(kept(), subject="<b>x</b>")._repr_html_()


def test_in_a_notebook_a_page_stands_in_a_frame() -> None:
    shown = broken()._repr_html_()
    frame = re.fullmatch(r'<iframe srcdoc="([^"]*)" [^<>]*></iframe>', shown)
    assert frame is not None
    assert unescape(frame[1]) == as_html(broken())
    assert kept()._repr_html_().startswith("<p>TinyGPT obeys causal().")
