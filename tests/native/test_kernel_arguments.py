"""The compiled module refuses wrong arguments with a Python error, and never crashes.

Also what attend refuses before the kernels are reached: shapes, dtypes and devices.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sightline.native import kernels, why_missing

pytestmark = pytest.mark.skipif(
    why_missing() is not None, reason="the compiled kernels are missing"
)
FUZZ = Path(__file__).with_name("fuzz_kernels.py")


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_wrong_arguments_are_refused(seed: int) -> None:
    done = subprocess.run(
        [sys.executable, str(FUZZ), str(seed), "700"],
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    counts = dict(line.rsplit(" ", 1) for line in done.stdout.splitlines())
    for name in ("Plan", "forward", "backward"):
        assert int(counts[f"{name} refused"]) > 100


def plan(**changes: Any) -> Any:
    given = {
        "q_len": 100,
        "kv_len": 130,
        "batch": 1,
        "heads": 1,
        "row_start": np.array([0, 2, 3], dtype=np.int64),
        "first_block": np.array([0, 1, 0], dtype=np.int32),
        "last_block": np.array([0, 2, 1], dtype=np.int32),
        "pattern": np.array([0, -1, 1], dtype=np.int32),
        "patterns": np.ones((2, 96, 1), dtype=np.uint64),
    }
    return kernels().Plan(**(given | changes))


def test_a_good_plan_is_taken() -> None:
    assert plan().nbytes > 2 * 96 * 8


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"q_len": -1}, "sizes out of range"),
        ({"q_len": 2**63 - 1}, "row starts"),
        ({"batch": 0}, "sizes out of range"),
        ({"batch": 2**40, "heads": 2**40}, "sizes out of range"),
        ({"heads": 2}, "got 3 row starts, wanted 5"),
        ({"row_start": np.array([0, 2])}, "got 2 row starts, wanted 3"),
        ({"row_start": np.array([1, 2, 3])}, "begin at 0"),
        ({"row_start": np.array([0, 2, 2])}, "end at the number of runs"),
        ({"row_start": np.array([0, 4, 3])}, "must not fall"),
        ({"row_start": np.array([0, -1, 3])}, "must not fall"),
        ({"first_block": np.array([0, 0, 0], dtype=np.int32)}, "must rise"),
        ({"first_block": np.array([-1, 1, 0], dtype=np.int32)}, "must rise"),
        ({"last_block": np.array([0, 3, 1], dtype=np.int32)}, "within the key blocks"),
        ({"last_block": np.array([0, 0, 1], dtype=np.int32)}, "must rise"),
        ({"last_block": np.array([0, 2], dtype=np.int32)}, "unequal number"),
        ({"pattern": np.array([0, -1, 2], dtype=np.int32)}, "no such pattern"),
        ({"pattern": np.array([-2, -1, 1], dtype=np.int32)}, "no such pattern"),
        ({"patterns": np.ones((2, 97, 1), dtype=np.uint64)}, "block_q=96"),
        ({"patterns": np.ones((2, 96, 2), dtype=np.uint64)}, "block_kv=64"),
    ],
)
def test_a_broken_plan_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        plan(**changes)
