"""The rolling cache as its users meet it: bounded memory, what is kept, what is refused.

That masks and bits are those of the full pass is tests/conformance/test_nn_cache_*.py.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch

import sightline as sl
from sightline.errors import CannotExpress, InvalidArgument

LAYERS, BATCH, HEADS, DIM, WINDOW, SINKS, MAX_CHUNK = 2, 3, 1, 4, 5, 2, 3
RECENT = sl.window(left=WINDOW - 1, right=0) | (sl.sinks(SINKS) & sl.causal())


def make(**changes: Any) -> Any:
    sizes = {"window": WINDOW, "sinks": SINKS, "max_chunk": MAX_CHUNK, **changes}
    return sl.nn.RollingKVCache(LAYERS, BATCH, HEADS, DIM, **sizes)


def fill(cache: Any, counts: Any) -> tuple[Any, torch.Tensor]:
    """Append tokens that say their position, and return the chunk and the last layer's keys."""
    chunk = cache.extend(counts)
    for layer in range(LAYERS):
        told = chunk.positions[:, None, :, None].expand(-1, HEADS, -1, DIM).float() + layer / 10
        keys, _ = chunk.layer(layer).append(told, told)
    return chunk, keys


def seen(chunk: Any, keys: torch.Tensor, row: int) -> list[int]:
    """The positions that the last real token of a row sees, from the keys themselves."""
    allowed = chunk.mask(RECENT).dense(chunk.q_len, chunk.kv_len, chunk.q_offset)
    own = allowed[row if len(allowed) > 1 else 0, 0, chunk.counts[row] - 1]
    return (keys[row, 0, :, 0] - (LAYERS - 1) / 10)[torch.from_numpy(own)].round().int().tolist()


def test_memory_is_bounded_and_stays_where_it_is() -> None:
    cache = make()
    memory = [tensor.data_ptr() for tensor in cache._slab.tensors]
    nbytes = cache.nbytes
    for step in range(40):
        chunk, keys = fill(cache, [1, 2, step % 2])
        assert keys.shape[2] <= SINKS + WINDOW - 1 + MAX_CHUNK
        for row in (0, 1):
            last = int(chunk.stops[row]) - 1
            wanted = sorted({*range(min(SINKS, last + 1)), *range(max(0, last - 4), last + 1)})
            assert seen(chunk, keys, row) == wanted
    assert cache.lengths.tolist() == [40, 80, 20]
    assert memory == [tensor.data_ptr() for tensor in cache._slab.tensors]
    assert cache.nbytes == nbytes


def test_chunks_of_the_largest_size() -> None:
    cache = make()
    fill(cache, SINKS + WINDOW - 1 + MAX_CHUNK)  # the first one may fill all slots
    for _ in range(7):
        chunk, keys = fill(cache, MAX_CHUNK)
        first = chunk.mask(RECENT).dense(chunk.q_len, chunk.kv_len, chunk.q_offset)[0, 0, 0]
        held = keys[0, 0, :, 0].round().int()[torch.from_numpy(first)].tolist()
        at = int(chunk.starts[0])
        assert held == [0, 1, *range(at - 4, at + 1)]


def test_a_crop_goes_back_only_as_far_as_the_window_does() -> None:
    cache = make()
    for _ in range(10):
        fill(cache, MAX_CHUNK)
    dropped = cache.dropped
    cache.crop([29, 27, 12])
    assert cache.lengths.tolist() == [29, 27, 12]
    assert (cache.dropped[:2] == dropped[:2]).all()
    chunk, keys = fill(cache, [1, 0, 0])
    assert seen(chunk, keys, 0) == [0, 1, 25, 26, 27, 28, 29]
    with pytest.raises(CannotExpress, match=r"row 2 .*position 12 may see position 8, which is"):
        fill(cache, [0, 0, 1])[0].mask(RECENT)
    cache.crop([30, 27, 1])
    chunk, keys = fill(cache, [0, 0, 3])
    assert seen(chunk, keys, 2) == [0, 1, 2, 3]


def test_what_needs_more_is_refused_with_a_way_out() -> None:
    cache = make()
    for _ in range(6):
        chunk, _ = fill(cache, [2, 3, 1])
    for mask in (
        sl.causal(),
        sl.window(left=12, right=0),
        RECENT | sl.keys([4]),
        sl.per_head([RECENT, sl.causal()]),
        sl.per_batch([RECENT, sl.everything(), RECENT]),
    ):
        with pytest.raises(CannotExpress, match="the cache keeps the first 2 tokens") as refusal:
            chunk.mask(mask)
        assert refusal.value.destination == "sl.nn.RollingKVCache"
        way_out = mask & (sl.window(left=WINDOW - 1, right=0) | sl.sinks(SINKS))
        assert chunk.mask(way_out).batch == BATCH
    for mask in (RECENT, sl.window(left=1, right=0), sl.sinks(1), sl.nothing()):
        chunk.mask(mask)
    # Row 2 has lost nothing yet: what only it may see is no reason to refuse.
    assert cache.dropped[2] == 0
    chunk.mask(sl.per_batch([RECENT, RECENT, sl.causal()]))


def test_too_many_tokens_at_once_change_nothing() -> None:
    cache = make()
    fill(cache, [9, 1, 0])
    with pytest.raises(InvalidArgument, match=r"row 0, .* at most 3 at a time; .* pieces of up to"):
        cache.extend([4, 1, 1])
    with pytest.raises(InvalidArgument, match=r"row 1, .* at most 8 at a time"):
        cache.extend([1, 9, 1])
    assert cache.lengths.tolist() == [9, 1, 0]
    assert not cache.dropped.any()


def test_a_window_of_one_token_without_sinks() -> None:
    cache = sl.nn.RollingKVCache(LAYERS, BATCH, HEADS, DIM, window=1)
    for step in range(5):
        chunk, keys = fill(cache, 1)
        assert keys.shape[2] == 1
        assert keys[0, 0, 0, 0].round() == step
        assert chunk.mask(sl.window(left=0, right=0)).dense(1, 1, chunk.q_offset).all()


def test_the_text_and_the_sizes() -> None:
    assert repr(make()) == (
        "RollingKVCache(layers=2, batch=3, kv_heads=1, window=5, sinks=2, max_chunk=3, head_dim=4, "
        "dtype=torch.float32, lengths=[0, 0, 0], 0.0 MiB)"
    )
    assert make().nbytes == LAYERS * BATCH * HEADS * (2 + 4 + 3) * 2 * DIM * 4
    for changes in ({"window": 0}, {"sinks": -1}, {"max_chunk": 0}):
        with pytest.raises(InvalidArgument, match="must be at least"):
            make(**changes)
