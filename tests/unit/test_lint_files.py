"""What the lint reads, what it passes over, what a comment silences, and the order of findings."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sightline.audit.lint import lint, lint_text
from sightline.audit.lint_rules.table import NAMES
from sightline.errors import DataError, InvalidArgument

WRONG = "def f(scores, mask):\n    scores.masked_fill(mask, 0)\n"


def write(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def notebook(*cells: str) -> str:
    kinds = [{"cell_type": "markdown", "source": ["# a title\n"]}]
    code = [{"cell_type": "code", "source": each.splitlines(keepends=True)} for each in cells]
    return json.dumps({"nbformat": 4, "cells": kinds + code})


def test_a_folder_is_looked_through_but_for_what_is_not_its_own(tmp_path: Path) -> None:
    wanted = [
        write(tmp_path / name, WRONG) for name in ("a.py", "b/c.py", "b/venv.py", "d/e.ipynb")
    ]
    wanted[-1].write_text(notebook(WRONG))
    for name in (".venv/x.py", "node_modules/x.py", "b/build/x.py", ".git/x.py", "x.txt", "x.pyc"):
        write(tmp_path / name, WRONG)
    report = lint(tmp_path)
    assert [each.path for each in report.findings] == sorted(map(str, wanted))
    assert report.files == len(wanted)
    assert lint([tmp_path, tmp_path / "b", wanted[0]]) == report, "each file is read once"
    assert len(lint(tmp_path / ".venv").findings) == 1, "what is named is read, whatever its name"


def test_findings_are_sorted_by_place_and_the_same_each_time(tmp_path: Path) -> None:
    write(tmp_path / "b.py", WRONG)
    write(tmp_path / "a.py", WRONG + WRONG.replace("f(", "g("))
    report = lint([tmp_path / "b.py", tmp_path / "a.py"])
    assert [(Path(each.path).name, each.line) for each in report.findings] == [
        ("a.py", 2),
        ("a.py", 4),
        ("b.py", 2),
    ]
    assert lint(tmp_path) == report
    assert not report.ok


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.py", b"def f(:\n", "not Python"),
        ("a.py", b"\n\nx = '\xff'\n", "utf-8"),
        ("a.py", b"# coding: no-such-thing\n", "unknown encoding"),
        ("a.py", b"x = 1\0\n", "null bytes"),
        ("a.py", b"x = " + b"(" * 3000 + b")" * 3000, ""),
        ("a.ipynb", b"{}", "not a notebook"),
        ("a.ipynb", b"[", "not a notebook"),
        ("a.ipynb", notebook("x = 1\n", "def f(:\n").encode(), "cell 2: not Python"),
    ],
)
def test_what_cannot_be_read_is_told(
    tmp_path: Path, name: str, content: bytes, reason: str
) -> None:
    path = write(tmp_path / name, content)
    write(tmp_path / "good.py", WRONG)
    report = lint(tmp_path)
    assert [each.path for each in report.skipped] == [str(path)]
    assert reason in report.skipped[0].reason
    assert str(path) not in report.skipped[0].reason
    assert len(report.findings) == report.files == 1


def test_a_report_as_text(tmp_path: Path) -> None:
    wrong, bad = write(tmp_path / "a.py", WRONG), write(tmp_path / "b.py", "def f(:\n")
    first, second = str(lint(tmp_path)).splitlines()
    assert first.startswith(f"{wrong}:2:5: error: the result of masked_fill is thrown away")
    assert first.endswith("[discarded-masked-fill]")
    assert second.startswith(f"{bad}:1: skipped: not Python")
    assert str(lint(write(tmp_path / "c.py", ""))) == "no findings in 1 file"


def test_an_expression_without_end_is_passed_over(tmp_path: Path) -> None:
    write(tmp_path / "deep.py", "import torch\nmask = " + " + ".join(["x"] * 5000) + "\n")
    report = lint(tmp_path)
    assert report.files + len(report.skipped) == 1
    assert not report.findings


@pytest.mark.parametrize(
    "content",
    [
        "mask = 1 * " + "9" * 400 + "\n",
        "mask = x * (-10) ** 99999999\n",
        "mask = scores.masked_fill(*a)\nmask.masked_fill()\nmask.masked_fill\n",
        "x = lambda mask: mask.tril()\nclass mask: softmax = mask\n",
        "",
        "# sightline: ignore\n",
        "x = '\x0c\u2028'; y.masked_fill(m, 0)\n",
    ],
)
def test_strange_code_does_no_harm(content: str) -> None:
    lint_text(content)


def test_a_path_that_is_none() -> None:
    with pytest.raises(InvalidArgument, match="no file or folder"):
        lint("no/such/path.py")


def test_a_file_that_is_no_python(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match=r"ends in \.py"):
        lint(write(tmp_path / "notes.txt", WRONG))


def test_rules_are_asked_by_name() -> None:
    assert lint_text(WRONG, rules=["triangle-sense"]) == ()
    assert len(lint_text(WRONG, rules=["triangle-sense", "discarded-masked-fill"])) == 1
    with pytest.raises(InvalidArgument, match="Did you mean 'triangle-sense'"):
        lint_text(WRONG, rules=["triangle-sens"])


def test_text_that_is_no_python_is_an_error() -> None:
    with pytest.raises(DataError, match=r"x\.py, line 2: not Python"):
        lint_text("\ndef f(:\n", path="x.py")


def test_cells_of_a_notebook(tmp_path: Path) -> None:
    magic = "%matplotlib inline\n!pip install x\nimport torch\n?torch\n"
    shown = "torch.where(mask, x, y)\nmask.tril()\n"
    path = write(tmp_path / "n.ipynb", notebook(magic, "%%bash\nls -l | (\n", shown, WRONG))
    report = lint(path)
    assert not report.skipped
    (finding,) = report.findings
    assert (finding.cell, finding.line) == (4, 2), "what ends a cell is shown, not thrown away"
    assert finding.place == f"{path}:cell 4:2:5"


def test_cells_share_what_they_import(tmp_path: Path) -> None:
    cells = "import torch.nn.functional as F\n", "def f(x):\n    F.softmax(x, dim=-1)\n"
    report = lint(write(tmp_path / "n.ipynb", notebook(*cells)))
    assert [each.rule for each in report.findings] == ["discarded-masked-fill"]
    assert lint_text(cells[1]) == (), "F may be anything"


def test_columns_count_characters() -> None:
    (finding,) = lint_text('def f(x, m):\n\té = "ééé"; x.masked_fill(m, 0)\n')
    line = finding.source_line
    assert line[finding.column - 1 : finding.end_column - 1] == "x.masked_fill(m, 0)"


# -- comments that silence ------------------------------------------------------------------------

STATEMENT = "def f(scores, mask):\n    scores.masked_fill({first}\n        mask, 0){last}\n"


@pytest.mark.parametrize(
    "comment",
    [
        "  # sightline: ignore",
        "  # sightline: ignore[discarded-masked-fill]",
        "  # sightline: ignore[triangle-sense, discarded-masked-fill]",
        "  # noqa: B018  # sightline:ignore[discarded-masked-fill] as meant",
    ],
)
def test_a_comment_silences_its_line(comment: str) -> None:
    assert lint_text(STATEMENT.format(first=comment, last="")) == ()


@pytest.mark.parametrize(
    "comment",
    ["  # sightline: ignore[triangle-sense]", "  # sightline: ignored", "  # ignore"],
)
def test_a_comment_about_something_else_does_not(comment: str) -> None:
    assert len(lint_text(STATEMENT.format(first=comment, last=""))) == 1


def test_a_comment_elsewhere_or_in_a_string_does_not() -> None:
    assert len(lint_text(STATEMENT.format(first="", last="  # sightline: ignore"))) == 1
    assert len(lint_text("# sightline: ignore\n" + WRONG)) == 1
    assert len(lint_text(WRONG.replace("0)", "'# sightline: ignore')"))) == 1


def test_the_first_line_of_a_statement_counts() -> None:
    body = (
        "import torch\ndef f(s, m):\n    return (  # sightline: ignore{}\n"
        "        s, torch.where(m, s, 0),\n        s.masked_fill(m, -1e9).softmax(-1),\n    )\n"
    )
    assert [each.rule for each in lint_text(body.replace("{}", "[triangle-sense]"))] == [
        "mask-constant"
    ]
    assert lint_text(body.replace("{}", "")) == ()


def test_a_rule_that_does_not_exist_is_a_finding() -> None:
    first = "  # sightline: ignore[discarded-masked-fil, mask-constant]"
    findings = lint_text(STATEMENT.format(first=first, last=""))
    assert [each.rule for each in findings] == ["discarded-masked-fill", "unknown-suppression"]
    unknown = findings[1]
    assert "'discarded-masked-fil'" in unknown.message
    assert "ignore[discarded-masked-fill]" in unknown.fix
    shown = unknown.source_line[unknown.column - 1 : unknown.end_column - 1]
    assert shown == first.strip()


def test_every_rule_of_the_table_can_be_named_in_a_comment() -> None:
    text = "".join(f"x = 1  # sightline: ignore[{name}]\n" for name in NAMES)
    assert lint_text(text) == ()
