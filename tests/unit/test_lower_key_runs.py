"""Runs of keys and of queries, against the oracle, in closed form and off the plan."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import sightline as sl
from sightline.lower.arguments import Asked
from sightline.lower.forms import key_runs as module
from sightline.lower.forms.key_runs import KeyRuns, key_runs, query_runs
from sightline.reference.dense import dense as oracle
from sightline.testing.specs import build
from sightline.testing.strategies import expressions, frames


def drawn(runs: KeyRuns) -> np.ndarray:
    """Write the runs out, and hold what they promise: sorted, disjoint, not touching."""
    rows = np.zeros((runs.batch * runs.heads * runs.q_len, runs.kv_len), dtype=bool)
    for row in range(len(rows)):
        before = -1
        for run in range(runs.row_start[row], runs.row_start[row + 1]):
            assert before < runs.first[run] < runs.stop[run] <= runs.kv_len
            rows[row, runs.first[run] : runs.stop[run]] = True
            before = runs.stop[run]
    return rows.reshape(runs.batch, runs.heads, runs.q_len, runs.kv_len)


def check(mask: sl.Mask, q_len: int, kv_len: int, q_offset: int) -> None:
    asked = Asked(mask, q_len, kv_len, q_offset)
    allowed = oracle(mask, q_len, kv_len, q_offset)
    np.testing.assert_array_equal(drawn(key_runs(asked)), allowed)
    np.testing.assert_array_equal(drawn(query_runs(asked)), allowed.swapaxes(2, 3))


@given(st.data())
def test_runs_of_any_expression(data: st.DataObject) -> None:
    frame = data.draw(frames())
    spec = data.draw(expressions(frame, 3))
    check(build(spec), frame.q_len, frame.kv_len, frame.q_offset)


@given(st.data())
def test_runs_off_the_plan_are_the_same(data: st.DataObject) -> None:
    frame = data.draw(frames())
    spec = data.draw(expressions(frame, 2))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_closed", lambda *_: None)
        check(build(spec), frame.q_len, frame.kv_len, frame.q_offset)


@pytest.mark.parametrize(
    "mask",
    [
        sl.causal() & sl.documents(lengths=[100, 57, 300]),
        sl.dilated(3) | sl.window(130, 2),
        sl.documents(ids=[n * n % 7 for n in range(400)]) & sl.causal(),
        sl.per_head([sl.strided(5), sl.everything()]) & sl.padding(lengths=[300, 0, 129]),
        sl.predicate(lambda b, h, q, k: (q * k) % 5 < 2),
    ],
)
def test_runs_over_several_blocks(mask: sl.Mask) -> None:
    """More than one block on each axis, with short blocks at the ends, and two words a row."""
    check(mask, 270, 391, 9)


def test_nothing_to_see() -> None:
    for lengths in ((0, 3), (3, 0), (2, 3)):
        runs = key_runs(Asked(sl.nothing(), *lengths, 0))
        assert runs.row_start.tolist() == [0] * (lengths[0] + 1)
        assert len(runs.first) == len(runs.stop) == 0


def test_rows_are_named() -> None:
    mask = sl.per_head([sl.causal(), sl.everything()]) & sl.padding(lengths=[1, 2, 3])
    runs = key_runs(Asked(mask, 4, 5, 0))
    assert runs.place(0) == (0, 0, 0)
    assert runs.place(2 * 8 + 4 + 3) == (2, 1, 3)
