"""The page about the reference systems says what their rows and the recorded runs say today."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from sightline.recipes.systems.table import SYSTEMS


@pytest.fixture
def make_systems(docs_script: Callable[[str], ModuleType]) -> ModuleType:
    return docs_script("make_systems")


def test_the_page_is_up_to_date(
    make_systems: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    assert make_systems.main(["--check"]) == 0, capsys.readouterr().out


def test_whatever_is_stale_is_noticed(
    make_systems: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(make_systems, "DOCS", tmp_path)
    assert make_systems.main(["--check"]) == 1, "nothing is there yet"
    assert make_systems.main([]) == 0
    assert make_systems.main(["--check"]) == 0
    drawing = tmp_path / "pictures" / "systems" / "gpt.svg"
    for path in (tmp_path / "systems.md", drawing):
        whole = path.read_text(encoding="utf-8")
        path.write_text(whole + " ", encoding="utf-8")
        assert make_systems.main(["--check"]) == 1
        path.write_text(whole, encoding="utf-8")
    (drawing.parent / "old.svg").write_text("of nothing")
    assert make_systems.main(["--check"]) == 1
    assert make_systems.main([]) == 0
    assert not (drawing.parent / "old.svg").exists()
    assert make_systems.main(["--chekc"]) == 2


def test_every_system_has_its_section(make_systems: ModuleType) -> None:
    text = (make_systems.DOCS / "systems.md").read_text(encoding="utf-8")
    for system in SYSTEMS.values():
        assert f"| [{system.name}](#{system.name}) |" in text
        _, _, section = text.partition(f"\n### {system.name}\n")
        section, _, _ = section.partition("\n### ")
        for said in (system.definition, system.source, system.parity, *system.parts):
            assert said in section
        assert all(command in section for command in system.commands if system.recipes)
        assert (f"pictures/systems/{system.name}.svg" in section) is bool(system.masks)
