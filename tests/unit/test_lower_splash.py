"""jax.splash: its mask objects and segment ids against the oracle, then run by the kernel itself.

The kernel runs on the CPU with interpret=True, block by block as on a TPU.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import sightline as sl
from sightline.errors import InvalidArgument, MissingExtra
from sightline.lower import jax_splash
from sightline.lower.forms.segments import Ids, ids_of, split_by_ids
from sightline.reference.attention import attention, attention_gradients
from sightline.reference.dense import dense as oracle
from sightline.testing.specs import build
from sightline.testing.strategies import expressions, frames

jax = pytest.importorskip("jax")

from jax.experimental.pallas.ops.tpu.splash_attention import (  # noqa: E402
    splash_attention_kernel as kernels,
)

NAME = "jax.splash"


@pytest.fixture(autouse=True, scope="module")
def any_length() -> Iterator[None]:
    """Mask objects are tested at lengths that the kernel, which does not see them, refuses."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jax_splash, "LANES", 1)
        yield


def said(call: dict[str, Any], q_len: int, kv_len: int) -> np.ndarray:
    """Return what a call says, [batch|1, heads, q_len, kv_len]."""
    assert set(call) == {"mask", "segment_ids"}
    assert call["mask"].shape[1:] == (q_len, kv_len)
    whole = slice(0, q_len), slice(0, kv_len)
    allowed = np.stack([each[whole] for each in call["mask"].masks])[None]
    if call["segment_ids"] is not None:
        query, key = (np.asarray(part) for part in call["segment_ids"])
        assert query.dtype == key.dtype == np.int32
        same = np.atleast_2d(query)[:, None, :, None] == np.atleast_2d(key)[:, None, None, :]
        allowed = allowed & same
    return allowed


def words(mask: Any) -> str:
    """Return the classes that a mask object is made of."""
    kind = type(mask).__name__.removesuffix("Mask")
    if kind.startswith("Logical"):
        return f"{kind.removeprefix('Logical')}({words(mask.left)}, {words(mask.right)})"
    return kind


def check(mask: sl.Mask, *at: int, heads: int = 2) -> dict[str, Any]:
    call = sl.lower(mask, NAME, *at, num_heads=heads)
    np.testing.assert_array_equal(*np.broadcast_arrays(said(call, *at[:2]), oracle(mask, *at)))
    return call


# -- exact, and as lazy as it can be -----------------------------------------------------------


@pytest.mark.parametrize(
    ("mask", "at", "form"),
    [
        (sl.everything(), (5, 7, 0), "Full"),
        (sl.causal(), (5, 7, 0), "Causal"),
        (sl.causal(), (5, 9, 4), "Causal"),
        (sl.causal(strict=True), (5, 9, 4), "Causal"),
        (sl.window(right=2), (5, 9, 0), "Causal"),
        (sl.causal() & sl.window(left=2), (5, 9, 4), "Local"),
        (sl.window(left=2), (5, 5, 0), "Local"),
        (sl.window(left=2, right=1), (5, 7, 2), "Local"),
        (sl.causal() & ~sl.window(left=1, right=0), (5, 9, 4), "Causal"),
        (sl.window(left=0, right=0) | sl.causal().shift(key=-2), (5, 9, 4), "Or(Causal, Local)"),
        (sl.causal() & sl.chunks(3), (5, 7, 0), "ChunkedCausal"),
        (sl.window(left=1, right=0) & sl.chunks(3), (5, 7, 0), "And(ChunkedCausal, Local)"),
        (sl.causal() & sl.chunks(3) & sl.chunks(4), (5, 7, 0), "And(ChunkedCausal, ChunkedCausal)"),
        (
            sl.causal() & (sl.window(left=2) | sl.sinks(1)),
            (5, 9, 3),
            "And(Causal, Or(Local, Numpy))",
        ),
        (sl.dilated(2) | sl.block_causal(3), (5, 7, 0), "Numpy"),
        (sl.dilated(2) | sl.causal(), (5, 7, 0), "Or(Causal, Numpy)"),
    ],
    ids=str,
)  # fmt: skip
def test_parts_with_a_class_of_their_own_stay_lazy(
    mask: sl.Mask, at: tuple[int, int, int], form: str
) -> None:
    call = check(mask, *at)
    assert call["segment_ids"] is None
    assert [words(each) for each in call["mask"].masks] == [form, form]


@pytest.mark.parametrize(
    ("mask", "at", "form", "shape"),
    [
        (sl.documents(lengths=[3, 4]), (5, 7, 2), "Full", (5,)),
        (sl.causal() & sl.documents(lengths=[[3, 4], [5, 2]]), (5, 7, 2), "Causal", (2, 5)),
        (sl.causal() & sl.documents(lengths=[[3, 4], [3, 4]]), (5, 7, 2), "Causal", (5,)),
        (sl.causal() & sl.padding(lengths=[3, 7, 1]), (5, 7, 2), "Causal", (3, 5)),
        (sl.padding(valid=[[1, 0, 1], [0, 1, 1]]), (5, 3, 0), "Full", (2, 5)),
        (sl.causal() & sl.chunks(3), (5, 7, 1), "Causal", (5,)),
        (sl.chunks(3), (5, 7, 0), "Full", (5,)),
        (sl.causal() & sl.keys([0, 2]), (5, 7, 1), "Causal", (5,)),
        (
            sl.window(2, 1)
            & sl.documents(lengths=[[3, 4], [5, 2]])
            & sl.padding(lengths=[7, 6])
            & sl.prefix(6),
            (6, 7, 0),
            "Local",
            (2, 6),
        ),
    ],
    ids=str,
)
def test_segments_become_segment_ids(
    mask: sl.Mask, at: tuple[int, int, int], form: str, shape: tuple[int, ...]
) -> None:
    call = check(mask, *at)
    assert words(call["mask"].masks[0]) == form
    assert call["segment_ids"].q.shape == shape


def test_segments_that_show_only_in_the_cells_are_found() -> None:
    rows = sl.per_batch([sl.chunks(2), sl.everything(), sl.chunks(3)]) & sl.causal()
    both = sl.per_head([sl.causal(), sl.window(1, 1)]) & sl.per_batch([sl.chunks(2), sl.chunks(3)])
    for mask in (rows, both):
        assert check(mask, 5, 7, 1)["segment_ids"].q.shape == (mask.batch, 5)


def test_heads() -> None:
    mask = sl.per_head([sl.causal(), sl.window(1, 1), sl.dilated(2)])
    call = check(mask & sl.documents(lengths=[[3, 4], [5, 2]]), 5, 7, 1, heads=3)
    assert [words(each) for each in call["mask"].masks] == ["Causal", "Local", "Numpy"]
    assert sl.lower(mask, NAME, 5, 7)["mask"].shape == (3, 5, 7)
    alike = sl.lower(sl.causal(), NAME, 5, 7, num_heads=4)["mask"].masks
    assert len(alike) == 4
    assert len(set(map(id, alike))) == 1
    with pytest.raises(InvalidArgument, match=r"got no num_heads .*pass num_heads=\."):
        sl.lower(sl.causal(), NAME, 5)
    with pytest.raises(sl.ShapeMismatch, match=r"num_heads=2 .* a mask with 3"):
        sl.lower(mask, NAME, 5, num_heads=2)


def test_chunks_within_a_head_have_no_class_elsewhere_than_at_the_start() -> None:
    mask = sl.per_head([sl.causal() & sl.chunks(3), sl.causal()])
    for q_offset, form in ((0, "ChunkedCausal"), (1, "And(Causal, Numpy)")):
        call = check(mask, 5, 7, q_offset)
        assert [words(each) for each in call["mask"].masks] == [form, "Causal"]


@pytest.mark.parametrize(
    "mask",
    [
        sl.spans([[0, -1, 1, 1, -1, 0], [-1, -1, 2, 0, 0, 2]]),
        sl.documents(lengths=[[2, 1], [4]]),
        sl.padding(lengths=[3, 6]),
        sl.padding(valid=[[1, 0, 1, 1], [0, 1, 0, 1]]),
        sl.keys([1, 3, 4]),
        sl.chunks(3),
    ],
    ids=str,
)
def test_ids_are_the_oracle_also_where_rows_are_empty(mask: sl.Mask) -> None:
    for at in ((5, 9, 0), (6, 3, 2)):
        ids = ids_of(mask, *at)
        assert ids is not None
        np.testing.assert_array_equal(*np.broadcast_arrays(ids.same()[:, None], oracle(mask, *at)))


def test_ids_meet() -> None:
    rng = np.random.default_rng(0)
    for rows in ((1, 1), (3, 1), (1, 3), (3, 3)):
        one, two = (Ids(rng.integers(-1, 3, (n, 20)), rng.integers(-2, 3, (n, 30))) for n in rows)
        np.testing.assert_array_equal(
            *np.broadcast_arrays(one.meet(two).same(), one.same() & two.same())
        )


@given(st.data())
def test_expressions(data: st.DataObject) -> None:
    frame = replace(data.draw(frames()), kv_offset=0)
    spec = data.draw(expressions(frame, 2))
    mask, at = build(spec), (frame.q_len, frame.kv_len, frame.q_offset)
    allowed = oracle(spec, *at)
    try:
        call = sl.lower(mask, NAME, *at, num_heads=frame.heads)
    except sl.CannotExpress:
        if allowed.any(axis=-1).all():
            pairs, ids = split_by_ids(np.broadcast_to(allowed, (mask.batch, *allowed.shape[1:])))
            assert not np.array_equal(pairs & ids.same()[:, None], allowed)
        return
    assert allowed.any(axis=-1).all()
    np.testing.assert_array_equal(*np.broadcast_arrays(said(call, *at[:2]), allowed))


def test_a_split_is_found_exactly_where_there_is_one() -> None:
    """Against trying all pairs and all ids, for 2 batch rows of 2 x 2 cells."""
    every = [np.array([n >> i & 1 for i in range(4)], bool).reshape(2, 2) for n in range(16)]
    names = [np.array([n // 3**i % 3 for i in range(4)]) for n in range(81)]
    same = {(n[:2, None] == n[None, 2:]).tobytes(): n[:2, None] == n[None, 2:] for n in names}
    exist = {
        (np.stack([a & s, a & t])).tobytes()
        for a in every
        for s in same.values()
        for t in same.values()
    }
    assert 16 < len(exist) < 256
    for n in range(256):
        allowed = np.array([n >> i & 1 for i in range(8)], bool).reshape(2, 1, 2, 2)
        pairs, ids = split_by_ids(allowed)
        found = np.array_equal(pairs & ids.same()[:, None], allowed)
        assert found == (allowed.tobytes() in exist)


def test_a_million_tokens() -> None:
    length = 2**20
    mask = sl.causal() & sl.window(left=4096) & sl.documents(lengths=[[1024] * 1024, [length]])
    call = sl.lower(mask, NAME, length, num_heads=8)
    assert words(call["mask"].masks[0]) == "Local"
    assert call["segment_ids"].kv.shape == (2, length)
    with pytest.raises(sl.CannotExpress, match=r"dilated.* bytes"):
        sl.lower(sl.causal() & sl.dilated(2), NAME, length, num_heads=8)


# -- refusals ----------------------------------------------------------------------------------


def test_other_differences_between_batch_rows_are_refused() -> None:
    mask = sl.padding(lengths=[6, 6]) & sl.prefix_lm([2, 4])
    with pytest.raises(sl.CannotExpress, match=r"batch 0, head 0, query 0 from key 2") as caught:
        sl.lower(mask, NAME, 6, num_heads=2)
    assert caught.value.part.startswith("prefix_lm")
    assert "jax.dot_product_attention" in caught.value.alternative


def test_shapes_that_the_kernel_cannot_take(monkeypatch: pytest.MonkeyPatch) -> None:
    for mask in (sl.padding(lengths=[5, 0]), sl.causal(strict=True)):
        with pytest.raises(sl.CannotExpress, match="may see nothing"):
            sl.lower(mask, NAME, 5, num_heads=2)
    with pytest.raises(sl.CannotExpress, match="q_len=0"):
        sl.lower(sl.causal(), NAME, 0, 4, num_heads=2)
    with pytest.raises(sl.CannotExpress, match="kv_len=0"):
        sl.lower(sl.causal(), NAME, 4, 0, num_heads=2)
    monkeypatch.setattr(jax_splash, "LANES", 128)
    with pytest.raises(sl.CannotExpress, match=r"kv_len=200.*kv_len=256.*sl\.prefix\(200\)"):
        sl.lower(sl.causal(), NAME, 200, num_heads=2)
    padded = sl.lower(sl.causal() & sl.prefix(200), NAME, 200, 256, num_heads=2)
    allowed = np.pad(oracle(sl.causal(), 200), [(0, 0), (0, 0), (0, 0), (0, 56)])
    np.testing.assert_array_equal(*np.broadcast_arrays(said(padded, 200, 256), allowed))


def test_a_missing_jax_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, jax_splash.MASKS, None)
    with pytest.raises(MissingExtra, match=r"needs jax, .*sightline\[jax\]"):
        sl.lower(sl.causal(), NAME, 5, num_heads=2)


# -- run by the kernel -------------------------------------------------------------------------

B, HEADS, Q, K, DIM, OFFSET = 3, 2, 128, 256, 128, 120
DOCUMENTS = sl.documents(lengths=[[100, 156], [256], [30, 100, 126]])
RUNS = {
    "window and documents": sl.causal() & sl.window(left=40) & DOCUMENTS,
    "padding": sl.causal() & sl.padding(lengths=[256, 10, 160]),
    "sinks": sl.causal() & (sl.window(left=20) | sl.sinks(4)),
    "per head": sl.per_head([sl.causal(), ~sl.dilated(3)]) & DOCUMENTS,
    "everything": sl.everything(),
}


def tensors() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    sizes = [(Q, DIM), (K, DIM), (K, DIM), (Q, DIM)]
    return [rng.normal(size=(B, HEADS, *size)).astype(np.float32) for size in sizes]


def run(call: dict[str, Any], *inputs: Any) -> Any:
    """Return the kernel's output for [batch, heads, length, dim]; it does not scale the scores."""
    # With segment ids the backward pass wants queries in blocks of 128 too.
    sizes = kernels.BlockSizes(
        block_q=64,
        block_kv=128,
        block_kv_compute=128,
        block_q_dkv=128,
        block_kv_dkv=128,
        block_kv_dkv_compute=128,
        block_q_dq=128,
        block_kv_dq=128,
    )
    kernel = kernels.make_splash_mha(
        mask=call["mask"], head_shards=1, q_seq_shards=1, block_sizes=sizes, interpret=True
    )
    ids = call["segment_ids"]
    batched = 0 if ids is not None and ids.q.ndim == 2 else None
    query, key, value = inputs
    return jax.vmap(kernel, in_axes=(0, 0, 0, batched))(query / DIM**0.5, key, value, ids)


@pytest.mark.parametrize("name", RUNS)
def test_the_kernel_forwards_and_backwards(name: str) -> None:
    call, allowed = check(RUNS[name], Q, K, OFFSET), oracle(RUNS[name], Q, K, OFFSET)
    *inputs, upstream = tensors()
    output, back = jax.vjp(lambda *given: run(call, *given), *inputs)
    wanted = attention(*inputs, allowed).output
    np.testing.assert_allclose(np.asarray(output), wanted, rtol=0, atol=1e-4)
    rights = attention_gradients(*inputs, allowed, upstream)
    for got, right in zip(back(upstream), (rights.query, rights.key, rights.value), strict=True):
        np.testing.assert_allclose(np.asarray(got), right, rtol=0, atol=2e-4)


def test_the_kernel_at_chunks() -> None:
    mask = sl.causal() & sl.chunks(48)
    *inputs, _ = tensors()
    wanted = attention(*inputs, oracle(mask, Q, K)).output
    got = run(sl.lower(mask, NAME, Q, K, num_heads=HEADS), *inputs)
    np.testing.assert_allclose(np.asarray(got), wanted, rtol=0, atol=1e-4)


def test_faults_are_seen() -> None:
    good, allowed = check(RUNS["padding"], Q, K, OFFSET), oracle(RUNS["padding"], Q, K, OFFSET)
    other = sl.lower(RUNS["padding"], NAME, Q, K, OFFSET - 1, num_heads=HEADS)
    for fault in ({"segment_ids": None}, {"mask": other["mask"]}):
        with pytest.raises(AssertionError):
            np.testing.assert_array_equal(
                *np.broadcast_arrays(said({**good, **fault}, Q, K), allowed)
            )
