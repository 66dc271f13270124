"""Packed sequences for varlen kernels, drawn out by their documentation and held to the oracle."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import sightline as sl
from sightline.reference.attention import attention
from sightline.reference.dense import dense as oracle
from sightline.testing.expanders import varlen
from sightline.testing.expanders.tokens import unpacked
from sightline.testing.specs import build
from sightline.testing.strategies import expressions, frames

EXPAND = {"torch.varlen": varlen.expand_torch, "flash_attn": varlen.expand_flash_attn}


def drawn(to: str, packed: Any) -> np.ndarray:
    """Write out what the keywords say, as [batch, 1, q_len, kv_len]."""
    seen = EXPAND[to](packed.keywords)
    shape = (packed.batch, packed.q_len, packed.kv_len)
    return unpacked(seen, packed.query_index.tolist(), packed.key_index.tolist(), shape)


@pytest.mark.parametrize("to", EXPAND)
@given(data=st.data())
def test_exact_or_refused(to: str, data: st.DataObject) -> None:
    frame = data.draw(frames())
    mask = build(data.draw(expressions(frame, 2)))
    allowed = oracle(mask, frame.q_len, frame.kv_len, frame.q_offset)
    batch = data.draw(st.sampled_from([None, frame.batch])) if mask.batch == 1 else None
    at = {"q_offset": frame.q_offset, "batch": batch}
    try:
        packed = sl.lower(mask, to, frame.q_len, frame.kv_len, **at)
    except sl.CannotExpress as refused:
        part = refused.part
        differ = bool((allowed != allowed[:, :1]).any())
        assert ("heads" in part) == differ
        assert differ or ("allows nothing" in part) == (not allowed.any())
    else:
        wanted = np.repeat(allowed, batch, axis=0) if batch else allowed
        np.testing.assert_array_equal(*np.broadcast_arrays(drawn(to, packed), wanted))


# -- refusals are true -------------------------------------------------------------------------


def reachable(q_len: int, kv_len: int, sequences: int) -> set[bytes]:
    """Return every mask that some sequences of queries and keys in order, and a window, say."""
    found = set()
    sides = [*range(-1, max(q_len, kv_len))]
    for q_to, k_to in product(
        product(range(sequences + 1), repeat=q_len), product(range(sequences + 1), repeat=kv_len)
    ):
        # The last number stands for "left out"; numbers come in the order in which they appear.
        kept = [n for n in dict.fromkeys([*q_to, *k_to]) if n < sequences]
        if kept != sorted(kept):
            continue
        order_q, order_k = (
            [i for n in kept for i, to in enumerate(each) if to == n] for each in (q_to, k_to)
        )
        cu_q, cu_k = (
            np.cumsum([0, *(each.count(n) for n in kept)]).tolist() for each in (q_to, k_to)
        )
        for window in product(sides, sides):
            keywords = {
                "cu_seq_q": cu_q,
                "cu_seq_k": cu_k,
                "window_size": window,
                "max_q": q_len,
                "max_k": q_len + kv_len,
            }
            seen = varlen.expand_torch(keywords)
            found.add(unpacked(seen, order_q, order_k, (1, q_len, kv_len)).tobytes())
    return found


@pytest.mark.parametrize(("q_len", "kv_len"), [(2, 3), (3, 2), (4, 2)])
def test_every_small_mask_that_can_be_packed_is(q_len: int, kv_len: int) -> None:
    every = reachable(q_len, kv_len, sequences=2)
    for bits in product([False, True], repeat=q_len * kv_len):
        allowed = np.array(bits).reshape(q_len, kv_len)
        mask = sl.dense(allowed, means="attend")
        try:
            packed = sl.lower(mask, "torch.varlen", q_len, kv_len)
        except sl.CannotExpress:
            assert allowed.tobytes() not in every or not allowed.any()
        else:
            np.testing.assert_array_equal(drawn("torch.varlen", packed)[0, 0], allowed)


# -- masks drawn by hand -----------------------------------------------------------------------

DOCUMENTS = sl.documents(lengths=[3, 1, 2])


@pytest.mark.parametrize(
    ("mask", "lengths", "cu_q", "cu_k", "window"),
    [
        (sl.everything(), (3, 5, 0), [0, 3], [0, 5], (-1, -1)),
        (sl.causal(), (5, 5, 0), [0, 5], [0, 5], (-1, 0)),
        (sl.causal(), (3, 7, 4), [0, 3], [0, 7], (-1, 0)),  # a chunk of a prompt
        (sl.causal(), (3, 7, 0), [0, 3], [0, 3], (-1, 0)),  # keys that nobody sees yet
        (sl.causal(), (1, 7, 6), [0, 1], [0, 7], (-1, -1)),  # a decode step
        (sl.window(2, 0), (6, 6, 0), [0, 6], [0, 6], (2, 0)),
        (sl.window(2, 1), (6, 6, 0), [0, 6], [0, 6], (2, 1)),
        (sl.window(2, 0), (2, 6, 4), [0, 2], [0, 4], (2, 0)),
        (sl.causal(strict=True), (5, 5, 0), [0, 4], [0, 4], (-1, 0)),
        (sl.window(0, 0), (3, 3, 0), [0, 1, 2, 3], [0, 1, 2, 3], (-1, -1)),
        (DOCUMENTS, (6, 6, 0), [0, 3, 4, 6], [0, 3, 4, 6], (-1, -1)),
        (DOCUMENTS & sl.causal(), (6, 6, 0), [0, 3, 4, 6], [0, 3, 4, 6], (-1, 0)),
        (DOCUMENTS & sl.causal(), (4, 6, 2), [0, 1, 2, 4], [0, 3, 4, 6], (-1, 0)),
        (sl.causal().T, (4, 4, 0), [0, 4], [0, 4], (0, -1)),
    ],
)
def test_well_known_masks(
    mask: sl.Mask, lengths: tuple[int, int, int], cu_q: Any, cu_k: Any, window: tuple[int, int]
) -> None:
    packed = sl.lower(mask, "torch.varlen", *lengths)
    got = packed.keywords
    assert (got["cu_seq_q"].tolist(), got["cu_seq_k"].tolist()) == (cu_q, cu_k)
    assert got["cu_seq_q"].dtype == got["cu_seq_k"].dtype == torch.int32
    assert got["window_size"] == window
    assert (got["max_q"], got["max_k"]) == (max(np.diff(cu_q)), max(np.diff(cu_k)))
    flash = sl.lower(mask, "flash_attn", *lengths).keywords
    assert flash["causal"] is (window[1] == 0)
    assert flash["window_size"] == window
    np.testing.assert_array_equal(drawn("torch.varlen", packed), oracle(mask, *lengths))


def test_padding_is_left_out_on_either_side() -> None:
    for side in ("left", "right"):
        padding = sl.padding(lengths=[5, 2, 0], side=side, total=5)
        packed = sl.lower(sl.causal() & padding & padding.T, "torch.varlen", 5)
        assert packed.keywords["cu_seq_q"].tolist() == [0, 5, 7]
        assert packed.keywords["window_size"] == (-1, 0)
        wanted = [*range(5), *((5, 6) if side == "right" else (8, 9))]
        assert packed.query_index.tolist() == packed.key_index.tolist() == wanted


def test_interleaved_documents_are_sorted() -> None:
    mask = sl.documents(ids=[0, 1, 0, 2, 1, 0]) & sl.causal()
    packed = sl.lower(mask, "torch.varlen", 6)
    assert packed.query_index.tolist() == [0, 2, 5, 1, 4, 3]
    assert packed.keywords["cu_seq_q"].tolist() == [0, 3, 5, 6]
    np.testing.assert_array_equal(drawn("torch.varlen", packed), oracle(mask, 6))


def test_many_chained_pieces_become_one_sequence() -> None:
    """Each query ties two keys far apart; the last ones tie all of them together."""
    ids = np.arange(64) % 7
    mask = sl.documents(ids=ids.tolist())
    packed = sl.lower(mask, "flash_attn", 64)
    assert np.diff(packed.keywords["cu_seqlens_q"]).tolist() == np.bincount(ids).tolist()


def test_a_right_side_longer_than_the_keys_is_not_taken_for_none() -> None:
    """Nine queries see both keys, the one before them only the first."""
    mask = sl.dense(np.array([[1, 0], *[[1, 1]] * 9], dtype=bool), means="attend")
    packed = sl.lower(mask, "flash_attn", 10, 2)
    assert packed.keywords["window_size"] == (-1, 8)
    assert packed.keywords["max_seqlen_k"] == 9
    np.testing.assert_array_equal(drawn("flash_attn", packed), oracle(mask, 10, 2))


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (sl.causal() | sl.prefix(3), r"query 1 of batch 0, which sees 1 keys to the right"),
        (sl.window(1, 0) | sl.sinks(1) & sl.causal(), r"query 3 .* key 0 and key 2 but not all"),
        (
            sl.causal() & sl.padding(lengths=[5, 2]),
            r"query 0 of batch 1, which sees 3 keys to the right.*mask & padding\.T",
        ),
        (sl.per_head([sl.causal(), sl.window(1, 1)]), r"heads that differ"),
        (sl.nothing() & sl.causal(), r"allows nothing"),
    ],
)
def test_refusals_name_the_query(mask: sl.Mask, message: str) -> None:
    for to in EXPAND:
        with pytest.raises(sl.CannotExpress, match=message):
            sl.lower(mask, to, 5)


def test_batch_rows_with_different_windows_are_refused() -> None:
    mask = sl.per_batch([sl.window(1, 0), sl.window(2, 0)])
    with pytest.raises(sl.CannotExpress, match=r"query \d of batch 1, which sees 2 keys to the"):
        sl.lower(mask, "flash_attn", 5)


def test_older_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    from torch.nn.attention import varlen as module

    def before_windows(query: Any, is_causal: bool = False) -> None: ...

    monkeypatch.setattr(module, "varlen_attn", before_windows)
    got = sl.lower(sl.causal(), "torch.varlen", 4)
    assert got.keywords["is_causal"] is True
    np.testing.assert_array_equal(drawn("torch.varlen", got), oracle(sl.causal(), 4))
    assert sl.lower(sl.everything(), "torch.varlen", 4).keywords["is_causal"] is False
    with pytest.raises(sl.CannotExpress, match=r"window of 1 keys to the left and 0 to the right"):
        sl.lower(sl.window(1, 0), "torch.varlen", 4)
    monkeypatch.delattr(module, "varlen_attn")
    with pytest.raises(sl.CannotExpress, match=r"has no torch\.nn\.attention\.varlen"):
        sl.lower(sl.causal(), "torch.varlen", 4)


def test_output_comes_back_with_zeros() -> None:
    B, H, Q, K, D = 3, 2, 5, 6, 4
    padding = sl.padding(lengths=[6, 3, 0])
    mask = sl.window(2, 0) & padding & padding.T
    packed = sl.lower(mask, "flash_attn", Q, K)
    rng = torch.Generator().manual_seed(0)
    query, key, value = (
        torch.randn((B, H, n, D), generator=rng, dtype=torch.float64) for n in (Q, K, K)
    )
    tokens = [packed.pack_queries(query), packed.pack_keys(key), packed.pack_keys(value)]
    q, k, v = (each.transpose(0, 1) for each in tokens)
    seen = torch.tensor(varlen.expand_flash_attn(packed.keywords))
    output = torch.nn.functional.scaled_dot_product_attention(q, k, v, seen).transpose(0, 1)
    wanted = attention(query.numpy(), key.numpy(), value.numpy(), oracle(mask, Q, K)).output
    np.testing.assert_allclose(packed.unpack(output).numpy(), wanted, atol=1e-12)
