"""GPT under the audit: causal, blind to padding on either side, rows that do not mix, its cache."""

from __future__ import annotations

import numpy as np
import pytest

import sightline as sl

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from sightline.models.gpt import GPT, GPTConfig  # noqa: E402

VOCAB, LENGTH = 41, 19


def gpt(**options: object) -> GPT:
    torch.manual_seed(2)
    sizes = {"vocab": VOCAB, "layers": 2, "heads": 3, "width": 24, "context": 48}
    return GPT(GPTConfig(**{**sizes, **options}))


def tokens() -> np.ndarray:
    return np.random.default_rng(4).integers(0, VOCAB, (4, LENGTH))


class Told(nn.Module):
    """A GPT that is told of padding as a user's batch would tell it: mask and positions."""

    def __init__(self, model: GPT, *, positions: bool = True, mask: bool = True) -> None:
        super().__init__()
        self.model, self.positions, self.mask = model, positions, mask

    def forward(
        self, tokens: torch.Tensor, attention_mask: torch.Tensor | None = None
    ) -> torch.Tensor:
        if attention_mask is None:
            return self.model(tokens)
        real = attention_mask.bool()
        positions = (real.cumsum(1) - 1).clamp(min=0) if self.positions else None
        mask = self.model.mask & sl.padding(valid=real) if self.mask else None
        return self.model(tokens, positions=positions, mask=mask)


@pytest.mark.parametrize("engine", ["cpu", "sdpa"])
@pytest.mark.parametrize("positions", ["learned", "rotary"])
def test_gpt_keeps_its_contract(engine: str, positions: str) -> None:
    model = gpt(engine=engine, positions=positions)
    report = sl.audit(model, sl.causal(), tokens())
    assert report.ok, report
    assert report.coverage == 1.0
    report = sl.audit(model, [sl.audit.batch_invariant(), sl.audit.cache_parity()], tokens())
    assert report.ok, report


@pytest.mark.parametrize("positions", ["learned", "rotary"])
def test_padding_on_either_side_changes_nothing(positions: str) -> None:
    contract = [sl.audit.pad_invariant(), sl.audit.batch_invariant()]
    report = sl.audit(Told(gpt(positions=positions)), contract, tokens())
    assert report.ok, report


def test_another_mask_is_another_contract() -> None:
    """A prefix that is seen from both sides: the audit measures just that."""
    mask = sl.prefix_lm(6)
    assert sl.audit(gpt(mask=mask), mask, tokens()).ok
    assert not sl.audit(gpt(mask=mask), sl.causal(), tokens()).ok


@pytest.mark.parametrize("fault", [{"positions": False}, {"mask": False}], ids=str)
def test_the_audit_sees_what_a_batch_forgets(fault: dict[str, bool]) -> None:
    report = sl.audit(Told(gpt(), **fault), sl.audit.pad_invariant(), tokens())
    assert not report.ok
