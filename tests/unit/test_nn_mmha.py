"""The fused decode step equals the last row of the full pass; Paddle's layout keeps every bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import sightline as sl
from sightline.errors import InvalidArgument, ShapeMismatch

BATCH, HEADS, KV_HEADS, DIM, MAX_LEN = 3, 4, 2, 8, 21
WIDTH = (HEADS + 2 * KV_HEADS) * DIM
NAN = float("nan")
TOLERANCE = {torch.float32: 1e-5, torch.float16: 1e-3, torch.bfloat16: 8e-3, torch.float64: 1e-12}


def random(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 3) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def cache_of(dtype: torch.dtype = torch.float32, kv_heads: int = KV_HEADS) -> torch.Tensor:
    return torch.full((2, BATCH, kv_heads, MAX_LEN, DIM), NAN, dtype=dtype)


def full_rows(
    x: torch.Tensor,
    *,
    bias: torch.Tensor | None = None,
    added: torch.Tensor | None = None,
    rotary: Any = None,
    kv_heads: int = KV_HEADS,
) -> torch.Tensor:
    """Every step at once, by the definition in float64: [batch, length, heads * head_dim].

    ``x`` is [batch, length, width]; ``added`` [batch|1, heads|1, length, length].
    """
    x = x.double() if bias is None else x.double() + bias.double().reshape(-1)
    batch, length, width = x.shape
    tokens = x.view(batch, length, width // DIM, DIM).transpose(1, 2)
    heads = width // DIM - 2 * kv_heads
    query, key, value = tokens.split([heads, kv_heads, kv_heads], dim=1)
    if rotary is not None:
        query, key = (rotary.rotate(each, torch.arange(length)[None]) for each in (query, key))
    key, value = (each.repeat_interleave(heads // kv_heads, dim=1) for each in (key, value))
    scores = query @ key.transpose(2, 3) / DIM**0.5
    if added is not None:
        scores = scores + added.double()
    scores = scores.masked_fill(torch.ones(length, length).triu(1).bool(), -torch.inf)
    return (scores.softmax(dim=-1) @ value).transpose(1, 2).flatten(2)


@pytest.mark.parametrize(
    ("style", "dtype", "kv_heads"),
    [
        *(("neox", dtype, KV_HEADS) for dtype in TOLERANCE),
        ("interleaved", torch.float32, 1),
        (None, torch.float32, HEADS),
    ],
)
def test_every_step_is_the_last_row(style: str | None, dtype: torch.dtype, kv_heads: int) -> None:
    rotary = None if style is None else sl.nn.Rotary(DIM, style=style)
    width = (HEADS + 2 * kv_heads) * DIM
    x, bias = random(BATCH, MAX_LEN, width, dtype=dtype) / 4, random(width, dtype=dtype, seed=4) / 4
    # The operator adds its bias in its own dtype, so the definition starts from that sum.
    wanted = full_rows((x + bias).double(), rotary=rotary, kv_heads=kv_heads)
    cache = cache_of(dtype, kv_heads)
    memory = cache.data_ptr()
    for t in range(MAX_LEN):
        output, same = sl.nn.mmha_step(x[:, t], cache, bias=bias, rotary=rotary, timestep=t)
        assert same is cache
        assert cache.data_ptr() == memory
        assert output.shape == (BATCH, HEADS * DIM)
        assert output.dtype == dtype
        tolerance = TOLERANCE[dtype]
        torch.testing.assert_close(output.double(), wanted[:, t], rtol=tolerance, atol=tolerance)
        assert bool(cache[..., t + 1 :, :].isnan().all())
        assert not bool(cache[..., : t + 1, :].isnan().any())


@settings(max_examples=12)
@given(starts=st.lists(st.integers(0, 12), min_size=BATCH, max_size=BATCH))
def test_rows_of_different_lengths(starts: list[int]) -> None:
    rotary = sl.nn.Rotary(DIM, fraction=0.5)
    x = random(BATCH, MAX_LEN, WIDTH)
    wanted = full_rows(x, rotary=rotary)
    cache = cache_of()
    for row, start in enumerate(starts):
        for t in range(start):
            _, filled = sl.nn.mmha_step(
                x[row : row + 1, t], cache[:, row : row + 1].clone(), rotary=rotary, timestep=t
            )
            cache[:, row] = filled[:, 0]
    for step in range(2):
        held = np.array(starts) + step
        tokens = x[torch.arange(BATCH), held]
        lengths = torch.tensor(held, dtype=torch.int32)[:, None]  # [batch, 1], as Paddle has it
        output, _ = sl.nn.mmha_step(tokens, cache, sequence_lengths=lengths, rotary=rotary)
        rows = wanted[torch.arange(BATCH), held]
        torch.testing.assert_close(output.double(), rows, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("rows", "heads"), [(1, 1), (BATCH, 1), (BATCH, HEADS)])
def test_src_mask_is_added_and_forbids(rows: int, heads: int) -> None:
    length = 7
    x, added = random(BATCH, length, WIDTH), random(rows, heads, length, length, seed=6)
    added[:, :, :, 2] = -torch.inf
    added[:, :, 2, 2] = 0  # so that no row is without a key
    wanted = full_rows(x, added=added)
    cache = cache_of()
    for t in range(length):
        output, _ = sl.nn.mmha_step(x[:, t], cache, src_mask=added[:, :, t : t + 1, : t + 1])
        torch.testing.assert_close(output.double(), wanted[:, t], rtol=1e-5, atol=1e-5)
    cache = cache_of()
    for t in range(2):  # what is beyond the tokens held is cut off
        output, _ = sl.nn.mmha_step(x[:, t], cache, src_mask=added[:, :, t : t + 1], timestep=t)
        torch.testing.assert_close(output.double(), wanted[:, t], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("style", ["neox", "interleaved"])
def test_cosines_and_sines_in_place_of_a_rotary(style: str) -> None:
    rotary = sl.nn.Rotary(DIM, style=style)
    x, t = random(BATCH, WIDTH), 5
    cache = random(2, BATCH, KV_HEADS, MAX_LEN, DIM)
    caches = [cache.clone() for _ in range(4)]
    pairs = [each[:, 0] for each in rotary.cos_sin(torch.tensor([[t]]))]
    if style == "neox":
        both = [torch.cat([each, each], dim=-1) for each in pairs]
    else:
        both = [each.repeat_interleave(2, dim=-1) for each in pairs]
    spread = [each.expand(BATCH, -1)[:, None, None] for each in both]  # [batch, 1, 1, head_dim]
    wanted, _ = sl.nn.mmha_step(x, caches[0], rotary=rotary, timestep=t)
    for given_pairs, own in zip((pairs, both, spread), caches[1:], strict=True):
        got, _ = sl.nn.mmha_step(x, own, rotary=tuple(given_pairs), rotary_style=style, timestep=t)
        assert torch.equal(got, wanted)
        assert torch.equal(own, caches[0])
    other = "interleaved" if style == "neox" else "neox"
    with pytest.raises(InvalidArgument, match="differ within a pair"):
        sl.nn.mmha_step(x, cache, rotary=tuple(both), rotary_style=other, timestep=t)


def step(**changes: Any) -> Any:
    given_all = {"x": random(BATCH, WIDTH), "cache_kv": cache_of(), "timestep": 0, **changes}
    return sl.nn.mmha_step(given_all.pop("x"), given_all.pop("cache_kv"), **given_all)


ZEROS = torch.zeros(BATCH, WIDTH)
REFUSED = [
    ({"timestep": MAX_LEN}, InvalidArgument, "row 0, which holds 21 of 21.*max_len=22"),
    ({"timestep": None, "sequence_lengths": [0, 30, 2]}, InvalidArgument, "batch row 1"),
    ({"timestep": None}, InvalidArgument, "wanted one of them"),
    ({"sequence_lengths": [1, 1, 1]}, InvalidArgument, "sequence_lengths and timestep"),
    ({"timestep": None, "sequence_lengths": [1, 1]}, ShapeMismatch, "each of the 3"),
    ({"x": ZEROS[:2]}, ShapeMismatch, r"wanted x \[3, \(heads \+ 4\) \* 8\]"),
    ({"x": ZEROS[:, :-1]}, ShapeMismatch, "wanted x"),
    ({"x": ZEROS[:, : 5 * DIM]}, ShapeMismatch, "query heads that 2 kv heads divide"),
    ({"x": ZEROS.half()}, InvalidArgument, "one dtype"),
    ({"x": ZEROS.clone().requires_grad_()}, InvalidArgument, "x that wants a gradient"),
    ({"cache_kv": cache_of()[0]}, ShapeMismatch, "wanted .2, batch, kv_heads"),
    ({"kv_heads": 4}, ShapeMismatch, "a cache of 2 heads"),
    ({"bias": ZEROS[0, 1:]}, ShapeMismatch, "a bias of shape"),
    ({"src_mask": torch.zeros(BATCH, 2, 1, 1)}, ShapeMismatch, "src_mask of shape"),
    ({"src_mask": torch.zeros(BATCH, 1, 1, 2), "timestep": 2}, ShapeMismatch, "src_mask"),
    ({"src_mask": torch.ones(1, 1, 1, 1, dtype=torch.bool)}, InvalidArgument, "wanted floats on"),
    ({"rotary_style": "neox"}, InvalidArgument, "without rotary"),
    (
        {"rotary": sl.nn.Rotary(DIM), "rotary_style": "interleaved"},
        InvalidArgument,
        "leave rotary_style out",
    ),
    ({"rotary": (torch.ones(1, 3),) * 2}, ShapeMismatch, "with fraction="),
]


@pytest.mark.parametrize(("changes", "error", "words"), REFUSED)
def test_refusals(changes: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        step(**changes)


def test_a_refused_step_leaves_the_cache_alone() -> None:
    cache = random(2, BATCH, KV_HEADS, MAX_LEN, DIM)
    before = cache.clone()
    for changes, _, _ in REFUSED:
        with pytest.raises((InvalidArgument, ShapeMismatch)):
            step(**{"cache_kv": cache, **changes})
    assert torch.equal(cache, before)


# -- Paddle's layout ----------------------------------------------------------------------------

INTEGERS = {2: torch.int16, 4: torch.int32, 8: torch.int64}


def any_bits(dtype: torch.dtype, *shape: int) -> torch.Tensor:
    """Numbers of random bits: NaN of every payload, infinities, -0 and subnormals among them."""
    size = INTEGERS[dtype.itemsize]
    info = torch.iinfo(size)
    rng = torch.Generator().manual_seed(1)
    drawn = torch.randint(info.min, info.max, shape, generator=rng, dtype=size)
    drawn.view(-1)[:2] = torch.tensor([info.min, info.max])  # -0 and a NaN
    return drawn.view(dtype)


@pytest.mark.parametrize(
    ("dtype", "x"), [(torch.float32, 4), (torch.float16, 8), (torch.bfloat16, 8)]
)
def test_packing_moves_bits_only(dtype: torch.dtype, x: int) -> None:
    batch, heads, max_len, dim = 2, 3, 5, 16
    integers = INTEGERS[dtype.itemsize]
    cache = any_bits(dtype, 2, batch, heads, max_len, dim)
    packed = sl.nn.pack_keys(cache[0])
    assert packed.shape == (batch, heads, dim // x, max_len, x)
    assert packed.is_contiguous()
    for b, h, t, d in np.ndindex(batch, heads, max_len, dim):
        # The kernel's own formula for where a number lies.
        flat = (((b * heads + h) * (dim // x) + d // x) * max_len + t) * x + d % x
        assert packed.view(integers).view(-1)[flat] == cache[0].view(integers)[b, h, t, d]
    assert torch.equal(sl.nn.unpack_keys(packed).view(integers), cache[0].view(integers))
    whole = sl.nn.pack_cache(cache)
    assert whole.shape == cache.shape
    assert torch.equal(whole[1].view(integers), cache[1].view(integers))
    assert torch.equal(whole[0].reshape(-1).view(integers), packed.view(-1).view(integers))
    assert torch.equal(sl.nn.unpack_cache(whole).view(integers), cache.view(integers))
    # Memory that lies otherwise is packed alike.
    strided = cache.transpose(2, 3).contiguous().transpose(2, 3)
    assert torch.equal(sl.nn.pack_cache(strided).view(integers), whole.view(integers))


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: sl.nn.pack_keys(torch.zeros(1, 1, 2, 6)), ShapeMismatch, "that 4 divides"),
        (lambda: sl.nn.pack_keys(torch.zeros(1, 1, 2, 12).half()), ShapeMismatch, "8 divides"),
        (lambda: sl.nn.pack_keys(torch.zeros(1, 2, 8)), ShapeMismatch, "wanted .batch"),
        (lambda: sl.nn.unpack_keys(torch.zeros(1, 1, 2, 5, 8)), ShapeMismatch, "max_len, 4"),
        (lambda: sl.nn.unpack_cache(torch.zeros(2, 1, 1, 2, 6)), ShapeMismatch, "head_dim 6"),
        (lambda: sl.nn.pack_cache(torch.zeros(3, 1, 1, 2, 8)), ShapeMismatch, "wanted .2, batch"),
        (lambda: sl.nn.pack_cache(torch.zeros(2, 1, 1, 2, 8).int()), InvalidArgument, "floats"),
    ],
)
def test_what_cannot_be_packed(call: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        call()
