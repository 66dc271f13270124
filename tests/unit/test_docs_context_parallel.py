"""The table and pictures of docs/context_parallel.md are what the recorded curves say."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
RECORDED = ROOT / "benchmarks" / "results" / "packed_curves.json"


@pytest.fixture
def maker(docs_script: Callable[[str], ModuleType]) -> ModuleType:
    return docs_script("make_context_parallel")


def test_the_page_is_up_to_date(maker: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    assert maker.main(["--check"]) == 0, capsys.readouterr().out
    assert maker.main(["--chekc"]) == 2


def test_whatever_is_stale_is_noticed(
    maker: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maker, "DOCS", tmp_path)
    shutil.copy(ROOT / "docs" / maker.PAGE, tmp_path)
    assert maker.main(["--check"]) == 1  # no pictures yet
    assert maker.main([]) == 0
    page, picture = tmp_path / maker.PAGE, tmp_path / maker.PICTURES / "apart.svg"
    for path, figure in ((page, "| 2 processes |"), (picture, "2 processes")):
        whole = path.read_text(encoding="utf-8")
        assert figure in whole
        path.write_text(whole.replace(figure, "| 99 |"), encoding="utf-8")
        assert maker.main(["--check"]) == 1
        assert maker.main([]) == 0
        assert path.read_text(encoding="utf-8") == whole


def test_the_recorded_curves_are_one_curve() -> None:
    one, *others = json.loads(RECORDED.read_text(encoding="utf-8"))["runs"]
    assert one["processes"] == 1
    for run in others:
        gaps = [abs(a - b) for a, b in zip(run["losses"], one["losses"], strict=True)]
        assert max(gaps) == pytest.approx(run["apart"], rel=1e-3, abs=1e-9)
        assert (max(gaps) < 1e-4) == (run["seed"] == one["seed"])
    assert {(run["processes"], run["context_ranks"]) for run in others} >= {(2, 2), (4, 2)}
