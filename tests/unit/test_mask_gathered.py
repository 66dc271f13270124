"""A mask at chosen positions is the oracle's table with those rows and columns picked out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, reject, settings
from hypothesis import strategies as st

import sightline as sl
from sightline import reference
from sightline.errors import ShapeMismatch
from sightline.masks.gathered import gathered
from sightline.masks.heads import at_head
from sightline.testing.specs import build
from sightline.testing.strategies import Frame, expressions, frames


def positions(draw: Any, rows: int, offset: int, length: int) -> np.ndarray:
    """Some positions of each row, rising; rows that have fewer than others end in -1."""
    if not length:
        return np.full((rows, 1), -1)
    within = st.lists(st.integers(offset, offset + length - 1), unique=True, max_size=length)
    chosen = [sorted(draw(within)) for _ in range(rows)]
    most = max(1, *map(len, chosen)) + draw(st.integers(0, 2))
    return np.array([each + [-1] * (most - len(each)) for each in chosen])


def pick(table: np.ndarray, frame: Frame, queries: np.ndarray, keys: np.ndarray) -> np.ndarray:
    batch = max(len(table), len(queries), len(keys))
    table, queries, keys = (
        np.broadcast_to(each, (batch, *each.shape[1:])) for each in (table, queries, keys)
    )
    picked = np.zeros((batch, table.shape[1], queries.shape[1], keys.shape[1]), dtype=np.bool_)
    for b, h, i, j in np.ndindex(picked.shape):
        q, k = queries[b, i], keys[b, j]
        picked[b, h, i, j] = (
            q >= 0 and k >= 0 and table[b, h, q - frame.q_offset, k - frame.kv_offset]
        )
    return picked


@settings(max_examples=200)
@given(data=st.data())
def test_picks_rows_and_columns(data: st.DataObject) -> None:
    frame = data.draw(frames(longest=9))
    spec = data.draw(expressions(frame, depth=2))
    mask = build(spec)
    rows = data.draw(st.sampled_from([1, mask.batch if mask.batch > 1 else 3]))
    queries = positions(data.draw, rows, frame.q_offset, frame.q_len)
    keys = positions(data.draw, rows, frame.kv_offset, frame.kv_len)
    try:
        table = reference.dense(spec, *frame.at)
    except ShapeMismatch:  # shifts of shifts, beyond the array of a dense mask
        reject()
    wanted = pick(table, frame, queries, keys)
    got = gathered(mask, queries, keys)
    sizes = queries.shape[1], keys.shape[1]
    found = got.dense(*sizes)
    shape = np.broadcast_shapes(found.shape, wanted.shape)
    found, wanted = np.broadcast_to(found, shape), np.broadcast_to(wanted, shape)
    np.testing.assert_array_equal(found, wanted, repr(spec))
    # The same through bounds, signatures and runs, which engines go by.
    made = sl.plan(got, *sizes, block_q=data.draw(st.integers(1, 4)), block_kv=3)
    assert made.pairs * (shape[0] // made.batch) * (shape[1] // made.heads) == wanted.sum()
    np.testing.assert_array_equal(got.rows(0, *sizes), got.dense(*sizes))
    last = np.where(wanted.any(axis=-1), wanted.shape[-1] - 1 - wanted[..., ::-1].argmax(-1), -1)
    np.testing.assert_array_equal(np.broadcast_to(got.last_key(*sizes), last.shape), last)
    for head in range(got.heads):
        one = at_head(got, head).dense(*sizes)
        np.testing.assert_array_equal(
            np.broadcast_to(one[:, 0], (shape[0], *one.shape[2:])), wanted[:, head % shape[1]]
        )


def test_positions_of_several_rows_under_a_mask_of_one() -> None:
    keys = np.array([[0, 1, 2, 5], [1, 3, 4, -1], [0, 1, 5, 7]])
    for queries in (np.arange(6)[None], keys[:, :3]):
        mask = gathered(sl.causal(), queries, keys)
        wanted = sl.dense(mask.dense(queries.shape[1], 4), means="attend")
        query, key = torch.randn(3, 1, queries.shape[1], 4), torch.randn(3, 1, 4, 4)
        found = sl.attend(query, key, key, mask, engine="cpu")
        assert torch.equal(found, sl.attend(query, key, key, wanted, engine="cpu"))


def test_a_long_share_is_planned_by_its_structure() -> None:
    mask = sl.causal() & sl.documents(lengths=[2**16] * 16)
    queries = np.arange(2**20).reshape(-1, 2, 2**15)[5::9].reshape(1, -1)
    made = sl.plan(gathered(mask, queries, np.arange(2**20)[None]), queries.shape[1], 2**20)
    inside = queries % 2**16
    assert made.pairs == int((inside + 1).sum())
    assert len(made.patterns) == 1


def test_tiles_of_equal_reach_and_other_gaps_are_told_apart() -> None:
    queries = np.array([[1, 2, 3, 11, 12, 13]])
    keys = np.array([[0, 1, 3, 10, 12, 13]])  # three of four, twice, but not the same three
    made = sl.plan(gathered(sl.causal(), queries, keys), 6, 6, block_q=3, block_kv=3)
    wanted = sl.causal().dense(14, 14)[0, 0][np.ix_(queries[0], keys[0])]
    assert made.pairs == wanted.sum()
    assert wanted[:3, :3].sum() != wanted[3:, 3:].sum()


def test_positions_must_rise_and_rows_agree() -> None:
    with pytest.raises(ShapeMismatch, match="do not rise"):
        gathered(sl.causal(), np.array([[3, 1]]), np.array([[0]]))
    with pytest.raises(ShapeMismatch, match="for 2 and 3"):
        gathered(sl.causal(), np.zeros((2, 1), int), np.zeros((3, 1), int))
    with pytest.raises(ShapeMismatch, match="a mask for 2 batch rows"):
        gathered(sl.padding(lengths=[1, 2]), np.zeros((3, 1), int), np.zeros((1, 1), int))


def test_data_are_asked_only_as_far_as_positions_reach() -> None:
    mask = sl.dense(np.ones((1, 1, 4, 4), bool), means="attend")
    assert gathered(mask, np.array([[1, 3, -1]]), np.array([[0, 2]])).count(3, 2) == 4
    with pytest.raises(ShapeMismatch):
        gathered(mask, np.array([[1, 4]]), np.array([[0, 2]])).dense(2, 2)
