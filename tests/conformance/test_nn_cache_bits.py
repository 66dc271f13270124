"""With a cache, engine ``cpu`` gives the bits of the full pass, however the tokens come.

All at once, in pieces, one at a time; rows of one length or of many; for each kind of cache, with
poison wherever nothing is held.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import hypothesis
import pytest
import torch
from hypothesis import strategies as st
from poisoning import available, bits

import sightline as sl

BATCH, HEADS, KV_HEADS, LENGTH, DIM, VALUE_DIM = 3, 4, 2, 75, 24, 12
LAYERS, WINDOW, SINKS = 2, 20, 3
NAN = float("nan")
ROLLED = sl.window(left=WINDOW - 1, right=0) | (sl.sinks(SINKS) & sl.causal())
MASKS = {
    "causal": sl.causal(),
    "left padding": sl.causal() & sl.padding(lengths=[75, 40, 66], side="left", total=75),
    "per head": sl.per_head([sl.causal(), sl.window(9, 0), sl.nothing(), sl.causal(strict=True)]),
    "documents": sl.causal() & sl.documents(lengths=[[30, 45], [75], [5, 5, 65]]),
    "dilated": sl.causal() & sl.dilated(3),
    "rolled": ROLLED,
}
Sizes = dict[str, Any]


def static(**sizes: Any) -> Any:
    return sl.nn.KVCache(max_len=LENGTH, **sizes)


def paged(**sizes: Any) -> Any:
    return sl.nn.PagedKVCache(16, 16, **sizes)


def rolling(**sizes: Any) -> Any:
    return sl.nn.RollingKVCache(window=WINDOW, sinks=SINKS, max_chunk=60, **sizes)


CACHES: dict[str, Callable[..., Any]] = {"static": static, "paged": paged, "rolling": rolling}


@pytest.fixture(autouse=True)
def engine() -> Iterator[None]:
    available("cpu")
    with torch.no_grad():
        yield


def draw(dtype: torch.dtype) -> list[list[torch.Tensor]]:
    """Query, key and value of all tokens, for each layer."""
    rng = torch.Generator().manual_seed(5)
    shapes = [(HEADS, DIM), (KV_HEADS, DIM), (KV_HEADS, VALUE_DIM)]
    return [
        [torch.randn(BATCH, h, LENGTH, d, generator=rng).to(dtype) for h, d in shapes]
        for _ in range(LAYERS)
    ]


def fresh(make: Callable[..., Any], dtype: torch.dtype) -> Any:
    """A cache whose memory is full of NaN."""
    cache = make(
        layers=LAYERS,
        batch=BATCH,
        kv_heads=KV_HEADS,
        head_dim=DIM,
        value_dim=VALUE_DIM,
        dtype=dtype,
    )
    for tensor in cache._pool if hasattr(cache, "_pool") else cache._slab.tensors:
        tensor.fill_(NAN)
    return cache


def run(cache: Any, tokens: list[list[torch.Tensor]], mask: sl.Mask, counts: Any, **more: Any):
    """Give the cache its next tokens; return the outputs [layer][row] of the real ones."""
    chunk = cache.extend(counts, **more)
    outputs: list[list[torch.Tensor]] = []
    for index, tensors in enumerate(tokens):
        query, key, value = (cut(tensor, chunk) for tensor in tensors)
        layer = chunk.layer(index)
        keys, values = layer.append(key, value)
        output = sl.attend(
            query, keys, values, layer.mask(mask), q_offset=layer.q_offset, engine="cpu"
        )
        for row, count in enumerate(chunk.counts.tolist()):
            assert not output[row, :, count:].any()  # padding sees nothing: 0, whatever it holds
        outputs.append([output[row, :, :n] for row, n in enumerate(chunk.counts.tolist())])
    return chunk, outputs


def cut(tensor: torch.Tensor, chunk: Any) -> torch.Tensor:
    """Each row's next tokens, NaN behind them."""
    result = torch.full((*tensor.shape[:2], chunk.q_len, tensor.shape[3]), NAN, dtype=tensor.dtype)
    for row, (start, count) in enumerate(zip(chunk.starts, chunk.counts, strict=True)):
        result[row, :, :count] = tensor[row, :, start : start + count]
    return result


def full_pass(tokens: list[list[torch.Tensor]], mask: sl.Mask) -> list[torch.Tensor]:
    return [sl.attend(*tensors, mask, engine="cpu") for tensors in tokens]


def compare(outputs: Any, whole: list[torch.Tensor], chunk: Any, what: Any) -> None:
    for layer, (got, wanted) in enumerate(zip(outputs, whole, strict=True)):
        for row, start in enumerate(chunk.starts.tolist()):
            own = wanted[row, :, start : start + got[row].shape[1]]
            assert torch.equal(bits(got[row]), bits(own)), (what, layer, row, start)


STEPS: dict[str, list[Any]] = {
    "prefill and decode": [60, *[1] * 15],
    "pieces": [7, 1, 30, 2, 35],
    "ragged prefill and decode": [[50, 1, 44], *[1] * 20],
    "ragged all along": [[30, 0, 8], [1, 50, 1], 1, [0, 3, 9], 2, [1, 0, 1], [4, 1, 20]],
}


def follow(kind: str, name: str, steps: str, dtype: torch.dtype) -> None:
    mask = MASKS[name] & ROLLED if kind == "rolling" else MASKS[name]
    tokens = draw(dtype)
    whole = full_pass(tokens, mask)
    cache = fresh(CACHES[kind], dtype)
    for step, counts in enumerate(STEPS[steps]):
        more = {"q_len": 64} if step == 0 else {}
        chunk, outputs = run(cache, tokens, mask, counts, **more)
        compare(outputs, whole, chunk, (kind, name, steps, step))


@pytest.mark.parametrize("name", MASKS)
@pytest.mark.parametrize("kind", CACHES)
def test_the_bits_of_the_full_pass(kind: str, name: str) -> None:
    follow(kind, name, "ragged all along", torch.float32)


@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("kind", CACHES)
def test_however_the_tokens_come(kind: str, steps: str) -> None:
    follow(kind, "causal", steps, torch.bfloat16)


@hypothesis.settings(max_examples=25)
@hypothesis.given(data=st.data())
def test_any_steps(data: st.DataObject) -> None:
    kind, name = data.draw(st.sampled_from(list(CACHES))), data.draw(st.sampled_from(list(MASKS)))
    mask = MASKS[name] & ROLLED if kind == "rolling" else MASKS[name]
    tokens = draw(torch.float32)
    whole = full_pass(tokens, mask)
    cache = fresh(CACHES[kind], torch.float32)
    size = st.one_of(st.integers(0, 3), st.integers(0, 40))
    for _ in range(data.draw(st.integers(2, 5))):
        room = LENGTH - cache.lengths
        counts = data.draw(st.lists(size, min_size=BATCH, max_size=BATCH))
        chunk, outputs = run(
            cache, tokens, mask, [min(n, r) for n, r in zip(counts, room, strict=True)]
        )
        compare(outputs, whole, chunk, (kind, name))
        if kind != "rolling" and data.draw(st.booleans()):
            cache.crop(data.draw(st.lists(size, min_size=BATCH, max_size=BATCH)))


@pytest.mark.parametrize("kind", CACHES)
def test_rows_go_with_the_beam(kind: str) -> None:
    """After a reorder each row goes on as the row that it was."""
    mask = sl.causal() & ROLLED
    tokens = draw(torch.float32)
    whole = full_pass(tokens, mask)
    cache = fresh(CACHES[kind], torch.float32)
    run(cache, tokens, mask, [33, 50, 2])
    for _ in range(8):
        run(cache, tokens, mask, [1, 1, 3])
    rows = [1, 1, 2, 0, 2]
    cache.reorder(rows)
    assert cache.lengths.tolist() == [58, 58, 26, 41, 26]
    tokens = [[tensor[rows] for tensor in tensors] for tensors in tokens]
    whole = [tensor[rows] for tensor in whole]
    for step in ([1, 0, 2, 1, 1], [1, 1, 1, 1, 5]):
        chunk, outputs = run(cache, tokens, mask, step)
        compare(outputs, whole, chunk, (kind, step))
    cache.reorder([4, 0])
    tokens = [[tensor[[4, 0]] for tensor in tensors] for tensors in tokens]
    chunk, outputs = run(cache, tokens, mask, [3, 2])
    compare(outputs, [tensor[[4, 0]] for tensor in whole], chunk, kind)
