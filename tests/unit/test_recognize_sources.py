"""What libraries take, read back: against drawings, against the libraries themselves, and round.

Which expression says the bools is tested elsewhere; here the bools are what matters.
"""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from numpy.typing import NDArray

import sightline as sl
from sightline.errors import InvalidArgument, ShapeMismatch, UnknownBackend
from sightline.lower.destinations import NAMES as DESTINATIONS
from sightline.recognize.sources import table
from sightline.recognize.sources.reading import Read
from sightline.reference.dense import dense as oracle
from sightline.testing.drawings import drawing
from sightline.testing.specs import build
from sightline.testing.strategies import Frame, expressions, frames

Bools = NDArray[np.bool_]
# Quick frames serve: what is read is read cell by cell.
FEW = settings(max_examples=40)


def read(given: object, source: str, **options: Any) -> Read:
    (found,) = table.read(given, source, options)
    assert found.allowed.dtype == np.bool_
    assert found.allowed.ndim == 4
    assert found.evidence
    return found


def drawn(found: Read, batch: int = 0, head: int = 0) -> list[str]:
    return drawing(found.allowed[batch, head])


def assert_same(got: Bools, wanted: Bools) -> None:
    assert got.shape[2:] == wanted.shape[2:]
    lead = np.broadcast_shapes(got.shape[:2], wanted.shape[:2])
    shape = (*lead, *wanted.shape[2:])
    np.testing.assert_array_equal(np.broadcast_to(got, shape), np.broadcast_to(wanted, shape))


# -- the table ---------------------------------------------------------------------------------


def test_each_source_has_its_row_and_takes_its_options() -> None:
    for row in table.rows():
        assert row.name in table.NAMES
        assert row.reads
        assert row.true_means
        with pytest.raises(InvalidArgument, match=f"got option nonsense for {row.name}; it has "):
            table.read(None, row.name, {"nonsense": 1})


def test_unknown_sources_are_refused_with_the_nearest_name() -> None:
    with pytest.raises(UnknownBackend, match=r"got source 'torch\.sdp'; .*Did you mean 'torch\.sd"):
        table.read(None, "torch.sdp", {})
    with pytest.raises(UnknownBackend, match="got source 3; wanted one of"):
        table.module_of(3)


@pytest.mark.parametrize("source", table.NAMES)
def test_nothing_that_is_no_array_gets_through(source: str) -> None:
    options: dict[str, Any] = {"grid": (2, 2), "window": 2} if source == "swin" else {}
    for wrong in ("mask", [["a"]], {"nonsense": 1}, object(), [[1, 2], [3]]):
        with pytest.raises((InvalidArgument, ShapeMismatch), match="got"):
            table.read(wrong, source, options)


# -- torch.sdpa --------------------------------------------------------------------------------


@FEW
@given(frames().flatmap(lambda f: expressions(f, depth=2).map(lambda spec: (f, spec))))
def test_sdpa_and_back(case: tuple[Frame, Any]) -> None:
    pytest.importorskip("torch")
    frame, spec = case
    mask = build(spec)
    q_len, kv_len, at = frame.q_len, frame.kv_len, frame.q_offset
    keywords = sl.lower(mask, "torch.sdpa", q_len, kv_len, at)
    found = read(keywords, "torch.sdpa", q_len=q_len, kv_len=kv_len)
    assert_same(found.allowed, oracle(spec, q_len, kv_len, at))


def test_sdpa_conventions() -> None:
    bools = np.array([[1, 0, 1], [1, 1, 0]], bool)
    assert drawn(read(bools, "torch.sdpa")) == ["x.x", "xx."]
    assert drawn(read({"attn_mask": np.where(bools, 0.0, -np.inf)}, "torch.sdpa")) == ["x.x", "xx."]
    causal = read({"is_causal": True}, "torch.sdpa", q_len=2, kv_len=4)
    assert drawn(causal) == ["x...", "xx.."]
    assert "top left" in causal.evidence[0]
    assert drawn(read({}, "torch.sdpa", q_len=1, kv_len=2)) == ["xx"]
    # Axes of size 1 broadcast to the lengths, and three axes are heads.
    assert drawn(read(bools[:1], "torch.sdpa", q_len=2)) == ["x.x", "x.x"]
    assert drawn(read(bools[:1], "torch.sdpa")) == ["x.x"]
    assert read(np.ones((3, 2, 4), bool), "torch.sdpa").allowed.shape == (1, 3, 2, 4)
    both = {"attn_mask": np.tri(2, 3, dtype=bool), "is_causal": True}
    assert drawn(read(both, "torch.sdpa")) == ["x..", "xx."]


def test_sdpa_refuses_what_torch_would_spoil() -> None:
    bools = np.array([[1, 0, 1], [1, 1, 0]], bool)
    with pytest.raises(InvalidArgument, match="is_causal=True and an attn_mask"):
        read({"attn_mask": bools, "is_causal": True}, "torch.sdpa")
    with pytest.raises(InvalidArgument, match="floats 0 and 1 in attn_mask, which the library add"):
        read(bools.astype(float), "torch.sdpa")
    with pytest.raises(InvalidArgument, match="attn_mask of int64; wanted bools"):
        read(bools.astype(int), "torch.sdpa")
    with pytest.raises(InvalidArgument, match=r"got -0\.5 in attn_mask.* is a bias"):
        read(np.full((2, 2), -0.5), "torch.sdpa")
    with pytest.raises(InvalidArgument, match="got nan in attn_mask"):
        read(np.full((2, 2), np.nan), "torch.sdpa")
    with pytest.raises(InvalidArgument, match=r"got no q_len for torch\.sdpa"):
        read({"is_causal": True}, "torch.sdpa", kv_len=3)
    with pytest.raises(InvalidArgument, match="got is_causal=1"):
        read({"is_causal": 1}, "torch.sdpa", q_len=2, kv_len=3)
    with pytest.raises(ShapeMismatch, match=r"got q_len=3 .* attn_mask with 2"):
        read(bools, "torch.sdpa", q_len=3)
    with pytest.raises(ShapeMismatch, match=r"shape \[3\]; wanted 2 or 3 or 4 axes"):
        read(bools[0], "torch.sdpa")
    with pytest.raises(ShapeMismatch, match="no axis of size 0"):
        read(bools[:0], "torch.sdpa")
    with pytest.raises(InvalidArgument, match="pairs; wanted at most"):
        read({"is_causal": True}, "torch.sdpa", q_len=1 << 20, kv_len=1 << 20)


def test_a_row_of_finite_constants_is_not_empty_to_the_library() -> None:
    array = np.zeros((2, 3), np.float32)
    array[1] = np.finfo(np.float32).min
    (warning,) = read(array, "torch.sdpa").warnings
    assert warning.startswith("attn_mask forbids every key of 1 of 2 rows (first: [1])")
    array[1] = -np.inf
    assert read(array, "torch.sdpa").warnings == ()


def test_tensors_of_every_kind_are_read() -> None:
    torch = pytest.importorskip("torch")
    added = torch.zeros(2, 2, dtype=torch.bfloat16, requires_grad=True) + torch.tensor(
        [[0, -torch.inf], [0, 0]]
    ).to(torch.bfloat16)
    assert drawn(read(added, "torch.sdpa")) == ["x.", "xx"]


# -- torch.mha ---------------------------------------------------------------------------------


@FEW
@given(frames().flatmap(lambda f: expressions(f, depth=2).map(lambda spec: (f, spec))))
def test_mha_and_back(case: tuple[Frame, Any]) -> None:
    pytest.importorskip("torch")
    frame, spec = case
    q_len, kv_len, at = frame.q_len, frame.kv_len, frame.q_offset
    sizes = {"num_heads": frame.heads, "batch": frame.batch}
    wanted = oracle(spec, q_len, kv_len, at)
    if not wanted.any(axis=-1).all():
        with pytest.raises(sl.CannotExpress):
            sl.lower(build(spec), "torch.mha", q_len, kv_len, at, **sizes)
        return
    keywords = sl.lower(build(spec), "torch.mha", q_len, kv_len, at, **sizes)
    found = read(keywords, "torch.mha", q_len=q_len, kv_len=kv_len, num_heads=frame.heads)
    assert_same(found.allowed, wanted)
    assert found.warnings == ()


def test_mha_conventions() -> None:
    ignored = np.array([[0, 1, 0], [0, 0, 1]], bool)
    assert drawn(read(ignored, "torch.mha")) == ["x.x", "xx."]
    padded = {"attn_mask": ignored, "key_padding_mask": np.array([[0, 0, 0], [1, 0, 0]], bool)}
    found = read(padded, "torch.mha")
    assert drawn(found, 0) == ["x.x", "xx."]
    assert drawn(found, 1) == ["..x", ".x."]
    one = read({"key_padding_mask": [False, True]}, "torch.mha", q_len=1)
    assert drawn(one) == ["x."]
    floats = {"attn_mask": np.array([[0, -np.inf]]), "key_padding_mask": np.array([[0.0, 0.0]])}
    assert drawn(read(floats, "torch.mha")) == ["x."]
    # batch * num_heads, batch outermost
    many = np.zeros((6, 1, 2), bool)
    many[4, 0, 1] = True  # batch row 1, head 1 of three
    found = read(many, "torch.mha", num_heads=3)
    assert found.allowed.shape == (2, 3, 1, 2)
    assert drawn(found, 1, 1) == ["x."]
    assert found.allowed.sum() == 11
    by_padding = {"attn_mask": many, "key_padding_mask": np.zeros((3, 2), bool)}
    assert read(by_padding, "torch.mha").allowed.shape == (3, 2, 1, 2)


def test_mha_hint_is_read_as_torch_uses_it() -> None:
    torch = pytest.importorskip("torch")
    layer = torch.nn.MultiheadAttention(4, 2, batch_first=True, dtype=torch.float64)
    tokens = torch.randn(1, 3, 4, dtype=torch.float64)
    mask = torch.tensor([[0, 0, 1], [0, 0, 1], [1, 1, 0]], dtype=torch.bool)
    padding = torch.zeros(1, 3, dtype=torch.bool)
    for need_weights in (True, False):
        for key_padding in (None, padding):
            call = {
                "attn_mask": mask,
                "key_padding_mask": key_padding,
                "is_causal": True,
                "need_weights": need_weights,
            }
            output, _ = layer(tokens, tokens, tokens, **call)
            found = read(call, "torch.mha")
            again, _ = layer(
                tokens, tokens, tokens, attn_mask=torch.tensor(~found.allowed[0, 0].copy())
            )
            assert torch.allclose(output, again), (need_weights, key_padding)
            assert len(found.warnings) == 1
            assert "is_causal=True differs from attn_mask" in found.warnings[0]
    agreeing = {"attn_mask": ~torch.ones(3, 3).tril().bool(), "is_causal": True}
    assert read(agreeing, "torch.mha").warnings == ()
    with pytest.raises(InvalidArgument, match="which torch refuses"):
        read({"is_causal": True}, "torch.mha", q_len=2, kv_len=2)


def test_mha_refuses_sizes_that_do_not_fit() -> None:
    many = np.zeros((6, 1, 2), bool)
    with pytest.raises(InvalidArgument, match=r"counts batch \* num_heads.*pass num_heads="):
        read(many, "torch.mha")
    with pytest.raises(ShapeMismatch, match="wanted a multiple of num_heads=4"):
        read(many, "torch.mha", num_heads=4)
    with pytest.raises(ShapeMismatch, match=r"wanted 4 \* 3 on the first axis"):
        read(
            {"attn_mask": many, "key_padding_mask": np.zeros((4, 2), bool)},
            "torch.mha",
            num_heads=3,
        )
    with pytest.raises(ShapeMismatch, match="kv_len of 2 and 3"):
        read({"attn_mask": many[0], "key_padding_mask": np.zeros((4, 3), bool)}, "torch.mha")
    empty = read(np.array([[True, True], [False, True]]), "torch.mha")
    assert "1 rows may see nothing (first: batch 0, head 0, query 0)" in empty.warnings[0]


# -- torch.transformer -------------------------------------------------------------------------


def test_transformer_gives_three_masks() -> None:
    call = {
        "src_key_padding_mask": np.array([[0, 0, 0], [0, 0, 1]], bool),
        "memory_key_padding_mask": np.array([[0, 0, 0], [0, 0, 1]], bool),
        "tgt_mask": ~np.tri(2, dtype=bool),
        "tgt_is_causal": None,
    }
    source, target, memory = table.read(call, "torch.transformer", {})
    assert drawn(source, 1) == ["xx.", "xx.", "xx."]
    assert drawn(target) == ["x.", "xx"]
    assert target.allowed.shape == (1, 1, 2, 2)
    assert drawn(memory, 1) == ["xx.", "xx."]
    assert source.warnings == target.warnings == memory.warnings == ()


def test_transformer_tells_of_forgotten_memory_padding() -> None:
    call = {"src_key_padding_mask": np.array([[0, 0, 0], [0, 0, 1]], bool)}
    *_, memory = table.read(call, "torch.transformer", {"q_len": 2})
    assert "the target sees source position 2 (batch 1)" in memory.warnings[0]
    with pytest.raises(InvalidArgument, match=r"got no q_len for torch\.transformer"):
        table.read(call, "torch.transformer", {})
    with pytest.raises(ShapeMismatch, match="kv_len of 3 and 4"):
        table.read({**call, "memory_mask": np.zeros((2, 4), bool)}, "torch.transformer", {})


@pytest.mark.skipif("torch.transformer" not in DESTINATIONS, reason="no such destination here")
def test_transformer_and_back() -> None:
    pad = sl.padding(lengths=[4, 2, 3])
    masks = (pad & sl.window(left=3, right=2), sl.causal() & sl.padding(lengths=[5, 5, 4]), pad)
    keywords = sl.lower(masks, "torch.transformer", q_len=5, kv_len=4)
    found = table.read(keywords, "torch.transformer", {"q_len": 5, "kv_len": 4})
    for one, mask, lengths in zip(found, masks, [(4, 4), (5, 5), (5, 4)], strict=True):
        assert_same(one.allowed, oracle(mask, *lengths))


# -- torch.flex --------------------------------------------------------------------------------


@FEW
@given(frames(9).flatmap(lambda f: expressions(f, depth=2, opaque=False).map(lambda s: (f, s))))
def test_flex_and_back(case: tuple[Frame, Any]) -> None:
    pytest.importorskip("torch")
    frame, spec = case
    q_len, kv_len, at = frame.q_len, frame.kv_len, frame.q_offset
    try:
        keywords = sl.lower(build(spec), "torch.flex", q_len, kv_len, at, block_q=4, block_kv=16)
    except sl.CannotExpress:
        return
    found = read(keywords, "torch.flex")
    assert_same(found.allowed, oracle(spec, q_len, kv_len, at))
    assert found.warnings == ()


def block_mask(fn: Any, q_len: int, kv_len: int, block: int = 4, rows: int | None = None) -> Any:
    flex = pytest.importorskip("torch.nn.attention.flex_attention")
    return flex.create_block_mask(fn, rows, 3, q_len, kv_len, "cpu", BLOCK_SIZE=block)


def test_flex_reads_torchs_own_block_masks() -> None:
    made = block_mask(lambda b, h, q, k: q + h >= k, 10, 14, rows=2)
    assert table.source_of(made) == "torch.flex"
    assert table.source_of(np.ones(3)) is None
    found = read(made, "torch.flex")
    b, h, q, k = np.ogrid[:2, :3, :10, :14]
    np.testing.assert_array_equal(
        found.allowed, np.broadcast_to(q + h >= k + 0 * b, (2, 3, 10, 14))
    )
    assert "blocks of 4 x 4" in found.evidence[0]
    assert found.warnings == ()


def test_flex_blocks_decide_and_a_stale_mask_mod_is_told() -> None:
    stale = block_mask(lambda b, h, q, k: q >= k, 8, 8)
    stale.mask_mod = lambda b, h, q, k: (q >= k) | (k >= 6)
    found = read(stale, "torch.flex")
    blocks = np.kron([[0, 0], [0, 1]], np.ones((4, 4))).astype(bool)
    np.testing.assert_array_equal(
        found.allowed[0, 0], np.tri(8, dtype=bool) | (blocks & (np.arange(8) >= 6))
    )
    assert [w.split(" (")[0] for w in found.warnings] == [
        "24 pairs that mask_mod allows lie in blocks that are left out"
    ]
    assert "first: batch 0, head 0, query 0, key 6" in found.warnings[0]
    stale.mask_mod = lambda b, h, q, k: (q >= k) & (k > 0)
    (warning,) = read(stale, "torch.flex").warnings
    assert warning.startswith("12 pairs that mask_mod forbids lie in blocks marked full")


def test_flex_tells_of_other_blocks_in_the_backward_pass() -> None:
    made, other = (
        block_mask(fn, 8, 8)
        for fn in (
            lambda b, h, q, k: q >= k,
            lambda b, h, q, k: q <= k,
        )
    )
    made.full_q_num_blocks, made.full_q_indices = other.full_q_num_blocks, other.full_q_indices
    (warning,) = read(made, "torch.flex").warnings
    assert "gradients belong to another mask" in warning


def test_flex_refuses_what_cannot_be_asked() -> None:
    torch = pytest.importorskip("torch")
    made = block_mask(lambda b, h, q, k: q >= k, 8, 8)
    with pytest.raises(InvalidArgument, match="has lost its mask_mod"):
        read(made[:, :, 0], "torch.flex")
    data = torch.arange(8)
    made = block_mask(lambda b, h, q, k: data[q] >= data[k], 8, 8)
    made.seq_lengths = (12, 8)
    with pytest.raises(InvalidArgument, match="cannot be asked at 12 x 8"):
        read(made, "torch.flex")
    with pytest.raises(InvalidArgument, match=r"ndarray.* wanted a BlockMask"):
        read(np.ones((2, 2)), "torch.flex")


# -- packed sequences --------------------------------------------------------------------------


def test_varlen() -> None:
    call = {"cu_seq_q": [0, 3, 4], "cu_seq_k": None, "window_size": (1, 0), "max_q": 3}
    found = read(call, "torch.varlen")
    assert drawn(found) == ["x...", "xx..", ".xx.", "...x"]
    assert found.q_offset == 0
    assert "2 keys in all" in found.evidence[1]
    full = read({"cu_seq_q": [0, 1, 3], "cu_seq_k": [0, 2, 3]}, "torch.varlen")
    assert drawn(full) == ["xx.", "..x", "..x"]
    used = read(
        {"cu_seq_q": [0, 1, 2], "cu_seq_k": [0, 3, 6], "seqused_k": [2, 3], "window_size": (-1, 0)},
        "torch.varlen",
    )
    assert drawn(used) == ["xx....", "...xxx"]
    assert used.q_offset is None
    with pytest.raises(InvalidArgument, match="got block_table"):
        read({"cu_seq_q": [0, 1], "block_table": [[0]]}, "torch.varlen")
    with pytest.raises(ShapeMismatch, match=r"got seqused_k=\[4\]"):
        read({"cu_seq_q": [0, 1], "cu_seq_k": [0, 3], "seqused_k": [4]}, "torch.varlen")
    with pytest.raises(InvalidArgument, match="got no cu_seq_q"):
        read({"window_size": (-1, 0)}, "torch.varlen")


def test_flash_attn_aligns_to_the_bottom_right() -> None:
    one = read({"causal": True}, "flash_attn", q_len=2, kv_len=4)
    assert drawn(one) == ["xxx.", "xxxx"]
    assert one.q_offset == 2
    more_queries = read({"causal": True}, "flash_attn", q_len=4, kv_len=2)
    assert drawn(more_queries) == ["..", "..", "x.", "xx"]
    assert "2 rows may see nothing" in more_queries.warnings[0]
    window = read({"window_size": (1, 1)}, "flash_attn", q_len=2, kv_len=4)
    assert drawn(window) == [".xxx", "..xx"]
    causal_window = read({"window_size": (1, 1), "causal": True}, "flash_attn", q_len=3)
    assert drawn(causal_window) == ["x..", "xx.", ".xx"]
    packed = {"cu_seqlens_q": [0, 1, 3], "cu_seqlens_k": [0, 3, 5], "causal": True}
    assert drawn(read(packed, "flash_attn")) == ["xxx..", "...x.", "...xx"]


def test_places_of_packed_tokens() -> None:
    @dataclasses.dataclass
    class Packed:
        keywords: dict[str, Any]
        query_index: Any
        key_index: Any
        batch: int = 2
        q_len: int = 2
        kv_len: int = 3

    call = {"cu_seqlens_q": [0, 1, 3], "cu_seqlens_k": [0, 2, 4], "causal": True}
    found = read(Packed(call, [1, 2, 3], [0, 2, 3, 4]), "flash_attn")
    assert drawn(found, 0) == ["...", "x.x"]
    assert drawn(found, 1) == ["x..", "xx."]
    assert "1 rows may see nothing" in found.warnings[0]
    with pytest.raises(ShapeMismatch, match="query_index of 2 places for 3 packed"):
        read(Packed(call, [1, 2], [0, 2, 3, 4]), "flash_attn")
    with pytest.raises(InvalidArgument, match="of several batch rows"):
        read(Packed(call, [1, 2, 3], [0, 3, 4, 5]), "flash_attn")
    with pytest.raises(ShapeMismatch, match="key_index of 4 places"):
        read(Packed(call, [1, 2, 3], [0, 2, 3, 6]), "flash_attn")
    whole = {**call, **dataclasses.asdict(Packed({}, [1, 2, 3], [0, 2, 3, 4]))}
    del whole["keywords"]
    np.testing.assert_array_equal(read(whole, "flash_attn").allowed, found.allowed)
    del whole["kv_len"]
    with pytest.raises(InvalidArgument, match="got query_index without kv_len"):
        read(whole, "flash_attn")


def test_flash_attn_refuses_bad_offsets() -> None:
    for wrong in ([1, 3], [0, 3, 2]):
        with pytest.raises(InvalidArgument, match="wanted offsets that begin with 0"):
            read({"cu_seqlens_q": wrong}, "flash_attn")
    with pytest.raises(InvalidArgument, match="cu_seqlens_q of float64; wanted integers"):
        read({"cu_seqlens_q": [0.0, 1.0]}, "flash_attn")
    with pytest.raises(ShapeMismatch, match="2 query sequences and 1 key sequences"):
        read({"cu_seqlens_q": [0, 1, 2], "cu_seqlens_k": [0, 2]}, "flash_attn")
    with pytest.raises(InvalidArgument, match="got neither cu_seqlens_q nor q_len"):
        read({"causal": True}, "flash_attn")
    with pytest.raises(InvalidArgument, match="leave q_len out"):
        read({"cu_seqlens_q": [0, 2]}, "flash_attn", q_len=3)
    with pytest.raises(InvalidArgument, match=r"wanted \(left, right\)"):
        read({"window_size": 3}, "flash_attn", q_len=3)
    with pytest.raises(ShapeMismatch, match="got 0 queries and 0 keys"):
        read({"cu_seqlens_q": [0]}, "flash_attn")


# -- transformers ------------------------------------------------------------------------------


def test_hf_2d() -> None:
    found = read([[1, 1, 1], [0, 1, 1]], "hf.2d")
    assert drawn(found, 0) == ["x..", "xx.", "xxx"]
    assert drawn(found, 1) == ["...", ".x.", ".xx"]
    assert found.q_offset == 0
    assert "1 rows may see nothing (first: batch 1, head 0, query 0)" in found.warnings[0]
    encoder = read({"attention_mask": [[True, False]]}, "hf.2d", own=sl.everything())
    assert drawn(encoder) == ["x.", "x."]
    cached = read([[1, 1, 1, 0]], "hf.2d", q_len=2)
    assert (drawn(cached), cached.q_offset) == (["xxx.", "xxx."], 2)
    assert "1 everywhere" in read([[1, 1]], "hf.2d").warnings[0]
    with pytest.raises(ShapeMismatch, match="got q_len=3"):
        read([[1, 1]], "hf.2d", q_len=3)
    with pytest.raises(InvalidArgument, match="got own="):
        read([[1, 1]], "hf.2d", own="causal()")
    with pytest.raises(InvalidArgument, match="got 2 in attention_mask; wanted bools, or 0 and 1"):
        read([[1, 2]], "hf.2d")
    with pytest.raises(ShapeMismatch, match=r"own= of 2 batch rows and an attention_mask of 3"):
        read([[1, 0]] * 3, "hf.2d", own=sl.padding(lengths=[1, 2]))


def test_hf_4d() -> None:
    low = np.finfo(np.float32).min
    found = read(np.array([[[[0, low], [0, 0]]]], np.float32), "hf.4d")
    assert drawn(found) == ["x.", "xx"]
    assert drawn(read({"attention_mask": [[[[True, False]]]]}, "hf.4d")) == ["x."]
    with pytest.raises(InvalidArgument, match="floats 0 and 1 in attention_mask"):
        read(np.ones((1, 1, 2, 2)), "hf.4d")
    with pytest.raises(ShapeMismatch, match="wanted 4 axes"):
        read(np.ones((2, 2), bool), "hf.4d")


def test_hf_position_ids() -> None:
    found = read([[0, 1, 2, 0, 1], [3, 4, 5, 6, 7]], "hf.position_ids")
    assert drawn(found, 0) == ["x....", "xx...", "xxx..", "...x.", "...xx"]
    assert drawn(found, 1) == drawing(np.tri(5, dtype=bool))
    assert "3 sequences in 2 rows" in found.evidence[0]
    # Positions restart, so that the model's own mask counts from the sequence's first token.
    chunked = read([[0, 0, 1, 2]], "hf.position_ids", own=sl.causal() & sl.chunks(2))
    assert drawn(chunked) == ["x...", ".x..", ".xx.", "...x"]
    assert read([[0, 1]], "hf.position_ids").warnings == (
        "every row is one sequence: nothing is packed here",
    )
    with pytest.raises(InvalidArgument, match="got an attention_mask beside position_ids"):
        read({"position_ids": [[0]], "attention_mask": [[1]]}, "hf.position_ids")
    with pytest.raises(InvalidArgument, match="down to -1"):
        read([[-1, 0]], "hf.position_ids")
    with pytest.raises(InvalidArgument, match="wanted integers"):
        read([[0.0, 1.0]], "hf.position_ids")


def test_hf_position_ids_as_transformers_finds_them() -> None:
    torch = pytest.importorskip("torch")
    utils = pytest.importorskip("transformers.masking_utils")
    rng = np.random.default_rng(0)
    for _ in range(30):
        positions = np.cumsum(rng.choice([1, 1, 1, 0, -2, 3], (2, 7)), axis=1) + 20
        packed = utils.find_packed_sequence_indices(torch.tensor(positions))
        packed = np.zeros((2, 7)) if packed is None else packed.numpy()
        same = packed[:, :, None] == packed[:, None]
        found = read(positions, "hf.position_ids")
        np.testing.assert_array_equal(found.allowed[:, 0], same & np.tri(7, dtype=bool))


# -- xlnet, swin, keras ------------------------------------------------------------------------


def test_xlnet() -> None:
    blocked = np.array([[[1, 0, 1], [1, 1, 1], [0, 0, 1]]])
    assert drawn(read(blocked, "xlnet", stream="query")) == [".x.", "...", "xx."]
    assert drawn(read(blocked, "xlnet", stream="content")) == ["xx.", ".x.", "xxx"]
    assert drawn(read(blocked, "xlnet")) == [".x.", "...", "xx."]
    targets = {"perm_mask": blocked, "target_mapping": [[[1.0, 0, 0], [0, 0, 1.0]]]}
    assert read(targets, "xlnet").warnings == (), "nobody asks the row that sees nothing"
    with pytest.raises(ShapeMismatch, match="target_mapping of 1 batch rows and 2 tokens"):
        read({"perm_mask": blocked, "target_mapping": [[[1, 0]]]}, "xlnet")
    padded = {"perm_mask": blocked, "input_mask": [[0, 1, 0]]}
    assert drawn(read(padded, "xlnet", stream="query")) == ["...", "...", "x.."]
    by_tokens = {"attention_mask": [[1, 0, 1]]}
    assert drawn(read(by_tokens, "xlnet", stream="query")) == ["x.x", "x.x", "x.x"]
    assert "1e30" in read(blocked, "xlnet", stream="query").warnings[0]
    with pytest.raises(InvalidArgument, match="got stream='both'"):
        read(blocked, "xlnet", stream="both")
    with pytest.raises(InvalidArgument, match="input_mask and attention_mask"):
        read({**padded, **by_tokens}, "xlnet")
    with pytest.raises(ShapeMismatch, match=r"wanted \[batch, S, S\]"):
        read(np.ones((1, 2, 3)), "xlnet")
    with pytest.raises(ShapeMismatch, match="the same batch and length"):
        read({"perm_mask": blocked, "input_mask": [[0, 1]]}, "xlnet")


def test_xlnet_query_stream_is_the_permutation() -> None:
    order = [2, 0, 3, 1]
    rank = np.argsort(order)
    blocked = (rank[None] >= rank[:, None])[None]
    for stream in ("query", "content"):
        mask = sl.permutation(order, stream=stream)
        assert_same(read(blocked, "xlnet", stream=stream).allowed, oracle(mask, 4))


def swin_mask(grid: tuple[int, int], window: int, shift: int) -> NDArray[np.floating[Any]]:
    """Return the attn_mask, made as Swin's authors describe it: regions of the rolled grid."""
    height, width = (-(-n // window) * window for n in grid)
    regions = np.zeros((height, width), int)
    cuts = [slice(0, -window), slice(-window, -shift), slice(-shift, None)]
    for i, rows in enumerate(cuts):
        for j, columns in enumerate(cuts):
            regions[rows, columns] = 3 * i + j
    windows = regions.reshape(height // window, window, width // window, window)
    flat = windows.transpose(0, 2, 1, 3).reshape(-1, window * window)
    return np.where(flat[:, :, None] == flat[:, None], 0.0, -100.0)


@pytest.mark.parametrize(("grid", "window", "shift"), [((4, 6), 2, 1), ((6, 9), 3, 1)])
def test_swin_is_the_shifted_window(grid: tuple[int, int], window: int, shift: int) -> None:
    found = read(swin_mask(grid, window, shift), "swin", grid=grid, window=window, shift=shift)
    mask = sl.shifted_window(grid, window, shift)
    assert_same(found.allowed, oracle(mask, grid[0] * grid[1]))
    assert "-100 is added and not -inf" in found.warnings[0]
    plain = read(None, "swin", grid=grid, window=window)
    assert_same(plain.allowed, oracle(sl.shifted_window(grid, window, 0), grid[0] * grid[1]))
    assert plain.warnings == ()


def test_swin_refuses_and_warns() -> None:
    with pytest.raises(InvalidArgument, match="got no grid or no window"):
        read(None, "swin")
    with pytest.raises(ShapeMismatch, match=r"wanted \[6, 4, 4\]"):
        read(np.zeros((5, 4, 4)), "swin", grid=(4, 6), window=2)
    with pytest.raises(InvalidArgument, match="0 and one constant"):
        read(np.full((6, 4, 4), -0.5), "swin", grid=(4, 6), window=2)
    assert "multiple of the window" in read(None, "swin", grid=(3, 4), window=2).warnings[0]


def test_swin_of_three_axes() -> None:
    found = read(None, "swin", grid=(2, 3, 4), window=(2, 1, 2), shift=0)
    assert_same(found.allowed, oracle(sl.shifted_window((2, 3, 4), (2, 1, 2), 0), 24))


def test_keras() -> None:
    call = {
        "attention_mask": np.ones((2, 2, 3), bool),
        "value_mask": [[1, 1, 0], [1, 1, 1]],
        "use_causal_mask": True,
    }
    found = read(call, "keras")
    assert drawn(found, 0) == ["x..", "xx."]
    assert found.allowed.shape == (2, 1, 2, 3)
    assert drawn(read({"query_mask": [[1, 0]]}, "keras", kv_len=2)) == ["xx", ".."]
    assert len(read({"query_mask": [[1, 0]]}, "keras", kv_len=2).warnings) == 2
    assert read(np.ones((2, 4, 1, 3), bool), "keras").allowed.shape == (2, 4, 1, 3)
    assert drawn(read({"use_causal_mask": True}, "keras", q_len=2, kv_len=3)) == ["x..", "xx."]
    with pytest.raises(InvalidArgument, match="got no q_len for keras"):
        read({"value_mask": [[1, 0]]}, "keras")
    with pytest.raises(ShapeMismatch, match="kv_len of 3 and 4"):
        read({"attention_mask": np.ones((2, 2, 3)), "key_mask": np.ones((2, 4))}, "keras")
    with pytest.raises(ShapeMismatch, match="masks of shapes"):
        read({"attention_mask": np.ones((2, 2, 3)), "key_mask": np.ones((4, 3))}, "keras")


JAX_CALLS: dict[str, dict[str, Any]] = {
    "mask": {"mask": np.array([[[[1, 0, 1, 1], [0, 1, 1, 1], [1, 1, 1, 0]]]], bool)},
    "causal": {"is_causal": True},
    "window": {"local_window_size": (1, 0)},
    "symmetric window": {"local_window_size": 1, "is_causal": True},
    "lengths": {
        "query_seq_lengths": np.array([3, 1], np.int32),
        "key_value_seq_lengths": np.array([2, 4], np.int32),
    },
    "empty rows": {"mask": np.zeros((1, 2, 3, 4), bool)},
}


@pytest.mark.parametrize("name", JAX_CALLS)
def test_jax_as_jax_itself(name: str) -> None:
    jax = pytest.importorskip("jax")
    call = JAX_CALLS[name]
    # One-hot values give the weights; equal scores give every key that is seen the same one.
    query, key = np.zeros((2, 3, 2, 4), np.float32), np.zeros((2, 4, 2, 4), np.float32)
    value = np.broadcast_to(np.eye(4, dtype=np.float32)[None, :, None], key.shape)
    weights = np.asarray(jax.nn.dot_product_attention(query, key, value, **call))
    found = read(call, "jax.dot_product_attention", q_len=3, kv_len=4)
    allowed = np.broadcast_to(found.allowed, (2, 2, 3, 4)).transpose(0, 2, 1, 3)
    assert bool(found.warnings) == (name == "empty rows")
    if not found.warnings:
        np.testing.assert_array_equal(weights > 0, allowed)
    else:
        np.testing.assert_allclose(weights, 0.25)


def test_jax_and_flax_conventions() -> None:
    assert drawn(read(np.array([[True, False]]), "jax.dot_product_attention")) == ["x."]
    with pytest.raises(InvalidArgument, match="mask of int64; wanted bools"):
        read([[1, 0]], "jax.dot_product_attention")
    with pytest.raises(InvalidArgument, match="local_window_size"):
        read({"local_window_size": (1, -1)}, "jax.dot_product_attention", q_len=2, kv_len=2)
    with pytest.raises(InvalidArgument, match=r"wanted \(left, right\)"):
        read({"local_window_size": (1, 1, 1)}, "jax.dot_product_attention", q_len=2, kv_len=2)
    assert drawn(read({"mask": [[[[1.0, 0.0]]]]}, "flax")) == ["x."]
    with pytest.raises(InvalidArgument, match="got no mask for flax"):
        read({"mask": None}, "flax")


# -- round, by destinations that may come later ------------------------------------------------

# Interleaved documents in one row, padding of queries and keys in another.
PACKED = sl.causal() & sl.documents(ids=[[0, 1, 0, 1, 1], [0, 0, 0, 1, 1]])
PACKED = PACKED & sl.padding(lengths=[5, 4]) & sl.padding(lengths=[5, 4]).T
SQUARE = {
    "hf.2d": (sl.causal() & sl.padding(lengths=[5, 3, 4]), {}, {}),
    "hf.4d": (sl.causal() & sl.padding(lengths=[5, 3, 4]), {}, {}),
    "hf.position_ids": (sl.causal() & sl.documents(lengths=[2, 1, 2]), {}, {}),
    "xlnet": (sl.permutation([2, 0, 1, 4, 3], stream="query"), {"targets": [0, 1, 4]}, {}),
    "keras": (sl.causal() & sl.padding(lengths=[5, 3, 4]), {}, {}),
    "jax.dot_product_attention": (sl.window(1, 1) & sl.padding(lengths=[5, 3, 4]).T, {}, {}),
    "flax": (sl.causal() & sl.padding(lengths=[5, 3, 4]), {}, {}),
    "torch.varlen": (PACKED, {}, {}),
    "flash_attn": (PACKED, {}, {}),
}


@pytest.mark.parametrize("name", SQUARE)
def test_and_back(name: str) -> None:
    if name not in DESTINATIONS:
        pytest.skip(f"there is no destination {name} here")
    mask, to, back = SQUARE[name]
    try:
        made = sl.lower(mask, name, 5, **to)
    except sl.MissingExtra as missing:
        pytest.skip(str(missing))
    found = read(made, name, **back)
    assert_same(found.allowed, oracle(mask, 5))


LENGTHS = ("keras", "jax.dot_product_attention")
BATCH = ("torch.varlen", "flash_attn", "hf.2d", "jax.dot_product_attention")


@pytest.mark.parametrize("name", [*BATCH, "keras", "flax", "hf.4d"])
def test_random_masks_and_back(name: str) -> None:
    if name not in DESTINATIONS:
        pytest.skip(f"there is no destination {name} here")
    told = 0

    @settings(max_examples=20 if name == "torch.varlen" else 60)
    @given(frames(4).flatmap(lambda f: expressions(f, depth=1).map(lambda spec: (f, spec))))
    def there_and_back(case: tuple[Frame, Any]) -> None:
        nonlocal told
        frame, spec = case
        shape = frame.q_len, frame.kv_len, frame.q_offset
        sizes = {"batch": frame.batch} if name in BATCH else {}
        try:
            made = sl.lower(build(spec), name, *shape, **sizes)
        except sl.CannotExpress:
            return
        except sl.MissingExtra as missing:
            pytest.skip(str(missing))
        told += 1
        lengths = {"q_len": shape[0], "kv_len": shape[1]} if name in LENGTHS else {}
        if name == "hf.2d":
            lengths = {"q_len": shape[0], "q_offset": shape[2]}
        assert_same(read(made, name, **lengths).allowed, oracle(spec, *shape))

    there_and_back()
    assert told, "no mask was told at all"


@pytest.mark.skipif("swin" not in DESTINATIONS, reason="no such destination here")
def test_swin_and_back() -> None:
    mask = sl.shifted_window((4, 6), window=2, shift=1)
    made = sl.lower(mask, "swin", 24)
    found = read(made, "swin", grid=(4, 6), window=2, shift=1)
    assert_same(found.allowed, oracle(mask, 24))


def test_evidence_and_warnings_are_sentences_without_a_stop() -> None:
    found = read([[1, 1, 0]], "hf.2d")
    for words in (*found.evidence, *found.warnings):
        assert re.match(r"\S.*[^.\s]$", words)
    assert dataclasses.is_dataclass(found)
