"""The keras destination, run by Keras on the backends torch and jax, against the oracle.

A backend is chosen once in a process, so that each is run in one of its own.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lowered import DIM, EMPTY_ROWS, FULL_ROWS, HEADS, OFFSET, B, K, Q

import sightline as sl
from sightline.errors import InvalidArgument, MissingExtra
from sightline.lower import keras as destination
from sightline.reference.attention import attention
from sightline.reference.dense import dense as oracle
from sightline.testing.specs import build
from sightline.testing.strategies import expressions, frames

if find_spec("keras") is None:
    pytest.skip("keras is not installed", allow_module_level=True)

KEYWORDS = {"attention_mask", "use_causal_mask", "return_attention_scores"}
# Runs each call in each way of the layer: fused, with scores, with dropout (inference, so without).
PROGRAM = """
import sys
import numpy as np
from keras import layers, ops
from sightline.lower.keras import softmax_keeps_empty_rows
given = dict(np.load(sys.argv[1]))
kernels = [given.pop(name) for name in ("query", "key", "value", "output")]
target, memory = given.pop("target"), given.pop("memory")
made = []
for dropout in (0.0, 0.5):
    layer = layers.MultiHeadAttention(2, 4, use_bias=False, dropout=dropout)
    layer.build(target.shape, memory.shape)
    layer.set_weights(kernels)
    made.append(layer)
found = {}
for name, value in given.items():
    keywords = {"attention_mask": value}
    if not value.size:
        keywords = {"attention_mask": None, "use_causal_mask": name.startswith("causal")}
    for way, layer in zip(("fused", "dropout"), made):
        found[f"{name}/{way}"] = layer(target, memory, **keywords)
    output, scores = made[0](target, memory, return_attention_scores=True, **keywords)
    found |= {f"{name}/scores": output, f"{name}/weights": scores}
keeps = [softmax_keeps_empty_rows()]
layers.Softmax.call = lambda self, x, mask=None: ops.softmax(ops.where(mask, x, -1e9))
found["trial"] = np.array([*keeps, softmax_keeps_empty_rows()])
np.savez(sys.argv[2], **{k: ops.convert_to_numpy(v) for k, v in found.items()})
"""


@pytest.fixture(scope="module")
def given_arrays() -> dict[str, np.ndarray]:
    """Return inputs [B, length, DIM] and the kernels of the layer, as Keras shapes them."""
    rng = np.random.default_rng(0)
    shapes = {
        "target": (B, Q, DIM),
        "memory": (B, K, DIM),
        "query": (DIM, HEADS, 4),
        "key": (DIM, HEADS, 4),
        "value": (DIM, HEADS, 4),
        "output": (HEADS, 4, DIM),
    }
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


@pytest.fixture(scope="module", params=["torch", "jax"])
def found(
    request: pytest.FixtureRequest, given_arrays: dict[str, np.ndarray], tmp_path_factory: Any
) -> dict[str, np.ndarray]:
    """Return what Keras makes of every mask, in every way of the layer, by "name/way"."""
    if find_spec(request.param) is None:
        pytest.skip(f"{request.param} is not installed")
    masks: dict[str, np.ndarray] = {}
    for name, mask in FULL_ROWS.items():
        keywords = sl.lower(mask, "keras", Q, K, OFFSET)
        masks[name] = np.zeros(0, bool)
        if keywords["attention_mask"] is not None:
            masks[name] = keywords["attention_mask"]
    # Masks that are refused are run too, to see what Keras makes of them.
    masks |= {name: oracle(mask, Q, K, OFFSET) for name, mask in EMPTY_ROWS.items()}
    folder: Path = tmp_path_factory.mktemp(request.param)
    np.savez(folder / "given.npz", **given_arrays, **masks)
    command = [sys.executable, "-c", PROGRAM, folder / "given.npz", folder / "found.npz"]
    environment = {**os.environ, "KERAS_BACKEND": request.param, "KERAS_HOME": str(folder)}
    subprocess.run(command, check=True, env=environment)
    with np.load(folder / "found.npz") as arrays:
        return dict(arrays)


def wanted(arrays: dict[str, np.ndarray], allowed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return output [B, Q, DIM] and weights [B, HEADS, Q, K] of the layer, by hand."""
    sources = {"query": "target", "key": "memory", "value": "memory"}
    heads = [
        np.einsum("bsd,dhe->bhse", np.float64(arrays[source]), np.float64(arrays[part]))
        for part, source in sources.items()
    ]
    result = attention(*heads, allowed)
    return np.einsum("bhse,hed->bsd", result.output, arrays["output"]), result.weights


@pytest.mark.parametrize("name", FULL_ROWS)
def test_every_way_of_the_layer(
    name: str, found: dict[str, np.ndarray], given_arrays: dict[str, np.ndarray]
) -> None:
    output, weights = wanted(given_arrays, oracle(FULL_ROWS[name], Q, K, OFFSET))
    for way in ("fused", "dropout", "scores"):
        np.testing.assert_allclose(found[f"{name}/{way}"], output, rtol=0, atol=1e-4)
    np.testing.assert_allclose(found[f"{name}/weights"], weights, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", EMPTY_ROWS)
def test_empty_rows_are_0_with_scores_and_a_mean_without(
    name: str, found: dict[str, np.ndarray], given_arrays: dict[str, np.ndarray]
) -> None:
    allowed = oracle(EMPTY_ROWS[name], Q, K, OFFSET)
    output, weights = wanted(given_arrays, allowed)
    np.testing.assert_allclose(found[f"{name}/scores"], output, rtol=0, atol=1e-4)
    np.testing.assert_allclose(found[f"{name}/weights"], weights, rtol=0, atol=1e-5)
    assert np.abs(found[f"{name}/fused"] - output).max() > 0.01
    if name == "nothing":  # in a row that sees nothing all keys weigh the same
        flat = {**given_arrays, "target": 0 * given_arrays["target"]}
        mean, _ = wanted(flat, ~allowed)
        np.testing.assert_allclose(found[f"{name}/fused"], mean, rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", EMPTY_ROWS)
def test_empty_rows_are_refused_unless_scores_are_returned(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    mask = EMPTY_ROWS[name]
    with pytest.raises(sl.CannotExpress, match=r"may see nothing.*return_attention_scores=True"):
        sl.lower(mask, "keras", Q, K, OFFSET)
    for keeps in (True, False):
        monkeypatch.setattr(destination, "softmax_keeps_empty_rows", lambda keeps=keeps: keeps)
        if keeps:
            got = sl.lower(mask, "keras", Q, K, OFFSET, return_attention_scores=True)
            assert got["return_attention_scores"] is True
        else:
            with pytest.raises(sl.CannotExpress, match="softmax of this Keras"):
                sl.lower(mask, "keras", Q, K, OFFSET, return_attention_scores=True)


def test_the_trial_sees_a_softmax_that_spoils_empty_rows(found: dict[str, np.ndarray]) -> None:
    assert found["trial"].tolist() == [True, False]


@given(st.data())
def test_expressions(data: st.DataObject) -> None:
    frame = replace(data.draw(frames()), kv_offset=0)
    spec, at = data.draw(expressions(frame, 2)), (frame.q_len, frame.kv_len, frame.q_offset)
    mask, allowed = build(spec), oracle(spec, *at)
    try:
        got = sl.lower(mask, "keras", *at)
    except sl.CannotExpress:
        assert not allowed.any(axis=-1).all()
        return
    assert set(got) == KEYWORDS
    assert allowed.any(axis=-1).all()
    said = np.ones((1, 1, *at[:2]), dtype=bool)
    if got["attention_mask"] is not None:
        assert got["attention_mask"].ndim == (4 if mask.heads > 1 else 3)
        said = got["attention_mask"]
        said = said if said.ndim == 4 else said[:, None]
    if got["use_causal_mask"]:
        said = said & np.tri(*at[:2], dtype=bool)
    np.testing.assert_array_equal(*np.broadcast_arrays(said, allowed))


def test_options() -> None:
    with pytest.raises(InvalidArgument, match=r"return_attention_scores='yes'"):
        sl.lower(sl.causal(), "keras", 4, return_attention_scores="yes")
    got = sl.lower(sl.causal(), "keras", 4, return_attention_scores=True)
    assert got == {
        "attention_mask": None,
        "use_causal_mask": True,
        "return_attention_scores": True,
    }


def test_a_missing_keras_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "keras", None)
    sl.lower(sl.nothing() | sl.causal(), "keras", 4)
    with pytest.raises(MissingExtra, match=r"needs keras, .*sightline\[keras\]"):
        sl.lower(sl.nothing(), "keras", 4, return_attention_scores=True)
