"""The fixture `sightline_audit` as a user's own tests meet it, each run in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")

TESTS = """
import sightline as sl
import torch


class Mixer(torch.nn.Module):
    def __init__(self, leaks):
        super().__init__()
        self.embed = torch.nn.Embedding(19, 8)
        self.leaks = leaks

    def forward(self, tokens):
        x = self.embed(tokens)
        past = x.cumsum(dim=1)
        return x + (past.flip(1) if self.leaks else past)


def test_right(sightline_audit):
    report = sightline_audit(Mixer(False), sl.causal(), length=11)
    assert report.sizes["tokens"][1] == 11


def test_leaks(sightline_audit):
    sightline_audit(Mixer(True), sl.causal(), {"tokens": torch.arange(21).reshape(3, 7) % 19})


def test_asks_nothing():
    pass
"""


def run_pytest(folder: Path, *words: str) -> tuple[int, str]:
    (folder / "test_mine.py").write_text(TESTS)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_mine.py", *words],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    return done.returncode, done.stdout + done.stderr


def test_a_leak_fails_with_the_report_and_nothing_else(tmp_path: Path) -> None:
    code, out = run_pytest(tmp_path)
    assert code == 1, out
    assert "1 failed, 2 passed" in out
    assert "\nMixer breaks causal(): 1 finding.\n\n1. causal() is broken: output at position" in out
    assert "! forbidden, yet used" in out
    assert "Traceback" not in out
    assert "plugin.py" not in out
    assert "obeys" not in out


def test_what_obeys_is_told_on_request(tmp_path: Path) -> None:
    code, out = run_pytest(tmp_path, "-rP", "-k", "right")
    assert code == 0, out
    assert "sightline audit" in out
    assert "Mixer obeys causal(). Tried: tokens [" in out


def test_a_page_for_each_failure(tmp_path: Path) -> None:
    code, out = run_pytest(tmp_path, "--sightline-html", "pages/audit")
    assert code == 1, out
    (page,) = (tmp_path / "pages" / "audit").iterdir()
    assert page.name == "test_mine.py-test_leaks.html"
    assert f"page: {Path('pages', 'audit', page.name)}" in out
    assert "Mixer breaks causal()" in page.read_text(encoding="utf-8")


def test_the_plugin_loads_nothing_before_it_is_used(tmp_path: Path) -> None:
    (tmp_path / "test_plain.py").write_text(
        "import sys\n"
        "def test_plain(request):\n"
        "    assert request.config.pluginmanager.hasplugin('sightline')\n"
        "    loaded = {'torch', 'numpy', 'rich', 'sightline.audit', 'sightline.views'}\n"
        "    assert not loaded & set(sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_plain.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
