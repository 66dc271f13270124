"""Engine flex: compiled on the CPU (slow), and its guards with a plain kernel in torch's place.

The plain kernel has gradients and a logsumexp, as torch's has on CUDA (there: test_gpu.py), and
lets everything through that guards have to keep out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
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
    Q,
    assert_same_bits,
    draw,
    poison_key,
    poisons,
    seeing,
    without_rows,
)

import sightline as sl
from sightline.engines import flex
from sightline.engines.registry import ENGINES
from sightline.reference.attention import attention
from sightline.testing.cases import CASES
from sightline.testing.cases import Case as Drawn

TOLERANCE = {"float32": 2e-6, "float16": 2e-3, "bfloat16": 2e-2}


def plain_kernel(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    *,
    block_mask: Any,
    scale: float,
    enable_gqa: bool,
    return_aux: Any = None,
) -> Any:
    """FlexAttention by its documentation, without a guard."""
    group = query.shape[1] // key.shape[1]
    assert enable_gqa == (group > 1)
    sizes = (*query.shape[:3], key.shape[2])
    grids = torch.meshgrid(*map(torch.arange, sizes), indexing="ij")
    allowed = block_mask.mask_mod(*grids)
    scores = query @ key.repeat_interleave(group, dim=1).mT * scale
    scores = scores.masked_fill(~allowed, -torch.inf)
    logsumexp = scores.logsumexp(dim=-1)
    seen = allowed.any(dim=-1)
    safe = torch.where(seen, logsumexp, 0)[..., None]
    output = (scores - safe).exp() @ value.repeat_interleave(group, dim=1)
    if not return_aux:
        return output
    # What it gives for rows that are empty is not documented.
    return output, type("Beside", (), {"lse": torch.where(seen, logsumexp, 7.0)})


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flex, "kernel", lambda: plain_kernel)
    monkeypatch.setattr(flex, "obstacles", lambda request: iter(()))


def run(case: Case, engine: str, upstream_lse: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return output, logsumexp and gradients, of which the last come through both."""
    leaves = [t.detach().requires_grad_() for t in (case.query, case.key, case.value)]
    output, logsumexp = sl.attend(
        *leaves, case.mask, q_offset=case.q_offset, engine=engine, return_lse=True
    )
    grads = torch.autograd.grad([output, logsumexp], leaves, [case.upstream, upstream_lse])
    named = dict(zip(("grad of query", "grad of key", "grad of value"), grads, strict=True))
    return {"output": output.detach(), "logsumexp": logsumexp.detach()} | named


def drawn_lse(case: Case, rows: torch.Tensor | None = None) -> torch.Tensor:
    """Return a gradient of the logsumexp, 0 in the rows given."""
    drawn = torch.randn(B, HEADS, Q, generator=torch.Generator().manual_seed(5))
    return drawn if rows is None else drawn.masked_fill(rows, 0)


@pytest.mark.parametrize("name", MASKS)
def test_values_logsumexp_and_gradients(name: str, stand_in: None) -> None:
    for value_dim in (6, 8):
        case = draw(MASKS[name], torch.float32, value_dim=value_dim)
        got, wanted = (run(case, engine, drawn_lse(case)) for engine in ("flex", "reference"))
        for what, ours in got.items():
            torch.testing.assert_close(ours, wanted[what], rtol=0, atol=1e-5, msg=what)


@pytest.mark.parametrize("part", ["key", "value", "element"])
@pytest.mark.parametrize("name", MASKS)
def test_a_forbidden_key_changes_no_bit(name: str, part: str, stand_in: None) -> None:
    case = draw(MASKS[name], torch.float32)
    for place in ((1, 0, 3), (slice(None), slice(None), 6)):
        rows = seeing(case, *place)
        silent, quiet = without_rows(case, rows), drawn_lse(case, rows)
        clean = run(silent, "flex", quiet)
        for number in poisons(torch.float32).values():
            poisoned = run(poison_key(silent, place, number, part), "flex", quiet)
            assert_same_bits(clean, poisoned, rows)


@pytest.mark.parametrize("name", MASKS)
def test_a_spoiled_query_or_gradient_stays_in_its_row(name: str, stand_in: None) -> None:
    case = draw(MASKS[name], torch.float32)
    rows = torch.zeros(B, HEADS, Q, dtype=torch.bool)
    rows[0, 1, 2] = rows[2, 0, 4] = True
    fed = (case.allowed & rows[..., None]).any(dim=2).unflatten(1, (KV_HEADS, -1)).any(dim=2)
    exempt = {"query": rows[..., None], "key": fed[..., None], "value": fed[..., None]}
    clean = run(case, "flex", drawn_lse(case))
    for number in poisons(torch.float32).values():
        query = case.query.masked_fill(rows[..., None], number)
        got = run(replace(case, query=query), "flex", drawn_lse(case))
        assert_same_bits(clean, got, rows, **exempt)
        nobody = torch.zeros_like(rows)
        got = run(case, "flex", drawn_lse(case).masked_fill(rows, number))
        assert_same_bits(clean, got, nobody, **exempt)


def test_large_numbers_that_a_row_may_see(stand_in: None) -> None:
    case = draw(MASKS["causal"], torch.float32)
    case.key[0, 0, 2] *= 1e12
    got, wanted = (run(case, engine, drawn_lse(case)) for engine in ("flex", "reference"))
    for what, ours in got.items():
        torch.testing.assert_close(ours, wanted[what], rtol=1e-5, atol=1e-4, msg=what)


def test_a_huge_gradient_of_one_logsumexp_counts_once(stand_in: None) -> None:
    case = draw(MASKS["window"], torch.float32)
    upstream = drawn_lse(case)
    upstream[0, 1, 2] = 2.0**45
    got, wanted = (run(case, engine, upstream) for engine in ("flex", "reference"))
    for what, ours in got.items():
        torch.testing.assert_close(ours, wanted[what], rtol=1e-5, atol=1e-5, msg=what)


def test_what_it_refuses_on_the_cpu() -> None:
    query = torch.zeros(1, 2, 6, 8)

    def refused(says: str, query: torch.Tensor = query, mask: Any = None, **options: Any) -> None:
        mask = sl.causal() if mask is None else mask
        with pytest.raises(sl.CannotExpress, match=says):
            sl.attend(query, query, query, mask, engine="flex", **options)

    refused("gradients on cpu.*no backward pass.*engine='sdpa'", query.clone().requires_grad_())
    refused("return_lse=True on cpu", return_lse=True)
    refused("a bias", bias=torch.zeros(6))
    refused(r"dropout=0\.5", dropout=0.5)
    refused("dtype float64", query.double())
    refused(r"24 keys on cpu.*wrong numbers", torch.zeros(1, 2, 24, 8))
    unreadable = sl.predicate(lambda b, h, q, k: np.equal(k, q))
    refused("engine 'flex' cannot express", mask=unreadable)


def test_a_mask_that_allows_nothing_needs_no_kernel() -> None:
    query = torch.full((1, 2, 6, 8), torch.nan)
    output = sl.attend(query, query, query, sl.nothing(), engine="flex")
    assert not output.any()


def test_where_torch_cannot_compile(monkeypatch: pytest.MonkeyPatch) -> None:
    from torch._dynamo.exc import FailOnRecompileLimitHit, TorchDynamoException

    query = torch.zeros(1, 2, 6, 8)
    for error in (TorchDynamoException, FailOnRecompileLimitHit):

        def broken(*args: Any, error: Callable[..., Exception] = error, **keywords: Any) -> None:
            raise error("no C++ compiler\nand a long story")

        monkeypatch.setattr(flex, "kernel", lambda broken=broken: broken)
        with pytest.raises(sl.CannotExpress, match=r"not compile it: no C\+\+ compiler\. Instead"):
            sl.attend(query, query, query, sl.causal(), engine="flex")


# -- compiled, some seconds each ---------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # of the compiler's own
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_drawn_cases_compiled(case: Drawn) -> None:
    shape, rng = case.shape, torch.Generator().manual_seed(0)
    if shape.kv_len == 8:
        pytest.skip("torch's kernel gives wrong numbers for 8 keys; refused, as tested above")
    query = torch.randn(shape.batch, shape.heads, shape.q_len, 8, generator=rng)
    key, value = torch.randn(2, shape.batch, shape.heads, shape.kv_len, 8, generator=rng)
    got = sl.attend(query, key, value, case.mask, q_offset=case.q_offset, engine="flex")
    allowed = np.broadcast_to(case.drawn, shape.full)
    wanted = attention(query.numpy(), key.numpy(), value.numpy(), allowed).output
    np.testing.assert_allclose(got.numpy(), wanted, rtol=0, atol=2e-6)
    for hidden in range(shape.kv_len):
        blind = torch.from_numpy(~allowed[..., hidden])
        for tensor in (key, value):
            kept = tensor[:, :, hidden].clone()
            tensor[:, :, hidden] = torch.nan
            again = sl.attend(query, key, value, case.mask, q_offset=case.q_offset, engine="flex")
            assert torch.equal(got[blind], again[blind])
            tensor[:, :, hidden] = kept


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("dtype_name", ENGINES["flex"].dtypes)
@pytest.mark.parametrize("name", ["documents", "causal & left padding", "per head"])
def test_dtypes_and_grouped_queries_compiled(name: str, dtype_name: str) -> None:
    case = draw(MASKS[name], DTYPES[dtype_name], value_dim=6)
    tensors = case.query, case.key, case.value
    got = sl.attend(*tensors, case.mask, q_offset=OFFSET, engine="flex")
    wanted = sl.attend(*tensors, case.mask, q_offset=OFFSET, engine="reference")
    torch.testing.assert_close(got, wanted, rtol=0, atol=TOLERANCE[dtype_name])


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("length", [9, 12, 23, 31, 32, 120, 136, 152])
def test_widths_that_are_no_whole_blocks_compiled(length: int) -> None:
    """Numbers that nobody wrote must not be read: the memory is full of NaN beforehand."""
    query, key, value = torch.randn(3, 1, 2, length, 16, generator=torch.Generator().manual_seed(0))
    if length % 16 == 8 and length < 128:
        with pytest.raises(sl.CannotExpress, match=f"{length} keys on cpu"):
            sl.attend(query, key, value, sl.causal(), engine="flex")
        return
    wanted = sl.attend(query, key, value, sl.causal(), engine="sdpa")
    for size in range(8, 400, 8):
        junk = [torch.full((2, 3, 8, size), torch.nan) for _ in range(20)]
        del junk
        got = sl.attend(query.clone(), key.clone(), value.clone(), sl.causal(), engine="flex")
        torch.testing.assert_close(got, wanted, rtol=0, atol=2e-6)


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_many_blocks_compiled() -> None:
    """Full, mixed and empty blocks of 128 x 128, rows that are empty among them."""
    length = 700
    mask = sl.documents(lengths=[300, 280, 60]) & (sl.causal() | sl.prefix(40)) & ~sl.queries([5])
    rng = torch.Generator().manual_seed(0)
    query, key, value = torch.randn(3, 2, 2, length, 32, generator=rng)
    got = sl.attend(query, key, value, mask, engine="flex")
    wanted = sl.attend(query, key, value, mask, engine="sdpa")
    torch.testing.assert_close(got, wanted, rtol=0, atol=2e-6)
    assert not got[:, :, 5].any()
    assert not got[:, :, 640:].any()
    key[:, :, 400] = value[:, :, 400] = torch.inf
    again = sl.attend(query, key, value, mask, engine="flex")
    blind = ~torch.from_numpy(mask.dense(length)[0, 0, :, 400].copy())
    assert torch.equal(got[:, :, blind], again[:, :, blind])
