"""Attention over several ranks is what the oracle says, for any mask, shape and option."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from over_ranks import Problem, alone, judged, mesh_of, solve, whole

import sightline as sl
from sightline.testing.ranks import RankFailed, RankPool
from sightline.testing.specs import build
from sightline.testing.strategies import Frame, expressions

CHECKS = [
    HealthCheck.too_slow,
    HealthCheck.filter_too_much,
    HealthCheck.function_scoped_fixture,
]
EXAMPLES = settings(max_examples=40, deadline=None, suppress_health_check=CHECKS, derandomize=True)


@st.composite
def problems(draw: st.DrawFn) -> Problem:
    """Draw an attention of uneven sizes, all different."""
    batch, heads, kv_heads = draw(st.sampled_from([(2, 3, 1), (3, 2, 2), (3, 4, 2), (2, 5, 1)]))
    q_len = draw(st.integers(5, 19))
    kv_len = q_len if draw(st.booleans()) else draw(st.integers(5, 23))
    spec = draw(expressions(Frame(q_len, kv_len, 0, 0, batch, heads), depth=2, opaque=False))
    mask = build(spec)
    try:
        mask.dense(q_len, kv_len)
    except sl.ShapeMismatch:  # data bound to another length
        assume(False)
    block = draw(st.sampled_from([1, 2, 3])) if q_len > 11 else 1
    options: dict[str, Any] = {"block": block, "overlap": draw(st.booleans())}
    if q_len != kv_len and kv_len > 4 * (block + 1):
        options["kept_keys"] = draw(st.booleans())
    bias = None
    if draw(st.integers(0, 3)) == 0:
        full = (batch, heads, q_len, kv_len)
        bias = tuple(draw(st.sampled_from([1, size])) for size in full)
    shape = (batch, heads, kv_heads, q_len, kv_len, 4, 3)
    return Problem(mask, shape, options, {}, bias, seed=draw(st.integers(0, 999)))


def agrees(got: dict[str, np.ndarray], want: dict[str, np.ndarray], tolerance: float) -> None:
    assert got.keys() == want.keys()
    for name in got:
        np.testing.assert_allclose(
            got[name], want[name], rtol=tolerance, atol=tolerance, err_msg=name
        )


@EXAMPLES
@given(problem=problems())
def test_random_expressions(ranks: RankPool, problem: Problem) -> None:
    got = whole(problem, ranks.run(solve, problem))
    agrees(got, judged(problem), 1e-9)


# Batch, heads, kv_heads, queries, keys, head_dim, value_dim.
SHAPE = 2, 4, 2, 61, 61, 8, 5
PACKED = sl.causal() & sl.documents(lengths=[[17, 40, 4], [1, 29, 31]])
MASKS = {
    "causal": sl.causal(),
    "packed": PACKED,
    "window": sl.window(left=9, right=2) & sl.padding(lengths=[61, 40]),
    "heads": sl.per_head([sl.causal(), sl.chunks(7), sl.nothing(), sl.causal(strict=True)]),
    "prefix": sl.causal() | sl.prefix(11),
}


def problem_of(name: str, overlap: bool, **more: Any) -> Problem:
    return Problem(MASKS[name], SHAPE, {"block": 4, "overlap": overlap}, {}, **more)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", MASKS)
def test_one_pass_keeps_every_bit_of_one_process(
    ranks: RankPool, name: str, dtype: torch.dtype
) -> None:
    problem = problem_of(name, False, dtype=dtype)
    got, want = whole(problem, ranks.run(solve, problem)), alone(problem)
    for part in ("output", "lse", "query"):
        np.testing.assert_array_equal(got[part], want[part], part)
    for part in ("key", "value"):
        np.testing.assert_allclose(got[part], want[part], rtol=2e-2, atol=2e-2)


@pytest.mark.parametrize("name", MASKS)
def test_bfloat16_merges_close_to_the_oracle(two_ranks: RankPool, name: str) -> None:
    problem = problem_of(name, True, dtype=torch.bfloat16)
    got = whole(problem, two_ranks.run(solve, problem))
    one, want = alone(problem), judged(problem)
    for part in want:
        seen = np.isfinite(want[part])  # all but the logsumexp of empty rows
        np.testing.assert_array_equal(np.isfinite(got[part]), seen)
        error, usual = (np.abs(each[part][seen] - want[part][seen]).max() for each in (got, one))
        assert error <= 3 * usual, part  # each part is rounded too


@pytest.mark.parametrize("keys", [True, False], ids=["keys too", "values alone"])
@pytest.mark.parametrize("overlap", [True, False])
@pytest.mark.parametrize("name", MASKS)
def test_poison_that_a_query_may_not_see_changes_no_bit(
    ranks: RankPool, name: str, overlap: bool, keys: bool
) -> None:
    told: Any = {"poison": ((0, 3), (0, 33), (1, 50)), "poison_keys": keys}
    clean = problem_of(name, overlap, dtype=torch.float32, **told)
    poisoned = replace(clean, poisoned=True)
    got, want = (whole(each, ranks.run(solve, each)) for each in (poisoned, clean))
    sees = clean.sees_poison().numpy()
    for part in ("output", "lse"):
        np.testing.assert_array_equal(got[part][~sees], want[part][~sees], part)
    for part in ("query", "key", "value"):
        np.testing.assert_array_equal(got[part], want[part], part)
    one = alone(poisoned)
    for part in ("output", "lse"):  # what may be seen counts as in one process
        np.testing.assert_array_equal(np.isnan(got[part]), np.isnan(one[part]), part)


@pytest.mark.parametrize("overlap", [True, False])
def test_scores_of_minus_infinity_weigh_nothing_beside_others(
    ranks: RankPool, overlap: bool
) -> None:
    problem = problem_of("causal", overlap, infinite=(0, 5, 33), by="")
    got, want = whole(problem, ranks.run(solve, problem)), judged(problem)
    assert np.isnan(want["lse"]).sum() == 2 * 4  # of query 0, which sees key 0 alone
    agrees(got, {name: want[name] for name in ("output", "lse")}, 1e-9)


@pytest.mark.parametrize("by", ["q", "k", "v", "qv", "kv", ""])
def test_gradients_of_only_some(four_ranks: RankPool, by: str) -> None:
    problem = problem_of("packed", True, by=by)
    got, want = whole(problem, four_ranks.run(solve, problem)), judged(problem)
    names = {"q": "query", "k": "key", "v": "value"}
    assert set(got) == {"output", "lse", *(names[each] for each in by)}
    agrees(got, {name: want[name] for name in got}, 1e-9)


@pytest.mark.parametrize("engine", ["cpu", "sdpa", "reference"])
@pytest.mark.parametrize("overlap", [True, False])
def test_engines(two_ranks: RankPool, engine: str, overlap: bool) -> None:
    problem = replace(problem_of("causal", overlap), call={"engine": engine})
    if engine == "sdpa":
        problem = replace(problem, call={**problem.call, "return_lse": False})
    got, want = whole(problem, two_ranks.run(solve, problem)), judged(problem)
    agrees(got, {name: want[name] for name in got}, 1e-9)


def test_what_an_engine_refuses_on_one_rank_is_refused_on_all(two_ranks: RankPool) -> None:
    """The share of rank 0 is no window: keys of others lie between its own."""
    call = {"engine": "varlen", "return_lse": False}
    problem = replace(problem_of("causal", True), call=call)
    with pytest.raises(RankFailed) as caught:
        two_ranks.run(solve, problem)
    for text in caught.value.failures.values():
        assert "RanksDisagree" in text
        assert "refused by the engine: " in text
        assert "engine 'varlen' cannot express" in text


@pytest.mark.parametrize("mesh", [(2, 2), (1, 4), (4, 1)], ids=["2x2", "1x4", "4x1"])
@pytest.mark.parametrize("name", MASKS)
def test_a_mesh_divides_sequence_and_heads(
    four_ranks: RankPool, name: str, mesh: tuple[int, int]
) -> None:
    shape = (2, 4, 4 // (mesh[0] if mesh[0] < 4 else 2), *SHAPE[3:])
    problem = replace(problem_of(name, True), shape=shape, mesh=mesh)
    agrees(whole(problem, four_ranks.run(solve, problem)), judged(problem), 1e-9)


def masks_in_turn() -> list[bool]:
    """Return whether each of many masks over one mesh is what one process has."""
    spread = sl.distributed.spread(sl.causal(), SHAPE[3], block=4, group=mesh_of((2, 2)))
    made = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(*SHAPE[:2], SHAPE[3], 8, generator=made) for _ in range(3))
    at, same = spread.positions()[0], []
    turned = sl.per_head([sl.window(left=3), sl.causal(), sl.chunks(5), sl.everything()])
    for mask in (*MASKS.values(), turned, MASKS["heads"]):
        q, k, v = (each[:, :, at] for each in (query, key, value))
        got = sl.distributed.attend(q, k, v, mask, spread=spread)
        wanted = sl.attend(query, key, value, mask)[:, :, at]
        same.append(torch.allclose(got, wanted, atol=1e-5))
    return same


def test_masks_in_turn_over_a_mesh(four_ranks: RankPool) -> None:
    for same in four_ranks.run(masks_in_turn):
        assert all(same), same


@pytest.mark.parametrize("mesh", [(2, 2, 1), (2, 1, 2)], ids=["2x2x1", "2x1x2"])
def test_a_part_of_a_mesh_is_by_itself(four_ranks: RankPool, mesh: tuple[int, ...]) -> None:
    problem = replace(problem_of("heads", True), mesh=mesh)
    answers = four_ranks.run(solve, problem)
    for part in (answers[:2], answers[2:]):
        agrees(whole(problem, part), judged(problem), 1e-9)


def test_cross_attention_over_a_mesh(four_ranks: RankPool) -> None:
    options = {"block": 3, "overlap": True, "kept_keys": True}
    mask = sl.window(left=7, right=20) & sl.padding(lengths=[50, 67])
    problem = Problem(mask, (2, 4, 2, 41, 67, 8, 5), options, {}, mesh=(2, 2))
    agrees(whole(problem, four_ranks.run(solve, problem)), judged(problem), 1e-9)


def test_heads_that_a_mesh_cannot_divide_are_refused(four_ranks: RankPool) -> None:
    problem = replace(problem_of("causal", True), shape=(2, 3, 3, *SHAPE[3:]), mesh=(2, 2))
    with pytest.raises(RankFailed) as caught:
        four_ranks.run(solve, problem)
    for text in caught.value.failures.values():
        assert "ShapeMismatch: got 3 query heads" in text


def trained_on_one(which: int, mesh: tuple[int, int] | None) -> str:
    """Return what is said where only rank 0 wants gradients of the query, the key or the value."""
    group = None if mesh is None else mesh_of(mesh)
    spread = sl.distributed.spread(sl.causal(), 16, block=1, group=group)
    given = [torch.ones(1, 2, spread.length, 4) for _ in range(3)]
    given[which].requires_grad_(spread.ranks.rank == 0)
    try:
        sl.distributed.attend(*given, sl.causal(), spread=spread)
    except sl.RanksDisagree as error:
        return str(error)
    return ""


@pytest.mark.parametrize("which", [0, 1, 2])
@pytest.mark.parametrize("mesh", [None, (2, 2)], ids=["line", "2x2"])
def test_gradients_that_would_travel_from_some_ranks_only_are_refused(
    four_ranks: RankPool, which: int, mesh: tuple[int, int] | None
) -> None:
    travels = which > 0 or mesh is not None  # the query of a rank stays where it is
    for told in four_ranks.run(trained_on_one, which, mesh):
        assert ("gradients: " in told) == travels, told


@pytest.mark.gpu
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="wants two GPUs, one for each rank")
@pytest.mark.parametrize("overlap", [True, False])
@pytest.mark.parametrize("name", MASKS)
def test_on_gpus(two_ranks: RankPool, name: str, overlap: bool) -> None:
    shape = (*SHAPE[:5], 16, 16)
    problem = replace(problem_of(name, overlap, dtype=torch.float32), shape=shape, on_gpu=True)
    agrees(whole(problem, two_ranks.run(solve, problem)), judged(problem), 2e-3)
