"""Destinations swin (beside transformers' own masks) and paddle (beside its formula)."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest

import sightline as sl
from sightline.errors import CannotExpress, InvalidArgument, ShapeMismatch
from sightline.lower.swin import tokens_of_windows
from sightline.reference.attention import attention
from sightline.reference.dense import dense as oracle
from sightline.testing.expanders.models import swin as expand
from sightline.testing.expanders.shape import Shape

GRIDS = [((8, 8), 4, 2), ((4, 6), 2, 1), ((6, 9), 3, 1), ((4, 8), 2, 0)]


@pytest.mark.parametrize(("grid", "window", "shift"), GRIDS)
def test_swin_gives_the_masks_of_the_published_model(
    grid: tuple[int, int], window: int, shift: int
) -> None:
    torch = pytest.importorskip("torch")
    swin = pytest.importorskip("transformers.models.swin.modeling_swin")
    layer = swin.SwinLayer.__new__(swin.SwinLayer)
    layer.__dict__.update(window_size=window, shift_size=shift)
    masks = layer.get_attn_mask(*grid, dtype=torch.float32, device="cpu")
    wanted = np.zeros((8, 4, 4)) if masks is None else masks.numpy()  # None: not shifted
    mask = sl.shifted_window(grid, window=window, shift=shift)
    got = sl.lower(mask, to="swin", q_len=grid[0] * grid[1])
    assert set(got) == {"attn_mask"}
    assert got["attn_mask"].dtype == np.float32
    np.testing.assert_array_equal(got["attn_mask"], wanted)


@pytest.mark.parametrize(("grid", "window", "shift"), GRIDS)
def test_swin_means_the_mask(grid: tuple[int, int], window: int, shift: int) -> None:
    tokens = grid[0] * grid[1]
    mask = sl.shifted_window(grid, window=window, shift=shift)
    shape = Shape(1, 1, tokens, tokens)
    sides = grid, (window, window), (shift, shift)
    got = sl.lower(mask, to="swin", q_len=tokens, constant=-np.inf)
    np.testing.assert_array_equal(expand(got, shape, *sides), oracle(mask, tokens))
    # A mask that is no shifted window, but keeps to its windows.
    other = mask & sl.window(5, 5) | sl.window(0, 0)
    got = sl.lower(other, to="swin", q_len=tokens, grid=grid, window=window, shift=shift)
    np.testing.assert_array_equal(expand(got, shape, *sides), oracle(other, tokens))


def test_swin_attention_in_windows_is_attention_under_the_mask() -> None:
    grid, window, shift = (6, 4), (3, 2), (1, 1)
    mask = sl.shifted_window(grid, window=window, shift=shift)
    added = sl.lower(mask, to="swin", q_len=24)["attn_mask"]
    rng = np.random.default_rng(0)
    query, key, value = rng.normal(size=(3, 24, 8))
    wanted = attention(query[None, None], key[None, None], value[None, None], oracle(mask, 24))
    output = np.empty((24, 8))
    for tokens, mask_of_window in zip(tokens_of_windows(grid, window, shift), added, strict=True):
        scores = query[tokens] @ key[tokens].T / 8**0.5 + mask_of_window
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        output[tokens] = weights / weights.sum(-1, keepdims=True) @ value[tokens]
    np.testing.assert_allclose(output, wanted.output[0, 0], rtol=0, atol=1e-12)


def test_swin_refuses() -> None:
    mask = sl.shifted_window((4, 4), window=2, shift=1)
    with pytest.raises(CannotExpress, match=r"query 0 that may see key 2.*different windows"):
        sl.lower(sl.everything(), to="swin", q_len=16, grid=(4, 4), window=2)
    with pytest.raises(CannotExpress, match=r"a grid of \(5, 4\) in windows of \(2, 2\)"):
        sl.lower(sl.shifted_window((5, 4), window=2, shift=1), to="swin", q_len=20)
    with pytest.raises(CannotExpress, match="the grid has 16 tokens"):
        sl.lower(mask, to="swin", q_len=8, kv_len=16)
    with pytest.raises(CannotExpress, match=r"batch rows that differ \(row 1"):
        sl.lower(mask & sl.padding(lengths=[16, 9]), to="swin", q_len=16, grid=(4, 4), window=2)
    with pytest.raises(CannotExpress, match="rows that may see nothing"):
        sl.lower(mask & ~sl.queries([3]), to="swin", q_len=16, grid=(4, 4), window=2, shift=1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "no shifted_window"),
        ({"grid": (4, 4)}, "no shifted_window"),
        ({"grid": (4, 4), "window": 2, "shift": 2}, "shifts from 0 to below"),
        ({"grid": (4, 4), "window": (2, 2, 2)}, "as many numbers in each"),
        ({"grid": (4, 4), "window": 2, "constant": 0.0}, "wanted a negative number"),
    ],
)
def test_swin_mistakes(options: dict[str, Any], message: str) -> None:
    mask = sl.shifted_window((4, 4), window=2, shift=1) & sl.window(9, 9)
    with pytest.raises(InvalidArgument, match=message):
        sl.lower(mask, to="swin", q_len=16, **options)


def masked_multihead_attention(
    query: np.ndarray, key: np.ndarray, value: np.ndarray, cache: np.ndarray, made: dict[str, Any]
) -> np.ndarray:
    """The operator's formula: the new key and value go behind the cached ones, in place."""
    out = np.empty_like(query)
    for b, h in product(range(query.shape[0]), range(query.shape[1])):
        at = int(made["sequence_lengths"][b, 0])
        cache[0, b, h, at], cache[1, b, h, at] = key[b, h], value[b, h]
        scores = cache[0, b, h, : at + 1] @ query[b, h] / query.shape[-1] ** 0.5
        scores = scores + made["src_mask"][b, h % made["src_mask"].shape[1], 0].astype(float)
        weights = np.exp(scores - scores.max())
        out[b, h] = weights / weights.sum() @ cache[1, b, h, : at + 1]
    return out


@pytest.mark.parametrize(
    "mask",
    [
        sl.causal(),
        sl.window(left=2, right=0),
        sl.causal() & sl.padding(lengths=[6, 2, 3], side="left", total=6),
        sl.per_head([sl.causal(), sl.window(left=1)]),
    ],
)
def test_paddle_decodes(mask: sl.Mask) -> None:
    B, H, N, D = 3, 2, 6, 4
    rng = np.random.default_rng(0)
    query, key, value = rng.normal(size=(3, B, H, N, D))
    made = sl.lower(mask, to="paddle", q_len=1, kv_len=N, q_offset=N - 1, cache=(B, H, 8, D))
    cache = np.full(made["cache_kv_shape"], np.nan)
    cache[0, :, :, : N - 1], cache[1, :, :, : N - 1] = key[:, :, :-1], value[:, :, :-1]
    last = (array[:, :, -1] for array in (query, key, value))
    got = masked_multihead_attention(*last, cache, made)
    wanted = attention(query[:, :, -1:], key, value, oracle(mask, 1, N, N - 1)).output
    np.testing.assert_allclose(got, wanted[:, :, 0], rtol=0, atol=1e-12)
    assert made["src_mask"].shape[0] == made["sequence_lengths"].shape[0] == B


def test_paddle_refuses_and_mistakes() -> None:
    step = {"to": "paddle", "q_len": 1, "kv_len": 6, "q_offset": 5}
    for other in ({"q_len": 2}, {"q_offset": 4}, {"kv_len": 5}):
        with pytest.raises(CannotExpress, match="one new token"):
            sl.lower(sl.causal(), **{**step, **other})
    with pytest.raises(CannotExpress, match="rows that may see nothing"):
        sl.lower(sl.padding(lengths=[3, 0]), **step)
    with pytest.raises(InvalidArgument, match=r"wanted \(batch, heads, max_len, head_dim\)"):
        sl.lower(sl.causal(), **step, cache=(3, 2, 8))
    with pytest.raises(InvalidArgument, match="max_len=5"):
        sl.lower(sl.causal(), **step, cache=(3, 2, 5, 4))
    with pytest.raises(ShapeMismatch, match="got batch=3 for paddle and a mask with 2"):
        sl.lower(sl.padding(lengths=[6, 5]), **step, cache=(3, 2, 8, 4))
