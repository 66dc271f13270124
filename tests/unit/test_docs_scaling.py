"""The page about scaling: made by its program, and its figures are those of the command."""

from __future__ import annotations

import json
import shutil
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from sightline.cli.main import main

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture
def make_scaling(docs_script: Callable[[str], ModuleType]) -> ModuleType:
    return docs_script("make_scaling")


def test_the_page_is_up_to_date(
    make_scaling: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    assert make_scaling.main(["--check"]) == 0, capsys.readouterr().out


def test_whatever_is_stale_is_noticed(
    make_scaling: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(make_scaling, "DOCS", tmp_path)
    # What is dealt out is not asked for again and again.
    monkeypatch.setattr(make_scaling, "RANKS", (8, 64, 512))
    for page in ("scaling.md", "plan.md"):
        shutil.copy(DOCS / page, tmp_path)
    assert make_scaling.main([]) == 0
    assert make_scaling.main(["--check"]) == 0
    for path in sorted(tmp_path.rglob("*.*")):
        whole = path.read_text(encoding="utf-8")
        spoilt = whole.replace("| causal | 8 | 1.0", "| causal | 8 | 2.0")
        spoilt = spoilt.replace("     8     1.002", "     8     1.003")
        path.write_text(spoilt if spoilt != whole else whole + "\n", encoding="utf-8")
        assert make_scaling.main(["--check"]) == 1, path
        path.write_text(whole, encoding="utf-8")
    assert make_scaling.main(["--chekc"]) == 2


def test_the_command_says_the_same(
    make_scaling: ModuleType, capfd: pytest.CaptureFixture[str]
) -> None:
    words = ["shard", "window(left=4095)& causal()", "--size", "1m", "--ranks", "8,64,512"]
    assert main([*words, "--json"]) == 0
    facts = json.loads(capfd.readouterr().out)
    page = (DOCS / "scaling.md").read_text(encoding="utf-8")
    for place, found in enumerate(facts["shards"]):
        mib = max(found["bytes_received"]) / 2**20
        name = "" if place else "window"
        assert f"| {name} | {found['ranks']} | {found['balance']:.3f} |" in page
        assert f"| {mib:.1f} MiB |" in page
        beside = found["predicted"]["overlapped"]
        both = (beside["forward_seconds"] + beside["backward_seconds"]) * 1e3
        assert f" {float(f'{both:.3g}'):g} (" in page


def test_documents_fill_the_row(make_scaling: ModuleType) -> None:
    lengths = make_scaling.document_lengths()
    assert sum(lengths) == make_scaling.TOKENS
    assert min(lengths) >= 1
    assert 4096 < sorted(lengths)[len(lengths) // 2] < 16384


def test_charts_can_be_read() -> None:
    for name, lines in (("busy", 6), ("usual", 5)):
        root = ET.fromstring((DOCS / "pictures" / "scaling" / f"{name}.svg").read_text("utf-8"))
        assert (
            len([each for each in root.iter() if "line c" in (each.get("class") or "")])
            == 2 * lines
        )
