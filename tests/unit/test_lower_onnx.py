"""The onnx destination, run by onnxruntime and by onnx's own evaluator, against the oracle."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lowered import DIM, EMPTY_ROWS, FULL_ROWS, HEADS, OFFSET, B, K, Q
from numpy.typing import NDArray

import sightline as sl
from sightline.errors import InvalidArgument, MissingExtra
from sightline.reference.attention import attention
from sightline.reference.dense import dense as oracle
from sightline.testing.specs import build
from sightline.testing.strategies import expressions, frames

onnx = pytest.importorskip("onnx")
runtime = pytest.importorskip("onnxruntime")
runtime.set_default_logger_severity(3)  # that data can be replaced is not worth a warning

Bools = NDArray[np.bool_]


def session_of(model: Any) -> Any:
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    return runtime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def by_onnxruntime(model: Any, given: dict[str, Any]) -> list[NDArray[Any]]:
    return session_of(model).run(None, given)


def by_onnx(model: Any, given: dict[str, Any]) -> list[NDArray[Any]]:
    from onnx.reference import ReferenceEvaluator

    return ReferenceEvaluator(model).run(None, given)


RUNNERS = [by_onnxruntime, by_onnx]
Runner = Callable[[Any, dict[str, Any]], list[NDArray[Any]]]


def lengths(q_len: int, kv_len: int, q_offset: int) -> dict[str, Any]:
    named = {"q_len": q_len, "kv_len": kv_len, "q_offset": q_offset}
    return {name: np.array(value, dtype=np.int64) for name, value in named.items()}


def graph(mask: sl.Mask, q_len: int = 1, kv_len: int = 1, q_offset: int = 0) -> Any:
    keywords = sl.lower(mask, "onnx", q_len, kv_len, q_offset, form="graph")
    assert set(keywords) == {"model"}
    return keywords["model"]


def check(outputs: list[NDArray[Any]], mask: sl.Mask, allowed: Bools) -> None:
    """Hold both outputs to the oracle; batch and heads are those that the mask tells apart."""
    attn_mask, empty_rows = outputs
    assert attn_mask.dtype == empty_rows.dtype == np.bool_
    assert attn_mask.shape == (mask.batch, mask.heads, *allowed.shape[2:])
    assert empty_rows.shape == (*attn_mask.shape[:3], 1)
    np.testing.assert_array_equal(*np.broadcast_arrays(attn_mask, allowed))
    np.testing.assert_array_equal(
        *np.broadcast_arrays(empty_rows, ~allowed.any(axis=-1, keepdims=True))
    )


# -- the graph ---------------------------------------------------------------------------------


@given(st.data())
def test_the_graph_is_the_oracle_at_all_lengths(data: st.DataObject) -> None:
    frame = replace(data.draw(frames()), kv_offset=0)
    spec = data.draw(expressions(frame, 2))
    mask = build(spec)
    model, last = graph(mask, frame.q_len, frame.kv_len, frame.q_offset), frame.reach - 5
    session = session_of(model)
    shapes = [frame.at[:3], (frame.kv_len, frame.q_len, 0), (1, last + 1, last), (2, 0, 0)]
    for at in shapes:
        check(session.run(None, lengths(*at)), mask, oracle(spec, *at))
    by_default = {name: n for name, n in lengths(*shapes[0]).items() if name != "q_offset"}
    check(session.run(None, by_default), mask, oracle(spec, *shapes[0]))


@pytest.mark.parametrize("run", RUNNERS)
@pytest.mark.parametrize(
    "mask",
    [
        sl.keys([k * k for k in range(60)]),  # many ends: searched by halving
        sl.random_blocks(block=8, per_row=2, seed=2**31 - 1),  # needs 64 bits
        sl.dense(np.tri(200, dtype=bool), means="attend").shift(query=-3),
        sl.intervals(start=[[3, 90]] * 200, end=[[5, 120]] * 200),
        sl.log_sparse(local=3),
        sl.neighborhood(grid=(10, 15), kernel=(3, 5), dilation=(2, 1)),
        sl.tree(parents=[-1, 0, 0, 1, 1, 2]),
        sl.predicate(lambda b, h, q, k: ((k > q) ^ (3 * k > q)) | (k - 4 >= 2 * q) | (k <= 5)),
        sl.predicate(lambda b, h, q, k: (-q // 3 + (q << 2)) % 7 != (-k >> 1) % 7),
    ],
    ids=lambda mask: type(mask).__name__,
)
def test_the_graph_at_length(mask: sl.Mask, run: Runner) -> None:
    model = graph(mask)
    for at in ((90, 150, 40), (150, 90, 0)):
        check(run(model, lengths(*at)), mask, oracle(mask, *at))


def test_no_length_stands_in_the_graph() -> None:
    mask = sl.causal() & sl.padding(lengths=[9, 5, 7])
    models = [graph(mask, *at) for at in ((4, 6, 2), (1, 900, 2))]
    assert models[0].SerializeToString() == models[1].SerializeToString()
    outputs = {value.name: value for value in models[0].graph.output}
    sizes = [d.dim_param or d.dim_value for d in outputs["attn_mask"].type.tensor_type.shape.dim]
    assert sizes == ["batch", 1, "q_len", "kv_len"]


@pytest.mark.parametrize("run", RUNNERS)
def test_data_can_be_replaced_by_other_data_of_other_sizes(run: Runner) -> None:
    def numbers(values: Any) -> NDArray[np.int64]:
        return np.array(values, dtype=np.int64)

    packed = graph(sl.causal() & sl.documents(lengths=[[3, 4], [5, 1]]))
    ids = [[0, 0, 1, 1, 1, 2, 2, 2, -1], [0] * 9, [0, 1, 0, 1, 0, 1, -1, -1, -1]]
    at = (7, 9, 1)
    got = run(packed, {**lengths(*at), "segments_ids": numbers(ids)})
    wanted = sl.causal() & sl.spans(ids)
    check(got, wanted, oracle(wanted, *at))

    prefixes = graph(sl.prefix_lm([1, 2]) & sl.padding(lengths=[3, 4]))
    data = {
        "prefixlm_lengths": numbers([4, 0, 2, 7]),
        "padding_start": numbers([0, 2, 0, 1]),
        "padding_stop": numbers([9, 9, 0, 6]),
    }
    wanted = sl.prefix_lm([4, 0, 2, 7]) & sl.padding(
        valid=[[s <= k < e for k in range(9)] for s, e in [(0, 9), (2, 9), (0, 0), (1, 6)]]
    )
    check(run(prefixes, {**lengths(*at), **data}), wanted, oracle(wanted, *at))

    cells = graph(sl.dense(np.eye(9, dtype=bool), means="attend"))
    bits = np.random.default_rng(0).random((1, 1, 9, 9)) < 0.5
    wanted = sl.dense(bits, means="attend")
    check(run(cells, {**lengths(*at), "dense_array": bits}), wanted, oracle(wanted, *at))


def test_what_may_have_another_size_is_declared_so() -> None:
    def inputs(mask: sl.Mask) -> dict[str, list[Any]]:
        return {
            value.name: [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]
            for value in graph(mask).graph.input
            if value.name not in ("q_len", "kv_len", "q_offset")
        }

    rows = sl.padding(lengths=[3, 4])
    assert inputs(rows) == {"padding_start": ["batch"], "padding_stop": ["batch"]}
    assert inputs(sl.padding(lengths=[3])) == {"padding_start": [1], "padding_stop": [1]}
    assert inputs(rows & rows.T) == inputs(rows)  # the same mask twice is one input
    two = inputs(rows | sl.padding(lengths=[5, 2]).T)
    assert set(two) == {*inputs(rows), "padding2_start", "padding2_stop"}
    several = inputs(sl.intervals(start=[[0, 3]] * 4, end=[[2, 5]] * 4))
    assert set(several) == {f"intervals_{end}" for end in ("start", "end", "start_1", "end_1")}
    ids = inputs(sl.documents(lengths=[[3], [1, 2]]))
    assert ids == {"segments_ids": ["batch", "segments_ids_length"]}
    fixed = inputs(rows & sl.per_batch([sl.causal(), sl.window(1, 1)]))
    assert fixed == {"padding_start": [2], "padding_stop": [2]}
    assert inputs(sl.dense(np.ones((5, 7), bool), means="attend")) == {"dense_array": [1, 1, 5, 7]}
    assert inputs(sl.window(3, 3) & ~sl.keys(range(0, 90, 2))) == {}


def calls_numpy(b: Any, h: Any, q: Any, k: Any) -> Any:
    return np.where(q > 3, k <= q, k == 0)


def has_a_table(b: Any, h: Any, q: Any, k: Any) -> Any:
    return np.arange(20)[q] >= k


def shifts_by_a_position(b: Any, h: Any, q: Any, k: Any) -> Any:
    return (k >> q) == 0


@pytest.mark.parametrize("fn", [calls_numpy, has_a_table, shifts_by_a_position])
def test_predicates_that_cannot_be_recorded_are_refused(fn: Callable[..., Any]) -> None:
    with pytest.raises(sl.CannotExpress, match=r"recorded for ONNX.*sl\.dense") as caught:
        graph(sl.causal() & sl.predicate(fn))
    assert fn.__name__ in caught.value.part


# -- Attention, fed by the graph ---------------------------------------------------------------


def attention_model(opset: int = 23, *, zeroing: bool = True) -> Any:
    """Return a model of q, k, v, attn_mask (and empty_rows) with the one operator Attention."""
    helper, types = onnx.helper, onnx.TensorProto
    sizes = [None] * 4
    inputs = [helper.make_tensor_value_info(name, types.FLOAT, sizes) for name in "qkv"]
    inputs.append(helper.make_tensor_value_info("attn_mask", types.BOOL, sizes))
    nodes = [helper.make_node("Attention", ["q", "k", "v", "attn_mask"], ["y"], is_causal=0)]
    if zeroing:
        nodes[0].output[0] = "attended"
        inputs.append(helper.make_tensor_value_info("empty_rows", types.BOOL, sizes))
        nodes.append(helper.make_node("Where", ["empty_rows", "zero", "attended"], ["y"]))
    made = helper.make_graph(
        nodes,
        "attention",
        inputs,
        [helper.make_tensor_value_info("y", types.FLOAT, sizes)],
        [onnx.numpy_helper.from_array(np.zeros((), np.float32), "zero")] if zeroing else [],
    )
    opsets = [helper.make_opsetid("", opset)]
    return helper.make_model(made, opset_imports=opsets, ir_version=11)


def tensors(q_len: int, kv_len: int) -> dict[str, NDArray[np.float32]]:
    rng = np.random.default_rng(q_len)
    shapes = {"q": (B, HEADS, q_len, DIM), "k": (B, HEADS, kv_len, DIM), "v": (B, HEADS, kv_len, 5)}
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


@pytest.mark.parametrize("run", RUNNERS)
def test_one_exported_model_at_three_lengths_and_three_paddings(run: Runner) -> None:
    mask = sl.causal() & sl.padding(lengths=[1, 1, 1])
    whole = onnx.compose.merge_models(
        graph(mask),
        attention_model(),
        io_map=[(name, name) for name in ("attn_mask", "empty_rows")],
    )
    onnx.checker.check_model(whole, full_check=True)
    for at in ((5, 5, 0), (1, 8, 7), (9, 12, 3)):
        kv_len = at[1]
        ends = [
            ([0, 0, 0], [kv_len, 3, 1]),  # padding on the right
            ([0, kv_len - 3, kv_len - 1], [kv_len] * 3),  # on the left: empty rows
            ([0, 0, 2], [0, kv_len, kv_len - 1]),  # a batch row without keys
        ]
        for start, stop in ends:
            keys = np.arange(kv_len)
            valid = [(keys >= a) & (keys < b) for a, b in zip(start, stop, strict=True)]
            allowed = oracle(sl.causal() & sl.padding(valid=np.array(valid)), *at)
            inputs = tensors(*at[:2])
            data = {
                "padding_start": np.array(start, dtype=np.int64),
                "padding_stop": np.array(stop, dtype=np.int64),
            }
            (got,) = run(whole, {**inputs, **lengths(*at), **data})
            wanted = attention(inputs["q"], inputs["k"], inputs["v"], allowed).output
            np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-5)


# -- the static form ---------------------------------------------------------------------------


@pytest.mark.parametrize("run", RUNNERS)
@pytest.mark.parametrize("opset", [23, 24])
@pytest.mark.parametrize("name", [*FULL_ROWS, *EMPTY_ROWS])
def test_inputs(name: str, opset: int, run: Runner) -> None:
    if opset > 23 and run is by_onnxruntime and not since(runtime, 1, 24):
        pytest.skip(f"this onnxruntime does not know operator set {opset}")
    mask = {**FULL_ROWS, **EMPTY_ROWS}[name]
    keywords = sl.lower(mask, "onnx", Q, K, OFFSET, zero_rows=name in EMPTY_ROWS)
    assert set(keywords) == {"attn_mask", "is_causal"}
    assert keywords["is_causal"] == 0
    allowed, inputs = oracle(mask, Q, K, OFFSET), tensors(Q, K)
    np.testing.assert_array_equal(keywords["attn_mask"], allowed)
    (got,) = run(
        attention_model(opset, zeroing=False), {**inputs, "attn_mask": keywords["attn_mask"]}
    )
    if name in EMPTY_ROWS and not gives_zero(run):
        pytest.skip("this onnxruntime does not give 0 for empty rows")
    wanted = attention(inputs["q"], inputs["k"], inputs["v"], allowed).output
    np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-5)


def since(package: Any, *version: int) -> bool:
    return tuple(int(part) for part in package.__version__.split(".")[:2]) >= version


def gives_zero(run: Runner) -> bool:
    return since(runtime, 1, 28) if run is by_onnxruntime else since(onnx, 1, 23)


@pytest.mark.parametrize("name", EMPTY_ROWS)
def test_inputs_refuse_empty_rows_unless_the_runtime_is_vouched_for(name: str) -> None:
    with pytest.raises(sl.CannotExpress, match=r'may see nothing.*zero_rows=True.*form="graph"'):
        sl.lower(EMPTY_ROWS[name], "onnx", Q, K, OFFSET)


def test_other_forms_are_refused() -> None:
    with pytest.raises(InvalidArgument, match=r"form='model' .* inputs, graph"):
        sl.lower(sl.causal(), "onnx", Q, form="model")


def test_a_missing_onnx_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    sl.lower(sl.causal(), "onnx", Q)
    with pytest.raises(MissingExtra, match=r"form='graph'.* needs onnx.*sightline\[onnx\]"):
        sl.lower(sl.causal(), "onnx", Q, form="graph")


# -- planted faults ----------------------------------------------------------------------------


def test_faults_are_seen() -> None:
    mask = sl.causal() & sl.padding(lengths=[3, 2])
    allowed = oracle(mask, 4, 5, 1)
    good = by_onnxruntime(graph(mask), lengths(4, 5, 1))
    check(good, mask, allowed)
    for spoiled in ([~good[0], good[1]], [good[0], ~good[1]], [good[0][:1], good[1]]):
        with pytest.raises(AssertionError):
            check(spoiled, mask, allowed)
    with pytest.raises(AssertionError):
        check(by_onnxruntime(graph(mask), lengths(4, 5, 2)), mask, allowed)
