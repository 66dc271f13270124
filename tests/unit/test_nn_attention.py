"""MultiheadAttention beyond torch's: grouped heads, sizes, positions, caches, rows left out.

Parity with torch's layer is in tests/parity, what poison does in tests/conformance.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

import sightline as sl
from sightline.nn import attention
from sightline.nn import needed_rows as needed_rows_file
from sightline.nn.linear import linear, linear_parts
from sightline.nn.needed_rows import needed_rows
from sightline.nn.torch_masks import Sizes, read_masks

B, Q, K, E, HEADS, KV = 3, 5, 7, 12, 4, 2
MASK = sl.causal() | sl.padding(lengths=[2, 7, 4])


def layer(**options: Any) -> Any:
    torch.manual_seed(0)
    made = sl.nn.MultiheadAttention(E, HEADS, **{"batch_first": True, **options})
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return made


def tokens(length: int = Q, features: int = E, seed: int = 1) -> torch.Tensor:
    return torch.randn(B, length, features, generator=torch.Generator().manual_seed(seed))


def formula(made: Any, query: torch.Tensor, key: torch.Tensor, mask: sl.Mask) -> torch.Tensor:
    """Attention written out, head by head."""
    widths = made.widths
    weights = made.in_proj_weight.split(widths)
    biases = made.in_proj_bias.split(widths)
    heads = [
        functional.linear(x, weight, bias).unflatten(2, (count, -1)).transpose(1, 2)
        for x, weight, bias, count in zip(
            (query, key, key), weights, biases, (HEADS, made.kv_heads, made.kv_heads), strict=True
        )
    ]
    q, k, v = heads
    k, v = (each.repeat_interleave(HEADS // made.kv_heads, dim=1) for each in (k, v))
    scores = q @ k.transpose(2, 3) / made.head_dim**0.5
    allowed = torch.from_numpy(mask.dense(query.shape[1], key.shape[1]))
    weights = scores.masked_fill(~allowed, -torch.inf).softmax(3).nan_to_num(0.0)
    return made.out_proj((weights @ v).transpose(1, 2).flatten(2))


@pytest.mark.parametrize(
    "options",
    [
        {"kv_heads": KV},
        {"kv_heads": 1, "head_dim": 5},
        {"head_dim": 6, "value_dim": 5},
        {"kv_heads": KV, "value_dim": 2},
    ],
)
@pytest.mark.parametrize("engine", ["auto", "reference"])
def test_grouped_heads_and_separate_sizes(options: dict[str, Any], engine: str) -> None:
    made = layer(engine=engine, **options)
    query, key = tokens(), tokens(K, seed=2)
    got, weights = made(query, key, mask=MASK, average_attn_weights=False)
    torch.testing.assert_close(got, formula(made, query, key, MASK), rtol=1e-5, atol=1e-5)
    assert weights.shape == (B, HEADS, Q, K)
    assert (weights[0, :, 0, 2:] == 0).all()
    alone = made(query, mask=sl.causal())[0]
    wanted = formula(made, query, query, sl.causal())
    torch.testing.assert_close(alone, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("engine", ["cpu", "sdpa", "varlen", "reference"])
def test_weights_on_every_engine(engine: str) -> None:
    causal = sl.causal()
    output, weights = layer(engine=engine)(tokens(), mask=causal)
    wanted_output, wanted = layer(engine="reference")(tokens(), mask=causal)
    torch.testing.assert_close(weights, wanted, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(output, wanted_output, rtol=1e-5, atol=1e-5)


def test_masks_hold_together_and_none_is_everything() -> None:
    made = layer()
    x = tokens()
    valid = torch.arange(Q) < torch.tensor([5, 2, 4])[:, None]
    real = sl.padding(lengths=[5, 2, 4])
    together = made(
        x,
        key_padding_mask=~valid,
        attn_mask=sl.window(left=2),
        mask=sl.window(right=2),
        is_causal=True,
        query_mask=valid,
    )
    mask = sl.window(left=2, right=2) & sl.causal() & real & real.T
    for got, wanted in zip(together, made(x, mask=mask), strict=True):
        assert torch.equal(got, wanted)
    for got, wanted in zip(made(x), made(x, mask=sl.everything()), strict=True):
        assert torch.equal(got, wanted)


def test_masked_queries_give_the_bias_even_beside_added_keys() -> None:
    made = layer(add_zero_attn=True, add_bias_kv=True)
    query_mask = torch.ones(B, Q, dtype=torch.bool)
    query_mask[1, 3] = False
    output, weights = made(tokens(), query_mask=query_mask)
    assert torch.equal(output[1, 3], made.out_proj.bias)
    assert (weights[1, 3] == 0).all()
    assert not torch.equal(output[1, 2], made.out_proj.bias)


def test_positions_are_absolute() -> None:
    """A part of the queries, placed by q_offset, gives the same rows as all of them."""
    made = layer()
    x = tokens(K)
    mask = sl.window(left=2, right=1)
    whole, weights = made(x, mask=mask)
    part, part_weights = made(x[:, 2:6], x, mask=mask, q_offset=2)
    torch.testing.assert_close(part, whole[:, 2:6], rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(part_weights, weights[:, 2:6], rtol=1e-6, atol=1e-6)
    # torch's tensors count from the first row given.
    tensor = torch.from_numpy(~mask.dense(4, K, 2)[0, 0])
    valid = torch.ones(B, 4, dtype=torch.bool)
    valid[1, 2] = False
    part, _ = made(x[:, 2:6], x, attn_mask=tensor, q_offset=2, query_mask=valid)
    torch.testing.assert_close(part[valid], whole[:, 2:6][valid], rtol=1e-6, atol=1e-6)
    assert torch.equal(part[1, 2], made.out_proj.bias)


class Turned:
    """Rotates pairs of features by their position, as complex numbers."""

    def rotate(self, x: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        assert positions.ndim == 2
        angle = positions[:, None, :, None].to(x.dtype)
        pairs = torch.view_as_complex(x.unflatten(3, (-1, 2)).contiguous())
        turned = pairs * torch.polar(torch.ones_like(angle), angle)
        return torch.view_as_real(turned).flatten(3)


def test_rotation_makes_scores_depend_on_distances_alone() -> None:
    made = layer(positions=Turned(), head_dim=4)
    x = tokens(K)
    plain = layer(head_dim=4)(x)[0]
    whole = made(x, mask=sl.causal())[0]
    assert not torch.allclose(made(x)[0], plain)
    part = made(x[:, 3:], x, mask=sl.causal(), q_offset=3)[0]
    torch.testing.assert_close(part, whole[:, 3:], rtol=1e-5, atol=1e-5)


class Chunk:
    """One layer of a chunk of a cache, as the layer wants it: rows of different lengths."""

    def __init__(self, held: torch.Tensor, values: torch.Tensor, counts: list[int]) -> None:
        self.keys, self.values, self.counts = held, values, counts
        self.q_offset = 0
        self.positions = torch.arange(2).expand(B, 2) + torch.tensor(counts)[:, None]

    def append(self, key: torch.Tensor, value: torch.Tensor) -> tuple[torch.Tensor, ...]:
        for row, start in enumerate(self.counts):
            self.keys[row, :, start : start + 2] = key[row]
            self.values[row, :, start : start + 2] = value[row]
        return self.keys, self.values

    def mask(self, mask: sl.Mask) -> sl.Mask:
        return sl.per_batch([mask.shift(query=-start) for start in self.counts])


def test_a_cache_gives_the_rows_of_the_whole() -> None:
    made = layer(kv_heads=KV, head_dim=4, positions=Turned())
    x, counts = tokens(K), [1, 5, 3]
    whole = made(x, mask=sl.causal())[0]
    keys = torch.full((B, KV, K, 4), torch.nan)
    values = keys.clone()
    before = Chunk(keys, values, [0, 0, 0])
    for start in range(0, K - 1, 2):
        before.counts = [start] * B
        before.positions = torch.arange(start, start + 2).expand(B, 2)
        made(x[:, start : start + 2], mask=sl.causal(), cache=before, need_weights=False)
    for row, start in enumerate(counts):  # what is not there yet must not be read
        keys[row, :, start:], values[row, :, start:] = torch.nan, torch.nan
    new = torch.stack([x[row, start : start + 2] for row, start in enumerate(counts)])
    got, weights = made(new, mask=sl.causal(), cache=Chunk(keys, values, counts))
    wanted = torch.stack([whole[row, start : start + 2] for row, start in enumerate(counts)])
    torch.testing.assert_close(got, wanted, rtol=1e-5, atol=1e-5)
    assert weights.shape == (B, 2, K)
    hinted = made(new, is_causal=True, cache=Chunk(keys, values, counts))[0]
    assert torch.equal(hinted, got)


# -- rows that need no work -----------------------------------------------------------------------

PADDED = sl.padding(lengths=[2, 5, 3])
PICKED = {
    "keys alone": PADDED,
    "both sides": PADDED & PADDED.T,
    "both sides, causal": PADDED & PADDED.T & sl.causal(),
    "queries alone": PADDED.T,
    "nothing": sl.nothing(),
    "heads": sl.per_head([PADDED, sl.nothing(), PADDED & sl.causal(), PADDED]),
}


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("mask", PICKED)
@pytest.mark.parametrize("options", [{}, {"kdim": 6}, {"add_zero_attn": True}])
def test_rows_left_out_change_nothing(
    batch_first: bool, mask: str, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = layer(batch_first=batch_first, **options)
    given = [tokens(Q)] if not options.get("kdim") else [tokens(Q), tokens(Q, 6), tokens(Q)]
    if not batch_first:
        given = [each.transpose(0, 1) for each in given]
    results = []
    for least in (2**60, 0):
        monkeypatch.setattr(attention, "LEAST_WORK", least)
        leaves = [each.clone().requires_grad_() for each in given]
        output, weights = made(*leaves, mask=PICKED[mask])
        torch.manual_seed(3)
        upstream = torch.randn(output.shape), torch.randn(weights.shape)
        grads = torch.autograd.grad([output, weights], [*leaves, *made.parameters()], upstream)
        results.append([output, weights, *grads])
    for got, wanted in zip(*reversed(results), strict=True):
        size = max(1.0, float(wanted.detach().abs().max()))
        torch.testing.assert_close(got, wanted, rtol=0.0, atol=1e-6 * size)


def test_rows_left_out_are_not_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "LEAST_WORK", 0)
    seen: list[int] = []
    plain = functional.linear

    def counting(inputs: torch.Tensor, *rest: Any) -> torch.Tensor:
        seen.append(inputs.numel() // inputs.shape[-1])
        return plain(inputs, *rest)

    monkeypatch.setattr(functional, "linear", counting)
    made = layer()
    counts = {}
    for name, mask in PICKED.items():
        seen.clear()
        made(tokens(), mask=mask, need_weights=False)
        counts[name] = list(seen)
    real, every = 2 + 5 + 3, B * Q
    assert counts == {
        "keys alone": [every, real, every],  # queries, keys with values, output
        "both sides": [real, real],  # all three at once, output
        "both sides, causal": [real, real],
        "queries alone": [real, every, real],
        "nothing": [0, 0],
        "heads": [every, real, every],
    }


def test_needed_rows_are_those_of_the_written_out_mask(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(needed_rows_file, "WORTH_PICKING", 1.1)  # rows even where all are needed
    rng = np.random.default_rng(0)
    for _ in range(30):
        bools = rng.random((B, HEADS, Q, K)) < 0.05
        q_offset, batch_first = int(rng.integers(0, 3)), bool(rng.integers(2))
        mask = sl.dense(bools, means="attend").shift(query=q_offset)
        found = needed_rows(mask, B, Q, K, q_offset=q_offset, batch_first=batch_first)
        seeing, seen = bools.any(axis=(1, 3)), bools.any(axis=(1, 2))
        for rows, wanted, own in (
            (found.queries, seeing, batch_first),
            (found.keys, seen, batch_first),
            (found.outputs, seeing, True),
        ):
            flat = np.flatnonzero(wanted if own else wanted.T)
            assert rows is not None
            assert rows.tolist() == flat.tolist()


def test_rows_are_picked_only_where_it_pays() -> None:
    nearly = sl.padding(lengths=[7, 7, 6])
    assert needed_rows(nearly & nearly.T, B, K, K).keys is None
    assert needed_rows(sl.causal(), B, K, K).queries is None


# -- linear maps ----------------------------------------------------------------------------------


def test_linear_is_torchs_and_its_gradients_too() -> None:
    inputs = tokens().double().requires_grad_()
    weight = torch.randn(6, E, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(6, dtype=torch.float64, requires_grad=True)
    assert torch.equal(linear(inputs, weight, bias), functional.linear(inputs, weight, bias))
    rows = torch.tensor([1, 4, 13])
    assert torch.autograd.gradcheck(lambda *three: linear(*three), (inputs, weight, bias))
    picked = lambda *three: linear(*three, rows=rows)  # noqa: E731
    assert torch.autograd.gradcheck(picked, (inputs, weight, bias))
    output = linear(inputs, weight, bias, rows=rows).flatten(0, 1)
    wanted = functional.linear(inputs, weight, bias).flatten(0, 1)
    torch.testing.assert_close(output[rows], wanted[rows])
    others = [row for row in range(B * Q) if row not in rows.tolist()]
    assert (output[others] == bias).all()
    assert (linear(inputs, weight, rows=rows).flatten(0, 1)[others] == 0).all()


def test_parts_that_nobody_differentiates() -> None:
    inputs = tokens()[0].requires_grad_()
    weight = torch.randn(6, E, requires_grad=True)
    bias = torch.randn(6, requires_grad=True)
    first, _ = linear_parts(inputs, weight, bias, (2, 4))
    grads = torch.autograd.grad(first.square().sum(), [inputs, weight, bias])
    wanted = functional.linear(inputs, weight, bias)[:, :2]
    wanted = torch.autograd.grad(wanted.square().sum(), [inputs, weight, bias])
    for got, other in zip(grads, wanted, strict=True):
        torch.testing.assert_close(got, other)


def test_autocast_computes_in_its_dtype() -> None:
    made = layer()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output, _ = made(tokens(), mask=sl.causal())
    assert output.dtype == torch.bfloat16
    wanted = made(tokens(), mask=sl.causal())[0]
    torch.testing.assert_close(output.float(), wanted, rtol=0.1, atol=0.1)
    output.float().sum().backward()
    assert made.in_proj_weight.grad.dtype == torch.float32


def test_functional_gradients_are_the_same() -> None:
    made = layer()
    x = tokens()
    parameters = dict(made.named_parameters())

    def loss(parameters: dict[str, torch.Tensor]) -> torch.Tensor:
        call = {"mask": sl.causal(), "need_weights": False}
        output = torch.func.functional_call(made, parameters, (x,), call)[0]
        return output.square().sum()

    found = torch.func.grad(loss)(parameters)
    wanted = torch.autograd.grad(loss(parameters), list(parameters.values()))
    for got, other in zip(found.values(), wanted, strict=True):
        torch.testing.assert_close(got, other, rtol=1e-4, atol=1e-4)


# -- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"num_heads": 5}, "heads that divide it"),
        ({"kv_heads": 3}, "key heads that divide"),
        ({"embed_dim": 0}, "embed_dim=0"),
        ({"value_dim": 0}, "value_dim=0"),
        ({"dropout": 1.0}, "dropout=1.0"),
    ],
)
def test_sizes_that_do_not_go(options: dict[str, Any], words: str) -> None:
    with pytest.raises(sl.InvalidArgument, match=words):
        sl.nn.MultiheadAttention(**{"embed_dim": E, "num_heads": HEADS, **options})


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        ({"attn_mask": torch.zeros(Q, Q, dtype=torch.int64)}, sl.InvalidArgument, "int64"),
        ({"attn_mask": np.zeros((Q, Q))}, sl.InvalidArgument, "ndarray"),
        ({"attn_mask": torch.ones(Q, Q).tril()}, sl.InvalidArgument, "all 0 or 1"),
        ({"key_padding_mask": torch.eye(B, Q)}, sl.InvalidArgument, "key_padding_mask == 0 if 1"),
        ({"attn_mask": torch.zeros(Q, K)}, sl.ShapeMismatch, r"wanted \[5, 5\] or \[12, 5, 5\]"),
        ({"key_padding_mask": torch.zeros(B, K)}, sl.ShapeMismatch, r"wanted \[3, 5\]"),
        ({"query_mask": torch.zeros(B, Q)}, sl.InvalidArgument, "True for a real"),
        ({"query_mask": torch.zeros(Q, dtype=torch.bool)}, sl.ShapeMismatch, "queries"),
        ({"mask": torch.zeros(Q, Q)}, sl.InvalidMask, "an array"),
        ({"mask": sl.padding(lengths=[1, 2])}, sl.ShapeMismatch, "2 batch rows"),
        ({"key": torch.zeros(B, Q, E + 1)}, sl.ShapeMismatch, "got key of shape"),
        ({"key": torch.zeros(Q, E)}, sl.ShapeMismatch, "all with a batch axis"),
        ({"key": torch.zeros(B + 1, Q, E)}, sl.ShapeMismatch, "one batch size"),
        ({"key": [1.0]}, sl.InvalidArgument, "got key of type list"),
    ],
)
def test_arguments_that_do_not_go(given: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        layer()(tokens(), **given)


def test_a_cache_takes_masks_over_absolute_positions_alone() -> None:
    x = tokens(2)
    for named in (
        {"attn_mask": torch.zeros(2, 2)},
        {"key_padding_mask": torch.zeros(B, 2)},
        {"q_offset": 3},
    ):
        with pytest.raises(sl.CannotExpress, match="over absolute positions"):
            layer()(x, cache=object(), **named)
    with pytest.raises(sl.CannotExpress, match="add_bias_kv"):
        layer(add_bias_kv=True)(x, cache=object())


def test_biases_of_both_kinds_add_up() -> None:
    pairs, keys = torch.randn(Q, K), torch.randn(B, K)
    pairs[0, 1] = -torch.inf
    sight = read_masks(Sizes(B, HEADS, Q, K), attn_mask=pairs, key_padding_mask=keys, added=2)
    assert sight.bias is not None
    assert sight.bias.shape == (B, 1, Q, K + 2)
    assert (sight.bias[..., :2] == 0).all()
    assert torch.equal(sight.bias[..., 2:], pairs + keys[:, None, None])
    assert sight.mask.dense(Q, K + 2).sum() == Q * (K + 2) - 1
