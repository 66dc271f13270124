"""What torch takes, read back: against drawings, against torch itself, and round.

Which expression says the bools is tested elsewhere; here the bools are what matters.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from reading_sources import FEW, assert_same, drawn, read

import sightline as sl
from sightline.errors import InvalidArgument, ShapeMismatch, UnknownBackend
from sightline.lower.destinations import NAMES as DESTINATIONS
from sightline.recognize.sources import table
from sightline.reference.dense import dense as oracle
from sightline.testing.specs import build
from sightline.testing.strategies import Frame, expressions, frames

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
