"""UniLM keeps four promises with one set of weights: who sees whom is the mask's matter alone."""

from __future__ import annotations

from typing import Any

import pytest

import sightline as sl

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from sightline.models.unilm import UniLM, UniLMConfig  # noqa: E402
from sightline.models.unilm_masks import (  # noqa: E402
    MODES,
    bidirectional,
    left_to_right,
    right_to_left,
    sequence_to_sequence,
)

LENGTH, SOURCE = 19, 7
CONFIG = UniLMConfig(vocab=31, layers=2, heads=3, width=24, hidden=40, context=48, dropout=0.0)
PROMISES = {
    "bidirectional": bidirectional(),
    "left_to_right": left_to_right(),
    "right_to_left": right_to_left(),
    "seq2seq": sequence_to_sequence([SOURCE]),
}


class Reading(nn.Module):
    """A UniLM in one mode, told of padding as other encoders are; one output for each token."""

    def __init__(self, mode: Any, shown: Any = None, padding: bool = True) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.model = UniLM(CONFIG)
        self.mode, self.shown, self.padding = mode, shown, padding

    def forward(
        self, tokens: torch.Tensor, attention_mask: torch.Tensor | None = None
    ) -> torch.Tensor:
        if attention_mask is None or not self.padding:
            attention_mask = torch.ones_like(tokens)
        batch = sl.Batch.from_padded(tokens, valid=attention_mask.long())
        sources = [min(SOURCE, length) for length in batch.lengths]
        return self.model.read(batch, self.shown or self.mode, sources).mlm


class Plain(Reading):
    """The same without an argument for padding."""

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        return super().forward(tokens)


@pytest.mark.parametrize("mode", MODES)
def test_each_mode_keeps_its_own_promise(mode: Any) -> None:
    report = sl.audit(Plain(mode), PROMISES[mode], length=LENGTH, batch=3)
    assert report.ok, report
    assert report.coverage == 1.0


@pytest.mark.parametrize("mode", MODES)
def test_and_breaks_those_that_see_less(mode: Any) -> None:
    for other, promise in PROMISES.items():
        obeys = sl.implies(PROMISES[mode], promise, q_len=LENGTH)
        if not obeys:
            report = sl.audit(Plain(mode), promise, length=LENGTH, batch=3)
            assert not report.ok, (mode, other)


@pytest.mark.parametrize("mode", MODES)
def test_padding_and_other_rows_change_nothing(mode: Any) -> None:
    contract = [sl.audit.pad_invariant(), sl.audit.batch_invariant()]
    report = sl.audit(Reading(mode), contract, length=LENGTH)
    assert report.ok, report


def test_a_model_that_is_not_told_of_padding_is_found_out() -> None:
    report = sl.audit(
        Reading("bidirectional", padding=False), sl.audit.pad_invariant(), length=LENGTH
    )
    assert not report.ok


def test_a_prefix_sees_no_target() -> None:
    """The same weights, the wrong mask: the source reads the target, as in careless fine-tuning."""
    wrong = Plain("seq2seq", shown="bidirectional")
    report = sl.audit(wrong, PROMISES["seq2seq"], length=LENGTH, batch=3)
    assert not report.ok
    assert report.findings[0].pairs
