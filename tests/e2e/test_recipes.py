"""Every recipe, as a user runs it: its smoke preset learns, reports, and survives being killed."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from html import escape
from pathlib import Path

import pytest

from sightline.cli.main import main
from sightline.recipes.registry import RECIPES, recipe, recipes

NAMES = recipes()


def losses(folder: Path) -> list[float]:
    lines = (folder / "losses.jsonl").read_text().splitlines()
    return [json.loads(line)["loss"] for line in lines]


def test_every_row_of_the_table_has_its_recipe():
    assert set(NAMES) == set(RECIPES)
    for name in NAMES:
        assert recipe(name).name == name
        assert {"small", "paper", "smoke"} <= set(recipe(name).presets)


@pytest.mark.parametrize("name", NAMES)
def test_a_few_seconds_of_training_teach_something(name, tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("SIGHTLINE_DATA", raising=False)
    folder = tmp_path / "run"
    assert main(["train", name, "--preset", "smoke", "--out", str(folder), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    figures = result["figures"]
    assert figures
    assert all(math.isfinite(figure["value"]) for figure in figures)
    curve = losses(folder)
    assert len(curve) == result["steps"]
    part = max(1, len(curve) // 5)
    assert sum(curve[-part:]) < 0.9 * sum(curve[:part])
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert all(escape(figure["name"]) in page for figure in figures)
    assert page.count("<svg") >= 1
    # A finished run is told again, not trained again.
    assert main(["train", name, "--preset", "smoke", "--out", str(folder), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == result


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_killed_run_goes_on_as_if_nothing_had_been(name, tmp_path, monkeypatch):
    """Killed with signal 9 in its middle, in a process whose hashes differ from the next one's."""
    monkeypatch.delenv("SIGHTLINE_DATA", raising=False)
    often = ["--set", "checkpoint_every=3"]
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    asked = ["train", name, "--preset", "smoke", *often]
    assert main([*asked, "--out", str(whole), "--json"]) == 0
    started = subprocess.Popen(
        [sys.executable, "-m", "sightline", *asked, "--out", str(parts)],
        env={**os.environ, "PYTHONHASHSEED": "7"},
        stdout=subprocess.DEVNULL,
    )
    until = time.monotonic() + 120
    while not (parts / "checkpoint.safetensors").exists() and time.monotonic() < until:
        time.sleep(0.01)
    os.kill(started.pid, signal.SIGKILL)
    assert started.wait() == -signal.SIGKILL
    assert not (parts / "result.json").exists()
    assert main([*asked, "--out", str(parts), "--json"]) == 0
    assert losses(parts) == losses(whole)
    ours, theirs = (json.loads((each / "result.json").read_text()) for each in (parts, whole))
    assert ours["figures"] == theirs["figures"]


@pytest.mark.slow
def test_two_processes_share_a_step(tmp_path):
    """With a learning rate of 0, a step of two is the mean of two steps of one."""
    asked = ["train", "language-model", "--preset", "smoke", "--set", "steps=2"]
    asked += ["--set", "rate=0", "--set", "least_rate=0", "--out"]
    assert main([*asked, str(tmp_path / "one")]) == 0
    launched = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    subprocess.run(
        [*launched, "-m", "sightline", *asked, str(tmp_path / "two")],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=True,
        timeout=300,
    )
    assert json.loads((tmp_path / "two" / "result.json").read_text())["processes"] == 2
    first, second = losses(tmp_path / "one")
    assert losses(tmp_path / "two")[0] == pytest.approx((first + second) / 2, rel=1e-5)
    assert first != pytest.approx(second, rel=1e-3)
