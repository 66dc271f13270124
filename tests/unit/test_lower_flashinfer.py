"""Bits and blocks for flashinfer, drawn out by its documentation and held to the oracle."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import sightline as sl
from sightline.errors import InvalidArgument
from sightline.lower import flashinfer as module
from sightline.reference.dense import dense as oracle
from sightline.testing.expanders import flashinfer
from sightline.testing.specs import build
from sightline.testing.strategies import expressions, frames


def drawn_bits(got: dict[str, Any], q_len: int, kv_len: int) -> np.ndarray:
    """Write out either form of bits as [batch, 1, q_len, kv_len]."""
    if set(got) == {"packed_custom_mask"}:
        assert got["packed_custom_mask"].dtype == torch.uint8
        bits = got["packed_custom_mask"].tolist()
        return flashinfer.expand_packed(bits, q_len, kv_len)[None, None]
    assert got["qo_indptr"].dtype == got["kv_indptr"].dtype == torch.int32
    assert got["custom_mask"].dtype == torch.bool
    seen = flashinfer.expand_requests(**{name: each.tolist() for name, each in got.items()})
    batch = len(got["qo_indptr"]) - 1
    table = seen.reshape(batch, q_len, batch, kv_len)
    own = np.arange(batch)
    rows = table[own, :, own][:, None]
    assert rows.sum() == seen.sum()
    return rows


@given(st.data())
def test_bits_are_exact(data: st.DataObject) -> None:
    frame = data.draw(frames())
    mask = build(data.draw(expressions(frame, 3)))
    allowed = oracle(mask, frame.q_len, frame.kv_len, frame.q_offset)
    batch = data.draw(st.sampled_from([None, frame.batch])) if mask.batch == 1 else None
    at = {"q_offset": frame.q_offset, "batch": batch}
    if (allowed != allowed[:, :1]).any():
        with pytest.raises(sl.CannotExpress, match="heads that differ"):
            sl.lower(mask, "flashinfer", frame.q_len, frame.kv_len, **at)
        return
    got = sl.lower(mask, "flashinfer", frame.q_len, frame.kv_len, **at)
    wanted = np.repeat(allowed, batch, axis=0) if batch else allowed
    found = drawn_bits(got, frame.q_len, frame.kv_len)
    np.testing.assert_array_equal(*np.broadcast_arrays(found, wanted))


def test_bits_are_read_in_strips(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAIRS_AT_ONCE", 60)  # 12 rows: no whole bytes
    mask = sl.causal() & sl.dilated(3)
    got = sl.lower(mask, "flashinfer", 37, 5, q_offset=2)
    np.testing.assert_array_equal(drawn_bits(got, 37, 5), oracle(mask, 37, 5, 2))


@given(st.data())
def test_blocks_are_exact(data: st.DataObject) -> None:
    frame = data.draw(frames())
    block_q, block_kv = data.draw(st.sampled_from([(1, 2), (3, 2), (2, 5), (4, 1)]))
    q_len, kv_len = block_q * data.draw(st.integers(1, 3)), block_kv * data.draw(st.integers(1, 3))
    mask = build(data.draw(expressions(type(frame)(*frame.at, 1, 1), 2)))
    sizes = {"form": "blocks", "block_q": block_q, "block_kv": block_kv}
    try:
        allowed = oracle(mask, q_len, kv_len, frame.q_offset)
    except sl.ShapeMismatch:  # an array that ends before
        return
    sizes["q_offset"] = frame.q_offset
    if mask.batch > 1 or (allowed != allowed[:, :1]).any():
        with pytest.raises(sl.CannotExpress, match=r"heads that differ|batch rows"):
            sl.lower(mask, "flashinfer", q_len, kv_len, **sizes)
        return
    got = sl.lower(mask, "flashinfer", q_len, kv_len, **sizes)
    assert got["indptr"].dtype == got["indices"].dtype == torch.int32
    if got["mask"] is not None:
        assert got["mask"].shape == (len(got["indices"]), block_q, block_kv)
        assert got["mask"].flatten(1).any(dim=1).all()
    arguments = {n: v.tolist() if isinstance(v, torch.Tensor) else v for n, v in got.items()}
    np.testing.assert_array_equal(flashinfer.expand_blocks(arguments), allowed[0, 0])


def test_full_blocks_need_no_mask() -> None:
    mask = sl.block_causal(64)
    got = sl.lower(mask, "flashinfer", 256, form="blocks", block_q=64, block_kv=64)
    assert got["mask"] is None
    assert got["indptr"].tolist() == [0, 1, 3, 6, 10]
    assert (got["M"], got["N"], got["R"], got["C"]) == (256, 256, 64, 64)


def test_wide_blocks_of_several_words() -> None:
    mask = sl.causal() & sl.documents(lengths=[70, 122])
    got = sl.lower(mask, "flashinfer", 192, form="blocks", block_q=32, block_kv=96)
    arguments = {n: v.tolist() if isinstance(v, torch.Tensor) else v for n, v in got.items()}
    np.testing.assert_array_equal(flashinfer.expand_blocks(arguments), oracle(mask, 192)[0, 0])


@pytest.mark.parametrize(
    ("mask", "options", "message"),
    [
        (sl.causal(), {"form": "blocks"}, r"q_len=6 in blocks of block_q=128"),
        (sl.causal(), {"form": "blocks", "block_q": 6}, r"kv_len=6 in blocks of block_kv=128"),
        (sl.padding(lengths=[1, 2]), {"form": "blocks"}, r"2 batch rows with form='blocks'"),
        (sl.causal(), {"form": "blocks", "batch": 3}, r"3 batch rows"),
        (sl.per_head([sl.causal(), sl.everything()]), {}, r"heads that differ"),
    ],
)
def test_refusals(mask: sl.Mask, options: dict[str, Any], message: str) -> None:
    with pytest.raises(sl.CannotExpress, match=message):
        sl.lower(mask, "flashinfer", 6, **options)


def test_what_is_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_PAIRS", 100)
    with pytest.raises(sl.CannotExpress, match=r"108 pairs in a batch"):
        sl.lower(sl.causal(), "flashinfer", 6, batch=3)
    with pytest.raises(sl.CannotExpress, match=r"10 blocks of 4 x 4, some of them mixed"):
        sl.lower(sl.causal(), "flashinfer", 16, form="blocks", block_q=4, block_kv=4)
    with pytest.raises(InvalidArgument, match=r'wanted "bits" or "blocks"'):
        sl.lower(sl.causal(), "flashinfer", 6, form="bytes")
