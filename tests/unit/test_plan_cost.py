"""What a plan costs: by hand, against a count over written-out blocks, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import sightline as sl
from sightline import reference
from sightline.errors import InvalidArgument, ShapeMismatch
from sightline.plan import cost as cost_module
from sightline.plan.cost import Cost, cost_of
from sightline.testing.specs import build
from sightline.testing.strategies import expressions, frames


def test_a_causal_mask_by_hand() -> None:
    # 4 x 4 blocks of 2 x 2: 4 on the diagonal with 3 pairs each, 6 full ones below.
    plan = sl.plan(sl.causal(), 8, block_q=2, block_kv=2)
    cost = cost_of(plan, batch=3, heads=4, head_dim=16, dtype_bytes=2, kv_heads=2)
    assert cost == Cost(
        pairs=36 * 12,
        computed_pairs=40 * 12,
        dense_pairs=64 * 12,
        forward_flops=40 * 12 * 4 * 16,
        dense_forward_flops=64 * 12 * 4 * 16,
        backward_flops=40 * 12 * 10 * 16,
        dense_backward_flops=64 * 12 * 10 * 16,
        # 8 queries in and out for 12 heads; 2 + 4 + 6 + 8 keys and values for 6 key/value heads.
        bytes_moved=2 * 8 * 12 * 32 + 2 * 20 * 6 * 32,
        dense_bytes_moved=2 * 8 * 12 * 32 + 2 * 32 * 6 * 32,
        mask_bytes=64,
        score_bytes=64 * 12 * 4,
    )
    assert (cost.share_computed, cost.share_useful) == (0.625, 0.9)
    assert cost.share_moved == cost.bytes_moved / cost.dense_bytes_moved
    assert plan.cost(batch=3, heads=4, head_dim=16, dtype_bytes=2, kv_heads=2) == cost


def test_masks_that_tell_rows_and_heads_apart() -> None:
    plan = sl.plan(sl.padding(lengths=[4, 0]) & sl.per_head([sl.causal(), sl.everything()]), 4)
    cost = plan.cost()
    assert (cost.pairs, cost.computed_pairs, cost.dense_pairs) == (26, 32, 64)
    assert cost.mask_bytes == 64
    # Every query head reads for itself: two blocks, of the first batch row.
    assert plan.cost(kv_heads=1).bytes_moved == 2 * 16 * 256 + 2 * 8 * 256


@given(data=st.data())
def test_against_a_count_over_blocks(data: st.DataObject) -> None:
    frame = data.draw(frames(longest=12))
    spec = data.draw(expressions(frame, depth=2))
    mask = build(spec)
    block_q, block_kv = data.draw(st.sampled_from([(1, 1), (2, 3), (4, 2), (128, 128)]))
    q_len, kv_len, q_offset, kv_offset = frame.at
    plan = sl.plan(
        mask, q_len, kv_len, q_offset=q_offset, kv_offset=kv_offset,
        block_q=block_q, block_kv=block_kv,
    )  # fmt: skip
    allowed = reference.dense(spec, *frame.at)
    allowed = np.broadcast_to(allowed, (frame.batch, frame.heads, q_len, kv_len))
    computed = keys = 0
    for b, h in np.ndindex(frame.batch, frame.heads):
        for q in range(0, q_len, block_q):
            for k in range(0, kv_len, block_kv):
                block = allowed[b, h, q : q + block_q, k : k + block_kv]
                computed += block.size * block.any()
                keys += block.shape[1] * block.any()
    cost = plan.cost(batch=frame.batch, heads=frame.heads, head_dim=8, dtype_bytes=1)
    assert (cost.pairs, cost.computed_pairs, cost.dense_pairs) == (
        allowed.sum(), computed, allowed.size,
    )  # fmt: skip
    ends = 2 * 8 * frame.batch * frame.heads * q_len
    assert cost.bytes_moved == ends + 2 * 8 * keys
    blocks = -(-q_len // block_q) * frame.batch * frame.heads
    assert cost.dense_bytes_moved == ends + 2 * 8 * blocks * kv_len
    assert 0 <= cost.share_computed <= 1
    assert 0 <= cost.share_useful <= 1


def test_aligned_blocks_count_their_own_cells() -> None:
    mask = sl.documents(lengths=[[3, 2], [5]])
    cost = sl.plan(mask, 5, block_q=4, block_kv=4, cuts="aligned").cost(head_dim=1, dtype_bytes=1)
    assert cost.computed_pairs == cost.pairs == 9 + 4 + 25
    # Row 0 has blocks of 3 and 2 queries, row 1 of 4 and 1.
    assert cost.bytes_moved == 2 * 10 + 2 * (3 + 2 + 5 + 5)
    assert cost.dense_bytes_moved == 2 * 10 + 2 * 4 * 5


def test_nothing_to_do_and_no_queries() -> None:
    cost = sl.plan(sl.nothing(), 8).cost()
    assert (cost.computed_pairs, cost.share_computed, cost.share_useful) == (0, 0.0, 1.0)
    none = sl.plan(sl.causal(), 0).cost()
    assert (none.dense_pairs, none.share_computed, none.share_moved) == (0, 0.0, 0.0)


def test_counts_beyond_64_bits_are_exact() -> None:
    cost = sl.plan(sl.everything(), 2**20, block_q=2**15, block_kv=2**15).cost(
        batch=1024, heads=1024, head_dim=128
    )
    assert cost.forward_flops == cost.dense_forward_flops == 2**60 * 4 * 128


def test_a_wrong_count_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost_module, "_FORWARD", 2)
    with pytest.raises(AssertionError):
        test_a_causal_mask_by_hand()


def test_what_does_not_fit_is_refused() -> None:
    plan = sl.plan(sl.padding(lengths=[3, 1]), 4)
    with pytest.raises(ShapeMismatch, match="tells 2 along batch apart, and batch=1 was given"):
        plan.cost(batch=1)
    with pytest.raises(ShapeMismatch, match="3 key/value heads do not divide 8"):
        plan.cost(heads=8, kv_heads=3)
    with pytest.raises(InvalidArgument, match="head_dim"):
        plan.cost(head_dim=0)
