"""Shards: every block is dealt out once; areas and keys are those of the mask written out."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import sightline as sl
from sightline import reference
from sightline.errors import InvalidArgument, ShapeMismatch
from sightline.plan.block_map import BlockMap
from sightline.plan.shard import Assignment, BlockCosts, Shard, block_costs, contiguous, shard
from sightline.plan.shard_assign import area_at_least, counts_of, evened_out
from sightline.testing.specs import build
from sightline.testing.strategies import Frame, expressions, frames

BLOCKS = [(1, 1), (1, 3), (2, 2), (2, 3), (4, 2), (70, 70)]


def planned(spec: tuple, frame: Frame, blocks: tuple[int, int]) -> BlockMap:
    q_len, kv_len, q_offset, kv_offset = frame.at
    return sl.plan(
        build(spec), q_len, kv_len, q_offset=q_offset, kv_offset=kv_offset,
        block_q=blocks[0], block_kv=blocks[1],
    )  # fmt: skip


def written_out(spec: tuple, frame: Frame, plan: BlockMap) -> np.ndarray:
    """The oracle's answer, [batch, heads, queries, keys] of the batch rows and heads of a plan."""
    dense = reference.dense(spec, *frame.at)
    for axis, size in enumerate((plan.batch, plan.heads)):
        if size == 1 and dense.shape[axis] > 1:  # the mask is simplified to one alike for all
            assert (dense == dense.take([0], axis)).all()
            dense = dense.take([0], axis)
    return np.broadcast_to(dense, (plan.batch, plan.heads, plan.q_len, plan.kv_len))


def placed(assignment: Assignment, batch: int) -> np.ndarray:
    """Which rank holds each token, [batch, tokens], counted block by block."""
    rows = [
        [rank for rank, size in zip(row, assignment.sizes, strict=True) for _ in range(size)]
        for row in assignment.owner.tolist()
    ]
    holder = np.array(rows, dtype=int).reshape(len(rows), -1)
    return np.broadcast_to(holder, (batch, assignment.length))


def seen_of(cut: Shard, dense: np.ndarray, rank: int) -> np.ndarray:
    """Which keys a rank's rows see, [batch, keys], from the mask written out."""
    dense = np.broadcast_to(dense, (cut.batch, *dense.shape[1:]))
    mine = placed(cut.queries, cut.batch) == rank
    return (dense & mine[:, None, :, None]).any(axis=(1, 2))


def judge_dealing(assignment: Assignment) -> None:
    """Each row deals equally many blocks, and as many tokens as every other row."""
    blocks = len(assignment.sizes)
    held = np.array(
        [np.bincount(row, assignment.sizes, assignment.ranks) for row in assignment.owner]
    )
    for row in assignment.owner:
        many = np.bincount(row, minlength=assignment.ranks)
        assert many.tolist() == counts_of(blocks, assignment.ranks).tolist()
        assert many.max() - many.min() <= 1
    assert (held == held[:1]).all()
    assert held[0].tolist() == assignment.lengths.tolist()


def judge_keys(cut: Shard, dense: np.ndarray) -> None:
    """What is needed, received and sent is what the mask written out says."""
    holder = placed(cut.keys, cut.batch)
    blocks = np.add.reduceat if cut.plan.kv_blocks else None
    sent, in_blocks = np.zeros((2, cut.ranks), dtype=int)
    for rank in range(cut.ranks):
        seen = seen_of(cut, dense, rank)
        np.testing.assert_array_equal(cut.needs_keys(rank), seen)
        starts = cut.plan.grid.k_edges[0, :-1] - cut.plan.kv_offset
        wide = blocks(seen.astype(int), starts, axis=1) > 0 if blocks else seen
        np.testing.assert_array_equal(cut.needs(rank), wide)
        foreign = holder != rank
        assert cut.received[rank] == (seen & foreign).sum()
        whole = np.repeat(wide, cut.keys.sizes, axis=1)
        assert cut.received_in_blocks[rank] == (whole & foreign).sum()
        in_blocks += np.bincount(holder[whole & foreign], minlength=cut.ranks)
        sent += np.bincount(holder[seen & foreign], minlength=cut.ranks)
    start, first, stop = cut.needed
    for here in itertools.pairwise(start.tolist()):
        assert (first[slice(*here)][1:] > stop[slice(*here)][:-1]).all()
    assert cut.sent.tolist() == sent.tolist()
    assert cut.sent_in_blocks.tolist() == in_blocks.tolist()


@given(data=st.data())
def test_shards_are_those_of_the_mask_written_out(data: st.DataObject) -> None:
    frame = data.draw(frames(longest=12))
    spec = data.draw(expressions(frame, depth=2))
    plan = planned(spec, frame, data.draw(st.sampled_from(BLOCKS)))
    ranks = data.draw(st.integers(1, 7))
    cut = shard(plan, ranks, communication=data.draw(st.sampled_from([0.0, 0.5, 20.0])))
    judge_dealing(cut.queries)
    judge_dealing(cut.keys)
    dense = written_out(spec, frame, plan)
    holder = placed(cut.queries, plan.batch)
    pairs = np.bincount(holder.ravel(), dense.sum(axis=(1, 3)).ravel(), ranks)
    np.testing.assert_array_equal(cut.area, pairs)
    assert cut.balance >= cut.balance_at_least * (1 - 1e-12)
    judge_keys(cut, dense)


@pytest.mark.parametrize("blocks", [(50, 128), (64, 150), (70, 200)])
def test_keys_of_blocks_of_several_words(blocks: tuple[int, int]) -> None:
    frame = Frame(300, 430, 7, 5, 1, 1)
    apart = ("and", ("dilated", {"stride": 3}), ("window", {"left": 100, "right": 31}))
    for spec in (apart, ("or", apart, ("keys", {"positions": [70, 139, 300]}))):
        plan = planned(spec, frame, blocks)
        judge_keys(shard(plan, 3), written_out(spec, frame, plan))


@given(data=st.data())
def test_shards_of_other_masks_and_other_keys(data: st.DataObject) -> None:
    frame = data.draw(frames(longest=9))
    blocks = data.draw(st.sampled_from(BLOCKS))
    ranks = data.draw(st.integers(1, 5))
    first, second = (data.draw(expressions(frame, depth=1)) for _ in range(2))
    plan, other = (planned(spec, frame, blocks) for spec in (first, second))
    # Keys dealt out by lot, to rows that are told apart or not.
    rows = data.draw(st.sampled_from([1, frame.batch]))
    lot = np.random.default_rng(data.draw(st.integers(0, 99)))
    dealt = np.stack([
        lot.permutation(contiguous(plan.grid.k_edges[0], ranks).owner[0]) for _ in range(rows)
    ]).astype(np.int32)  # fmt: skip
    cut = shard(plan, ranks, keys=Assignment(dealt, plan.grid.k_edges[0], ranks))
    judge_keys(cut, written_out(first, frame, plan))
    moved = cut.under(other)
    assert moved.queries is cut.queries
    assert moved.keys is cut.keys
    judge_keys(moved, written_out(second, frame, other))


@given(data=st.data())
def test_costs_weigh_the_cells_of_mixed_blocks(data: st.DataObject) -> None:
    frame = data.draw(frames(longest=12))
    spec = data.draw(expressions(frame, depth=1))
    height, width = data.draw(st.sampled_from([(2, 3), (3, 2)]))
    plan = planned(spec, frame, (height, width))
    costs = BlockCosts(full=0.5, partial=2.0, cell=0.25)
    dense = written_out(spec, frame, plan)
    wanted = np.zeros((plan.batch, plan.heads, plan.q_blocks))
    for i, j in np.ndindex(plan.q_blocks, plan.kv_blocks):
        tile = dense[:, :, i * height : (i + 1) * height, j * width : (j + 1) * width]
        ones, cells = tile.sum(axis=(2, 3)), tile[0, 0].size
        mixed = np.where(ones > 0, ones * 2.0 + cells * 0.25, 0)
        wanted[:, :, i] += np.where(ones == cells, cells * 0.5, mixed)
    np.testing.assert_array_equal(block_costs(plan, costs), wanted)
    cut = shard(plan, 3, costs=costs)
    assert cut.area.sum() == wanted.sum()


def dealings(blocks: int, ranks: int) -> list[tuple[int, ...]]:
    """All ways to deal out blocks, (give or take one) equally many to each rank."""
    few, more = divmod(blocks, ranks)
    found = []
    for way in itertools.product(range(ranks), repeat=blocks):
        counts = np.bincount(way, minlength=ranks)
        if counts.min() >= few and counts.max() <= few + (more > 0):
            found.append(way)
    return found


@pytest.mark.parametrize(("blocks", "ranks"), [(2, 3), (5, 2), (6, 2), (6, 3), (7, 3)])
def test_no_dealing_is_below_the_bound(blocks: int, ranks: int) -> None:
    ways = dealings(blocks, ranks)
    random = np.random.default_rng(3)
    met = 0
    for power in (1, 4, 12) * 5:
        cost = random.random(blocks) ** power
        best = min(np.bincount(way, cost, ranks).max() for way in ways)
        bound = area_at_least(cost[None], ranks)
        assert bound <= best * (1 + 1e-12)
        met += bound >= best * (1 - 1e-12)
    # Not merely the mean: of costs that differ a lot it is often the very best there is.
    assert met >= 5


def test_the_bound_counts_what_other_batch_rows_force() -> None:
    # A rank with the 8 of the first row has another block of it, and two of the second.
    cost = np.array([[8.0, 1, 1, 1], [3.0, 3, 3, 3]])
    assert area_at_least(cost, 2) == 9 + 6


LENGTHS = np.random.default_rng(5).lognormal(7.0, 1.2, 400).astype(int) + 16
LONG = {
    "causal": sl.causal(),
    "packed": sl.causal() & sl.documents(lengths=LENGTHS.tolist()),
    "window": sl.causal() & sl.window(left=1000),
    "prefix": sl.prefix_lm([30_001]),
    "diffusion": sl.block_diffusion(65_536, 32),
    "rows": sl.causal() & sl.padding(lengths=[131_072, 70_000, 300]),
}


@pytest.mark.parametrize("ranks", [3, 8, 64])
@pytest.mark.parametrize("name", LONG)
def test_long_sequences_are_even(name: str, ranks: int) -> None:
    cut = shard(sl.plan(LONG[name], 131_072), ranks)
    judge_dealing(cut.queries)
    # Half a percent, or where blocks are too large for that, little over what no dealing beats.
    assert cut.balance <= max(1.005, cut.balance_at_least * 1.05) + 1e-9
    assert cut.received.sum() == cut.sent.sum()
    assert (cut.received <= cut.received_in_blocks).all()


def test_causal_pairs_heads_with_tails() -> None:
    cut = shard(sl.plan(sl.causal(), 4096), 4)
    assert cut.balance == 1.0
    owner = cut.queries.owner[0]
    assert (owner == owner[::-1]).all()
    assert (owner[:16].reshape(4, 4) == owner[:16:4, None]).all()


def test_no_more_keys_travel_than_evenness_needs() -> None:
    # Every rank's stretch is as much work as another's: nothing is exchanged.
    plan = sl.plan(sl.documents(lengths=[512] * 16), 8192)
    cut = shard(plan, 8)
    np.testing.assert_array_equal(cut.queries.owner, contiguous(plan.grid.q_edges[0], 8).owner)
    assert cut.received.tolist() == [0] * 8


@pytest.mark.parametrize("name", ["causal", "packed", "diffusion"])
def test_communication_is_traded_for_balance(name: str) -> None:
    def busiest(cut: Shard, price: float) -> float:
        traffic = np.maximum(cut.received_in_blocks, cut.sent_in_blocks)
        return float((cut.area + price * traffic).max())

    plan = sl.plan(LONG[name], 131_072)
    even, cheap = shard(plan, 8), shard(plan, 8, communication=1e12)
    # A causal mask's last block needs all keys, whoever holds it.
    assert busiest(cheap, 1e12) < busiest(even, 1e12) or name != "packed"
    for price in (0.01, 1.0, 1000.0, 1e6):
        worst = [busiest(cut, price) for cut in (shard(plan, 8, communication=price), even, cheap)]
        assert worst[0] == min(worst)


def test_stretches_and_folds_are_dealt_in_order() -> None:
    plan = sl.plan(sl.causal(), 1000, block_q=100, block_kv=100)
    cost = block_costs(plan, BlockCosts()).sum(axis=1)
    stretches, fold = (
        evened_out(plan, cost, 4, evenness=np.inf, folded=folded)[0] for folded in (False, True)
    )
    assert stretches.tolist() == [0, 0, 1, 1, 2, 2, 2, 3, 3, 3]
    assert fold.tolist() == [3, 2, 1, 0, 0, 1, 2, 2, 3, 3]
    np.testing.assert_array_equal(contiguous(plan.grid.q_edges[0], 4).owner[0], stretches)


def test_later_batch_rows_make_up_for_earlier_ones() -> None:
    # One row alone cannot be even: a block of each is all its work.
    spike = sl.queries(range(256)) & sl.causal()
    plan = sl.plan(sl.per_batch([spike, spike.shift(query=0)] * 2), 1024, block_q=256, block_kv=256)
    cut = shard(plan, 4)
    assert cut.balance == 1.0
    assert cut.queries.batch == 4
    judge_dealing(cut.queries)


def test_rows_that_are_alike_are_dealt_out_in_opposite_orders() -> None:
    mask = sl.causal() & sl.padding(lengths=[8192, 8191])
    cut = shard(sl.plan(mask, 8192), 8)
    assert cut.balance <= 1.005
    # Heavy in one row is light in the other, so that no stretch is torn.
    for rank in range(8):
        assert (np.diff(cut.queries.blocks(rank), axis=1) == 1).all()


def test_a_short_last_block_stays_with_the_last_rank() -> None:
    mask = sl.per_batch([sl.causal(), sl.causal().T, sl.everything()])
    cut = shard(sl.plan(mask, 1000, block_q=64, block_kv=64), 3)
    assert (cut.queries.owner[:, -1] == 2).all()
    assert cut.queries.lengths.tolist() == [320, 320, 360]


def test_the_work_of_a_short_last_block_counts() -> None:
    # The last two blocks are all the work, and the last one stays: the other goes.
    plan = sl.plan(sl.queries(range(600, 1000)), 1000, block_q=300, block_kv=300)
    cost = block_costs(plan, BlockCosts()).sum(axis=1)
    for folded in (False, True):
        assert evened_out(plan, cost, 2, folded=folded)[0, 2:].tolist() == [0, 1]
    assert shard(plan, 2).area.tolist() == [300_000, 100_000]


def test_large_blocks_are_scattered() -> None:
    # Two or three blocks for each rank: exchanges from stretches end a quarter over the mean.
    lengths = [110, 488, 321, 231, 588, 1245, 414, 113, 675, 248, 1349, 233]
    plan = sl.plan(sl.causal() & sl.documents(lengths=lengths), sum(lengths))
    cut = shard(plan, 16)
    assert cut.balance == pytest.approx(cut.balance_at_least)
    assert cut.balance < 1.11


def test_fewer_blocks_than_ranks_leave_the_first_ranks_nothing() -> None:
    cut = shard(sl.plan(sl.causal(), 300), 5)
    assert cut.queries.lengths.tolist() == [0, 0, 128, 128, 44]
    assert cut.area[:2].tolist() == [0.0, 0.0]
    assert cut.received.tolist() == [0, 0, 0, 128, 256]
    assert cut.needs_keys(0).sum() == 0


def test_no_tokens_and_no_work() -> None:
    none = shard(sl.plan(sl.causal(), 0), 3)
    assert none.queries.lengths.tolist() == none.received.tolist() == none.sent.tolist() == [0] * 3
    idle = shard(sl.plan(sl.nothing(), 1024), 3)
    assert (idle.balance, idle.balance_at_least) == (1.0, 1.0)
    assert idle.received.tolist() == [0, 0, 0]


def test_bytes_are_those_of_keys_and_values() -> None:
    cut = shard(sl.plan(sl.everything(), 1024), 2)
    assert cut.received.tolist() == [512, 512]
    assert cut.received_bytes(kv_heads=3, head_dim=5, dtype_bytes=2).tolist() == [512 * 60] * 2
    assert cut.received_bytes(head_dim=5, value_dim=7).tolist() == [512 * 48] * 2
    with pytest.raises(InvalidArgument, match="kv_heads"):
        cut.received_bytes(kv_heads=0)


DIGEST = """
import hashlib, numpy as np, sightline as sl
digest = hashlib.sha256()
for mask in (sl.prefix_lm([3000, 9000]), sl.causal() & sl.documents(lengths=[900, 5000, 77] * 9)):
    for price in (0.0, 30.0):
        cut = sl.shard(sl.plan(mask, 20000), 7, communication=price)
        digest.update(cut.queries.owner.tobytes() + cut.received.tobytes())
print(digest.hexdigest())
"""


def test_every_process_cuts_alike() -> None:
    answers = set()
    for seed in ("0", "1", "77"):
        there = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run(
            [sys.executable, "-c", DIGEST], env=there, capture_output=True, text=True, check=True
        )
        answers.add(done.stdout)
    assert len(answers) == 1


def test_what_is_refused() -> None:
    plan = sl.plan(sl.causal(), 512)
    with pytest.raises(InvalidArgument, match="ranks"):
        shard(plan, 0)
    for price in (-1.0, float("nan")):
        with pytest.raises(InvalidArgument, match="communication"):
            shard(plan, 2, communication=price)
    packed = sl.causal() & sl.documents(lengths=[100, 412])
    with pytest.raises(InvalidArgument, match="aligned"):
        shard(sl.plan(packed, 512, cuts="aligned"), 2)
    for keys in (contiguous(plan.grid.k_edges[0], 3), contiguous(plan.grid.k_edges[0, :-1], 2)):
        with pytest.raises(ShapeMismatch, match="keys="):
            shard(plan, 2, keys=keys)
    with pytest.raises(ShapeMismatch, match="blocks of 64"):
        shard(plan, 2).under(sl.plan(sl.causal(), 512, block_q=64, block_kv=64))
