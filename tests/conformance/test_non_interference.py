"""What a query may not see cannot change its output or any gradient it feeds by a single bit.

Written once, for every engine in the table: a clean and a poisoned run are compared as integers.
A row that sees the poison is left out of the loss, so that every gradient of every input must stay
the same.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from poisoning import (
    DIM,
    DTYPES,
    HEADS,
    KV_HEADS,
    MASKS,
    TESTED,
    B,
    Case,
    K,
    Q,
    assert_same_bits,
    available,
    combinations,
    draw,
    poison_key,
    poisons,
    run,
    seeing,
    takes,
    without_rows,
)

import sightline as sl
from sightline.engines.registry import Engine


@pytest.fixture(params=TESTED)
def engine(request: pytest.FixtureRequest) -> Engine:
    return available(request.param)


@pytest.mark.parametrize("name", MASKS)
@pytest.mark.parametrize(("engine_name", "dtype_name", "part"), combinations(parts=True))
def test_a_forbidden_key_changes_no_bit(
    name: str, engine_name: str, dtype_name: str, part: str
) -> None:
    engine, dtype = available(engine_name), DTYPES[dtype_name]
    case = draw(MASKS[name], dtype)
    places = [(1, 0, 3), (slice(None), slice(None), 6), (2, 1, slice(4, None))]
    for place in places:
        rows = seeing(case, *place)
        silent = without_rows(case, rows)
        clean = run(silent, engine)
        for number in poisons(dtype).values():
            assert_same_bits(clean, run(poison_key(silent, place, number, part), engine), rows)


@pytest.mark.parametrize(
    "options", [{"value_dim": 6}, {"bias": True}, {"value_dim": 6, "bias": True}]
)
@pytest.mark.parametrize(("engine_name", "dtype_name"), combinations())
def test_a_forbidden_key_changes_no_bit_on_the_other_ways_through(
    options: dict[str, Any], engine_name: str, dtype_name: str
) -> None:
    engine, dtype = available(engine_name), DTYPES[dtype_name]
    for name in ("causal & left padding", "dense"):
        case = draw(MASKS[name], dtype, **options)
        place = (slice(None), 0, slice(2, 4))
        rows = seeing(case, *place)
        silent = without_rows(case, rows)
        clean = run(silent, engine)
        for number in poisons(dtype).values():
            poisoned = poison_key(silent, place, number, "key and value")
            assert_same_bits(clean, run(poisoned, engine), rows)


@pytest.mark.parametrize("name", MASKS)
@pytest.mark.parametrize(("engine_name", "dtype_name"), combinations())
def test_everything_that_no_query_may_see_at_once(
    name: str, engine_name: str, dtype_name: str
) -> None:
    engine, dtype = available(engine_name), DTYPES[dtype_name]
    case = draw(MASKS[name], dtype)
    seen = case.allowed.any(dim=2).unflatten(1, (KV_HEADS, -1)).any(dim=2)
    nobody = torch.zeros(B, HEADS, Q, dtype=torch.bool)
    clean = run(case, engine)
    for number in poisons(dtype).values():
        poisoned = case.copy()
        poisoned.key[~seen] = number
        poisoned.value[~seen] = number
        assert_same_bits(clean, run(poisoned, engine), nobody)


@pytest.mark.parametrize("value_dim", [DIM, 6])
def test_lengths_beyond_the_blocks_of_a_kernel(value_dim: int, engine: Engine) -> None:
    # The oracle takes one row at a time: blocks are of no concern to it.
    sizes = (33, 80) if engine.name == "reference" else (67, 1100)
    mask = sl.causal() & sl.padding(lengths=[sizes[1], 70, 40]) & ~sl.keys([5, 64])
    case = draw(mask, torch.float32, sizes=sizes, value_dim=value_dim, offset=sizes[1] - sizes[0])
    place = (slice(None), slice(None), [5, 41, 64, 75])
    rows = seeing(case, *place)
    assert rows.any()
    assert not rows.all()
    silent = without_rows(case, rows)
    clean = run(silent, engine)
    for number in poisons(torch.float32).values():
        poisoned = poison_key(silent, place, number, "key and value")
        assert_same_bits(clean, run(poisoned, engine), rows)


def test_inputs_in_other_layouts(engine: Engine) -> None:
    """Poison must not move the computation to another layout, whose rounding differs."""
    sizes, mask = (37, 61), sl.causal() & sl.padding(lengths=[61, 40, 50])
    case = draw(mask, torch.float32, sizes=sizes, offset=24)
    rows = seeing(case, 1, 0, 39)
    silent = without_rows(case, rows)

    def swapped(tensor: torch.Tensor) -> torch.Tensor:
        return tensor.transpose(1, 2).contiguous().transpose(1, 2)

    def crooked(tensor: torch.Tensor) -> torch.Tensor:
        room = torch.empty(tensor.numel() + 1, dtype=tensor.dtype)
        room[1:] = tensor.reshape(-1)
        return room[1:].view(tensor.shape)

    def sliced(tensor: torch.Tensor) -> torch.Tensor:
        return torch.cat([tensor, tensor], dim=-1)[..., : tensor.shape[-1]]

    layouts: list[Callable[[torch.Tensor], torch.Tensor]] = [swapped, crooked, sliced]
    poisoned = poison_key(silent, (1, 0, 39), float("nan"), "key and value")

    def laid_out(case: Case, layout: Callable[[torch.Tensor], torch.Tensor]) -> Case:
        names = ("query", "key", "value", "upstream")
        return replace(case, **{name: layout(getattr(case, name)) for name in names})

    for layout in layouts:
        clean = run(laid_out(silent, layout), engine)
        assert_same_bits(clean, run(laid_out(poisoned, layout), engine), rows)


def test_dropout_keeps_the_promise(engine: Engine) -> None:
    if not engine.dropout:
        pytest.skip(f"engine {engine.name} does not drop weights")
    engine = replace(engine, logsumexp=False)
    for name in ("causal & left padding", "dense", "padding, one row empty"):
        case = draw(MASKS[name], torch.float32, bias=True)
        place = (slice(None), 0, slice(2, 4))
        rows = seeing(case, *place)
        silent = without_rows(case, rows)
        clean = run(silent, engine, dropout=0.4)
        for number in poisons(torch.float32).values():
            poisoned = poison_key(silent, place, number, "key and value")
            assert_same_bits(clean, run(poisoned, engine, dropout=0.4), rows)


def expressions() -> st.SearchStrategy[sl.Mask]:
    """Masks for B batch rows, HEADS heads and the positions of these tests, and their algebra."""
    atoms = st.sampled_from(
        [*MASKS.values(), sl.chunks(3), sl.dilated(2), sl.sinks(1), ~sl.causal()]
    )
    pairs = st.tuples(atoms, atoms, st.sampled_from(["and", "or", "minus", "xor"]))

    def combined(drawn: tuple[sl.Mask, sl.Mask, str]) -> sl.Mask:
        a, b, how = drawn
        return {"and": a & b, "or": a | b, "minus": a - b, "xor": a ^ b}[how]

    return pairs.map(combined)


@pytest.mark.parametrize("engine_name", TESTED)
@given(
    mask=expressions(),
    place=st.tuples(st.integers(0, B - 1), st.integers(0, KV_HEADS - 1), st.integers(0, K - 1)),
    number=st.sampled_from(list(poisons(torch.float32).values())),
    part=st.sampled_from(["key", "value", "key and value", "element"]),
    bias=st.booleans(),
    scale=st.sampled_from([None, 0.01, -1.0, 1e3, 1e30]),
    seed=st.integers(0, 99),
)
def test_any_expression_any_place(
    engine_name: str,
    mask: sl.Mask,
    place: tuple[int, int, int],
    number: float,
    part: str,
    bias: bool,
    scale: float | None,
    seed: int,
) -> None:
    engine = available(engine_name)
    case = draw(mask, torch.float32, bias=bias, seed=seed)
    if not takes(engine, mask, K, case.query, case.q_offset, case.bias):
        return
    rows = seeing(case, *place)
    silent = without_rows(case, rows)
    clean = run(silent, engine, scale=scale)
    poisoned = run(poison_key(silent, place, number, part), engine, scale=scale)
    assert_same_bits(clean, poisoned, rows)


@pytest.mark.parametrize("scale", [1e3, -1e12, 1e30])
@pytest.mark.parametrize("value_dim", [DIM, 6])
def test_large_scales(scale: float, value_dim: int, engine: Engine) -> None:
    """What is harmless by itself overflows with the scale."""
    for name, size in itertools.product(("causal & left padding", "dense", "nothing"), (1, 0)):
        case = draw(MASKS[name], torch.float32, value_dim=value_dim)
        case = replace(case, key=case.key * size)  # at 0, no score of an allowed pair is large
        place = (slice(None), 0, slice(2, 4))
        rows = seeing(case, *place)
        silent = without_rows(case, rows)
        clean = run(silent, engine, scale=scale)
        for number in (1e4, 2.0**38, float("nan")):
            poisoned = poison_key(silent, place, number, "key and value")
            assert_same_bits(clean, run(poisoned, engine, scale=scale), rows)
