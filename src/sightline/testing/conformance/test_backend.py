"""What a backend has to do: say the drawn masks, compute under them, refuse the rest aloud."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sightline.errors import CannotExpress
from sightline.reference.attention import attention, attention_gradients
from sightline.reference.dense import dense as oracle
from sightline.testing.backend import Backend
from sightline.testing.cases import CASES, Case
from sightline.testing.expanders.shape import Shape
from sightline.testing.specs import build
from sightline.testing.strategies import calls, expressions

DIM, VALUE_DIM = 8, 8
Able = Any  # a Backend that has what the test asks for: none of that is None


def asks(*features: str) -> Callable[[Any], Any]:
    """Let a test be run with the backends that have these features only (see conftest.py)."""

    def mark(test: Any) -> Any:
        test.asks = features
        return test

    return mark


def inputs(shape: Shape, seed: int = 0) -> list[Any]:
    """Return query, key, value and a gradient of the output, float32."""
    rng = np.random.default_rng(seed)
    lead = shape.batch, shape.heads
    sizes = ((shape.q_len, DIM), (shape.kv_len, DIM), (shape.kv_len, VALUE_DIM))
    drawn = [rng.normal(size=(*lead, *size)).astype(np.float32) for size in sizes]
    return [*drawn, rng.normal(size=(*lead, shape.q_len, VALUE_DIM)).astype(np.float32)]


def expect_refusal(request: pytest.FixtureRequest, backend: Backend, case: Case) -> None:
    """A case beyond what the backend says it can do must raise CannotExpress, and nothing else."""
    if backend.must_refuse(case):
        said = ", ".join(sorted(case.needs & backend.lacks)) or "this case"
        request.applymarker(
            pytest.mark.xfail(raises=CannotExpress, strict=True, reason=f"cannot: {said}")
        )


def drawn_for(case: Case) -> Any:
    """Return what the case allows, as ``[B, H, Q, K]``."""
    return np.broadcast_to(case.drawn, case.shape.full)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@asks("allowed")
def test_says_the_mask(backend: Able, case: Case, request: pytest.FixtureRequest) -> None:
    """The arguments mean, by the backend's own documentation, what is drawn."""
    expect_refusal(request, backend, case)
    np.testing.assert_array_equal(backend.allowed(case.mask, case.shape), drawn_for(case))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@asks("attend")
def test_computes_under_the_mask(backend: Able, case: Case, request: pytest.FixtureRequest) -> None:
    """Attention on random numbers is the oracle's; an empty row gives 0."""
    expect_refusal(request, backend, case)
    query, key, value, _ = inputs(case.shape)
    got = backend.attend(query, key, value, case.mask, case.q_offset)
    wanted = attention(query, key, value, drawn_for(case)).output
    np.testing.assert_allclose(got, wanted, rtol=0, atol=backend.tolerance)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@asks("gradients")
def test_gradients(backend: Able, case: Case, request: pytest.FixtureRequest) -> None:
    """The gradients of query, key and value are the oracle's; those of an empty row are 0."""
    expect_refusal(request, backend, case)
    query, key, value, upstream = inputs(case.shape)
    got = backend.gradients(query, key, value, case.mask, case.q_offset, upstream)
    wanted = attention_gradients(query, key, value, drawn_for(case), upstream)
    for ours, right in zip(got, (wanted.query, wanted.key, wanted.value), strict=True):
        np.testing.assert_allclose(ours, right, rtol=0, atol=10 * backend.tolerance)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@pytest.mark.parametrize("poison", [np.nan, np.inf, -3e38])
@asks("attend", "keeps_out")
def test_keeps_out_what_is_forbidden(backend: Able, case: Case, poison: float) -> None:
    """No bit of an output changes when a key and value that its query may not see do."""
    if backend.must_refuse(case):
        pytest.skip(f"{backend.name} refuses {case.name}")
    query, key, value, _ = inputs(case.shape)
    clean = backend.attend(query, key, value, case.mask, case.q_offset)
    for hidden in range(case.shape.kv_len):
        spoiled = [array.copy() for array in (key, value)]
        for array in spoiled:
            array[:, :, hidden] = poison
        got = backend.attend(query, *spoiled, case.mask, case.q_offset)
        blind = ~drawn_for(case)[..., hidden]
        np.testing.assert_array_equal(got[blind].view(np.uint32), clean[blind].view(np.uint32))


@given(data=st.data())
@settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
@asks("allowed")
def test_random_masks_are_exact_or_refused(backend: Able, data: st.DataObject) -> None:
    """Whatever the expression and the rectangle: the oracle's bools, or CannotExpress."""
    frame = data.draw(calls())
    spec = data.draw(expressions(frame, depth=2))
    shape = Shape(frame.batch, frame.heads, frame.q_len, frame.kv_len, frame.q_offset)
    wanted = oracle(spec, frame.q_len, frame.kv_len, frame.q_offset)
    wanted = np.broadcast_to(wanted, shape.full)
    try:
        got = backend.allowed(build(spec), shape)
    except CannotExpress as refusal:
        if not (refusal.part and refusal.reason and refusal.alternative):
            raise AssertionError("a refusal says what, why, and what to do instead") from refusal
        if backend.cannot is not None and not backend.cannot(wanted, shape):
            raise AssertionError(f"{backend.name} could say this mask") from refusal
        return
    np.testing.assert_array_equal(got, wanted)
