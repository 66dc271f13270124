"""A plan is exact: its runs and bits written out are what the oracle says, cell by cell.

On random expressions x rectangles x offsets x block sizes; and a plan in which a promise is broken
is caught by the same check.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from written_out import check

import sightline as sl
from sightline import reference
from sightline.masks import bits, descent
from sightline.masks.bounds import EMPTY, FULL
from sightline.masks.periodic import Chunks
from sightline.plan import planner
from sightline.plan.planner import PLANS
from sightline.testing.specs import build
from sightline.testing.strategies import ATOMS, Frame, atoms, expressions, frames

BLOCKS = st.sampled_from([(1, 1), (2, 3), (3, 2), (4, 4), (5, 1), (8, 64), (128, 128)])


@given(data=st.data())
def test_plans_of_random_expressions(data: st.DataObject) -> None:
    frame = data.draw(frames(longest=16))
    spec = data.draw(expressions(frame, depth=4))
    q_len, kv_len, q_offset, kv_offset = frame.at
    block_q, block_kv = data.draw(BLOCKS)
    plan = sl.plan(
        build(spec), q_len, kv_len, q_offset=q_offset, kv_offset=kv_offset,
        block_q=block_q, block_kv=block_kv, cuts=data.draw(st.sampled_from(["uniform", "aligned"])),
    )  # fmt: skip
    check(plan, reference.dense(spec, *frame.at))
    sizes = (np.count_nonzero(np.diff(e), axis=1) for e in (plan.grid.q_edges, plan.grid.k_edges))
    blocks = sum(rows * columns for rows, columns in zip(*sizes, strict=True)) * plan.heads
    each = plan.batch if len(plan.grid.q_edges) == 1 else 1
    assert sum(plan.counts) == blocks * each
    assert min(plan.counts) >= 0


@pytest.mark.parametrize("name", sorted(ATOMS))
@given(data=st.data())
def test_plans_of_each_mask(name: str, data: st.DataObject) -> None:
    frame = Frame(19, 23, 2, data.draw(st.sampled_from([0, 1])), 2, 3)
    spec = data.draw(atoms(name, frame))
    block_q, block_kv = data.draw(BLOCKS)
    q_len, kv_len, q_offset, kv_offset = frame.at
    plan = sl.plan(
        build(spec), q_len, kv_len, q_offset=q_offset, kv_offset=kv_offset,
        block_q=block_q, block_kv=block_kv,
    )  # fmt: skip
    check(plan, reference.dense(spec, *frame.at))


@pytest.mark.parametrize(
    "pieces",
    [
        {"MOST_AT_ONCE": 3, "FIRST_TILES": 1},
        {"MOST_READ": 1, "MOST_CELLS": 1},
        {"MOST_READ": 7, "MOST_AT_ONCE": 5},
    ],
)
@given(data=st.data())
def test_how_the_work_is_cut_does_not_show(pieces: dict[str, int], data: st.DataObject) -> None:
    frame = data.draw(frames(longest=12))
    spec = data.draw(expressions(frame, depth=2))
    q_len, kv_len, q_offset, kv_offset = frame.at
    sl.plan.cache_clear()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in pieces.items():
            patch.setattr(descent if hasattr(descent, name) else bits, name, value)
        plan = sl.plan(
            build(spec), q_len, kv_len, q_offset=q_offset, kv_offset=kv_offset,
            block_q=2, block_kv=3,
        )  # fmt: skip
    check(plan, reference.dense(spec, *frame.at))


@given(data=st.data())
def test_patterns_and_tiles_that_share_a_hash_are_told_apart(data: st.DataObject) -> None:
    frame = data.draw(frames(longest=16))
    spec = data.draw(expressions(frame, depth=2))
    q_len, kv_len, q_offset, kv_offset = frame.at
    sl.plan.cache_clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(planner, "hash_rows", lambda words: words[:, 0] % np.uint64(2))
        patch.setattr(bits, "scramble", lambda x: x % np.uint64(3))
        patch.setattr(bits, "MOST_READ", data.draw(st.sampled_from([1, 8, 2**20])))
        plan = sl.plan(
            build(spec), q_len, kv_len, q_offset=q_offset, kv_offset=kv_offset,
            block_q=3, block_kv=2,
        )  # fmt: skip
    check(plan, reference.dense(spec, *frame.at))


@pytest.mark.parametrize("promise", [EMPTY, FULL])
def test_a_broken_promise_makes_a_wrong_plan_and_is_caught(promise: int) -> None:
    class Broken(Chunks):
        """Chunks that promise too much of one tile."""

        def bounds(self, tiles: Any) -> Any:
            here = (tiles.q_first == 4) & (tiles.k_first == 4) & (tiles.q_last == 7)
            return np.where(here, np.int8(promise), super().bounds(tiles))

    PLANS.clear()
    picture = reference.dense(("chunks", {"size": 5}), 12, 12)
    check(sl.plan(sl.chunks(5), 12, block_q=4, block_kv=4), picture)
    with pytest.raises(AssertionError):
        check(sl.plan(Broken(5), 12, block_q=4, block_kv=4), picture)
    PLANS.clear()
