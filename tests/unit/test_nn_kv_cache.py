"""The static cache as its users meet it: growing, cropping, copying rows, memory, refusals.

That masks and bits are those of the full pass is tests/conformance/test_nn_cache_*.py.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import sightline as sl
from sightline.errors import InvalidArgument, InvalidMask, ShapeMismatch

LAYERS, BATCH, HEADS, MAX_LEN, DIM, VALUE_DIM = 2, 3, 4, 10, 6, 5


def make(**changes: Any) -> Any:
    return sl.nn.KVCache(LAYERS, BATCH, HEADS, MAX_LEN, DIM, value_dim=VALUE_DIM, **changes)


def numbered(chunk: Any, layer: int, dim: int) -> torch.Tensor:
    """New tokens that say which they are: 100 * row + position + layer / 10; NaN at padding."""
    place = torch.arange(chunk.q_len)
    rows = torch.arange(len(chunk.counts))
    told = 100.0 * rows[:, None] + torch.tensor(chunk.starts)[:, None] + place + layer / 10
    told = told.masked_fill(place >= torch.tensor(chunk.counts)[:, None], float("nan"))
    return told[:, None, :, None].expand(-1, HEADS, -1, dim).clone()


def fill(cache: Any, counts: Any, **more: Any) -> Any:
    chunk = cache.extend(counts, **more)
    for layer in range(cache.layers):
        key, value = numbered(chunk, layer, DIM), numbered(chunk, layer, VALUE_DIM)
        chunk.layer(layer).append(key, value)
    return chunk


def told(cache: Any, layer: int = 0) -> list[list[float]]:
    """What each row holds, by the numbers given above."""
    keys, values = cache.held(layer)
    result = []
    for row, length in enumerate(cache.lengths):
        key, value = keys[row, :, :length], values[row, :, :length]
        assert bool((key == key[:1, :, :1]).all())
        assert bool((value == value[:1, :, :1]).all())
        assert torch.equal(key[0, :, 0], value[0, :, 0])
        result.append((key[0, :, 0] - layer / 10).round(decimals=3).tolist())
    return result


def test_each_row_grows_by_itself() -> None:
    cache = make()
    fill(cache, [3, 0, 1])
    fill(cache, 2, q_len=4)
    fill(cache, np.array([0, 1, 0], dtype=np.int32))
    fill(cache, torch.tensor([1, 0, 0]))
    assert cache.lengths.tolist() == [6, 3, 3]
    for layer in range(LAYERS):
        assert told(cache, layer) == [
            [0, 1, 2, 3, 4, 5],
            [100, 101, 102],
            [200, 201, 202],
        ]


def test_append_writes_in_place_and_gives_views() -> None:
    cache = make()
    memory = [tensor.data_ptr() for tensor in cache._slab.tensors]
    for counts in (4, [1, 2, 0], 1, [0, 0, 5]):
        chunk = cache.extend(counts)
        for layer in range(LAYERS):
            key, value = numbered(chunk, layer, DIM), numbered(chunk, layer, VALUE_DIM)
            keys, values = chunk.layer(layer).append(key, value)
            assert keys.shape == (BATCH, HEADS, cache.lengths.max(), DIM)
            assert values.shape == (BATCH, HEADS, cache.lengths.max(), VALUE_DIM)
            assert keys.data_ptr() == cache._slab.tensors[0][layer].data_ptr()
            assert values.data_ptr() == cache._slab.tensors[1][layer].data_ptr()
    assert memory == [tensor.data_ptr() for tensor in cache._slab.tensors]
    assert cache.nbytes == LAYERS * BATCH * HEADS * MAX_LEN * (DIM + VALUE_DIM) * 4


def test_what_a_chunk_says() -> None:
    cache = make()
    level = fill(cache, [2, 2, 2])
    assert (level.q_len, level.q_offset, level.counts.tolist()) == (2, 0, [2, 2, 2])
    assert level.mask(sl.causal()) is level.layer(1).mask(sl.causal())
    assert level.mask(sl.causal()) == sl.causal()
    fill(cache, [0, 5, 1])
    ragged = cache.extend([3, 1, 0], q_len=4)
    assert ragged.positions.tolist() == [[2, 3, 4, 5], [7, 8, 9, 9], [3, 4, 5, 6]]
    assert ragged.positions.dtype == torch.int64
    assert torch.equal(ragged.layer(1).positions, ragged.positions)
    assert repr(ragged) == "Chunk(q_len=4, tokens=[2+3, 7+1, 3+0])"
    mask = ragged.mask(sl.causal())
    assert mask is ragged.layer(0).mask(sl.causal())
    seen = mask.dense(4, 8, ragged.q_offset).sum(axis=-1)
    assert seen[:, 0].tolist() == [[3, 4, 5, 0], [8, 0, 0, 0], [0, 0, 0, 0]]


def test_a_padded_prefill_stays_a_mask_that_others_can_read() -> None:
    chunk = make().extend([4, 1, 3])
    assert chunk.mask(sl.causal()) == sl.causal() & (
        sl.padding(lengths=[4, 1, 3]) & sl.padding(lengths=[4, 1, 3]).T
    )


def test_the_text_of_a_ragged_mask_is_an_equal_mask() -> None:
    cache = make()
    fill(cache, [2, 0, 4])
    mask = cache.extend([1, 3, 2]).mask(sl.window(left=2, right=0))
    again = sl.parse(mask.text())
    np.testing.assert_array_equal(again.dense(3, 6), mask.dense(3, 6))
    told_apart = sl.causal() & sl.padding(lengths=[3, 4, 1])
    cache.crop([2, 0, 4])
    assert "Placed" in repr(cache.extend(1).mask(told_apart))


def test_a_mask_bound_to_an_array_is_not_asked_at_padding() -> None:
    cache = make()
    mask = sl.dense(np.tri(5, dtype=bool), means="attend")
    chunk = cache.extend([5, 2, 4], q_len=9)
    got = chunk.mask(mask).dense(9, 5, chunk.q_offset).sum(axis=(1, 2, 3))
    assert got.tolist() == [15, 3, 10]
    fill_rest(cache, chunk)
    beyond = cache.extend([1, 1, 0]).mask(mask)
    with pytest.raises(ShapeMismatch, match="was asked for queries up to 6"):
        beyond.dense(1, 6)


def fill_rest(cache: Any, chunk: Any) -> None:
    for layer in range(cache.layers):
        key, value = numbered(chunk, layer, DIM), numbered(chunk, layer, VALUE_DIM)
        chunk.layer(layer).append(key, value)


def test_crop_and_reset() -> None:
    cache = make()
    fill(cache, [6, 2, 4])
    cache.crop(4)
    assert cache.lengths.tolist() == [4, 2, 4]
    cache.crop([1, 9, 0])
    assert cache.lengths.tolist() == [1, 2, 0]
    fill(cache, [2, 1, 1])
    assert told(cache) == [[0, 1, 2], [100, 101, 102], [200]]
    cache.reset()
    assert cache.lengths.tolist() == [0, 0, 0]
    fill(cache, MAX_LEN)
    assert told(cache)[1] == [100.0 + n for n in range(MAX_LEN)]


def test_reorder_takes_rows_along() -> None:
    cache = make()
    fill(cache, [3, 1, 2])
    memory = cache._slab.tensors[0].data_ptr()
    cache.reorder([2, 0, 0])
    assert cache.lengths.tolist() == [2, 3, 3]
    assert told(cache, 1) == [[200, 201], [0, 1, 2], [0, 1, 2]]
    cache.reorder(torch.tensor([1, 0]))
    assert (cache.batch, told(cache)) == (2, [[0, 1, 2], [200, 201]])
    assert memory == cache._slab.tensors[0].data_ptr()
    cache.reorder([1, 0, 1])  # back to three rows: still the same memory
    assert told(cache) == [[200, 201], [0, 1, 2], [200, 201]]
    assert memory == cache._slab.tensors[0].data_ptr()
    fill(cache, [1, 0, 0])
    assert told(cache)[0] == [200, 201, 2]


def test_fork_makes_copies_side_by_side() -> None:
    cache = make()
    fill(cache, [3, 1, 2])
    cache.fork([2, 0, 3])
    assert cache.lengths.tolist() == [3, 3, 2, 2, 2]
    assert told(cache) == [[0, 1, 2]] * 2 + [[200, 201]] * 3
    cache.fork(2)
    assert cache.batch == 10
    fill(cache, [0, 1] * 5)
    assert told(cache)[:3] == [[0, 1, 2], [0, 1, 2, 103], [0, 1, 2]]


def test_the_text_of_a_cache() -> None:
    cache = make(dtype=torch.float16)
    fill_half = cache.extend([3, 0, 1])
    assert repr(cache) == (
        "KVCache(layers=2, batch=3, kv_heads=4, max_len=10, head_dim=6, dtype=torch.float16, "
        "lengths=[3, 0, 1], 0.0 MiB)"
    )
    assert fill_half.positions.shape == (3, 3)
    many = sl.nn.KVCache(1, 11, 1, 4, 2)
    assert "lengths=[0, 0, 0, 0, 0, 0, 0, 0, ...]" in repr(many)


def test_a_cache_made_in_inference_mode_works_outside_of_it() -> None:
    with torch.inference_mode():
        cache = make()
    fill(cache, 2)
    with torch.inference_mode():
        fill(cache, [1, 0, 2])
        cache.fork(2)
    fill(cache, 1)
    assert cache.lengths.tolist() == [4, 4, 3, 3, 5, 5]


def test_lengths_handed_out_are_not_the_cache_s_own() -> None:
    cache = make()
    chunk = fill(cache, 2)
    cache.lengths[:] = 0
    assert cache.lengths.tolist() == [2, 2, 2]
    for array in (chunk.counts, chunk.starts, chunk.stops):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 7


def test_too_many_tokens_change_nothing() -> None:
    cache = make()
    chunk = fill(cache, [8, 3, 0])
    with pytest.raises(InvalidArgument, match=r"3 new tokens for batch row 0, which holds 8 of 10"):
        cache.extend([3, 3, 3])
    assert cache.lengths.tolist() == [8, 3, 0]
    chunk.layer(0).append(numbered(chunk, 0, DIM), numbered(chunk, 0, VALUE_DIM))
    assert told(cache)[1] == [100, 101, 102]


def test_a_stale_chunk_is_refused() -> None:
    cache = make()
    chunk = fill(cache, 1)
    for change in (
        lambda: cache.crop(5),
        lambda: cache.reorder([0, 1, 2]),
        cache.reset,
        lambda: fill(cache, 1),
    ):
        chunk = fill(cache, 1)
        change()
        with pytest.raises(InvalidArgument, match="extended, cropped, reordered or reset"):
            chunk.layer(0).append(numbered(chunk, 0, DIM), numbered(chunk, 0, VALUE_DIM))


def test_a_layer_that_did_not_write_is_named() -> None:
    cache = make()
    chunk = cache.extend([1, 2, 0])
    chunk.layer(0).append(numbered(chunk, 0, DIM), numbered(chunk, 0, VALUE_DIM))
    for go_on in (lambda: cache.extend(1), lambda: cache.fork(2)):
        with pytest.raises(InvalidArgument, match=r"of which \[1\] have not .*crop\(\[0, 0, 0\]"):
            go_on()
    cache.crop(chunk.starts)
    fill(cache, 1)
    cache.extend(0)
    fill(cache, 1)  # a chunk of no tokens asks no layer for anything
    assert cache.lengths.tolist() == [2, 2, 2]


TOKENS = {
    "key": torch.zeros(BATCH, HEADS, 2, DIM),
    "value": torch.zeros(BATCH, HEADS, 2, VALUE_DIM),
}


def append(**changes: Any) -> Any:
    return make().extend([2, 1, 0]).layer(0).append(**{**TOKENS, **changes})


REFUSED = [
    (lambda: sl.nn.KVCache(0, 1, 1, 1, 1), InvalidArgument, "layers must be at least 1"),
    (lambda: sl.nn.KVCache(1, 1, 1, True, 1), InvalidArgument, "max_len must be an integer"),
    (lambda: make(dtype=torch.int64), InvalidArgument, "a floating dtype"),
    (lambda: make().extend([1, 2]), ShapeMismatch, "one for each of the 3 batch rows"),
    (lambda: make().extend(-1), InvalidArgument, "integers of at least 0"),
    (lambda: make().extend([1, 2, 0.5]), InvalidArgument, "integers of at least 0"),
    (lambda: make().extend("many"), InvalidArgument, "integers of at least 0"),
    (lambda: make().extend(True), InvalidArgument, "integers of at least 0"),
    (lambda: make().extend([1, 4, 1], q_len=3), ShapeMismatch, "q_len of at least 4"),
    (lambda: make().extend(11), InvalidArgument, "max_len=11 or more"),
    (lambda: make().crop([1, 2]), ShapeMismatch, "lengths of shape"),
    (lambda: make().reorder([0, 3]), InvalidArgument, "from 0 to 2"),
    (lambda: make().reorder([]), InvalidArgument, "at least one number"),
    (lambda: make().fork(0), InvalidArgument, "at least one number"),
    (lambda: make().extend(1).layer(2), InvalidArgument, "wanted 0 to 1"),
    (lambda: make().extend(1).mask(None), InvalidMask, "mask"),
    (lambda: make().extend(1).mask(sl.padding(lengths=[1, 2])), ShapeMismatch, "2 batch rows"),
    (lambda: append(key=TOKENS["key"][:, :, :1]), ShapeMismatch, r"wanted \[3, 4, 2, 6\]"),
    (lambda: append(value=TOKENS["key"]), ShapeMismatch, r"value .* wanted \[3, 4, 2, 5\]"),
    (lambda: append(key=TOKENS["key"].double()), InvalidArgument, "dtype=.torch.float64"),
    (lambda: append(key=None), InvalidArgument, "key of type NoneType"),
    (
        lambda: append(value=TOKENS["value"].clone().requires_grad_()),
        InvalidArgument,
        "value that wants a gradient",
    ),
    (lambda: append(key=TOKENS["key"].to("meta")), InvalidArgument, "device meta"),
]


@pytest.mark.parametrize(("call", "error", "words"), REFUSED)
def test_refusals(call: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        call()
