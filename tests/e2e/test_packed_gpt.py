"""Packed documents on several processes, as a user starts them: torchrun, a kill, and going on."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sightline.cli.main import main

PAGE = Path(__file__).parents[2] / "docs" / "context_parallel.md"
ASKED = ["train", "packed-gpt", "--preset", "smoke", "--set", "checkpoint_every=5"]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node"]
ON_CPU = {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "1"}


def losses(folder: Path) -> list[float]:
    lines = (folder / "losses.jsonl").read_text().splitlines()
    return [json.loads(line)["loss"] for line in lines]


def workers_of(agent: int) -> list[int]:
    """Return the processes that a torchrun started, in the order of their ranks."""
    found = Path(f"/proc/{agent}/task/{agent}/children").read_text().split()
    ranks = {}
    for each in map(int, found):
        told = Path(f"/proc/{each}/environ").read_bytes().split(b"\0")
        rank = [word for word in told if word.startswith(b"RANK=")]
        if rank:
            ranks[int(rank[0][5:])] = each
    return [ranks[rank] for rank in sorted(ranks)]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_run_whose_rank_is_killed_goes_on_with_fewer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SIGHTLINE_DATA", raising=False)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert main([*ASKED, "--out", str(whole), "--json"]) == 0
    shared = ["-m", "sightline", *ASKED, "--set", "context_ranks=2", "--set", "timeout=30"]
    with (tmp_path / "said").open("w") as said:
        command = [*TORCHRUN, "4", *shared, "--out", str(parts)]
        started = subprocess.Popen(command, env=ON_CPU, stdout=said, stderr=said)
        until = time.monotonic() + 240
        while not (parts / "checkpoint.safetensors").exists() and time.monotonic() < until:
            time.sleep(0.01)
        os.kill(workers_of(started.pid)[2], signal.SIGKILL)
        assert started.wait(90) == 1
    assert not (parts / "result.json").exists()
    text = (tmp_path / "said").read_text()
    assert re.search(r"rank 2\b", text), text[-3000:]
    command = [*TORCHRUN, "2", *shared, "--out", str(parts)]
    done = subprocess.run(command, env=ON_CPU, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "going on at step" in done.stdout + done.stderr
    assert losses(parts) == pytest.approx(losses(whole), rel=1e-4)
    figures = [json.loads((each / "result.json").read_text())["figures"] for each in (whole, parts)]
    for one, other in zip(*figures, strict=True):
        assert other["value"] == pytest.approx(one["value"], rel=1e-4, abs=1e-5)
        assert other["reached"] == one["reached"]


@pytest.mark.slow
def test_the_first_example_of_the_page_learns_the_same_on_two_processes(tmp_path: Path) -> None:
    (script,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    path = tmp_path / "learn.py"
    path.write_text(script, encoding="utf-8")
    told = [
        subprocess.run(
            [*start, str(path)], env=ON_CPU, capture_output=True, text=True, check=True, timeout=240
        ).stdout.splitlines()
        for start in ([sys.executable], [*TORCHRUN, "2"])
    ]
    (one,), (first, second) = told
    assert one.startswith("512 of 512 tokens here; losses ")
    assert first == second == one.replace("512 of", "256 of")
