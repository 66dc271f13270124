"""The engines on a CUDA device; skipped, visibly, where there is none: pytest -m gpu.

Forward bits are compared as everywhere. Gradients are compared with a tolerance: FlashAttention's
backward pass adds up in no fixed order.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from poisoning import HEADS, B, Case, poison_key, poisons, seeing, without_rows

import sightline as sl
from sightline.engines.registry import ENGINES

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.filterwarnings("default"),  # of the compiler's own
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device here"),
]

LENGTH, DIM = 300, 64
TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 8e-2, torch.float16: 2e-2}
MASKS = {
    "causal": sl.causal(),
    "window": sl.window(40, 0),
    "documents": sl.causal() & sl.documents(lengths=[100, 60, 140]),
    "padding on both sides": sl.padding(lengths=[300, 150, 40])
    & sl.padding(lengths=[300, 150, 40]).T,
    "prefix-LM": sl.causal() | sl.prefix(70),
    "block-causal": sl.block_causal(32),
    "rows that are empty": sl.causal() & ~sl.queries([3, 250]),
}
NOT_PACKED = ("prefix-LM", "block-causal", "rows that are empty")


def draw(mask: sl.Mask, dtype: torch.dtype) -> Case:
    rng = torch.Generator().manual_seed(0)
    sizes = ((B, HEADS), (B, HEADS // 2), (B, HEADS // 2), (B, HEADS))
    drawn = [torch.randn(*size, LENGTH, DIM, generator=rng).to("cuda", dtype) for size in sizes]
    return Case(drawn[0], drawn[1], drawn[2], None, drawn[3], mask, q_offset=0)


def run(case: Case, engine: str, **options: Any) -> list[torch.Tensor]:
    """Return the output and the gradients."""
    leaves = [t.detach().requires_grad_() for t in (case.query, case.key, case.value)]
    output = sl.attend(*leaves, case.mask, engine=engine, **options)
    return [output.detach(), *torch.autograd.grad(output, leaves, case.upstream)]


def calls() -> list[Any]:
    return [
        pytest.param(engine, name, dtype, id=f"{engine}-{name}-{dtype}".replace("torch.", ""))
        for engine, dtypes in (
            ("flex", (torch.float32, torch.bfloat16, torch.float16)),
            ("varlen", (torch.bfloat16, torch.float16)),
            ("auto", (torch.float32, torch.bfloat16)),
        )
        for name in MASKS
        for dtype in dtypes
        if not (engine == "varlen" and name in NOT_PACKED)
    ]


@pytest.mark.parametrize(("engine", "name", "dtype"), calls())
def test_values_and_gradients(engine: str, name: str, dtype: torch.dtype) -> None:
    case = draw(MASKS[name], dtype)
    wanted = run(case, "reference")
    for ours, right in zip(run(case, engine), wanted, strict=True):
        torch.testing.assert_close(ours, right, rtol=0, atol=TOLERANCE[dtype])


@pytest.mark.parametrize(
    ("engine", "name", "dtype"), [call for call in calls() if call.values[0] != "auto"]
)
def test_a_forbidden_key_changes_nothing(engine: str, name: str, dtype: torch.dtype) -> None:
    case = draw(MASKS[name], dtype)
    place = (slice(None), 0, slice(120, 130))
    rows = seeing(case, *place).cuda()
    silent = without_rows(case, rows)
    clean = run(silent, engine)
    for number in poisons(dtype).values():
        got = run(poison_key(silent, place, number, "key and value"), engine)
        assert torch.equal(clean[0][~rows], got[0][~rows])
        for ours, before in zip(got[1:], clean[1:], strict=True):
            torch.testing.assert_close(ours, before, rtol=0, atol=TOLERANCE[dtype])


def test_logsumexp_of_flex() -> None:
    case = draw(MASKS["rows that are empty"], torch.float32)
    leaves = [t.detach().requires_grad_() for t in (case.query, case.key, case.value)]
    found = []
    for engine in ("flex", "reference"):
        output, logsumexp = sl.attend(*leaves, case.mask, engine=engine, return_lse=True)
        assert logsumexp[:, :, 3].isneginf().all()
        loss = output.sum() + logsumexp.masked_fill(logsumexp.isneginf(), 0).sin().sum()
        found.append([output, logsumexp, *torch.autograd.grad(loss, leaves)])
    for ours, right in zip(*found, strict=True):
        torch.testing.assert_close(ours, right, rtol=0, atol=1e-3)


def test_auto_takes_what_skips() -> None:
    query = torch.zeros(1, 8, 4096, 64, device="cuda", dtype=torch.bfloat16)
    documents = sl.causal() & sl.documents(lengths=[256] * 16)
    assert sl.explain_choice(query, query, query, documents).engine == "varlen"
    assert sl.explain_choice(query, query, query, sl.causal() | sl.prefix(9)).engine == "flex"


def test_what_varlen_refuses_on_cuda() -> None:
    query = torch.zeros(1, 2, 6, 64, device="cuda")
    with pytest.raises(sl.CannotExpress, match="float16 and bfloat16"):
        sl.attend(query, query, query, sl.causal(), engine="varlen")
    odd = query[..., :20].bfloat16()
    with pytest.raises(sl.CannotExpress, match=r"head_dim 20.*multiple of 8"):
        sl.attend(odd, odd, odd, sl.causal(), engine="varlen")
    assert ENGINES["varlen"].devices == ("cpu", "cuda")
