"""What other libraries take, read back: packed sequences, transformers, XLNet, Swin, Keras, JAX."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from reading_sources import assert_same, drawn, read

import sightline as sl
from sightline.errors import InvalidArgument, ShapeMismatch
from sightline.reference.dense import dense as oracle
from sightline.testing.drawings import drawing

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
