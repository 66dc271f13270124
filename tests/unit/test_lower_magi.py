"""Slices for MagiAttention, drawn out by its documentation and held to the oracle."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import sightline as sl
from sightline.reference.attention import attention
from sightline.reference.dense import dense as oracle
from sightline.testing.expanders import magi
from sightline.testing.expanders.tokens import unpacked
from sightline.testing.specs import build
from sightline.testing.strategies import expressions, frames


def drawn(packed: Any) -> np.ndarray:
    """Write out what the slices say, as [batch, 1, q_len, kv_len]."""
    keywords = {name: tensor.tolist() for name, tensor in packed.keywords.items()}
    assert all(tensor.dtype == torch.int32 for tensor in packed.keywords.values())
    queries, keys = packed.query_index.tolist(), packed.key_index.tolist()
    seen = magi.expand(**keywords, q_tokens=len(queries), k_tokens=len(keys))
    assert seen.any(axis=1).all()
    return unpacked(seen, queries, keys, (packed.batch, packed.q_len, packed.kv_len))


@given(st.data())
def test_every_mask_that_is_the_same_for_all_heads(data: st.DataObject) -> None:
    frame = data.draw(frames())
    mask = build(data.draw(expressions(frame, 3)))
    allowed = oracle(mask, frame.q_len, frame.kv_len, frame.q_offset)
    batch = data.draw(st.sampled_from([None, frame.batch])) if mask.batch == 1 else None
    try:
        packed = sl.lower(
            mask, "magi", frame.q_len, frame.kv_len, q_offset=frame.q_offset, batch=batch
        )
    except sl.CannotExpress as refused:
        differ = bool((allowed != allowed[:, :1]).any())
        if (not differ and allowed.any()) or ("heads" in refused.part) != differ:
            raise AssertionError("refused without need") from refused
    else:
        wanted = np.repeat(allowed, batch, axis=0) if batch else allowed
        np.testing.assert_array_equal(*np.broadcast_arrays(drawn(packed), wanted))


@pytest.mark.parametrize(
    ("mask", "lengths", "slices"),
    [
        (sl.causal(), (5, 5, 0), [((0, 5), (0, 5), 1)]),
        (sl.everything(), (3, 5, 0), [((0, 3), (0, 5), 0)]),
        (sl.causal(), (1, 5, 4), [((0, 1), (0, 5), 0)]),  # a decode step
        (sl.causal(), (3, 7, 4), [((0, 3), (0, 7), 1)]),  # a chunk of a prompt
        (sl.causal(strict=True), (4, 4, 0), [((0, 3), (0, 3), 1)]),
        (sl.causal().T, (4, 4, 0), [((0, 4), (0, 4), 2)]),
        (sl.window(2, 0), (6, 6, 0), [((0, 3), (0, 3), 1), ((3, 6), (1, 6), 3)]),
        (sl.window(1, 1), (4, 6, 1), [((0, 4), (0, 6), 3)]),
        (
            sl.causal() & sl.documents(lengths=[3, 1, 2]),
            (6, 6, 0),
            [((0, 3), (0, 3), 1), ((3, 4), (3, 4), 0), ((4, 6), (4, 6), 1)],
        ),
        (
            sl.causal() | sl.prefix(3),
            (5, 5, 0),
            [((0, 3), (0, 3), 0), ((3, 5), (0, 5), 1)],
        ),
        (
            sl.window(1, 0) | sl.sinks(1) & sl.causal(),
            (5, 5, 0),
            [((0, 3), (0, 3), 1), ((3, 5), (0, 1), 0), ((3, 5), (2, 5), 3)],
        ),
        (
            sl.documents(ids=[0, 1, 0, 0]),
            (4, 4, 0),
            [
                ((0, 2), (0, 2), 3),
                ((0, 1), (2, 4), 0),
                ((2, 4), (0, 1), 0),
                ((2, 4), (2, 4), 0),
            ],
        ),
    ],
)
def test_few_slices(mask: sl.Mask, lengths: tuple[int, int, int], slices: list[Any]) -> None:
    packed = sl.lower(mask, "magi", *lengths)
    keywords = {name: tensor.tolist() for name, tensor in packed.keywords.items()}
    columns = (keywords[name] for name in ("q_ranges", "k_ranges", "attn_type_map"))
    got = [(tuple(q), tuple(k), kind) for q, k, kind in zip(*columns, strict=True)]
    assert got == slices
    np.testing.assert_array_equal(drawn(packed), oracle(mask, *lengths))


def test_one_slice_a_document_at_scale() -> None:
    lengths = [17, 1, 300, 4096, 2] * 40
    mask = sl.causal() & sl.documents(lengths=lengths)
    packed = sl.lower(mask, to="magi", q_len=sum(lengths))
    stops = np.cumsum(lengths)
    wanted = np.stack([stops - lengths, stops], axis=1)
    np.testing.assert_array_equal(packed.keywords["q_ranges"], wanted)
    np.testing.assert_array_equal(packed.keywords["k_ranges"], wanted)


def test_padding_on_either_side_and_empty_rows() -> None:
    for side in ("left", "right"):
        mask = sl.causal() & sl.padding(lengths=[4, 2, 0], side=side, total=4)
        packed = sl.lower(mask, to="magi", q_len=4)
        allowed = oracle(mask, 4)
        np.testing.assert_array_equal(drawn(packed), allowed)
        assert len(packed.query_index) == allowed.any(axis=3).sum()


def test_heads_and_nothing_are_refused() -> None:
    with pytest.raises(sl.CannotExpress, match=r"heads that differ.*one call for each head"):
        sl.lower(sl.per_head([sl.causal(), sl.everything()]), to="magi", q_len=4)
    with pytest.raises(sl.CannotExpress, match=r"allows nothing"):
        sl.lower(sl.causal() - sl.everything(), to="magi", q_len=4)
    with pytest.raises(sl.ShapeMismatch, match=r"got batch=2 for magi and a mask with 3"):
        sl.lower(sl.padding(lengths=[1, 2, 3]), to="magi", q_len=4, batch=2)


def test_tensors_go_into_tokens_and_back() -> None:
    B, H, Q, K, D = 3, 2, 4, 5, 6
    mask = sl.causal() & sl.padding(lengths=[5, 2, 0])
    packed = sl.lower(mask, to="magi", q_len=Q, kv_len=K)
    rng = torch.Generator().manual_seed(0)
    query, key, value = (
        torch.randn((B, H, n, D), generator=rng, dtype=torch.float64).requires_grad_()
        for n in (Q, K, K)
    )
    tokens = (packed.pack_queries(query), packed.pack_keys(key), packed.pack_keys(value))
    seen = magi.expand(
        **{n: t.tolist() for n, t in packed.keywords.items()},
        q_tokens=len(tokens[0]),
        k_tokens=len(tokens[1]),
    )
    q, k, v = (each.transpose(0, 1) for each in tokens)
    output = torch.nn.functional.scaled_dot_product_attention(q, k, v, torch.tensor(seen))
    got = packed.unpack(output.transpose(0, 1))
    wanted = attention(*(t.detach().numpy() for t in (query, key, value)), oracle(mask, Q, K))
    np.testing.assert_allclose(got.detach().numpy(), wanted.output, atol=1e-12)
    got.sum().backward()
    assert not query.grad[2].any()
    assert query.grad[0].any()
    with pytest.raises(sl.ShapeMismatch, match=r"wanted \[3, heads, 4, dim\]"):
        packed.pack_queries(key)
    with pytest.raises(sl.ShapeMismatch, match=r"got an output of shape"):
        packed.unpack(output)
