"""What is seen on the terminal when a rank of a script dies, started as people start them."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

SCRIPT = """
import os, signal, sys, time
import torch
import torch.distributed as dist
import sightline as sl

victim, how = int(sys.argv[1]), sys.argv[2]
dist.init_process_group("gloo")
spread = sl.distributed.spread(sl.causal(), 64, block=8, timeout=60)
x = torch.randn(1, 2, spread.length, 4, requires_grad=True)
for step in range(2000):
    if step == 3 and dist.get_rank() == victim:
        if how == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if how == "raises":
            raise KeyError("no such document")
    sl.distributed.attend(x, x, x, sl.causal(), spread=spread).sum().backward()
    time.sleep(0.05)
"""
# Far above what it takes (seconds), far below the 2000 steps that a script would go on for.
SOON = 75.0


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "train.py"
    path.write_text(SCRIPT)
    return path


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", **more}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def launched(script: Path, *arguments: str) -> tuple[int, str, float]:
    start = time.monotonic()
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    command += ["--master-port", str(free_port()), "--log-dir", str(script.parent / "logs")]
    command += [str(script), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=150, env=environment())
    return done.returncode, done.stdout + done.stderr, time.monotonic() - start


def test_torchrun_ends_with_the_rank_and_what_to_do(script: Path) -> None:
    code, output, seconds = launched(script, "1", "killed")
    assert code != 0
    (line,) = [each for each in output.splitlines() if "RankLost: " in each]
    assert "rank 1 (process" in line
    assert "has died" in line
    assert "sightline train goes on from its last checkpoint" in line
    assert output.index("RankLost: ") < output.index("FAILED"), "ours before torchrun's own"
    assert seconds < SOON


@pytest.mark.parametrize(
    ("victim", "how", "words"),
    [
        # Without torchrun rank 0 keeps the store by which the others would tell each other.
        (0, "killed", "rank 0 is gone, and with it torch's store"),
        (1, "raises", "rank 1 stopped with KeyError: 'no such document'"),
    ],
)
def test_scripts_started_by_hand_end_too(script: Path, victim: int, how: str, words: str) -> None:
    port = str(free_port())
    start = time.monotonic()
    started = [
        subprocess.Popen(
            [sys.executable, str(script), str(victim), how],
            stderr=subprocess.PIPE,
            text=True,
            env=environment(
                RANK=str(rank), WORLD_SIZE="2", MASTER_ADDR="127.0.0.1", MASTER_PORT=port
            ),
        )
        for rank in range(2)
    ]
    try:
        said = [each.communicate(timeout=150)[1] for each in started]
    finally:
        for each in started:
            each.kill()
    assert time.monotonic() - start < SOON
    survivor = 1 - victim
    assert started[survivor].returncode == 1
    assert f"RankLost: sl.distributed.attend: {words}" in said[survivor], said[survivor]
