"""The page of masks says and shows what the code does today."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from sightline.masks.names import NAMES

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture
def make_masks(docs_script: Callable[[str], ModuleType]) -> ModuleType:
    return docs_script("make_masks")


def test_the_page_is_up_to_date(make_masks: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    assert make_masks.main(["--check"]) == 0, capsys.readouterr().out


def test_whatever_is_stale_is_noticed(
    make_masks: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(make_masks, "DOCS", tmp_path)
    check = ["--check"]
    assert make_masks.main(check) == 1, "nothing is there yet"
    assert make_masks.main([]) == 0
    assert make_masks.main(check) == 0
    (tmp_path / "pictures" / "causal.svg").write_text("other")
    assert make_masks.main(check) == 1
    assert make_masks.main([]) == 0
    (tmp_path / "pictures" / "old.svg").write_text("a picture that nobody makes")
    assert make_masks.main(check) == 1
    assert make_masks.main([]) == 0
    assert not (tmp_path / "pictures" / "old.svg").exists()
    (tmp_path / "masks.md").unlink()
    assert make_masks.main(check) == 1
    assert make_masks.main(["--chekc"]) == 2


def test_every_mask_has_its_section_and_picture() -> None:
    page = (DOCS / "masks.md").read_text(encoding="utf-8")
    assert re.findall(r"^### `(\w+)\(", page, re.MULTILINE) == list(NAMES)
    for picture in re.findall(r"\]\((pictures/\w+\.svg)\)", page):
        assert (DOCS / picture).is_file()
    for name in NAMES:
        assert f"(pictures/{name}.svg)" in page
    assert ">>>" not in page
    assert "``" not in page.replace("```", "")
