"""`sightline train` under torchrun: a process is killed, one message says which, and it goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from sightline.cli.main import main

ASKED = ["train", "copy", "--preset", "smoke", "--json"]
ASKED += ["--set", "steps=90", "--set", "evaluate_every=90", "--set", "checkpoint_every=10"]


def losses(folder: Path) -> list[float]:
    lines = (folder / "losses.jsonl").read_text().splitlines()
    return [json.loads(line)["loss"] for line in lines]


def launched(folder: Path, *more: str) -> subprocess.Popen[str]:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "3"]
    return subprocess.Popen(
        [*launcher, "-m", "sightline", *ASKED, "--out", str(folder), *more],
        env={**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def kill_rank(started: subprocess.Popen[str], rank: int) -> None:
    """End one of the processes that torchrun started, with signal 9."""
    (process,) = (
        each
        for each in psutil.Process(started.pid).children(recursive=True)
        if each.environ().get("RANK") == str(rank)
    )
    os.kill(process.pid, signal.SIGKILL)


def test_torchrun_repeats_what_was_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "error.json"  # torchrun names one to each process
    monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(report))
    assert main([*ASKED, "--out", str(tmp_path / "run"), "--set", "context_ranks=2"]) == 2
    said = capsys.readouterr().err.removeprefix("error: ").strip()
    assert said.startswith("got context_ranks=2 for 1 process;")
    repeated = json.loads(report.read_text())["message"]["extraInfo"]["py_callstack"]
    assert repeated.rstrip().endswith(said)
    assert len(repeated.splitlines()) < 6  # not the way there


@pytest.mark.slow
def test_a_run_of_three_processes_survives_the_death_of_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, whole = tmp_path / "three", tmp_path / "one"
    started = launched(folder)
    until = time.monotonic() + 240
    while not (folder / "checkpoint.safetensors").exists() and time.monotonic() < until:
        time.sleep(0.01)
    kill_rank(started, 1)
    out, err = started.communicate(timeout=120)
    assert started.returncode == 1  # torchrun's own
    assert out == ""
    (said,) = [line for line in err.splitlines() if line.startswith("error:")]
    assert "rank 1 (" in said
    assert "has died" in said
    assert not (folder / "result.json").exists()
    # One process goes on, with steps of three batches as before, as one that never was three.
    assert main([*ASKED, "--out", str(folder)]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["processes"] == 1
    assert result["command"].endswith("--set micro_batches=3")
    assert main([*ASKED, "--out", str(whole), "--set", "micro_batches=3"]) == 0
    assert losses(folder) == pytest.approx(losses(whole), rel=1e-3)
    assert losses(folder)[0] == losses(whole)[0]
