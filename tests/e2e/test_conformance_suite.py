"""The shipped conformance suite, run as a third party runs it: on a right and on wrong backends."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sightline.errors import InvalidArgument
from sightline.reference.dense import dense as oracle
from sightline.testing.backend import Backend
from sightline.testing.cases import CASES, Case

BACKENDS = """
import dataclasses
import numpy as np
from sightline.errors import CannotExpress
from sightline.testing.backend import Backend

def weights(query, key, mask, q_offset):
    allowed = mask.dense(query.shape[2], key.shape[2], q_offset)
    scores = query @ key.swapaxes(-1, -2) / query.shape[-1] ** 0.5
    kept = np.where(allowed, np.exp(scores), 0)
    return kept / np.maximum(kept.sum(-1, keepdims=True), 1e-30)

def right(query, key, value, mask, q_offset):
    return weights(query, key, mask, q_offset) @ value

def forgetful(query, key, value, mask, q_offset):
    return weights(query, key, mask, 0) @ value

def refusing(query, key, value, mask, q_offset):
    if q_offset:
        raise CannotExpress(destination="mine", part="it", reason="so", alternative="else")
    return right(query, key, value, mask, q_offset)

def shape_only(mask, shape):
    return np.broadcast_to(mask.dense(shape.q_len, shape.kv_len), shape.full)

RIGHT = Backend(name="right", attend=right)
FORGETFUL = Backend(name="forgetful", attend=forgetful)
REFUSING = Backend(name="refusing", attend=refusing, lacks=frozenset({"offset"}))
MODEST = Backend(name="modest", attend=right, lacks=frozenset({"offset"}))
LEAKING = Backend(name="leaking", attend=right, keeps_out=True)
SAYS_WRONG = Backend(name="says wrong", allowed=shape_only)
"""


def suite(folder: Path, *names: str) -> tuple[int, set[str], str]:
    """Return the exit code, which tests failed, and all that pytest printed."""
    (folder / "mine.py").write_text(BACKENDS)
    options = [word for name in names for word in ("--backend", name)]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=line",
         "--pyargs", "sightline.testing", *options],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    failed = set(re.findall(r"FAILED .*::(\w+\[.*?\])", done.stdout))
    return done.returncode, failed, done.stdout + done.stderr


def test_a_right_backend_passes_and_wrong_ones_do_not(tmp_path: Path) -> None:
    names = ["RIGHT", "FORGETFUL", "REFUSING", "MODEST", "LEAKING", "SAYS_WRONG"]
    code, failed, printed = suite(tmp_path, *(f"mine:{name}" for name in names))
    assert code == 1, printed
    by_backend = {
        name: {test for test in failed if f"[{name}" in test or f"-{name}-" in test}
        for name in ("right", "forgetful", "refusing", "modest", "leaking", "says wrong")
    }
    offset = [case.name for case in CASES if "offset" in case.needs]
    assert len(offset) == 4
    assert not by_backend["right"]
    assert not by_backend["refusing"]
    compute = "test_computes_under_the_mask"
    assert by_backend["forgetful"] == {f"{compute}[forgetful-{name}]" for name in offset}
    assert by_backend["modest"] == {f"{compute}[modest-{name}]" for name in offset}
    assert any("keeps_out" in test for test in by_backend["leaking"])
    assert "test_says_the_mask[says wrong-a decode step]" in by_backend["says wrong"]
    assert "test_random_masks_are_exact_or_refused[says wrong]" in by_backend["says wrong"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mine:NOBODY", "has no attribute 'NOBODY'"),
        ("nowhere:RIGHT", "No module named 'nowhere'"),
        ("mine:right", "got function; wanted a sightline.testing Backend"),
        ("spda", "wanted one of cpu, sdpa, varlen, reference"),
    ],
)
def test_a_backend_that_is_not_there(tmp_path: Path, name: str, message: str) -> None:
    code, _, printed = suite(tmp_path, name)
    assert code != 0
    assert message in printed


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_drawn_cases_are_what_the_oracle_says(case: Case) -> None:
    _, _, q_len, kv_len = case.drawn.shape
    allowed = oracle(case.mask, q_len, kv_len, case.q_offset)
    np.testing.assert_array_equal(np.broadcast_to(allowed, case.drawn.shape), case.drawn)


def test_needs_are_read_off_the_picture() -> None:
    needs = {case.name: case.needs for case in CASES}
    assert needs["causal"] == {"many queries"}
    assert needs["a decode step"] == {"rectangle", "offset"}
    assert needs["two heads"] == {"heads", "many queries", "window", "bidirectional"}
    assert "empty rows" in needs["padding on the left"] & needs["strictly before"]
    assert "batch" in needs["padding on the right"]


def test_a_backend_that_is_nothing_or_lacks_what_nobody_asks() -> None:
    with pytest.raises(InvalidArgument, match="nothing to ask"):
        Backend(name="empty")
    with pytest.raises(InvalidArgument, match="wanted some of batch, heads"):
        Backend(name="odd", attend=lambda *_: np.zeros(1), lacks=frozenset({"colour"}))
