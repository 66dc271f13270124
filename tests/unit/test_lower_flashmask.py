"""Row indices for FlashMask, drawn out by its documentation and held to the oracle."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import sightline as sl
from sightline.reference.dense import dense as oracle
from sightline.testing.expanders import flashmask
from sightline.testing.specs import build
from sightline.testing.strategies import expressions, frames


def hidden_runs(column: np.ndarray) -> int:
    """Count the runs of False."""
    steps = np.diff((~column).astype(int), prepend=0)
    return int((steps == 1).sum())


@given(st.data())
def test_exact_or_refused_with_reason(data: st.DataObject) -> None:
    frame = data.draw(frames())
    mask = build(data.draw(expressions(frame, 3)))
    allowed = oracle(mask, frame.q_len, frame.kv_len, frame.q_offset)
    try:
        got = sl.lower(mask, "flashmask", frame.q_len, frame.kv_len, q_offset=frame.q_offset)
    except sl.CannotExpress as refused:
        three = any(hidden_runs(c) > 2 for c in allowed.swapaxes(2, 3).reshape(-1, frame.q_len))
        empty = not allowed.any(axis=3).all()
        assert three or empty
        part = refused.part
        assert ("see nothing" in part) == empty
    else:
        assert got["startend_row_indices"].dtype == np.int32
        drawn = flashmask.expand(**got, q_len=frame.q_len)
        np.testing.assert_array_equal(drawn, allowed)


@pytest.mark.parametrize(("q_len", "kv_len"), [(3, 3), (2, 3), (3, 2), (3, 1)])
def test_fewest_numbers_among_all_there_are(q_len: int, kv_len: int) -> None:
    """For every small mask: no form of fewer numbers a key says the same."""
    best: dict[bytes, int] = {}
    for numbers, causal in ((4, False), (2, False), (2, True), (1, True)):
        columns: list[set[bytes]] = []
        for key in range(kv_len):
            every = set()
            for rows in product(range(q_len + 1), repeat=numbers):
                table = np.zeros((1, 1, kv_len, numbers), dtype=np.int32)
                table[0, 0, key] = rows
                every.add(flashmask.expand(table, causal, q_len)[0, 0, :, key].tobytes())
            columns.append(every)
        for chosen in product(*columns):
            parts = [np.frombuffer(c, dtype=bool) for c in chosen]
            best[np.stack(parts, axis=1).tobytes()] = numbers
    for bits in product([False, True], repeat=q_len * kv_len):
        allowed = np.array(bits).reshape(q_len, kv_len)
        if not allowed.any(axis=1).all():
            continue
        mask = sl.dense(allowed, means="attend")
        got = sl.lower(mask, "flashmask", q_len, kv_len)
        assert got["startend_row_indices"].shape[3] == best[allowed.tobytes()]
        np.testing.assert_array_equal(flashmask.expand(**got, q_len=q_len)[0, 0], allowed)


@pytest.mark.parametrize(
    ("mask", "lengths", "numbers", "causal"),
    [
        (sl.causal(), (5, 5, 0), 1, True),
        (sl.causal(), (3, 7, 4), 1, True),
        (sl.causal(), (1, 7, 6), 1, True),
        (sl.causal() & sl.documents(lengths=[3, 2]), (5, 5, 0), 1, True),
        (sl.window(2, 0), (6, 6, 0), 1, True),
        (sl.window(2, 0) | sl.sinks(1) & sl.causal(), (6, 6, 0), 1, True),
        (sl.documents(lengths=[3, 2]), (5, 5, 0), 2, False),
        (sl.window(1, 1), (5, 5, 0), 2, False),
        (sl.prefix_lm([3]), (5, 5, 0), 2, False),
        (sl.causal() & ~(sl.queries([3]) & sl.keys([0])), (5, 5, 0), 2, True),
        (sl.window(1, 1) | sl.keys([0]) | sl.queries([0]), (6, 6, 0), 4, False),
        (sl.everything(), (4, 6, 0), 2, False),
        (sl.causal() & sl.padding(lengths=[3, 5]), (5, 5, 0), 1, True),
    ],
)
def test_well_known_masks(
    mask: sl.Mask, lengths: tuple[int, int, int], numbers: int, causal: bool
) -> None:
    got = sl.lower(mask, "flashmask", *lengths)
    assert (got["startend_row_indices"].shape[3], got["causal"]) == (numbers, causal)
    np.testing.assert_array_equal(flashmask.expand(**got, q_len=lengths[0]), oracle(mask, *lengths))


def test_the_example_of_the_documentation() -> None:
    """Documents of 4, 3 and 3 tokens: the pictures (b) and (f)."""
    documents = sl.documents(lengths=[4, 3, 3])
    got = sl.lower(documents & sl.causal(), "flashmask", 10)["startend_row_indices"]
    assert got[0, 0, :, 0].tolist() == [4] * 4 + [7] * 3 + [10] * 3
    got = sl.lower(documents, "flashmask", 10)["startend_row_indices"]
    assert got[0, 0].tolist() == [[4, 0]] * 4 + [[7, 4]] * 3 + [[10, 7]] * 3


def test_axes_and_batch() -> None:
    mask = sl.per_head([sl.causal(), sl.window(1, 0)]) & sl.padding(lengths=[5, 2, 3])
    assert sl.lower(mask, "flashmask", 3, 6)["startend_row_indices"].shape == (3, 2, 6, 2)
    got = sl.lower(sl.causal(), "flashmask", 4, batch=3)
    assert got["startend_row_indices"].shape == (3, 1, 4, 1)
    np.testing.assert_array_equal(
        flashmask.expand(**got, q_len=4), np.repeat(oracle(sl.causal(), 4), 3, axis=0)
    )


def test_refusals_name_the_place() -> None:
    three = sl.documents(ids=[0, 1, 0, 1, 0, 1])
    with pytest.raises(sl.CannotExpress, match=r"key 0 of batch 0, head 0, hidden from 3 runs"):
        sl.lower(three, "flashmask", 6)
    empty = sl.padding(lengths=[3, 0]) & sl.per_head([sl.causal(), sl.window(1, 1)])
    with pytest.raises(sl.CannotExpress, match=r"8 of 16, first: batch 1, head 0, query 0"):
        sl.lower(empty, "flashmask", 4)
