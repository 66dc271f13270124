"""The page about the lint says what its rules say and find today."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from sightline.audit.lint_rules.table import NAMES


@pytest.fixture
def make_lint(docs_script: Callable[[str], ModuleType]) -> ModuleType:
    return docs_script("make_lint")


def test_the_page_is_up_to_date(make_lint: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    assert make_lint.main(["--check"]) == 0, capsys.readouterr().out


def test_whatever_is_stale_is_noticed(
    make_lint: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "lint.md"
    monkeypatch.setattr(make_lint, "PAGE", page)
    assert make_lint.main(["--check"]) == 1, "nothing is there yet"
    assert make_lint.main([]) == 0
    assert make_lint.main(["--check"]) == 0
    page.write_text(page.read_text(encoding="utf-8").replace("tril", "triu", 1), encoding="utf-8")
    assert make_lint.main(["--check"]) == 1
    assert make_lint.main(["--chekc"]) == 2


def test_every_rule_has_its_section(make_lint: ModuleType) -> None:
    text = make_lint.PAGE.read_text(encoding="utf-8")
    for name in NAMES:
        assert f"\n| [`{name}`](#{name}) | " in text
        _, _, section = text.partition(f"\n### {name}\n")
        found, _, _ = section.partition("\n### ")
        assert found.index("\nWrong:\n") < found.index("\nLine ") < found.index("\nRight:\n")
