"""The measured tables of the pages by hand are what the recorded runs say."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

DOCS = Path(__file__).parents[2] / "docs"
PAGES = ("choosing-an-engine.md", "hugging-face.md")


@pytest.fixture
def make_choosing(docs_script: Callable[[str], ModuleType]) -> ModuleType:
    return docs_script("make_choosing")


def test_the_tables_are_up_to_date(
    make_choosing: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    assert make_choosing.main(["--check"]) == 0, capsys.readouterr().out


def test_whatever_is_stale_is_noticed(
    make_choosing: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(make_choosing, "DOCS", tmp_path)
    for page in PAGES:
        shutil.copy(DOCS / page, tmp_path)
    for page, figure in zip(PAGES, ("| 11.7 % |", "| 2.29 |"), strict=True):
        path = tmp_path / page
        whole = path.read_text(encoding="utf-8")
        assert figure in whole
        path.write_text(whole.replace(figure, "| 99 |"), encoding="utf-8")
        assert make_choosing.main(["--check"]) == 1
        assert make_choosing.main([]) == 0
        assert path.read_text(encoding="utf-8") == whole
    assert make_choosing.main(["--chekc"]) == 2


def test_the_quickest_peer_is_the_one_with_the_least_ratio(make_choosing: ModuleType) -> None:
    peers = [{"name": "slow", "ratio": 3.0}, {"name": "quick", "ratio": 1.25}]
    assert make_choosing.times({"peers": peers}) == "1.25 x (quick)"


def test_the_figures_are_those_of_the_files(make_choosing: ModuleType) -> None:
    text = (make_choosing.RESULTS / "attend.json").read_text(encoding="utf-8")
    rows = [row for run in json.loads(text)["runs"] for row in run["rows"]]
    (causal,) = [
        row
        for row in rows
        if row["mask"] == "causal"
        and row["kind"] == "forward"
        and (row["length"], row["dim"], row["dtype"]) == (4096, 64, "float32")
    ]
    assert f"| causal | 50 % | {causal['ms']:.3g} ms |" in make_choosing.pages()[PAGES[0]]["passes"]
    recorded = json.loads((make_choosing.RESULTS / "layer.json").read_text(encoding="utf-8"))
    bert = recorded["rows"][2]
    assert bert["what"].startswith("BERT-base")
    wanted = f"| {bert['times_as_fast']['ours']:.3g} | sl.hf.unpad | BERT-base"
    assert wanted in make_choosing.pages()[PAGES[1]]["layer"]
