"""A lint report in the form of SARIF: places, levels, rules and what was skipped."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sightline.audit.lint import lint
from sightline.audit.lint_rules.table import all_rules
from sightline.audit.linting.sarif import sarif

WRONG = 'def f(scores, mask):\n    é = "é"; scores.masked_fill(mask, 0)\n'


def test_a_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a b.py").write_text(WRONG)
    Path("bad.py").write_text("def f(:\n")
    Path("notes.py").write_text("tokenizer.pad_token = tokenizer.eos_token\n")
    cells = [{"cell_type": "code", "source": WRONG}]
    Path("n.ipynb").write_text(json.dumps({"cells": cells}))
    log = sarif(lint(["."]), all_rules(), "1.2.3")
    assert json.loads(json.dumps(log)) == log
    assert log["version"] == "2.1.0"
    (run,) = log["runs"]
    driver = run["tool"]["driver"]
    assert (driver["name"], driver["version"]) == ("sightline", "1.2.3")
    by_uri = {
        each["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]: each
        for each in run["results"]
    }
    assert sorted(by_uri) == ["a%20b.py", "n.ipynb", "notes.py"]
    for result in run["results"]:
        assert driver["rules"][result["ruleIndex"]]["id"] == result["ruleId"]
    finding = by_uri["a%20b.py"]
    assert finding["level"] == "error"
    region = finding["locations"][0]["physicalLocation"]["region"]
    line = WRONG.splitlines()[region["startLine"] - 1]
    assert (
        line[region["startColumn"] - 1 : region["endColumn"] - 1] == "scores.masked_fill(mask, 0)"
    )
    assert by_uri["notes.py"]["level"] == "note"
    cell = by_uri["n.ipynb"]
    assert "code cell 1" in cell["message"]["text"]
    assert "region" not in cell["locations"][0]["physicalLocation"]
    (invocation,) = run["invocations"]
    (skipped,) = invocation["toolExecutionNotifications"]
    assert "not Python" in skipped["message"]["text"]
    assert invocation["executionSuccessful"]


def test_an_absolute_path_is_a_file_uri(tmp_path: Path) -> None:
    path = tmp_path / "a.py"
    path.write_text(WRONG)
    (result,) = sarif(lint(path), all_rules(["discarded-masked-fill"]), "1")["runs"][0]["results"]
    uri = result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
    assert uri == path.as_uri()


def test_nothing_read_is_no_success(tmp_path: Path) -> None:
    path = tmp_path / "a.py"
    path.write_text("def f(:\n")
    (run,) = sarif(lint(path), all_rules(), "1")["runs"]
    assert run["results"] == []
    assert not run["invocations"][0]["executionSuccessful"]
