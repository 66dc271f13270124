"""The pictures of docs/moving.md are those that are drawn today."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture
def make_moving(docs_script: Callable[[str], ModuleType]) -> ModuleType:
    return docs_script("make_moving")


def test_the_pictures_are_up_to_date(
    make_moving: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    assert make_moving.main(["--check"]) == 0, capsys.readouterr().out


def test_whatever_is_stale_is_noticed(
    make_moving: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(make_moving, "DOCS", tmp_path)
    assert make_moving.main(["--check"]) == 1
    assert make_moving.main([]) == 0
    assert make_moving.main(["--check"]) == 0
    (tmp_path / "pictures" / "moving" / "reach.svg").write_text("other")
    assert make_moving.main(["--check"]) == 1
    assert make_moving.main(["--chekc"]) == 2


def test_the_page_shows_every_picture(make_moving: ModuleType) -> None:
    page = (DOCS / "moving.md").read_text(encoding="utf-8")
    shown = re.findall(r"]\((pictures/moving/[^)]*)\)", page)
    assert sorted(shown) == sorted(str(path.relative_to(DOCS)) for path in make_moving.files())
