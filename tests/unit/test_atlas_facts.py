"""The facts beside a map: as the dense mask counts them, as the plan cuts it; or not known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sightline as sl
from sightline.errors import InvalidArgument, ShapeMismatch
from sightline.masks.frame import Frame
from sightline.plan.cost import cost_of
from sightline.testing.specs import build
from sightline.testing.strategies import expressions, frames
from sightline.views.atlas import empty_rows
from sightline.views.atlas.empty_rows import empty_runs
from sightline.views.atlas.facts import edges, facts
from sightline.views.atlas.tally import Clock

# Time decides nothing here, except where a test says so.
LONG = 1000.0

MASKS = {
    "causal": sl.causal(),
    "packed": sl.causal() & sl.documents(lengths=[300, 5, 700]),
    "padded": sl.padding(lengths=[0, 800, 1000]) & sl.causal(),
    "padded queries": sl.padding(lengths=[200, 900, 0]).T & sl.window(20, 20),
    "heads": sl.per_head([sl.window(3, 0), sl.causal(strict=True), sl.nothing()]),
    "random blocks": sl.random_blocks(16, 2),
    "neighborhood": sl.neighborhood((30, 30), 5),
    "thin": sl.predicate(lambda b, h, q, k: (q * k) % 97 == 13),
    "far": sl.queries(range(130, 700)) & sl.dilated(7) & ~sl.window(300, 300),
    "moved": sl.chunks(300).shift(query=100, key=40),
}


def runs_of(empty: Any, offset: int) -> list[list[int]]:
    """Find runs one row after the other."""
    found: list[list[int]] = []
    for at in np.flatnonzero(empty).tolist():
        if found and found[-1][1] == at + offset - 1:
            found[-1][1] = at + offset
        else:
            found.append([at + offset, at + offset])
    return found


@pytest.mark.parametrize("shape", [(1100, 1100, 0), (700, 1000, 130), (90, 1030, 5), (257, 64, 1)])
@pytest.mark.parametrize("name", MASKS)
def test_the_facts_of_each_batch_row_and_head(name: str, shape: tuple[int, int, int]) -> None:
    mask = MASKS[name]
    q_len, kv_len, offset = shape
    allowed = mask.dense(q_len, kv_len, q_offset=offset)
    plan = sl.plan(mask, q_len, kv_len, q_offset=offset)
    blocks = np.zeros(3, int)
    computed = dense = 0
    for batch, head in np.ndindex(mask.batch, mask.heads):
        found = facts(mask, q_len, kv_len, q_offset=offset, batch=batch, head=head, seconds=LONG)
        mine = allowed[batch, head]
        assert found.count == mine.sum()
        assert found.density == mine.sum() / mine.size
        assert found.empty_runs is not None
        assert found.empty_runs.tolist() == runs_of(~mine.any(axis=1), offset)
        assert found.empty_count == (~mine.any(axis=1)).sum()
        assert found.empty_in_all == (~allowed.any(axis=3)).sum()
        assert not found.unknown
        assert found.blocks is not None
        assert found.computed is not None
        blocks += found.blocks
        computed += found.computed
        assert found.flops == 256 * found.computed
        dense += found.dense_flops
    assert blocks.tolist() == list(plan.counts)
    cost = cost_of(plan)
    assert (computed, dense) == (cost.computed_pairs, cost.dense_forward_flops)


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_any_expression(data: st.DataObject) -> None:
    frame = data.draw(frames(longest=30))
    mask = build(data.draw(expressions(frame)))
    lengths = frame.q_len, frame.kv_len
    batch = data.draw(st.integers(0, mask.batch - 1))
    head = data.draw(st.integers(0, mask.heads - 1))
    allowed = mask.dense(*lengths, q_offset=frame.q_offset)[batch, head]
    found = facts(mask, *lengths, q_offset=frame.q_offset, batch=batch, head=head, seconds=LONG)
    assert found.count == allowed.sum()
    assert found.empty_runs is not None
    assert found.empty_runs.tolist() == runs_of(~allowed.any(axis=1), frame.q_offset)


@pytest.mark.parametrize("strip", [256, 512])
def test_runs_that_go_on_from_strip_to_strip_are_one(
    strip: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(empty_rows, "_STRIP", strip)
    monkeypatch.setattr(empty_rows, "_MOST_TILES", 3)
    for lengths in ([100, 900], [256, 2000], [0, 512]):
        mask = sl.padding(lengths=lengths).T & sl.dilated(5)
        for batch in (0, 1):
            empty = ~mask.dense(1500, 300)[batch, 0].any(axis=1)
            runs = empty_runs(mask, (batch, 0), Frame.of(1500, 300), Clock())
            assert runs.tolist() == runs_of(empty, 0)


def test_no_part_is_lost_where_there_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(empty_rows, "_STRIP", 1024)
    monkeypatch.setattr(empty_rows, "_MOST_TILES", 1)
    far = sl.keys([1490]) & sl.queries(range(600, 900))
    mask = far | (sl.keys([3]) & sl.dilated(211)) | (sl.keys([700, 1300]) & sl.dilated(17))
    empty = ~mask.dense(1500)[0, 0].any(axis=1)
    runs = empty_runs(mask, (0, 0), Frame.of(1500, 1500), Clock())
    assert runs.tolist() == runs_of(empty, 0)


def test_a_million_and_64_million_tokens() -> None:
    for size in (2**20, 2**26):
        found = facts(sl.causal(strict=True), size, seconds=LONG)
        side = size // 128
        assert found.count == size * (size - 1) // 2
        assert found.blocks == (side * (side - 1) // 2, side, side * (side - 1) // 2)
        assert found.empty_runs is not None
        assert found.empty_runs.tolist() == [[0, 0]]
        assert not found.unknown


def uneven(b: Any, h: Any, q: Any, k: Any) -> Any:
    return (q * 7 + k * k) % 3 == 0


def test_what_there_is_no_time_for_is_not_known_and_says_why() -> None:
    found = facts(sl.predicate(uneven), 2**20, seconds=0.02)
    assert (found.count, found.density, found.blocks, found.flops) == (None,) * 4
    assert (found.empty_count, found.empty_runs, found.empty_in_all) == (None,) * 3
    assert set(found.unknown) == {
        "count",
        "blocks",
        "computed",
        "flops",
        "empty_count",
        "empty_runs",
        "empty_in_all",
    }
    assert "0.02 s" in found.unknown["count"]
    assert found.pairs == 2**40
    assert found.words[0].words == "the pairs that a Python function allows"


def test_edges_of_documents_and_padding() -> None:
    mask = sl.documents(lengths=[[3, 5], [1, 1, 2]]) & sl.causal()
    assert edges(mask).tolist() == [0, 3, 8]
    assert edges(mask, batch=1).tolist() == [0, 1, 2, 4]
    assert edges(sl.padding(lengths=[4, 2])).tolist() == [0, 4]
    assert edges(sl.causal()).tolist() == []
    assert edges(sl.documents(lengths=[3]), batch=7).tolist() == [0, 3]


def test_what_cannot_be_asked() -> None:
    with pytest.raises(ShapeMismatch):
        facts(sl.causal(), -1)
    with pytest.raises(ShapeMismatch):
        facts(sl.dense([[1]], means="attend"), 2)
    with pytest.raises(InvalidArgument, match="from 0 to 1"):
        facts(sl.padding(lengths=[1, 2]), 4, batch=2)
    with pytest.raises(InvalidArgument, match="from 0 to 1"):
        edges(sl.padding(lengths=[1, 2]), batch=2)


def test_no_queries_and_no_keys() -> None:
    assert facts(sl.causal(), 0, 5).density == 0.0
    found = facts(sl.causal(), 5, 0)
    assert (found.count, found.empty_count) == (0, 5)
