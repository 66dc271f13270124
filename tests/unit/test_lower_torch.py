"""The torch destinations, run: what comes out is given to torch and compared with the oracle."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from lowered import DIM, EMPTY_ROWS, FULL_ROWS, HEADS, OFFSET, B, K, Q
from torch import nn

import sightline as sl
from sightline.errors import InvalidArgument
from sightline.lower import torch_sdpa
from sightline.lower.forms.split import split
from sightline.reference.attention import attention, attention_gradients
from sightline.reference.dense import dense as oracle


def numbers(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().double().numpy()


# -- scaled_dot_product_attention --------------------------------------------------------------


@pytest.mark.parametrize("name", [*FULL_ROWS, *EMPTY_ROWS])
@pytest.mark.parametrize("value_dim", [DIM, 5])
@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16", "float16"])
def test_sdpa_forwards_and_backwards(name: str, value_dim: int, dtype: str) -> None:
    mask = {**FULL_ROWS, **EMPTY_ROWS}[name]
    rng = torch.Generator().manual_seed(0)
    shapes = [(B, HEADS, Q, DIM), (B, HEADS, K, DIM), (B, HEADS, K, value_dim)]
    inputs = [
        torch.randn(shape, generator=rng).to(getattr(torch, dtype)).requires_grad_()
        for shape in shapes
    ]
    keywords = sl.lower(mask, to="torch.sdpa", q_len=Q, kv_len=K, q_offset=OFFSET)
    output = nn.functional.scaled_dot_product_attention(*inputs, **keywords)
    upstream = torch.randn(output.shape, generator=rng).to(output.dtype)
    grads = torch.autograd.grad(output, inputs, upstream)
    allowed = oracle(mask, Q, K, OFFSET)
    arrays = [numbers(tensor) for tensor in inputs]
    wanted = attention(*arrays, allowed).output
    expected = attention_gradients(*arrays, allowed, numbers(upstream))
    tolerance = {"float64": 1e-13, "float32": 1e-5, "float16": 1e-2, "bfloat16": 8e-2}[dtype]
    rights = (wanted, expected.query, expected.key, expected.value)
    for got, right in zip((output, *grads), rights, strict=True):
        np.testing.assert_allclose(numbers(got), right, rtol=0, atol=tolerance)


def test_sdpa_keywords_are_complete_and_never_both() -> None:
    for name, mask in FULL_ROWS.items():
        for q_offset in (0, OFFSET, K):
            got = sl.lower(mask, to="torch.sdpa", q_len=Q, kv_len=K, q_offset=q_offset)
            assert set(got) == {"attn_mask", "is_causal"}, name
            allowed = oracle(mask, Q, K, q_offset)
            if got["attn_mask"] is not None:
                assert got["is_causal"] is False
                assert got["attn_mask"].dtype == torch.bool
                np.testing.assert_array_equal(got["attn_mask"].numpy(), allowed)
            elif got["is_causal"]:
                np.testing.assert_array_equal(allowed[0, 0], np.tri(Q, K))
            else:
                assert allowed.all()


@pytest.mark.parametrize(
    ("mask", "lengths", "form"),
    [
        (sl.causal(), (4, 4, 0), (None, True)),
        (sl.causal(), (4, 6, 0), (None, True)),
        (sl.causal(), (6, 4, 0), (None, True)),
        (sl.causal(), (1, 4, 3), (None, False)),  # a decode step sees its whole cache
        (sl.causal(), (1, 1, 0), (None, False)),
        (sl.window(100, 0), (4, 4, 0), (None, True)),
        (sl.window(100, 100), (4, 4, 0), (None, False)),
        (sl.padding(lengths=[4, 9]), (4, 4, 0), (None, False)),
    ],
)
def test_sdpa_uses_short_forms_only_where_they_say_the_same(
    mask: sl.Mask, lengths: tuple[int, int, int], form: tuple[Any, bool]
) -> None:
    got = sl.lower(mask, "torch.sdpa", *lengths)
    assert (got["attn_mask"], got["is_causal"]) == form


def test_sdpa_keeps_the_mask_where_is_causal_would_be_aligned_elsewhere() -> None:
    got = sl.lower(sl.causal(), to="torch.sdpa", q_len=2, kv_len=4, q_offset=2)
    assert not got["is_causal"]
    assert got["attn_mask"].int().tolist() == [[[[1, 1, 1, 0], [1, 1, 1, 1]]]]
    per_head = sl.per_head([sl.causal(), sl.everything()])
    assert sl.lower(per_head, to="torch.sdpa", q_len=3)["attn_mask"].shape == (1, 2, 3, 3)


def test_sdpa_refuses_empty_rows_where_torch_does_not_keep_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch_sdpa, "cpu_keeps_empty_rows", lambda: False)
    for mask in EMPTY_ROWS.values():
        with pytest.raises(sl.CannotExpress, match=r"may see nothing.*sl\.attend") as caught:
            sl.lower(mask, to="torch.sdpa", q_len=Q, kv_len=K)
        assert caught.value.destination == "torch.sdpa"
    sl.lower(sl.causal(), to="torch.sdpa", q_len=Q)


def test_sdpa_refuses_empty_rows_on_other_devices() -> None:
    with pytest.raises(sl.CannotExpress, match="device 'cuda'"):
        sl.lower(sl.nothing(), to="torch.sdpa", q_len=2, device="cuda")


def test_the_trial_of_empty_rows_sees_a_torch_that_spoils_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def naive(query: Any, key: Any, value: Any, attn_mask: Any) -> Any:
        scores = (query @ key.mT).masked_fill(~attn_mask, -torch.inf)
        return torch.softmax(scores, dim=-1) @ value

    def mean_of_all(query: Any, key: Any, value: Any, attn_mask: Any) -> Any:
        low = torch.finfo(query.dtype).min
        return torch.softmax((query @ key.mT).masked_fill(~attn_mask, low), dim=-1) @ value

    torch_sdpa.cpu_keeps_empty_rows.cache_clear()
    assert torch_sdpa.cpu_keeps_empty_rows()
    for spoiling in (naive, mean_of_all):
        torch_sdpa.cpu_keeps_empty_rows.cache_clear()
        with monkeypatch.context() as patch:
            patch.setattr(nn.functional, "scaled_dot_product_attention", spoiling)
            assert not torch_sdpa.cpu_keeps_empty_rows()
    torch_sdpa.cpu_keeps_empty_rows.cache_clear()


@pytest.mark.parametrize("to", ["torch.sdpa", "torch.mha"])
def test_devices(to: str) -> None:
    mask = sl.window(1, 1)
    assert sl.lower(mask, to=to, q_len=4, device="meta")["attn_mask"].device.type == "meta"
    with pytest.raises(InvalidArgument, match="got device='abacus'"):
        sl.lower(mask, to=to, q_len=4, device="abacus")


# -- nn.MultiheadAttention ---------------------------------------------------------------------


@pytest.mark.parametrize("name", FULL_ROWS)
@pytest.mark.parametrize("need_weights", [False, True])
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("batch_first", [False, True])
def test_mha(name: str, need_weights: bool, training: bool, batch_first: bool) -> None:
    layer = nn.MultiheadAttention(DIM, HEADS, batch_first=batch_first, dtype=torch.float64)
    layer.train(training)
    rng = torch.Generator().manual_seed(0)
    mask, sizes = FULL_ROWS[name], {"num_heads": HEADS, "batch": B}
    for q_len, kv_len, is_self in ((Q, K, False), (K, K, True)):
        memory = torch.randn(B, kv_len, DIM, generator=rng, dtype=torch.float64)
        target = memory if is_self else memory.new_zeros(B, q_len, DIM).normal_(generator=rng)
        offset = 0 if is_self else OFFSET
        if is_self and (~oracle(mask, q_len, kv_len, offset).any(axis=-1)).any():
            continue
        keywords = sl.lower(mask, "torch.mha", q_len, kv_len, offset, **sizes)
        assert set(keywords) == {"attn_mask", "key_padding_mask", "need_weights", "is_causal"}
        keywords["need_weights"] = need_weights
        wanted, weights = by_the_oracle(layer, target, memory, oracle(mask, q_len, kv_len, offset))
        inputs = [target, memory, memory]
        if is_self:
            inputs = [memory] * 3
        if not batch_first:
            turned = {id(t): t.transpose(0, 1) for t in inputs}  # one object stays one object
            inputs = [turned[id(t)] for t in inputs]
        for grad in (True, False):
            with torch.set_grad_enabled(grad):
                output, got_weights = layer(*inputs, **keywords, average_attn_weights=False)
            output = output if batch_first else output.transpose(0, 1)
            np.testing.assert_allclose(numbers(output), wanted, rtol=0, atol=1e-12)
            if need_weights:
                np.testing.assert_allclose(numbers(got_weights), weights, rtol=0, atol=1e-12)


def by_the_oracle(
    layer: nn.MultiheadAttention, target: torch.Tensor, memory: torch.Tensor, allowed: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return output [B, Q, DIM] and weights [B, HEADS, Q, K] of the layer, by hand."""
    projections = zip(layer.in_proj_weight.chunk(3), layer.in_proj_bias.chunk(3), strict=True)
    sources = (target, memory, memory)
    heads = [
        numbers((source @ weight.T + bias).unflatten(-1, (HEADS, -1)).transpose(1, 2))
        for source, (weight, bias) in zip(sources, projections, strict=True)
    ]
    result = attention(*heads, allowed)
    joined = torch.from_numpy(result.output).transpose(1, 2).flatten(2)
    return numbers(layer.out_proj(joined)), result.weights


def test_mha_means_ignore_and_splits_where_it_can() -> None:
    got = sl.lower(FULL_ROWS["padding of two kinds"], to="torch.mha", q_len=Q, kv_len=K)
    assert got["attn_mask"].shape == (Q, K)
    assert got["key_padding_mask"].shape == (B, K)
    assert got["need_weights"] is False
    assert got["is_causal"] is False
    ignored = got["attn_mask"][None] | got["key_padding_mask"][:, None]
    allowed = oracle(FULL_ROWS["padding of two kinds"], Q, K)[:, 0]
    np.testing.assert_array_equal(ignored.numpy(), ~allowed)
    plain = sl.lower(sl.padding(lengths=[2, 1]), to="torch.mha", q_len=2)
    assert plain["attn_mask"] is None
    assert plain["key_padding_mask"].tolist() == [[False, False], [False, True]]
    assert sl.lower(sl.everything(), to="torch.mha", q_len=2) == {
        "attn_mask": None,
        "key_padding_mask": None,
        "need_weights": False,
        "is_causal": False,
    }


def test_mha_counts_batch_rows_outermost() -> None:
    mask = FULL_ROWS["per head and batch"]
    got = sl.lower(mask, to="torch.mha", q_len=Q, kv_len=K, num_heads=HEADS, batch=B)
    assert got["attn_mask"].shape == (B * HEADS, Q, K)
    allowed = oracle(mask, Q, K)
    for b in range(B):
        for h in range(HEADS):
            row = got["attn_mask"][b * HEADS + h].numpy()
            np.testing.assert_array_equal(row, ~allowed[b, h])
    # The mask's own sizes serve where it has them; only the missing one must be named.
    again = sl.lower(mask, to="torch.mha", q_len=Q, kv_len=K)
    assert torch.equal(again["attn_mask"], got["attn_mask"])


def test_split_is_found_exactly_where_there_is_one() -> None:
    """Against trying all pairs of a mask of pairs and a mask of keys, for 2 x 2 x 2 arrays."""
    every = [np.array([n >> i & 1 for i in range(4)], bool).reshape(2, 2) for n in range(16)]
    exist = {(a[None] & p[:, None]).tobytes() for a in every for p in every}
    for n in range(256):
        allowed = np.array([n >> i & 1 for i in range(8)], bool).reshape(2, 2, 2)
        pairs, keys = split(allowed[:, None])
        assert (pairs is not None) == (allowed.tobytes() in exist)
        if pairs is not None:
            assert keys is not None
            np.testing.assert_array_equal(pairs[None] & keys[:, None], allowed)


@pytest.mark.parametrize("name", EMPTY_ROWS)
def test_mha_refuses_empty_rows(name: str) -> None:
    with pytest.raises(sl.CannotExpress, match=r"may see nothing.*need_weights=True.*sl\.attend"):
        sl.lower(EMPTY_ROWS[name], to="torch.mha", q_len=Q, kv_len=K, num_heads=HEADS, batch=B)


def test_mha_asks_for_the_sizes_that_it_needs() -> None:
    with pytest.raises(InvalidArgument, match=r"got no batch.*pass batch=\."):
        sl.lower(FULL_ROWS["per head"], to="torch.mha", q_len=Q)
    with pytest.raises(InvalidArgument, match=r"got no num_heads.*pass num_heads=\."):
        sl.lower(FULL_ROWS["documents"], to="torch.mha", q_len=K)
    with pytest.raises(sl.ShapeMismatch, match=r"got num_heads=3 .* a mask with 2"):
        sl.lower(FULL_ROWS["per head"], to="torch.mha", q_len=Q, num_heads=3, batch=B)
    with pytest.raises(sl.ShapeMismatch, match=r"got batch=2 .* a mask with 3"):
        sl.lower(FULL_ROWS["padding"], to="torch.mha", q_len=Q, batch=2)
    with pytest.raises(sl.ShapeMismatch, match=r"got num_heads='two'"):
        sl.lower(FULL_ROWS["per head"], to="torch.mha", q_len=Q, num_heads="two", batch=B)
