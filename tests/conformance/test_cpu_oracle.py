"""Engine ``cpu`` against the oracle on random masks, shapes, layouts, dtypes, biases and scales.

test_engines.py holds every engine to the oracle at one small shape; here are the shapes at which
these kernels cut their blocks, and what else is drawn at random.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import hypothesis
import numpy as np
import pytest
import torch
from hypothesis import strategies as st
from oracle_problems import Problem, close, compare
from poisoning import DTYPES, available

import sightline as sl
from sightline.reference.attention import attention, attention_gradients
from sightline.testing.random_masks import KINDS, Draw
from sightline.testing.specs import build
from sightline.testing.strategies import Frame, expressions


@pytest.fixture(autouse=True)
def kernels() -> Iterator[None]:
    available("cpu")
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


lengths = st.one_of(st.integers(1, 12), st.integers(1, 200), st.sampled_from([64, 96, 97, 193]))
dims = st.one_of(
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.sampled_from([(64, 64), (128, 16), (8, 200), (256, 64), (64, 128)]),
)
bias_shapes = st.lists(st.booleans(), min_size=0, max_size=4)


@st.composite
def problems(draw: st.DrawFn) -> tuple[Problem, sl.Mask, int]:
    q_len, kv_len, q_offset = draw(lengths), draw(lengths), draw(st.integers(0, 120))
    batch, heads, kv_heads = draw(st.sampled_from([(2, 6, 3), (3, 2, 1), (2, 3, 3), (1, 4, 2)]))
    full = batch, heads, q_len, kv_len
    shape = None
    if draw(st.booleans()):
        kept = draw(bias_shapes)
        sizes = full[4 - len(kept) :]
        shape = tuple(n if keep else 1 for n, keep in zip(sizes, kept, strict=True))
    problem = Problem(
        q_len,
        kv_len,
        q_offset,
        batch,
        heads,
        kv_heads,
        draw(dims),
        draw(st.sampled_from(list(DTYPES.values()))),
        draw(st.sampled_from(["contiguous", "swapped", "sliced", "columns"])),
        draw(st.sampled_from([None, None, 1.0, -0.5, 0.0])),
        shape,
        draw(st.sampled_from(list(DTYPES.values()))),
    )
    seed = draw(st.integers(0, 99))
    return problem, _mask(draw, problem, seed), seed


def _mask(draw: st.DrawFn, problem: Problem, seed: int) -> sl.Mask:
    reach = max(problem.q_offset + problem.q_len, problem.kv_len, 8)
    drawing = Draw(np.random.default_rng(seed), reach + reach % 2, problem.batch)
    names = [name for name in KINDS if name != "left padding"]  # its total is the keys' number
    parts = [
        KINDS[name](drawing)
        for name in draw(st.lists(st.sampled_from(names), min_size=1, max_size=2))
    ]
    mask = parts[0]
    for part in parts[1:]:
        mask = mask & part if draw(st.booleans()) else mask | part
    extra = draw(st.sampled_from(["", "", "left", "heads", "not"]))
    if extra == "left":
        kept = [draw(st.integers(0, problem.kv_len)) for _ in range(problem.batch)]
        return mask & sl.padding(lengths=kept, side="left", total=problem.kv_len)
    if extra == "heads":
        return sl.per_head([mask, *[sl.causal()] * (problem.heads - 1)])
    return ~mask if extra == "not" else mask


@hypothesis.given(problems())
def test_values_and_gradients(drawn: tuple[Problem, sl.Mask, int]) -> None:
    compare(*drawn)


@hypothesis.given(st.data())
def test_any_expression(data: st.DataObject) -> None:
    """Masks of every kind, nested, at rectangles that end within a block."""
    frame = Frame(
        data.draw(st.integers(1, 40)),
        data.draw(st.integers(1, 90)),
        data.draw(st.integers(0, 6)),
        0,
        2,
        3,
    )
    spec = data.draw(expressions(frame, 2, opaque=False))
    mask = build(spec)
    dtype = data.draw(st.sampled_from([torch.float32, torch.float64]))
    compare(Problem(frame.q_len, frame.kv_len, frame.q_offset, dtype=dtype), mask)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("dim", [*range(1, 18), 24, 31, 33, 48, 64, 80, 128, 200, 256])
def test_every_head_size(dim: int, dtype: str) -> None:
    for q_len in (3, 30):
        other = 257 - dim
        for dims in ((dim, other), (other, dim)):
            if max(dims) * q_len > 4000:
                continue
            compare(Problem(q_len, 70, 40, 1, 2, 1, dims, DTYPES[dtype]), sl.causal())


@pytest.mark.parametrize("q_len", [0, 1])
@pytest.mark.parametrize("kv_len", [0, 1, 2])
def test_lengths_of_zero_and_one(q_len: int, kv_len: int) -> None:
    for mask in (sl.everything(), sl.causal(), sl.nothing(), sl.padding(lengths=[0, 1])):
        for dtype in DTYPES.values():
            compare(Problem(q_len, kv_len, dtype=dtype), mask)


def test_empty_rows_among_others() -> None:
    empty = sl.queries([0, 5, 95, 96, 97, 120])
    for mask in (
        sl.causal() & ~empty,
        sl.window(3, 3) - empty,
        sl.documents(lengths=[90, 70]) - empty,
    ):
        compare(Problem(150, 160), mask)
    bias = Problem(150, 160, bias_shape=(150, 1))  # a tenth of its rows is -inf
    compare(bias, sl.everything())
    compare(bias, sl.causal())


@pytest.mark.parametrize("bias_shape", [None, (2, 1, 5), (1, 1, 3, 1)])
@pytest.mark.parametrize("q_offset", [0, 4])
def test_gradcheck(q_offset: int, bias_shape: tuple[int, ...] | None) -> None:
    rng = torch.Generator().manual_seed(0)
    shapes = [(1, 2, 3, 4), (1, 1, 5, 4), (1, 1, 5, 3)]
    shapes += [] if bias_shape is None else [bias_shape]
    leaves = [torch.randn(s, generator=rng, dtype=torch.float64).requires_grad_() for s in shapes]
    mask = sl.causal() & ~sl.queries([2])

    def run(q: Any, k: Any, v: Any, bias: Any = None) -> tuple[torch.Tensor, torch.Tensor]:
        output, logsumexp = sl.attend(
            q, k, v, mask, q_offset=q_offset, bias=bias, engine="cpu", return_lse=True
        )
        return output, logsumexp.masked_fill(logsumexp.isneginf(), 0)

    assert torch.autograd.gradcheck(run, leaves)


# -- scores of any size -------------------------------------------------------------------------


@pytest.mark.parametrize("q_len", [4, 110])
@pytest.mark.parametrize("size", [1e-30, 1e-12, 1e4, 1e7, 1e8, 1e12])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_scores_of_any_size_with_ties(dtype: str, size: float, q_len: int) -> None:
    """Scores -2, -1, 0, 1 and 2 times a size, exactly: most rows have several highest ones."""
    rng = np.random.default_rng(3)
    kv_len, count = 150, 2.0 if size < 1 else 1.0
    query = np.sign(rng.standard_normal((1, 2, q_len, 1)))
    key = rng.integers(-2, 3, (1, 1, kv_len, 1)).astype(float)
    value, upstream = rng.standard_normal((1, 1, kv_len, 5)), rng.standard_normal((1, 2, q_len, 5))
    mask = sl.causal() & ~sl.queries([3])
    allowed = mask.dense(q_len, kv_len, 20)
    leaves = [torch.tensor(t, dtype=DTYPES[dtype]) for t in (query, key, value)]
    q, k, v = (tensor.requires_grad_() for tensor in leaves)
    scale = float(np.float32(size))
    output, logsumexp = sl.attend(
        q, k, v, mask, q_offset=20, scale=scale, engine="cpu", return_lse=True
    )
    grads = torch.autograd.grad(output, leaves, torch.tensor(upstream, dtype=DTYPES[dtype]))
    wanted = attention(query, key, value, allowed, scale=scale)
    expected = attention_gradients(query, key, value, allowed, upstream, scale=scale)
    error = 2e-5 if dtype == "float32" else 1e-12
    close("output", output, wanted.output, error)
    close("logsumexp", logsumexp, wanted.logsumexp, error)
    close("grad of value", grads[2], expected.value, error * count)
    # d score is w (p - sum w p), whose rounding is multiplied by the scale.
    for name, grad in (("query", grads[0]), ("key", grads[1])):
        most = max(scale, 1.0)
        close(f"grad of {name}", grad / most, getattr(expected, name) / most, 1e-4)


def test_what_underflows_is_all_that_depends_on_where_keys_lie() -> None:
    """A weight below 2^-126 of the largest one so far becomes 0; a larger one may still come.

    So where a key lies among the blocks may decide on what is too small for a normal number.
    """
    for highest in np.arange(80, 95, 0.5).tolist():
        outputs = []
        for place in (1, 70):
            key = torch.full((1, 1, 130, 1), -1e4)
            key[0, 0, 0], key[0, 0, place] = 0, highest
            value = torch.zeros(1, 1, 130, 1)
            value[0, 0, 0] = 1
            query = torch.ones(1, 1, 1, 1)
            outputs.append(sl.attend(query, key, value, sl.everything(), scale=1.0, engine="cpu"))
        assert abs(outputs[0] - outputs[1]).item() <= 2.0**-125
        assert abs(outputs[0].item() - np.exp(-highest)) <= 2.0**-125 + 1e-5 * np.exp(-highest)
