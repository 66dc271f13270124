"""Engine ``cpu`` gives the same bits for the same sequence, however it lies and runs.

Alone, padded on either side, packed with others whatever those hold, from any first query on,
step by step against a cache, on any number of threads: output, logsumexp and gradients.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import hypothesis
import pytest
import torch
from hypothesis import strategies as st
from poisoning import DTYPES, available, bits
from sequences import (
    HEADS,
    INF,
    KINDS,
    KV_HEADS,
    NAN,
    Layout,
    assert_same,
    attend,
    draw,
)

import sightline as sl
from sightline.engines.cpu_parts.kernels import Call, Result, Tensors, run_backward, run_forward
from sightline.engines.cpu_parts.plans import native_plan

LAYOUTS = [
    Layout(after=1, other=NAN, padding=True),
    Layout(after=130, other=INF, padding=True),
    Layout(before=1, other=NAN, padding=True),
    Layout(before=70, other=-INF, padding=True),
    Layout(before=96, after=64),
    Layout(before=33, after=31, other=NAN),
    Layout(before=5, after=100, other=INF),
    Layout(before=129, after=3, other=1e4),
]
# Two ways of summing up gradients: with half the heads for each thread, and with fewer.
THREADS = (1, 2, 3, 5)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    available("cpu")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


# -- where a sequence lies ----------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", KINDS)
def test_alone_padded_and_packed(kind: str, dtype: str) -> None:
    sequence = draw(101, DTYPES[dtype])
    alone = attend(sequence, KINDS[kind], Layout())
    for layout in LAYOUTS:
        assert_same(alone, attend(sequence, KINDS[kind], layout), layout)


@pytest.mark.parametrize("length", [1, 2, 3, 8, 9, 64, 65, 96, 97, 193])
def test_every_length(length: int) -> None:
    """Up to 8 queries alone take another way than the same among others."""
    for dims in ((16, 64), (5, 3)):
        sequence = draw(length, dims=dims, seed=length)
        for kind in ("causal", "everything"):
            alone = attend(sequence, KINDS[kind], Layout())
            for layout in LAYOUTS[1::2]:
                assert_same(alone, attend(sequence, KINDS[kind], layout), (kind, layout))


places = st.one_of(st.integers(0, 20), st.sampled_from([31, 32, 63, 64, 65, 95, 96, 97, 160, 200]))
layouts = st.builds(
    Layout,
    before=places,
    after=places,
    other=st.sampled_from([None, NAN, INF, -INF, 0.0, 1e30]),
    padding=st.booleans(),
)


@hypothesis.given(
    kind=st.sampled_from(list(KINDS)),
    layout=layouts,
    length=st.one_of(st.integers(1, 12), st.integers(1, 140)),
    dtype=st.sampled_from([torch.float32, torch.float32, torch.float64]),
    dims=st.sampled_from([(24, 12), (8, 8), (1, 1), (33, 40), (64, 64)]),
    size=st.sampled_from([1.0, 0.01, 4.0, 3e3]),
    seed=st.integers(0, 9),
)
def test_any_place(
    kind: str,
    layout: Layout,
    length: int,
    dtype: torch.dtype,
    dims: tuple[int, int],
    size: float,
    seed: int,
) -> None:
    sequence = draw(length, dtype, dims=dims, size=size, seed=seed)
    alone = attend(sequence, KINDS[kind], Layout())
    assert_same(alone, attend(sequence, KINDS[kind], layout), layout)


@pytest.mark.parametrize("dtype", DTYPES)
def test_tiny_products_leave_no_sign(dtype: str) -> None:
    """A product too small for a number is rounded to -0, which the 0 of a forbidden pair ends."""
    sequence = draw(70, DTYPES[dtype], dims=(16, 16))
    tiny = float(torch.finfo(DTYPES[dtype]).tiny)
    small = tiny**0.75
    faint = replace(
        sequence,
        upstream=sequence.upstream * small,
        upstream_lse=sequence.upstream_lse * small,
        value=sequence.value * small,
        query=sequence.query * small,
    )
    for kind in ("causal", "window"):
        alone = attend(faint, KINDS[kind], Layout())
        for layout in LAYOUTS[4:]:
            assert_same(alone, attend(faint, KINDS[kind], layout), layout)
        if sequence.query.itemsize >= 4:  # else a number is rounded to -0 when it is written
            for name, tensor in alone.items():
                assert not ((tensor == 0) & tensor.signbit()).any(), f"-0 in {name}"


# -- which queries a call has -------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", KINDS)
def test_from_any_first_query_on(kind: str, dtype: str) -> None:
    """The chunks of a prefill and the steps of a decode are rows of the whole pass."""
    sequence = draw(150, DTYPES[dtype], dims=(32, 32))
    for layout in (Layout(), Layout(before=40, after=9, other=NAN)):
        whole = attend(sequence, KINDS[kind], layout)
        for skipped in (1, 8, 64, 97, 142, 145, 149):
            first = layout.before + skipped
            part = attend(sequence, KINDS[kind], replace(layout, skipped=first))
            for name in ("output", "logsumexp", "grad of query"):
                rows = {name: whole[name][:, :, skipped:]}
                assert_same(rows, {name: part[name]}, (layout, skipped))


@pytest.mark.parametrize("kv_heads", [1, 2, 4])
@pytest.mark.parametrize("dtype", DTYPES)
def test_decode_steps(dtype: str, kv_heads: int) -> None:
    """1 to 8 queries at a time against a cache that goes on with NaN behind what they see."""
    length, room = 140, 200
    rng = torch.Generator().manual_seed(1)
    for dims, options in [
        ((16, 32), {}),
        ((20, 10), {"bias": torch.randn(4, 1, room, generator=rng)}),
        ((64, 64), {"bias": torch.randn(4, length, 1, generator=rng)}),
    ]:
        query = torch.randn(2, 4, length, dims[0], generator=rng).to(DTYPES[dtype])
        key = torch.randn(2, kv_heads, room, dims[0], generator=rng).to(DTYPES[dtype])
        value = torch.randn(2, kv_heads, room, dims[1], generator=rng).to(DTYPES[dtype])
        key[:, :, length:] = value[:, :, length:] = NAN
        for mask in (sl.causal(), sl.window(90, 0), sl.causal() & sl.padding(lengths=[130, 3])):
            whole = _attend(query, key, value, mask, 0, options)
            for t, steps in [(0, 1), (63, 2), (95, 4), (127, 8), (131, 7), (139, 1)]:
                now = slice(t, t + steps)
                part = _attend(query[:, :, now], key, value, mask, t, options)
                rows = [tensor[:, :, now] for tensor in whole]
                for ours, theirs in zip(part, rows, strict=True):
                    assert torch.equal(bits(ours), bits(theirs)), (mask, t, steps)


def _attend(query: Any, key: Any, value: Any, mask: sl.Mask, t: int, options: Any) -> Any:
    bias = options.get("bias")
    if bias is not None and bias.shape[1] > 1:
        bias = bias[:, t : t + query.shape[2]]
    return sl.attend(query, key, value, mask, q_offset=t, bias=bias, engine="cpu", return_lse=True)


# -- who computes it ----------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", KINDS)
def test_any_number_of_threads(kind: str, dtype: str) -> None:
    """Few heads are shared out by queries and by keys; 16 blocks of keys are one task of those."""
    for length in (70, 1100):
        if length > 1000 and kind not in ("causal", "dilated"):
            continue
        sequence = draw(length, DTYPES[dtype], dims=(16, 8))
        layout = Layout(before=7, after=20, other=NAN)
        alone = attend(sequence, KINDS[kind], layout)
        for threads in THREADS[1:]:
            torch.set_num_threads(threads)
            assert_same(alone, attend(sequence, KINDS[kind], layout), (threads, length))
        torch.set_num_threads(1)


@pytest.mark.parametrize("shape", [(), (1, 1, 1, 300), (3, 1, 1, 1), (1, HEADS, 170, 300)])
def test_any_number_of_threads_with_bias_and_dropout(shape: tuple[int, ...]) -> None:
    rng = torch.Generator().manual_seed(2)
    given = Tensors(
        torch.randn(3, HEADS, 170, 9, generator=rng),
        torch.randn(3, KV_HEADS, 300, 9, generator=rng),
        torch.randn(3, KV_HEADS, 300, 16, generator=rng),
        torch.randn(shape, generator=rng),
    )
    mask = sl.causal() & sl.padding(lengths=[300, 20, 200])
    call = Call(native_plan(mask, 170, 300, 130), 0.3, dropout=0.25, seed=5)
    wanted = _both_passes(given, call)
    for threads in THREADS[1:]:
        torch.set_num_threads(threads)
        for ours, theirs in zip(_both_passes(given, call), wanted, strict=True):
            assert torch.equal(bits(ours), bits(theirs)), threads


def _both_passes(given: Tensors, call: Call) -> list[torch.Tensor]:
    result = run_forward(given, call, stats=True, logsumexp=True)
    assert result.stats is not None
    assert result.logsumexp is not None
    rng = torch.Generator().manual_seed(3)
    upstream = torch.randn(result.output.shape, generator=rng)
    upstream_lse = torch.randn(result.logsumexp.shape, generator=rng)
    grads = run_backward(
        given, call, result.output, result.stats, upstream, upstream_lse, (True,) * 4
    )
    return [result.output, result.logsumexp, *(grad for grad in grads if grad is not None)]


def test_only_what_is_wanted_is_the_same_as_all() -> None:
    rng = torch.Generator().manual_seed(4)
    query, key, value = torch.randn(3, 1, 2, 130, 16, generator=rng).unbind()
    given = Tensors(query, key, value, None)
    call = Call(native_plan(sl.causal(), 130, 130, 0), 0.25)
    result = run_forward(given, call, stats=True, logsumexp=False)
    assert result.stats is not None
    upstream = torch.randn(result.output.shape, generator=rng)
    after = result.output, result.stats, upstream, None
    everything = run_backward(given, call, *after, (True,) * 4)
    for threads in THREADS:
        torch.set_num_threads(threads)
        for wanted in range(8):
            some = tuple(bool(wanted >> i & 1) for i in range(3))
            grads = run_backward(given, call, *after, (*some, False))
            for got, want, whole in zip(grads[:3], some, everything[:3], strict=True):
                assert (got is not None) == want
                if got is not None and whole is not None:
                    assert torch.equal(bits(got), bits(whole)), (threads, some)


# -- dropout: a decode step drops what the same row of a whole pass drops ------------------------


def test_dropout_depends_on_places_only() -> None:
    rng = torch.Generator().manual_seed(6)
    query = torch.randn(2, HEADS, 100, 12, generator=rng)
    key, value = (torch.randn(2, KV_HEADS, 140, 12, generator=rng) for _ in range(2))

    def forward(queries: slice, kv_len: int) -> Result:
        given = Tensors(query[:, :, queries], key[:, :, :kv_len], value[:, :, :kv_len], None)
        q_len = given.query.shape[2]
        plan = native_plan(sl.keys(slice(0, 120)), q_len, kv_len, 0)
        call = Call(plan, 0.25, dropout=0.4, seed=11)
        return run_forward(given, call, stats=False, logsumexp=False)

    whole = forward(slice(0, 100), 140).output
    for count in (1, 3, 8, 9, 97):
        assert torch.equal(whole[:, :, :count], forward(slice(0, count), 140).output)
    assert torch.equal(whole, forward(slice(0, 100), 120).output)
