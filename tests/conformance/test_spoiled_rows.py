"""A spoiled query, bias or gradient belongs to its row: nothing else changes by a single bit.

The other half of non-interference, for every engine in the table; see test_non_interference.py.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from poisoning import (
    DTYPES,
    HEADS,
    KV_HEADS,
    MASKS,
    OFFSET,
    B,
    Case,
    K,
    Q,
    assert_same_bits,
    available,
    bits,
    combinations,
    draw,
    poison_key,
    poisons,
    run,
    seeing,
    without_rows,
)

import sightline as sl


@pytest.mark.parametrize("name", MASKS)
@pytest.mark.parametrize(("engine_name", "dtype_name"), combinations())
def test_a_bias_at_forbidden_pairs_changes_no_bit(
    name: str, engine_name: str, dtype_name: str
) -> None:
    engine, dtype = available(engine_name), DTYPES[dtype_name]
    case = draw(MASKS[name], dtype, bias=True)
    assert case.bias is not None
    nobody = torch.zeros(B, HEADS, Q, dtype=torch.bool)
    clean = run(case, engine)
    assert not clean["grad of bias"][~case.allowed].any()
    for number in poisons(dtype).values():
        poisoned = replace(case, bias=case.bias.masked_fill(~case.allowed, number))
        assert_same_bits(clean, run(poisoned, engine), nobody)


@pytest.mark.parametrize("name", MASKS)
@pytest.mark.parametrize(("engine_name", "dtype_name"), combinations())
def test_a_spoiled_bias_spoils_its_own_row_only(
    name: str, engine_name: str, dtype_name: str
) -> None:
    engine, dtype = available(engine_name), DTYPES[dtype_name]
    case = draw(MASKS[name], dtype, bias=True)
    assert case.bias is not None
    rows = torch.zeros(B, HEADS, Q, dtype=torch.bool)
    rows[0, 1, 2] = rows[2, 3, 4] = True
    silent = without_rows(case, rows)
    clean = run(silent, engine)
    for number in poisons(dtype).values():
        poisoned = replace(silent, bias=case.bias.masked_fill(rows[..., None], number))
        assert_same_bits(clean, run(poisoned, engine), rows)


@pytest.mark.parametrize("name", MASKS)
@pytest.mark.parametrize(("engine_name", "dtype_name"), combinations())
def test_a_spoiled_query_changes_nothing_but_its_own_row(
    name: str, engine_name: str, dtype_name: str
) -> None:
    engine, dtype = available(engine_name), DTYPES[dtype_name]
    case = draw(MASKS[name], dtype)
    rows = torch.zeros(B, HEADS, Q, dtype=torch.bool)
    rows[0, 1, 2] = rows[2, 0, 4] = True
    fed = (case.allowed & rows[..., None]).any(dim=2).unflatten(1, (KV_HEADS, -1)).any(dim=2)
    silent = without_rows(case, rows)
    clean, clean_loud = run(silent, engine), run(case, engine)
    for number in poisons(dtype).values():
        query = case.query.masked_fill(rows[..., None], number)
        assert_same_bits(clean, run(replace(silent, query=query), engine), rows)
        # With the spoiled row in the loss, the keys that it may not see still keep every bit.
        loud = run(replace(case, query=query), engine)
        exempt = {"query": rows[..., None], "key": fed[..., None], "value": fed[..., None]}
        assert_same_bits(clean_loud, loud, rows, **exempt)


@pytest.mark.parametrize("name", MASKS)
@pytest.mark.parametrize(("engine_name", "dtype_name"), combinations())
def test_a_spoiled_gradient_feeds_only_what_its_row_may_see(
    name: str, engine_name: str, dtype_name: str
) -> None:
    engine, dtype = available(engine_name), DTYPES[dtype_name]
    case = draw(MASKS[name], dtype)
    rows = torch.zeros(B, HEADS, Q, dtype=torch.bool)
    rows[0, 1, 2] = rows[2, 0, 4] = True
    fed = (case.allowed & rows[..., None]).any(dim=2).unflatten(1, (KV_HEADS, -1)).any(dim=2)
    exempt = {"query": rows[..., None], "key": fed[..., None], "value": fed[..., None]}
    nobody = torch.zeros_like(rows)
    clean = run(case, engine)
    for number in poisons(dtype).values():
        spoiled = replace(case, upstream=case.upstream.masked_fill(rows[..., None], number))
        assert_same_bits(clean, run(spoiled, engine), nobody, **exempt)


@pytest.mark.parametrize(("engine_name", "dtype_name"), combinations())
@pytest.mark.parametrize("value_dim", [1, 8])
@pytest.mark.parametrize("upstream", [0.0, -0.0])
def test_rows_left_out_of_the_loss_have_unsigned_zeros(
    engine_name: str, dtype_name: str, value_dim: int, upstream: float
) -> None:
    """The sign of 0 * value would tell the sign of what only such a row may see."""
    engine, dtype = available(engine_name), DTYPES[dtype_name]
    rng = torch.Generator().manual_seed(0)
    for batch, q_len, kv_len in ((1, 2, 520), (1, 1, 3), (3, 4, 5)):
        shapes = [(batch, 1, q_len, 8), (batch, 1, kv_len, 8), (batch, 1, kv_len, value_dim)]
        drawn = [torch.randn(s, generator=rng) for s in [*shapes, (1, 1, q_len, kv_len)]]
        leaves = [tensor.to(dtype).requires_grad_() for tensor in drawn]
        query, key, value, bias = leaves
        others = leaves[:2] + (leaves[3:] if engine.bias else [])
        for content in (value, -value, value * float("nan")):
            given = bias if engine.bias else None
            output = sl.attend(query, key, content, sl.everything(), bias=given, engine=engine.name)
            silence = torch.full_like(output, upstream)
            for grad in torch.autograd.grad(output, others, silence):
                assert not bits(grad).any()


@pytest.mark.parametrize("name", MASKS)
def test_attention_weights_keep_the_promise(name: str) -> None:
    case = draw(MASKS[name], torch.float32, bias=True)
    place = (slice(None), 0, slice(2, 4))
    rows = seeing(case, *place)
    upstream = torch.randn(B, HEADS, Q, K, generator=torch.Generator().manual_seed(1))
    upstream = upstream.masked_fill(rows[..., None], 0)

    def weights_and_grads(case: Case) -> dict[str, torch.Tensor]:
        assert case.bias is not None
        leaves = [t.detach().requires_grad_() for t in (case.query, case.key, case.bias)]
        weights = sl.attention_weights(
            leaves[0], leaves[1], case.mask, q_offset=OFFSET, bias=leaves[2]
        )
        grads = torch.autograd.grad(weights, leaves, upstream)
        found = dict(zip(("query", "key", "bias"), grads, strict=True))
        return {"output": weights.detach()} | found

    clean = weights_and_grads(case)
    assert not clean["output"][~case.allowed].any()
    for number in poisons(torch.float32).values():
        poisoned = poison_key(case, place, number, "key")
        assert case.bias is not None
        poisoned = replace(poisoned, bias=case.bias.masked_fill(~case.allowed, number))
        assert_same_bits(clean, weights_and_grads(poisoned), rows)
