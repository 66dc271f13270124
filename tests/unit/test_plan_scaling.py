"""What ranks have to do and how long it takes: counted from dense masks, worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import sightline as sl
from sightline.errors import InvalidArgument, ShapeMismatch
from sightline.plan.scaling import Devices, Layer, Loads, Prediction, head_tail, predict
from sightline.plan.shard import BlockCosts
from sightline.testing.specs import build
from sightline.testing.strategies import expressions, frames


def held(owner: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Return the rank of each token, [batch rows, tokens]."""
    return np.repeat(owner, sizes, axis=1)


@given(data=st.data(), ranks=st.integers(1, 5), times=st.integers(1, 2))
def test_loads_are_those_of_the_dense_mask(data: st.DataObject, ranks: int, times: int) -> None:
    frame = data.draw(frames(longest=14))
    mask = build(data.draw(expressions(frame, depth=2)))
    made = sl.plan(mask, frame.q_len, frame.kv_len, block_q=2, block_kv=1)
    if made.q_blocks < ranks or made.kv_blocks < ranks:
        return
    cut = sl.shard(made, ranks) if data.draw(st.booleans()) else head_tail(made, ranks)
    batch = max(mask.batch, 1 if cut.batch > 1 else times)
    same = times if mask.heads == 1 else 1  # heads that share the mask's only one
    layer = Layer(batch, mask.heads * same, mask.heads * same, 3, 4)
    loads = Loads.of(cut, layer)
    dense = np.broadcast_to(
        mask.dense(frame.q_len, frame.kv_len),
        (batch, mask.heads, frame.q_len, frame.kv_len),
    )
    queries, keys = (
        np.broadcast_to(held(each.owner, each.sizes), (batch, each.length))
        for each in (cut.queries, cut.keys)
    )
    seen = np.zeros((ranks, batch, frame.kv_len), dtype=bool)
    pairs = np.zeros(ranks)
    for row in range(batch):
        for rank in range(ranks):
            own = dense[row][:, queries[row] == rank]
            seen[rank, row] = own.any(axis=(0, 1))
            pairs[rank] += own.sum() * same
    assert layer.key_bytes == 2 * mask.heads * same * 3 * 4
    np.testing.assert_array_equal(loads.pairs, pairs)
    for rank in range(ranks):
        foreign = seen[rank] & (keys != rank)
        assert loads.received[rank] == foreign.sum() * layer.key_bytes
        sent = sum((seen[other] & (keys == rank)).sum() for other in range(ranks) if other != rank)
        assert loads.sent[rank] == sent * layer.key_bytes
    everything = Loads.all_gather(cut, layer)
    np.testing.assert_array_equal(everything.pairs, pairs)
    for rank in range(ranks):
        # Every rank holds as much of one batch row as of another.
        assert everything.received[rank] == (keys != rank).sum() * layer.key_bytes
        assert everything.sent[rank] == everything.received[rank]


def test_what_was_weighted_is_not_what_is_computed() -> None:
    made = sl.plan(sl.causal(), 256, block_q=32, block_kv=32)
    weighted = sl.shard(made, 2, costs=BlockCosts(full=2.0, partial=1.0, cell=3.0))
    pairs = Loads.of(weighted, Layer(heads=4, kv_heads=2)).pairs
    assert pairs.sum() == 4 * 256 * 257 / 2


@pytest.mark.parametrize("ranks", [1, 2, 3, 5])
def test_head_tail_takes_a_stretch_from_each_end(ranks: int) -> None:
    made = sl.plan(sl.causal(), 2 * ranks * 6, block_q=3, block_kv=3)
    owner = head_tail(made, ranks).queries.owner[0]
    forth = np.repeat(np.arange(ranks), 2)
    np.testing.assert_array_equal(owner, [*forth, *forth[::-1]])
    assert head_tail(made, ranks).balance == pytest.approx(1.0)


def test_keys_of_another_sequence_lie_in_order() -> None:
    cut = head_tail(sl.plan(sl.everything(), 64, 128, block_q=8, block_kv=16), 4)
    assert cut.queries.owner.tolist() == [[0, 1, 2, 3, 3, 2, 1, 0]]
    assert cut.keys.owner.tolist() == [[0, 0, 1, 1, 2, 2, 3, 3]]


LOADS = Loads(np.array([1e9, 3e9]), np.array([10**9, 4 * 10**9]), np.array([5 * 10**9, 0]))


def test_times_by_hand() -> None:
    # 4 * 50 operations a pair at 100 * 10^12 a second: 2 and 6 ms; 5 and 4 GB at 500 GB/s.
    times = predict(LOADS, Layer(head_dim=50), Devices(tflops=100, gbytes=500))
    np.testing.assert_allclose(times.forward, [2e-3, 6e-3])
    np.testing.assert_allclose(times.backward, [5e-3, 15e-3])
    np.testing.assert_allclose(times.travel, [10e-3, 8e-3])
    assert times.seconds(overlap=True) == pytest.approx((10e-3, 15e-3))
    assert times.seconds(overlap=False) == pytest.approx((14e-3, 23e-3))
    assert times.efficiency(overlap=True) == pytest.approx(14 / 25)
    assert times.efficiency(overlap=False) == pytest.approx(14 / 37)


def test_work_that_takes_no_time() -> None:
    none = Prediction(*np.zeros((3, 2)))
    assert none.seconds(overlap=True) == (0.0, 0.0)
    assert none.efficiency(overlap=True) == 1.0


@given(
    tflops=st.floats(0.1, 1e4),
    gbytes=st.floats(0.1, 1e4),
    pairs=st.lists(st.integers(0, 10**9), min_size=3, max_size=3),
    bytes_in=st.lists(st.integers(0, 10**9), min_size=3, max_size=3),
)
def test_sending_beside_is_never_slower_nor_twice_as_fast(
    tflops: float, gbytes: float, pairs: list[int], bytes_in: list[int]
) -> None:
    loads = Loads(np.array(pairs, float), np.array(bytes_in), np.array(bytes_in[::-1]))
    times = predict(loads, Layer(), Devices(tflops, gbytes))
    for beside, before in zip(
        times.seconds(overlap=True), times.seconds(overlap=False), strict=True
    ):
        assert beside <= before <= 2 * beside * (1 + 1e-12)
    assert 0 <= times.efficiency(overlap=False) <= times.efficiency(overlap=True) <= 1 + 1e-12


@pytest.mark.parametrize("wrong", [0.0, -1.0, float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["tflops", "gbytes"])
def test_devices_that_cannot_be(name: str, wrong: float) -> None:
    with pytest.raises(InvalidArgument, match=f"got {name}={wrong}; wanted a number above 0"):
        Devices(**{name: wrong})


def test_layers_that_the_mask_cannot_have() -> None:
    rows = sl.shard(sl.plan(sl.padding(lengths=[256, 200]), 256), 2)
    for layer in (Layer(batch=3), Layer(batch=2, heads=6, kv_heads=4)):
        for make in (Loads.of, Loads.all_gather):
            with pytest.raises(ShapeMismatch):
                make(rows, layer)
    with pytest.raises(InvalidArgument, match="head_dim"):
        Loads.of(rows, Layer(batch=2, head_dim=0))
