"""Who is named when ranks cannot go on together, from what each of them said."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

from sightline.distributed.place import Place
from sightline.distributed.verdicts import Answer, judge

NAMES = 4, 5, 6, 7
PLACES = [Place("node", 100 + rank, "", "") for rank in range(4)]
WAITS = Answer(9, True, "sl.distributed.attend", "train.py:7 in step")
BUSY = Answer(8, False, "sl.distributed.attend", "train.py:3 in load")
BROKEN = {"what": "x", "why": "broken", "detail": "Connection closed", "calls": 9, "seconds": 5.0}
SILENT = {**BROKEN, "why": "silent", "detail": ""}
LEFT = {**BROKEN, "why": "left", "detail": ""}

# The alarm, the answers (None: none came), whose process was seen to have ended, the notes; and who
# is named with what words.
CASES: dict[str, tuple[Any, Any, Any, Any, tuple[int, ...], str]] = {
    "killed": (
        BROKEN,
        [WAITS, WAITS, None, WAITS],
        {2},
        {},
        (6,),
        "rank 6 (process 102 on node) has",
    ),
    "far away": (BROKEN, [WAITS, None, WAITS, WAITS], {}, {}, (5,), "does not answer any more"),
    "two": (BROKEN, [None, WAITS, None, WAITS], {0, 2}, {}, (4, 6), "has died; rank 6"),
    "silent": (
        SILENT,
        [WAITS, BUSY, WAITS, WAITS],
        {},
        {},
        (5,),
        "has not come within 5 s; its last",
    ),
    "where": (SILENT, [WAITS, BUSY, WAITS, WAITS], {}, {}, (5,), "now it is at train.py:3 in load"),
    "busy": (BROKEN, [WAITS, WAITS, None, BUSY], {2}, {}, (6,), "has died"),
    "stuck": (
        SILENT,
        [WAITS, WAITS, replace(WAITS, waits=False), WAITS],
        {},
        {},
        (6,),
        "rank 6 has not come",
    ),
    "a call behind": (
        SILENT,
        [WAITS, replace(WAITS, calls=8), WAITS, WAITS],
        {},
        {},
        (5,),
        "rank 5 has not come",
    ),
    "all here": (BROKEN, [WAITS] * 4, {}, {}, (), "cannot reach each other (Connection closed)"),
    "nobody came": (SILENT, [WAITS] * 4, {}, {}, (), "no answer within 5 s"),
    "raised": (
        LEFT,
        [WAITS, BUSY, WAITS, WAITS],
        {},
        {1: ("KeyError: 3", 8)},
        (5,),
        "rank 5 stopped with KeyError: 3",
    ),
    "raised and ended": (
        BROKEN,
        [WAITS, None, WAITS, WAITS],
        {1},
        {1: ("KeyError: 3", 8)},
        (5,),
        "rank 5 stopped with KeyError: 3",
    ),
    "raised long ago and caught": (
        BROKEN,
        [WAITS, WAITS, None, WAITS],
        {2},
        {1: ("KeyError: 3", 2)},
        (6,),
        "has died",
    ),
    "raised, caught and came": (
        BROKEN,
        [WAITS, WAITS, None, WAITS],
        {2},
        {1: ("KeyError: 3", 8)},
        (6,),
        "has died",
    ),
    "ended": (
        BROKEN,
        [WAITS, None, WAITS, WAITS],
        {1},
        {1: ("", 8)},
        (5,),
        "rank 5 has come to its end, after 8 calls",
    ),
    "one ended, one was killed": (
        BROKEN,
        [WAITS, None, None, WAITS],
        {1, 2},
        {1: ("", 8)},
        (5, 6),
        "rank 6 (process 102 on node) has died",
    ),
    "one ended, one raised": (
        BROKEN,
        [WAITS, None, None, WAITS],
        {1, 2},
        {1: ("", 8), 2: ("KeyError: 3", 8)},
        (6,),
        "rank 6 stopped with KeyError: 3",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_who_is_to_blame_is_named(name: str) -> None:
    alarm, said, ended, notes, ranks, words = CASES[name]
    answers = {rank: each for rank, each in enumerate(said) if each is not None}
    gone = {rank: rank in ended for rank, each in enumerate(said) if each is None}
    told = {rank: {"error": error, "calls": calls} for rank, (error, calls) in notes.items()}
    verdict = judge(alarm, answers, gone, told, NAMES, PLACES)
    assert verdict.ranks == ranks
    assert words in verdict.text
    error = verdict.error("sl.distributed.attend")
    assert error.ranks == ranks
    assert str(error).startswith("sl.distributed.attend: ")


def test_a_place_knows_whether_its_process_runs() -> None:
    here = Place.here()
    if not here.space:
        pytest.skip("processes cannot be looked up here")
    assert here.gone() is False
    assert replace(here, started="1").gone() is True, "the number was given out again"
    assert replace(here, space="another machine").gone() is None
    child = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    started = Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()[19]
    ended = replace(here, process=child.pid, started=started)
    assert ended.gone() is True, "nobody has asked for its exit code yet, so it is still listed"
    child.wait()
    assert ended.gone() is True


TERMINATED = """
import os, signal, sys
from sightline.distributed.last_words import last_words
if sys.argv[1] == "own":
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(7))
with last_words() as words:
    if sys.argv[1] != "quiet":
        os.kill(os.getpid(), signal.SIGTERM)
    words.append("rank 1 has died")
print("goes on")
"""


@pytest.mark.parametrize(
    ("how", "code", "output", "error"),
    [
        ("told", -15, "", "rank 1 has died\n"),  # says it, and obeys
        ("own", 7, "", ""),
        ("quiet", 0, "goes on\n", ""),
    ],
)
def test_a_process_that_is_told_to_end_says_why(
    how: str, code: int, output: str, error: str
) -> None:
    command = [sys.executable, "-c", TERMINATED, how]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (code, output, error)
