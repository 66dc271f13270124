"""What a cache makes of any mask is that mask at each row's own positions, cell by cell.

Judged by the oracle, for random expressions and ragged rows; the plan that engines walk along is
checked too.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, reject, settings
from hypothesis import strategies as st
from written_out import check

import sightline as sl
from sightline import reference
from sightline.errors import CannotExpress, ShapeMismatch
from sightline.masks.heads import at_head
from sightline.nn.caches.chunk import Chunk
from sightline.nn.caches.placed import placed
from sightline.testing.specs import build
from sightline.testing.strategies import ATOMS, Frame, atoms, expressions

BATCH, HEADS = 3, 4
# No token stands at a position beyond this, which arrays that masks are made of reach to.
FARTHEST = 12
FRAME = Frame(5, FARTHEST, 0, 0, BATCH, HEADS)
BLOCKS = st.sampled_from([(1, 1), (2, 3), (3, 2), (4, 4), (8, 64), (128, 128)])
each_row = st.lists(st.integers(0, 6), min_size=BATCH, max_size=BATCH)
starts_of_rows = st.one_of(each_row, st.integers(0, 6).map(lambda n: [n] * BATCH))


def wanted(spec: Any, chunk: Chunk, positions: np.ndarray) -> np.ndarray:
    """The mask of each real token over slots that hold ``positions`` [batch, slots]; -1 is none."""
    result = np.zeros((BATCH, HEADS, chunk.q_len, positions.shape[1]), bool)
    for row, (start, count) in enumerate(zip(chunk.starts, chunk.counts, strict=True)):
        if not count or not (start + count):
            continue
        table = asked(spec, int(count), int(start + count), int(start))
        table = table[row if len(table) > 1 else 0]
        seen = np.flatnonzero(positions[row] >= 0)
        result[row, :, :count][:, :, seen] = table[:, :, positions[row, seen]]
    return result


def asked(spec: Any, count: int, stop: int, start: int) -> np.ndarray:
    """The oracle's answer; moves of moves that leave the array of a dense mask are not drawn."""
    try:
        return reference.dense(spec, count, stop, start, 0)
    except ShapeMismatch:
        reject()


def in_order(chunk: Chunk) -> np.ndarray:
    """The positions in the slots of a cache that drops nothing."""
    slots = np.arange(chunk.kv_len)
    return np.where(slots < chunk.stops[:, None], slots, -1)


def judge(spec: Any, chunk: Chunk, positions: np.ndarray, blocks: tuple[int, int]) -> None:
    mask = chunk.mask(build(spec))
    picture = wanted(spec, chunk, positions)
    shape = chunk.q_len, chunk.kv_len, chunk.q_offset
    got = np.broadcast_to(mask.dense(*shape), picture.shape)
    np.testing.assert_array_equal(got, picture, f"{spec} for {chunk}")
    if 0 not in picture.shape:
        plan = sl.plan(
            mask, *shape[:2], q_offset=chunk.q_offset, block_q=blocks[0], block_kv=blocks[1]
        )
        check(plan, picture)


def grown(cache: Any, starts: list[int], counts: list[int], spare: int) -> Chunk:
    if any(starts):
        pass_through(cache, cache.extend(starts))
    return cache.extend(counts, q_len=max(counts) + spare)


def pass_through(cache: Any, chunk: Chunk) -> None:
    tokens = torch.zeros(cache.batch, cache.kv_heads, chunk.q_len, cache.head_dim)
    chunk.layer(0).append(tokens, tokens)


@given(data=st.data())
def test_random_expressions(data: st.DataObject) -> None:
    spec = data.draw(expressions(FRAME, depth=3))
    counts, spare = data.draw(each_row), data.draw(st.integers(0, 2))
    cache = sl.nn.KVCache(1, BATCH, 1, FARTHEST, 1)
    chunk = grown(cache, data.draw(starts_of_rows), counts, spare)
    judge(spec, chunk, in_order(chunk), data.draw(BLOCKS))


@pytest.mark.parametrize("name", sorted(ATOMS))
def test_each_mask(name: str) -> None:
    @settings(max_examples=15)
    @given(data=st.data())
    def run(data: st.DataObject) -> None:
        spec = data.draw(atoms(name, FRAME))
        cache = sl.nn.PagedKVCache(
            9, 4, layers=1, batch=BATCH, kv_heads=1, head_dim=1, max_len=FARTHEST
        )
        chunk = grown(cache, data.draw(starts_of_rows), data.draw(each_row), 1)
        judge(spec, chunk, in_order(chunk), data.draw(BLOCKS))

    run()


PLACED = {
    "window": ("window", {"left": 2, "right": 1}),
    "only the past": ("window", {"left": None, "right": 0}),
    "documents": ("documents", {"lengths": [[3, 4, 6], [5, 8], [1, 12]]}),
    "padding": ("padding", {"lengths": [6, 9, 11], "side": "left", "total": 11}),
    "dilated or first": ("or", ("dilated", {"stride": 2}), ("sinks", {"n": 3})),
    "heads": ("per_head", {"masks": [("causal", {}), ("chunks", {"size": 3})] * 2}),
}


@pytest.mark.parametrize("name", PLACED)
def test_any_place_of_a_mask(name: str) -> None:
    """Moved and cut by any numbers, of which a cache's are only some."""
    spec, (q_len, kv_len) = PLACED[name], (7, 9)
    random = np.random.default_rng(len(name))
    for block_q, block_kv in [(1, 1), (2, 3), (3, 2), (4, 4), (8, 64)] * 6:
        down, right, top, left = random.integers(0, 5, (4, BATCH))
        bottom, stop = random.integers(2, 10, (2, BATCH))
        mask = placed(build(spec), np.stack([down, right, top, bottom, left, stop], axis=1))
        picture = np.zeros((BATCH, HEADS, q_len, kv_len), bool)
        for row in range(BATCH):
            table = reference.dense(spec, q_len, kv_len, int(down[row]), int(right[row]))
            inside = np.zeros((q_len, kv_len), bool)
            inside[top[row] : bottom[row], left[row] : stop[row]] = True
            picture[row] = table[row if len(table) > 1 else 0] & inside
        full = np.broadcast_to(mask.dense(q_len, kv_len), picture.shape)
        np.testing.assert_array_equal(full, picture)
        check(sl.plan(mask, q_len, kv_len, block_q=block_q, block_kv=block_kv), picture)


@given(data=st.data())
def test_a_rolling_cache_is_exact_or_refuses(data: st.DataObject) -> None:
    """Refused exactly where a new token may see one that is gone."""
    window, sinks = data.draw(st.integers(1, 4)), data.draw(st.integers(0, 3))
    recent = ("or", ("window", {"left": window - 1, "right": 0}), ("sinks", {"n": sinks}))
    inner = data.draw(expressions(FRAME, depth=2))
    spec = data.draw(st.sampled_from([inner, ("and", inner, recent)]))
    cache = sl.nn.RollingKVCache(1, BATCH, 1, 1, window=window, sinks=sinks)
    room = min(window, 2)
    chunk = cache.extend(0)
    while cache.lengths.max() < FARTHEST - room:
        pass_through(cache, chunk)
        counts = data.draw(st.lists(st.integers(0, room), min_size=BATCH, max_size=BATCH))
        chunk = cache.extend([*counts[1:], room])
    slots = np.arange(chunk.kv_len)
    positions = np.where(slots < sinks, slots, slots + cache.dropped[:, None])
    positions = np.where(positions < chunk.stops[:, None], positions, -1)
    shown = False
    for row in range(BATCH):
        held = set(positions[row].tolist())
        gone = [p for p in range(chunk.stops[row]) if p not in held]
        assert gone == list(range(sinks, sinks + cache.dropped[row]))
        count, start = int(chunk.counts[row]), int(chunk.starts[row])
        if gone and count:
            table = asked(spec, count, start + count, start)
            shown |= bool(table[row if len(table) > 1 else 0][:, :, gone].any())
    if shown:
        with pytest.raises(CannotExpress, match="is gone: the cache keeps the first"):
            chunk.mask(build(spec))
    else:
        judge(spec, chunk, positions, data.draw(BLOCKS))


@pytest.mark.parametrize("name", ["sdpa", "reference"])
def test_other_engines_take_ragged_rows(name: str) -> None:
    heads = sl.per_head([sl.causal(), sl.window(2, 0), sl.nothing(), sl.causal(strict=True)])
    cache = sl.nn.KVCache(1, BATCH, 2, FARTHEST, 5)
    chunk = grown(cache, [4, 0, 6], [2, 3, 0], 1)
    rng = torch.Generator().manual_seed(0)
    query = torch.randn(BATCH, HEADS, chunk.q_len, 5, generator=rng)
    new = torch.randn(BATCH, 2, chunk.q_len, 5, generator=rng)
    layer = chunk.layer(0)
    call = query, *layer.append(new, new), layer.mask(heads)
    wanted = sl.attend(*call, q_offset=layer.q_offset)
    got = sl.attend(*call, q_offset=layer.q_offset, engine=name)
    torch.testing.assert_close(got, wanted, rtol=1e-5, atol=1e-6)


def test_each_head_of_a_ragged_mask() -> None:
    heads = sl.per_head([sl.causal(), sl.window(2, 0), sl.nothing(), sl.causal(strict=True)])
    mask = grown(sl.nn.KVCache(1, BATCH, 1, FARTHEST, 1), [4, 0, 6], [2, 3, 0], 1).mask(heads)
    whole = mask.dense(4, 6)
    for head in range(HEADS):
        np.testing.assert_array_equal(at_head(mask, head).dense(4, 6)[:, 0], whole[:, head])
