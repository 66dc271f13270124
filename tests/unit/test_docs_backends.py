"""The page of destinations says what they say of themselves today."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from sightline.lower.destinations import NAMES
from sightline.testing.backends import BACKENDS

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture
def make_backends(docs_script: Callable[[str], ModuleType]) -> ModuleType:
    return docs_script("make_backends")


def test_the_page_is_up_to_date(
    make_backends: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    assert make_backends.main(["--check"]) == 0, capsys.readouterr().out


def test_whatever_is_stale_is_noticed(
    make_backends: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "backends.md"
    monkeypatch.setattr(make_backends, "PAGE", page)
    assert make_backends.main(["--check"]) == 1, "nothing is there yet"
    assert make_backends.main([]) == 0
    assert make_backends.main(["--check"]) == 0
    page.write_text(page.read_text().replace("True may attend", "True may not"))
    assert make_backends.main(["--check"]) == 1


def test_every_destination_stands_there_and_is_tested(make_backends: ModuleType) -> None:
    text = "\n".join(make_backends.page())
    for name in NAMES:
        assert f"### `{name}`" in text
        assert f"| `{name}` |" in text
        assert name in BACKENDS
