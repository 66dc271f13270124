"""Positions: equal to the formulas and to other libraries, the same bits however they are asked."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import sightline as sl
from sightline.errors import InvalidArgument, ShapeMismatch
from sightline.nn.positions import MOST_KEPT

B, HEADS, LENGTH, DIM = 2, 3, 5, 12
STYLES = ("neox", "interleaved")


def random(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(2)).to(dtype)


def by_formula(x: torch.Tensor, positions: Any, style: str, size: int, base: float) -> Any:
    """Each pair as a complex number times exp(i * position * frequency), in float64."""
    result = x.double().clone()
    pairs = size // 2
    for i in range(pairs):
        first, second = (i, i + pairs) if style == "neox" else (2 * i, 2 * i + 1)
        angle = positions.double() * base ** (-2 * i / size)
        turned = torch.complex(x[..., first].double(), x[..., second].double())
        turned = turned * torch.polar(torch.ones_like(angle), angle)[:, None]
        result[..., first], result[..., second] = turned.real, turned.imag
    return result


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize(("fraction", "size"), [(1.0, 12), (0.5, 6), (0.34, 4)])
def test_rotary_is_the_formula(style: str, fraction: float, size: int) -> None:
    rotary = sl.nn.Rotary(DIM, base=500.0, style=style, fraction=fraction)
    x = random(B, HEADS, LENGTH, DIM)
    positions = torch.tensor([[0, 1, 2, 70, 900], [5, 5, 3, 2, 1]])
    wanted = by_formula(x, positions, style, size, 500.0)
    torch.testing.assert_close(rotary.rotate(x, positions).double(), wanted, rtol=0, atol=2e-4)
    near = positions % 8
    got = rotary.rotate(x.double(), near)
    torch.testing.assert_close(got, by_formula(x, near, style, size, 500.0), rtol=0, atol=1e-13)
    assert torch.equal(got[..., size:], x.double()[..., size:])
    one_for_all = rotary(x, positions[1:])
    assert torch.equal(one_for_all[1], rotary.rotate(x, positions)[1])


@pytest.mark.parametrize("style", STYLES)
@given(shift=st.integers(0, 300), distance=st.integers(0, 50))
def test_scores_depend_on_the_distance_alone(style: str, shift: int, distance: int) -> None:
    rotary = sl.nn.Rotary(DIM, style=style)
    query, key = random(1, HEADS, 1, DIM).double(), random(1, HEADS, 1, DIM).double().flip(3)

    def score(at: int, of: int) -> torch.Tensor:
        turned = rotary.rotate(query, torch.tensor([[at]]))
        return (turned * rotary.rotate(key, torch.tensor([[of]]))).sum(dim=-1)

    wanted, got = score(distance, 0), score(distance + shift, shift)
    torch.testing.assert_close(got, wanted, rtol=0, atol=1e-10)


@pytest.mark.parametrize("style", STYLES)
def test_a_position_has_the_same_bits_in_every_call(style: str) -> None:
    """Alone or among others, asked early or after the kept rows have grown."""
    rotary = sl.nn.Rotary(DIM, style=style, fraction=0.5)
    x = random(1, HEADS, 700, DIM)
    alone = {p: rotary.rotate(x[:, :, p : p + 1], torch.tensor([[p]])) for p in (0, 3, 63, 64, 130)}
    whole = rotary.rotate(x, torch.arange(700)[None])
    for place, token in alone.items():
        assert torch.equal(token, whole[:, :, place : place + 1])
    fresh = sl.nn.Rotary(DIM, style=style, fraction=0.5)
    assert torch.equal(fresh.rotate(x, torch.arange(700)[None]), whole)


def test_positions_beyond_those_kept() -> None:
    rotary, waves = sl.nn.Rotary(4), sl.nn.SinusoidalPositions(4)
    far = torch.tensor([[MOST_KEPT + 5]])
    x = random(1, 1, 1, 4)
    got = rotary.rotate(x, far)
    torch.testing.assert_close(
        got.double(), by_formula(x, far, "neox", 4, 10000.0), rtol=0, atol=0.05
    )
    assert waves(far).shape == (1, 1, 4)
    assert all(len(rows) <= MOST_KEPT for rows in rotary._kept._rows.values())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_rounded_once(dtype: torch.dtype) -> None:
    rotary = sl.nn.Rotary(DIM)
    x = random(B, HEADS, LENGTH, DIM, dtype=dtype)
    positions = torch.arange(40, 40 + LENGTH)[None]
    got = rotary.rotate(x, positions)
    assert got.dtype == dtype
    assert torch.equal(got, rotary.rotate(x.float(), positions).to(dtype))


def test_gradients_are_rotated_back() -> None:
    rotary = sl.nn.Rotary(4, style="interleaved", fraction=0.5)
    x = random(2, 1, 3, 4).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: rotary.rotate(x, torch.tensor([[0, 4, 9]])), x)


def test_rotary_keeps_its_angles_when_the_model_is_cast() -> None:
    model = torch.nn.Sequential(sl.nn.Rotary(DIM)).to(torch.bfloat16)
    x = random(1, 1, LENGTH, DIM)
    far = torch.arange(500, 500 + LENGTH)[None]
    assert torch.equal(model[0].rotate(x, far), sl.nn.Rotary(DIM).rotate(x, far))
    assert not model.state_dict()


def test_rotary_of_llama() -> None:
    pytest.importorskip("transformers")
    from transformers import LlamaConfig
    from transformers.models.llama import modeling_llama as llama

    config = LlamaConfig(hidden_size=HEADS * DIM, num_attention_heads=HEADS, head_dim=DIM)
    x = random(B, HEADS, LENGTH, DIM)
    positions = torch.tensor([[0, 1, 2, 70, 900], [5, 5, 3, 2, 1]])
    cos, sin = llama.LlamaRotaryEmbedding(config)(x, positions)
    wanted, _ = llama.apply_rotary_pos_emb(x, x, cos, sin)
    torch.testing.assert_close(sl.nn.Rotary(DIM).rotate(x, positions), wanted, rtol=1e-6, atol=1e-6)


def test_rotary_of_gptj() -> None:
    pytest.importorskip("transformers")
    from transformers.models.gptj import modeling_gptj as gptj

    x = random(B, HEADS, LENGTH, DIM)
    positions = torch.tensor([[0, 1, 2, 70, 900], [5, 5, 3, 2, 1]])
    sin, cos = gptj.create_sinusoidal_positions(1000, 8)[positions].chunk(2, dim=-1)
    tokens = x.transpose(1, 2)  # it has heads behind the sequence, and rotates the first 8
    turned = gptj.apply_rotary_pos_emb(tokens[..., :8], sin, cos)
    wanted = torch.cat([turned, tokens[..., 8:]], dim=-1).transpose(1, 2)
    rotary = sl.nn.Rotary(DIM, style="interleaved", fraction=8 / 12)
    torch.testing.assert_close(rotary.rotate(x, positions), wanted, rtol=1e-6, atol=1e-4)


def test_sinusoidal_positions_are_the_formula() -> None:
    positions = torch.tensor([[0, 1, 77], [300, 4, 5]])
    waves = sl.nn.SinusoidalPositions(6, base=100.0)(positions)
    halves = sl.nn.SinusoidalPositions(6, base=100.0, layout="halves")(positions)
    for i in range(3):
        angle = positions.double() / 100.0 ** (2 * i / 6)
        for got, wanted in (
            (waves[..., 2 * i], angle.sin()),
            (waves[..., 2 * i + 1], angle.cos()),
            (halves[..., i], angle.sin()),
            (halves[..., 3 + i], angle.cos()),
        ):
            torch.testing.assert_close(got.double(), wanted, rtol=0, atol=1e-7)
    assert sl.nn.SinusoidalPositions(6)(positions, torch.float16).dtype == torch.float16


def test_learned_positions() -> None:
    learned = sl.nn.LearnedPositions(9, 4)
    positions = torch.tensor([[8, 0], [3, 3], [1, 2]])
    assert torch.equal(learned(positions), learned.weight[positions])
    assert list(learned.state_dict()) == ["weight"]
    learned(positions).sum().backward()
    assert learned.weight.grad is not None
    assert learned.weight.grad.sum(1).tolist() == [4, 4, 4, 8, 0, 0, 0, 0, 4]


REFUSED = [
    (lambda: sl.nn.Rotary(8, style="halves"), InvalidArgument, "wanted 'neox'"),
    (lambda: sl.nn.Rotary(8, fraction=0.4), InvalidArgument, "3 features; wanted an even"),
    (lambda: sl.nn.Rotary(8, fraction=1.5), InvalidArgument, "a fraction above 0"),
    (lambda: sl.nn.Rotary(8, base=1.0), InvalidArgument, "base=1.0"),
    (lambda: rotate((1, 2, 3, 4), [[0, 1, 2]]), ShapeMismatch, "sequence, 8"),
    (lambda: rotate((2, 3, 4, 8), [[0, 1, 2]]), ShapeMismatch, r"wanted \[2, 4\] or \[1, 4\]"),
    (lambda: rotate((2, 3, 1, 8), [[0], [1], [2]]), ShapeMismatch, r"positions of shape \[3, 1\]"),
    (lambda: rotate((1, 3, 1, 8), [0]), ShapeMismatch, r"add an axis"),
    (lambda: rotate((1, 3, 1, 8), [[0.5]]), InvalidArgument, "wanted a tensor of integers"),
    (lambda: rotate((1, 3, 1, 8), [[-1]]), InvalidArgument, "position -1; wanted positions of at"),
    (lambda: sl.nn.SinusoidalPositions(5), InvalidArgument, "an even dim"),
    (lambda: sl.nn.SinusoidalPositions(4, layout="x"), InvalidArgument, "'interleaved' or"),
    (lambda: sl.nn.LearnedPositions(0, 4), InvalidArgument, "max_len must be at least 1"),
    (lambda: learn([[0, 9]]), InvalidArgument, "0 to 9; wanted 0 to 8; .* max_len=10"),
    (lambda: learn([[-2]]), InvalidArgument, "from -2"),
]


def rotate(shape: tuple[int, ...], positions: Any) -> Any:
    return sl.nn.Rotary(8).rotate(torch.ones(shape), torch.tensor(positions))


def learn(positions: Any) -> Any:
    return sl.nn.LearnedPositions(9, 4)(torch.tensor(positions))


@pytest.mark.parametrize(("call", "error", "words"), REFUSED)
def test_refusals(call: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        call()
